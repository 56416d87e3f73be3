"""A stored run, checked again: its files and their chain, and every number derived anew from its evidence.

Reads only. What it finds is named to the file, or to the row and column.
"""

from __future__ import annotations

import csv
import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from reports.csv import tables, write_csv
from scanner import __version__
from scanner.errors import ConfigError, CredauditError, EvidenceError
from scanner.evaluate import assess, read_frame
from scanner.evidence import MANIFEST, NOT_OURS, RunFolder, sha256_of
from scanner.history import with_history
from scanner.manifest import Difference, compare_chain, compare_files, irregular, read_manifest
from scanner.models import Assessment, LedgerEntry, Outcome, Run
from scanner.normalize import count_users

MOST_SHOWN = 20
LONGEST_VALUE = 80
"""Characters of a cell that a difference quotes."""
BROKEN = (CredauditError, OSError, LookupError, ArithmeticError, csv.Error, *NOT_OURS)
"""What reading evidence raises that somebody has rewritten."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What was compared, and what differs."""

    run_id: str
    sha256: str
    """Of manifest.json; empty where it cannot be relied on."""
    files: int
    """Files that the manifest names."""
    runs: int
    """Runs of the organization in the runs folder, this one included."""
    differences: tuple[Difference, ...]
    """The first MOST_SHOWN of them."""
    count: int
    """Of all differences."""
    note: str = ""
    """What a reader of the differences must know."""

    @property
    def holds(self) -> bool:
        """Whether nothing differs."""
        return self.count == 0


def find_run(runs_dir: Path, wanted: str) -> Path:
    """The folder of a run, by its path or its name in the runs folder; raises ConfigError. It need not be whole."""
    try:
        path = (Path(wanted) if Path(wanted).is_dir() else runs_dir / wanted).resolve()
        is_run = any((path / name).exists() for name in (MANIFEST, "run.json", "evidence"))
    except (OSError, ValueError):
        is_run = False
    if not wanted or not is_run:
        raise ConfigError(
            f"verify: {wanted[:60]!r} is not the folder of a run",
            "Give the path that the run printed, or the run's name.",
        )
    return path


def verify(path: Path) -> Verification:
    """Hold a run against its manifest, its manifest against the chain, and its numbers against its evidence."""
    try:
        manifest, found = read_manifest(path), []
    except EvidenceError as error:
        manifest, found = None, [Difference(MANIFEST, str(error))]
    if manifest:
        found += compare_files(path, manifest)
    runs, broken = compare_chain(path, manifest)
    derived = _Counted(_compare_numbers(path))
    everything = [*found, *broken, *derived.first]
    return Verification(
        run_id=path.name,
        sha256=manifest.sha256 if manifest else "",
        files=len(manifest.files) if manifest else 0,
        runs=runs,
        differences=tuple(everything[:MOST_SHOWN]),
        count=len(found) + len(broken) + derived.count,
        note=_other_version(path) if derived.count else "",
    )


class _Counted:
    """The first differences, and how many there are of them."""

    def __init__(self, differences: Iterator[Difference]) -> None:
        self.first = list(islice(differences, MOST_SHOWN))
        self.count = len(self.first) + sum(1 for _ in differences)


def _other_version(path: Path) -> str:
    if irregular(path):
        return ""
    try:
        version = RunFolder(path).read_run().tool_version
    except BROKEN:
        return ""
    if version == __version__:
        return ""
    return f"The run was made by credaudit {version}, this is {__version__}: another version may derive other numbers."


# The numbers


def _compare_numbers(path: Path) -> Iterator[Difference]:
    folder = RunFolder(path)
    if names := irregular(path) or [f"../{each.name}" for each in _runs_before(path) if irregular(each)]:
        yield Difference(
            names[0], "is neither a file nor a folder, so that nothing was derived from this run's evidence"
        )
        return
    try:
        run = folder.read_run()
        stated = json.loads((path / "run.json").read_bytes())
        if run.finished is None:
            yield Difference("run.json", "says that the run did not finish, so it has no findings to compare")
            return
    except BROKEN as error:
        yield Difference("run.json", f"is not as credaudit writes it: {_said(error)}")
        return
    try:
        yield from _compare_ledger(folder)
        assessment = with_history(folder, assess(folder, run, read_frame(folder)), write=False)
        yield from _compare_run(stated, assessment.run)
        yield from _compare_tables(folder, assessment)
    except BROKEN as error:
        yield Difference("evidence", f"the findings cannot be derived from it: {_said(error)}")


def _said(error: BaseException) -> str:
    return str(error) if isinstance(error, CredauditError) else type(error).__name__


