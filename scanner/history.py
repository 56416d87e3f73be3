"""What is known of each finding from run to run, kept in the run folders: since when, and what came back.

A run keeps what it knew before (BEFORE) and what it knows since (HISTORY): so its comparison can be made again from
its own folder, whatever became of the runs before it.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import TypeAdapter

from scanner.compare import ACCOUNT_COLUMNS, HISTORY_SCHEMA, History, compare, empty_frame, rebased
from scanner.errors import EvidenceError
from scanner.evidence import BEFORE, HISTORY, MANIFEST, NOT_OURS, RunFolder, sha256_of
from scanner.models import Assessment, Rules, Run

FORMAT = 1
DAMAGED = (OSError, EOFError, zlib.error, *NOT_OURS)
"""What reading a file raises that is not as we write it, or was cut."""
RULES = TypeAdapter(Rules)


def with_history(folder: RunFolder, assessment: Assessment, *, write: bool) -> Assessment:
    """The assessment with `first_seen`, `changes` and `trend`, from the runs of the organization before this one.

    `write` keeps what is known now in the folder, for the next run; without it, a run that has kept what it knew
    before is compared with that. Raises EvidenceError where that cannot be read.
    """
    before, notes = _known_before(folder, assessment.run, search=write)
    comparison = compare(before or History(), assessment)
    if write:
        if before:
            folder.write_history(BEFORE, encode(before))
        folder.write_history(HISTORY, encode(comparison.after))
    if before and not before.is_complete:
        notes.append(f"No complete run before this one: compared with {before.run_id}, which is incomplete.")
    return _noted(comparison.assessment, [*notes, *_other_rules(before, assessment.run)])


def between(old_folder: RunFolder, old: Assessment, new_folder: RunFolder, new: Assessment) -> Assessment:
    """The new assessment with what changed since the old one, whatever runs there were in between."""
    before_old, _ = _known_before(old_folder, old.run)
    before_new, notes = _known_before(new_folder, new.run)
    on = compare(before_old or History(), old, is_asked_for=True).after
    known = rebased(before_new, on) if before_new else on
    return _noted(compare(known, new).assessment, [*notes, *_other_rules(known, new.run)])


def _noted(assessment: Assessment, notes: list[str]) -> Assessment:
    run = assessment.run
    new = [note for note in notes if note not in run.notes]
    return replace(assessment, run=replace(run, notes=(*run.notes, *new)))


def _known_before(folder: RunFolder, run: Run, *, search: bool = False) -> tuple[History | None, list[str]]:
    """What the runs before knew: as the run itself has kept it, or as the newest of them has that can be read."""
    if not search and (folder.path / HISTORY).exists():
        content = folder.read_history(BEFORE)
        try:
            return (None if content is None else decode(content)), []
        except DAMAGED as error:
            raise EvidenceError(
                f"{folder.path / BEFORE} is not as credaudit writes it: {type(error).__name__}",
                "`credaudit verify` says what else was changed.",
            ) from None
    passed_over: list[str] = []
    for earlier in _runs_before(folder.path, run.organization_id):
        try:
            history = _history_of(earlier, run.organization_id)
        except (EvidenceError, *DAMAGED):
            passed_over.append(earlier.path.name)
            continue
        if history is not None:
            return history, _told(passed_over)
    return None, _told(passed_over)


def _told(passed_over: list[str]) -> list[str]:
    return [f"Not compared with {name}: its history cannot be read." for name in passed_over]


def _runs_before(path: Path, organization_id: str) -> Iterator[RunFolder]:
    """The run folders of the organization before this one, the newest first."""
    names = {each.name for each in path.parent.glob(f"*-{organization_id}") if each.is_dir() and each.name < path.name}
    yield from (RunFolder(path.parent / name) for name in sorted(names, reverse=True))


def _history_of(folder: RunFolder, organization_id: str) -> History | None:
    """What a run knew at its end, or None where it came to no end; raises where it cannot be read, or was changed."""
    if not (folder.path / "run.json").exists():  # it was killed before it had written anything
        return None
    run = folder.read_run()
    if run.finished is None:
        return None
    if run.organization_id != organization_id or run.run_id != folder.path.name:
        raise EvidenceError(f"{folder.path} is not of this organization")
    content = folder.read_history(HISTORY)
    if content is None:
        raise EvidenceError(f"{folder.path} has no {HISTORY}")
    manifest = json.loads((folder.path / MANIFEST).read_text(encoding="utf-8"))
    if manifest["files"][HISTORY]["sha256"] != sha256_of(folder.path / HISTORY):
        raise EvidenceError(f"{folder.path / HISTORY} was changed")
    return decode(content)


def _other_rules(before: History | None, run: Run) -> list[str]:
    """A note where a finding may be new, or gone, by the rules alone."""
    if before is None or not before.run_id:
        return []
    names = {"limits": "limits", "checks": "checks", "severities": "severities", "overrides": "overrides of OUs"}
    changed = [words for name, words in names.items() if getattr(before.rules, name) != getattr(run.rules, name)]
    if not changed:
        return []
    return [
        f"{before.run_id}, which this run is compared with, was judged by other {', '.join(changed)}:"
        " some of the changes may come from that."
    ]


# On disk: one line of JSON for what is known of the runs, then one for each finding


def encode(history: History) -> bytes:
    """The file's content; the same for the same history."""
    header = {
        "format": FORMAT,
        "run_id": history.run_id,
        "complete": history.is_complete,
        "as_of": _plain(history.as_of),
        "rules": RULES.dump_python(history.rules, mode="json"),
        "trend": history.trend,
        "accounts": history.accounts[list(ACCOUNT_COLUMNS)].astype(object).to_numpy().tolist(),
        "columns": list(HISTORY_SCHEMA),
        "findings": len(history.findings),
    }
    columns = [_cells(history.findings[name]) for name in HISTORY_SCHEMA]
    lines = [json.dumps(line, separators=(",", ":")) for line in (header, *zip(*columns, strict=True))]
    return gzip.compress("\n".join([*lines, ""]).encode(), compresslevel=6, mtime=0)


