"""findings.csv, credentials.csv and accounts.csv: UTF-8, RFC 4180, with no cell that a spreadsheet would run."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd

from reports.table import DATE_COLUMNS, FORMULA_TRIGGERS, safe_text
from scanner.models import Assessment

MULTI_LINE_COLUMNS = frozenset({"fix", "undo"})
"""Our own texts; their line breaks stay."""


def tables(assessment: Assessment) -> dict[str, pd.DataFrame]:
    """File name → its frame, with exactly the columns it is written with."""
    columns = [name for name in assessment.credentials.columns if not name.startswith("verdict:")]
    return {
        "findings.csv": assessment.findings,
        "credentials.csv": assessment.credentials[columns],
        "accounts.csv": assessment.accounts,
    }


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write one table: missing values empty, moments ISO 8601 in UTC, text that could be a formula behind a '."""
    columns = [_cells(frame[name]) for name in frame.columns]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(frame.columns)
        writer.writerows(zip(*columns, strict=True))


def _cells(values: pd.Series) -> list[str]:
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        pattern = "%Y-%m-%d" if values.name in DATE_COLUMNS else "%Y-%m-%dT%H:%M:%SZ"
        return [str(text) for text in values.dt.strftime(pattern).fillna("")]
    if pd.api.types.is_bool_dtype(values.dtype):
        return values.astype("string").str.lower().fillna("").tolist()
    if pd.api.types.is_numeric_dtype(values.dtype):
        return values.astype("string").fillna("").tolist()
    return [_text(value, str(values.name)) for value in values.astype("string").fillna("")]


def _text(value: str, column: str) -> str:
    """The value with nothing in it that acts. What begins with ' already gets another: none is mistaken for ours."""
    text = "\n".join(map(safe_text, value.split("\n"))) if column in MULTI_LINE_COLUMNS else safe_text(value)
    return f"'{text}" if text.startswith((*FORMULA_TRIGGERS, "'")) else text