def _compare_ledger(folder: RunFolder) -> Iterator[Difference]:
    """The reports beside the ledger, and the ledger beside the accounts that were listed."""
    ledger = folder.read_ledger()
    listed = {account.account_id for account in folder.read_population()}
    for account_id in sorted(listed ^ ledger.keys()):
        what = "has no line" if account_id in listed else "has a line, but was not listed"
        yield Difference("ledger.jsonl", f"account {account_id} {what}")
    for entry in ledger.values():
        if entry.outcome is Outcome.SCANNED:
            yield from _compare_report(folder, entry)


def _compare_report(folder: RunFolder, entry: LedgerEntry) -> Iterator[Difference]:
    where = f"ledger.jsonl, account {entry.account_id}"
    try:
        content = folder.read_report(entry.account_id)
        users = count_users(content, entry.account_id)
    except BROKEN as error:
        yield Difference(f"evidence/{entry.account_id}.csv", f"is not the report of a scanned account: {_said(error)}")
        return
    derived = {
        "report_sha256": hashlib.sha256(content).hexdigest(),
        "report_bytes": len(content),
        "users": users,
    }
    for name, value in derived.items():
        if getattr(entry, name) != value:
            yield _differs(f"{where}, {name}", getattr(entry, name), value)


def _runs_before(path: Path) -> list[Path]:
    organization_id = path.name.partition("Z-")[2]
    return [other for other in path.parent.glob(f"*-{organization_id}") if other.name < path.name]


def _compare_run(stated: Mapping[str, Any], run: Run) -> Iterator[Difference]:
    for table, derived in (("counts", run.counts or {}), ("totals", run.totals or {})):
        said = stated[table] or {}
        for name in [*derived, *(name for name in said if name not in derived)]:
            if said.get(name) != derived.get(name):
                yield _differs(f"run.json, {table}.{name}", said.get(name), derived.get(name))
    for name, value in (("complete", run.is_complete), ("interrupted", run.interrupted)):
        if stated[name] is not value:
            yield _differs(f"run.json, {name}", stated[name], value)


def _differs(where: str, stated: object, derived: object) -> Difference:
    return Difference(where, f"{_quoted(stated)} in the file, {_quoted(derived)} from the evidence")


def _quoted(value: object) -> str:
    if value is None or value == "":
        return "nothing"
    text = str(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


# The tables


def _compare_tables(folder: RunFolder, assessment: Assessment) -> Iterator[Difference]:
    """The CSV files beside the same, written from the evidence."""
    is_written = "csv" in assessment.run.parameters["output"]["formats"]
    with tempfile.TemporaryDirectory() as temporary:
        for name, frame in tables(assessment).items():
            stated, derived = folder.reports / name, Path(temporary) / name
            if not is_written and not stated.exists():
                continue
            if not stated.is_file():
                yield Difference(f"reports/{name}", "is not there to be compared")
                continue
            write_csv(frame, derived)
            if sha256_of(stated) != sha256_of(derived):
                yield from _compare_rows(f"reports/{name}", _rows(stated), _rows(derived))


def _rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return list(csv.reader(file))


def _compare_rows(name: str, stated: list[list[str]], derived: list[list[str]]) -> Iterator[Difference]:
    """Rows are counted as a spreadsheet counts them, the header being row 1."""
    if stated == derived:
        yield Difference(name, "differs in its quotes or line ends, not in a value")
    elif len(stated) != len(derived) or stated[0] != derived[0]:
        yield from _compare_sets(name, stated, derived)
    else:
        for number, (old, new) in enumerate(zip(stated, derived, strict=True), start=1):
            if old != new:
                yield from _compare_cells(f"{name} row {number}", derived[0], old, new)


def _compare_cells(where: str, header: list[str], stated: list[str], derived: list[str]) -> Iterator[Difference]:
    if len(stated) != len(derived):
        yield _differs(where, f"{len(stated)} cells", f"{len(derived)} cells")
        return
    for column, old, new in zip(header, stated, derived, strict=True):
        if old != new:
            yield _differs(f"{where}, {column}", old, new)


def _compare_sets(name: str, stated: list[list[str]], derived: list[list[str]]) -> Iterator[Difference]:
    """Where a row is missing or too many, those below it have only moved."""
    yield _differs(name, f"{len(stated):,} rows", f"{len(derived):,} rows")
    for rows, others, what in (
        (stated, derived, "is in the file, and does not follow from the evidence"),
        (derived, stated, "follows from the evidence, and is not in the file"),
    ):
        left = Counter(map(tuple, others))
        for number, row in enumerate(map(tuple, rows), start=1):
            left[row] -= 1
            if left[row] < 0:
                yield Difference(f"{name} row {number}", f"{_quoted(', '.join(row))} {what}")