def decode(content: bytes) -> History:
    """The history; raises one of DAMAGED where the content is not whole."""
    first, *rest = gzip.decompress(content).decode("utf-8").removesuffix("\n").split("\n")
    header = json.loads(first)
    rows = [json.loads(line) for line in rest]
    if header["format"] != FORMAT or header["columns"] != list(HISTORY_SCHEMA) or len(rows) != header["findings"]:
        raise ValueError("another format, or a part of the file")
    return History(
        run_id=header["run_id"],
        is_complete=header["complete"],
        as_of=datetime.fromisoformat(header["as_of"]) if header["as_of"] else None,
        rules=RULES.validate_python(header["rules"]),
        accounts=pd.DataFrame(header["accounts"], columns=list(ACCOUNT_COLUMNS), dtype="string"),
        findings=_frame(rows),
        trend=tuple(tuple(row) for row in header["trend"]),
    )


def _frame(rows: list[list[Any]]) -> pd.DataFrame:
    if not rows:
        return empty_frame(HISTORY_SCHEMA)
    columns = dict(zip(HISTORY_SCHEMA, zip(*rows, strict=True), strict=True))
    return pd.DataFrame({name: _column(values, HISTORY_SCHEMA[name]) for name, values in columns.items()})


def _column(values: tuple[Any, ...], dtype: Any) -> Any:
    if not dtype.startswith("datetime"):
        return pd.array(values, dtype=dtype)
    return pd.to_datetime(pd.Series(values, dtype="object"), format="ISO8601", utc=True).astype(dtype).array


def _cells(values: pd.Series) -> list[Any]:
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        codes, distinct = pd.factorize(values)
        texts = [*map(_plain, distinct), None]  # a missing value has the code -1
        return [texts[code] for code in codes.tolist()]
    return values.astype(object).where(values.notna(), None).tolist()


def _plain(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment:%Y-%m-%dT%H:%M:%SZ}"
