"""What changed between two runs, in words and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from reports.words import plural, utc
from scanner.models import Assessment, Changes

WORDS = {
    "new": "new",
    "reappeared": "reappeared",
    "open": "still open",
    "not_rechecked": "not checked again",
    "resolved": "resolved",
}
ACCOUNT_WORDS = {
    "joined": "joined",
    "left": "left",
    "read again": "read now, not before",
    "not read": "read before, not now",
}
MOST_SHOWN = 20


def counts(changes: Changes) -> dict[str, int]:
    """Findings by what became of them, those without any included."""
    found = changes.findings["change"].value_counts()
    return {name: int(found.get(name, 0)) for name in WORDS}


def since(changes: Changes) -> str:
    """One line: what changed, and since when."""
    told = ", ".join(f"{count:,} {WORDS[name]}" for name, count in counts(changes).items())
    return f"Findings since {changes.old_run} ({utc(changes.old_as_of)}): {told}"


def in_words(changes: Changes) -> Iterator[str]:
    """The comparison for a person, line by line; names in it are other people's text."""
    yield since(changes)
    for name, words in ACCOUNT_WORDS.items():
        rows = changes.accounts[changes.accounts["change"].eq(name)]
        if len(rows):
            yield from _listed(f"  {plural(len(rows), 'account')} {words}", _account_lines(rows), len(rows))
    for name in ("new", "reappeared"):
        rows = changes.findings[changes.findings["change"].eq(name)]
        if len(rows):
            yield from _listed(f"  {WORDS[name].capitalize()}", _finding_lines(rows), len(rows))


def _listed(head: str, lines: Iterator[str], count: int) -> Iterator[str]:
    yield f"{head}:"
    yield from lines
    if count > MOST_SHOWN:
        yield f"    … and {count - MOST_SHOWN:,} more; --out writes them all"


def _account_lines(rows: pd.DataFrame) -> Iterator[str]:
    row: Any
    for row in rows.head(MOST_SHOWN).itertuples():
        yield f"    {row.account_id} {row.account_name}" + (f": {row.note}" if row.note else "")


def _finding_lines(rows: pd.DataFrame) -> Iterator[str]:
    row: Any
    for row in rows.head(MOST_SHOWN).itertuples():
        which = row.credential if pd.isna(row.key_id) else row.key_id
        note = f" ({row.note})" if row.note else ""
        yield (
            f"    {row.verdict} {row.severity} {row.check}: {row.account_id} {row.account_name}, {row.user},"
            f" {which}{note}"
        )


def as_json(assessment: Assessment) -> dict[str, Any]:
    """The comparison for a program: every row, under the names of its columns; what is missing is null."""
    changes, run = assessment.changes, assessment.run
    assert changes is not None
    return {
        "old": {"run_id": changes.old_run, "as_of": _plain(changes.old_as_of)},
        "new": {"run_id": run.run_id, "as_of": _plain(run.as_of), "complete": run.is_complete},
        "counts": counts(changes),
        "accounts": _records(changes.accounts),
        "findings": _records(changes.findings),
        "notes": list(run.notes),
    }


def _records(frame: pd.DataFrame) -> list[dict[Any, Any]]:
    return [{name: _plain(value) for name, value in row.items()} for row in frame.astype(object).to_dict("records")]


def _plain(value: Any) -> Any:
    if pd.isna(value):
        return None
    return f"{value:%Y-%m-%dT%H:%M:%SZ}" if hasattr(value, "strftime") else value
