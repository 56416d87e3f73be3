"""What all reports share: the columns of each table, and values made safe to show."""

from __future__ import annotations

import re
import unicodedata
from datetime import date, datetime
from typing import Any

import pandas as pd

CREDENTIAL_COLUMNS = (
    "account_id",
    "account_name",
    "ou_path",
    "user",
    "arn",
    "is_root",
    "credential",
    "key_id",
    "key_note",
    "active",
    "user_created",
    "last_rotated",
    "last_used",
    "last_used_known",
    "last_used_region",
    "last_used_service",
    "mfa_active",
    "report_generated",
    "age_days",
    "due_on",
    "failed_checks",
)
"""Columns of credentials.csv, in order; findings.csv and accounts.csv have those of their frames."""

DATE_COLUMNS = frozenset({"due_on"})
"""Columns that show a day; every other moment is shown to the second."""

FORMULA_TRIGGERS = ("=", "+", "-", "@", "\t", "\r", "\n", "\0")
"""A text cell that begins so may be run as a formula by a spreadsheet (OWASP: CSV injection)."""

_UNSAFE = re.compile(
    "[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufffe\uffff\ud800-\udfff]"
)


def safe_text(text: str) -> str:
    """Other people's text with nothing in it that acts: control and invisible characters become visible escapes.

    Line feeds and tabs become escapes too, so that one value stays on one line.
    """
    if text.isascii() and text.isprintable():
        return text
    visible = _UNSAFE.sub(_escape, text.replace("\r", r"\r").replace("\n", r"\n").replace("\t", r"\t"))
    return "".join(c if unicodedata.category(c) not in ("Cc", "Cs", "Cn") else _escape(c) for c in visible)


def _escape(character: str | re.Match[str]) -> str:
    point = ord(character if isinstance(character, str) else character.group())
    return f"\\u{point:04x}"


def utc_text(moment: datetime) -> str:
    """2026-11-23T06:15:00Z."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def plain(value: Any, column: str = "") -> str | int | float | bool | date | datetime | None:
    """A cell's value as plain Python: None where nothing is known, naive UTC moments, days for DATE_COLUMNS."""
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, datetime):
        moment = pd.Timestamp(value).to_pydatetime().replace(tzinfo=None, microsecond=0)
        return moment.date() if column in DATE_COLUMNS else moment
    return value.item() if hasattr(value, "item") else value  # type: ignore[no-any-return]
