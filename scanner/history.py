"""What runs know of the findings of runs before them: since when, and which were resolved. history.jsonl of a run."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pandas as pd

from scanner.errors import EvidenceError
from scanner.evidence import RunFolder
from scanner.identity import moment_texts

OPEN, NOT_RECHECKED, RESOLVED = "open", "not_rechecked", "resolved"
KEPT = timedelta(days=2 * 365)
"""How long a resolved finding is remembered, so that it can be said to reappear."""

SHOWN = (
    "account_id",
    "account_name",
    "ou_path",
    "user",
    "arn",
    "credential",
    "key_id",
    "check",
    "title",
    "severity",
    "verdict",
)
MOMENTS = ("user_created", "made", "first_seen", "last_seen")
HISTORY_COLUMNS = ("identity", "state", *MOMENTS, *SHOWN)


def empty_history() -> pd.DataFrame:
    """That of a run before which there was none."""
    return _typed(pd.DataFrame([], columns=list(HISTORY_COLUMNS)))


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    types = {name: "datetime64[s, UTC]" if name in MOMENTS else "string" for name in HISTORY_COLUMNS}
    for name in MOMENTS:
        frame[name] = pd.to_datetime(frame[name], utc=True, format="ISO8601")
    return frame[list(HISTORY_COLUMNS)].astype(types)


def write_history(folder: RunFolder, history: pd.DataFrame) -> None:
    """history.jsonl: a line for each finding that is open, was not re-checked, or was resolved not long ago."""
    shown = history.assign(**{name: moment_texts(history[name]) for name in MOMENTS}).sort_values("identity")
    columns = [shown[name].astype(object).where(shown[name].notna(), None).tolist() for name in HISTORY_COLUMNS]
    lines = (json.dumps(dict(zip(HISTORY_COLUMNS, row, strict=True))) for row in zip(*columns, strict=True))
    folder.write_history("".join(f"{line}\n" for line in lines).encode())


def read_history(folder: RunFolder) -> pd.DataFrame:
    """That of a run; raises EvidenceError where it is not there, or not as credaudit writes it."""
    rows: list[dict[str, Any]] = []
    try:
        for line in folder.read_history().decode().splitlines():
            row = json.loads(line)
            rows.append({name: row[name] for name in HISTORY_COLUMNS})
            if row["state"] not in (OPEN, NOT_RECHECKED, RESOLVED):
                raise ValueError(row["state"])
        frame = pd.DataFrame(rows, columns=list(HISTORY_COLUMNS))
        for name in MOMENTS:
            frame[name] = frame[name].replace("", None)
        frame = _typed(frame)
        if frame["identity"].duplicated().any() or frame["first_seen"].isna().any():
            raise ValueError("identity")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        path = folder.path / "history.jsonl"
        raise EvidenceError(f"{path} is not as credaudit writes it: {type(error).__name__}") from None
    return frame
