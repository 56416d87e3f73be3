"""What all reports share: the columns of each table, and values made safe to show."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, date, datetime
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

FORMULA_TRIGGERS = ("=", "+", "-", "@", "\t", "\r", "\n", "\0", "＝", "＋", "－", "＠")
"""A text cell that begins so may run as a formula in a spreadsheet (OWASP: CSV injection); wide forms in some."""

_INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
"""Letters and marks that show nothing, beside those of the categories below (Unicode: Default_Ignorable_Code_Point)."""

_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"})
"""Control, format (direction among them), surrogate, unassigned; line and paragraph separator."""

_SHORT_ESCAPES = {"\t": r"\t", "\n": r"\n", "\r": r"\r"}


def safe_text(text: str) -> str:
    """Other people's text with nothing in it that acts: control and invisible characters become visible escapes.

    Line feeds and tabs become escapes too, so that one value stays on one line.
    """
    if text.isprintable() and (text.isascii() or not _INVISIBLE.search(text)):
        return text
    return "".join(_escape(c) if _is_unsafe(c) else c for c in text)


def _is_unsafe(character: str) -> bool:
    return unicodedata.category(character) in _UNSAFE_CATEGORIES or _INVISIBLE.match(character) is not None


def _escape(character: str) -> str:
    point = ord(character)
    return _SHORT_ESCAPES.get(character) or (f"\\u{point:04x}" if point <= 0xFFFF else f"\\U{point:08x}")


def utc_text(moment: datetime) -> str:
    """2026-11-23T06:15:00Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def plain(value: Any, column: str = "") -> str | int | float | bool | date | datetime | None:
    """A cell's value as plain Python: None where nothing is known, naive UTC moments, days for DATE_COLUMNS."""
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, datetime):
        moment = pd.Timestamp(value).tz_convert(UTC).to_pydatetime().replace(tzinfo=None, microsecond=0)
        return moment.date() if column in DATE_COLUMNS else moment
    return value.item() if hasattr(value, "item") else value  # type: ignore[no-any-return]
