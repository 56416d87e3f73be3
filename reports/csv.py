"""The CSV files: UTF-8, RFC 4180, with no cell that a spreadsheet would run."""

from __future__ import annotations

import re
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd

from reports.table import DATE_COLUMNS, FORMULA_TRIGGERS, safe_text
from scanner.models import Assessment, Changes

MULTI_LINE_COLUMNS = frozenset({"fix", "undo"})
"""Our own texts; their line breaks stay."""
CHUNK_ROWS = 20_000
"""Rows that are in memory as text at a time."""
_MARKED = (*FORMULA_TRIGGERS, "'")
_NEEDS_QUOTES = re.compile('[,"\r\n]')
_EMPTY_LINE = '""'
"""A line of one empty field, which a reader would skip without the quotes."""


def tables(assessment: Assessment) -> dict[str, pd.DataFrame]:
    """File name → its frame, with exactly the columns it is written with."""
    columns = [name for name in assessment.credentials.columns if not name.startswith("verdict:")]
    files = {
        "findings.csv": assessment.findings,
        "credentials.csv": assessment.credentials[columns],
        "accounts.csv": assessment.accounts,
    }
    if assessment.changes is not None:
        files |= change_tables(assessment.changes)
    return files


def change_tables(changes: Changes) -> dict[str, pd.DataFrame]:
    """File name → its frame, of what changed since an earlier run."""
    return {"changes.csv": changes.findings, "account_changes.csv": changes.accounts}


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write one table: missing values empty, moments ISO 8601 in UTC, text that could be a formula behind a '."""
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(_lines([[_quoted(name)] for name in frame.columns]))
        for start in range(0, len(frame), CHUNK_ROWS):
            chunk = frame.iloc[start : start + CHUNK_ROWS]
            file.write(_lines([_fields(chunk[name]) for name in frame.columns]))


def _lines(columns: list[list[str]]) -> str:
    return "".join([(",".join(fields) or _EMPTY_LINE) + "\r\n" for fields in zip(*columns, strict=True)])


def _fields(values: pd.Series) -> list[str]:
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        return _moments(values)
    if pd.api.types.is_bool_dtype(values.dtype):
        words: list[str] = np.where(values.isna(), "", np.where(values.fillna(False), "true", "false")).tolist()
        return words
    if pd.api.types.is_numeric_dtype(values.dtype):
        return values.astype("string").fillna("").tolist()
    # Most columns hold the same few texts again and again: those of the account, above all.
    text = cache(partial(_text, keeps_lines=values.name in MULTI_LINE_COLUMNS))
    return list(map(text, values.astype("string").fillna("").tolist()))


def _moments(values: pd.Series) -> list[str]:
    is_day = values.name in DATE_COLUMNS
    codes, distinct = pd.factorize(values.dt.tz_convert(None).to_numpy().astype("datetime64[s]"))
    shown = np.datetime_as_string(distinct, unit="D" if is_day else "s", casting="unsafe")
    texts = [text if is_day else f"{text}Z" for text in shown.tolist()]
    texts.append("")  # a missing value has the code -1
    return [texts[code] for code in codes.tolist()]


def _text(value: str, *, keeps_lines: bool) -> str:
    """The value with nothing in it that acts. What begins with ' already gets another: none is mistaken for ours."""
    text = "\n".join(map(safe_text, value.split("\n"))) if keeps_lines else safe_text(value)
    return _quoted(f"'{text}" if text.startswith(_MARKED) else text)


def _quoted(text: str) -> str:
    if not _NEEDS_QUOTES.search(text):
        return text
    return '"' + text.replace('"', '""') + '"'
