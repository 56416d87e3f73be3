"""What an earlier, unfinished run has collected already, for the run that goes on from it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from scanner import cross_check
from scanner.errors import ConfigError, EvidenceError, MalformedReport
from scanner.evidence import NOT_OURS, RunFolder
from scanner.models import LedgerEntry, Outcome, Run
from scanner.normalize import count_users

LATEST = "latest"
WHAT_TO_NAME = "Give the path that the run printed, the run's name, or `latest`."
LONGEST_RUN = timedelta(days=2)
"""As long as [scan] run_timeout_seconds may be."""

MOST_RUNS = 10
"""A run that resumes one that resumed another, and so on: whatever is older is read anew."""


@dataclass(frozen=True, slots=True)
class TakenReport:
    """An account's evidence from an earlier run."""

    entry: LedgerEntry
    """With `source_run`: the run whose requests fetched it."""
    content: bytes
    keys: dict[str, Any]
    """The content of its ID.keys.json; empty where there is none."""
    summary: dict[str, Any]
    """The content of its ID.summary.json; empty where there is none."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """What the runs to go on from have read; nothing where the run begins from nothing."""

    run_id: str = ""
    """The run that is resumed; empty where there is none."""
    reports: Mapping[str, Sequence[tuple[RunFolder, LedgerEntry]]] = field(default_factory=dict)
    """Account id → where it was read, the latest first."""
    note: str = ""
    """What a reader must know of runs that could not be gone on from, though somebody asked for it."""

    def report_of(self, account_id: str) -> TakenReport | None:
        """The account's report, where one is whole."""
        for folder, entry in self.reports.get(account_id, ()):
            if taken := _take(folder, entry):
                return taken
        return None


def _take(folder: RunFolder, entry: LedgerEntry) -> TakenReport | None:
    try:
        content = folder.read_report(entry.account_id)
        if hashlib.sha256(content).hexdigest() != entry.report_sha256:
            return None
        users = count_users(content, entry.account_id)
    except (EvidenceError, MalformedReport):
        return None
    taken = replace(entry, users=users, source_run=entry.source_run or folder.path.name)
    return TakenReport(taken, content, _sound_keys(folder, entry.account_id), _sound_summary(folder, entry.account_id))


def _sound_keys(folder: RunFolder, account_id: str) -> dict[str, Any]:
    """The key look-ups, or nothing where they are not as we write them: then they are made again."""
    try:
        content = folder.read_keys(account_id)
        is_sound = isinstance(content.get("request_ids", []), list) and all(
            _is_sound(answer) for answer in content.get("users", {}).values()
        )
    except (EvidenceError, *NOT_OURS):
        return {}
    return content if is_sound else {}


def _sound_summary(folder: RunFolder, account_id: str) -> dict[str, Any]:
    try:
        content = folder.read_summary(account_id)
        if content:
            cross_check.from_json(content)
    except (EvidenceError, *NOT_OURS):
        return {}
    return content


def _is_sound(answer: Mapping[str, Any]) -> bool:
    """Whether this is what one look-up leaves; raises as its parts do where they are of another kind."""
    datetime.fromisoformat(answer["looked_up"])
    for key in answer["keys"] or ():
        datetime.fromisoformat(key["created"])
        if not isinstance(key["key_id"], str) or not isinstance(key["status"], str):
            return False
    return answer["error"] is None or isinstance(answer["error"], str)


def find_earlier(runs_dir: Path, wanted: str, organization_id: str, *, oldest: datetime, newest: datetime) -> Earlier:
    """What the run that `--resume` names, and those that it resumed itself, have of reports of between these moments.

    Raises ConfigError where it cannot be resumed.
    """
    if not wanted:
        return Earlier()
    latest, unreadable = _named(runs_dir, wanted, organization_id)
    passed_over = f" Passed over, since its run.json cannot be read: {', '.join(unreadable)}." if unreadable else ""
    nothing = "so this run began from nothing (--resume latest)."
    if latest is None:
        return Earlier(note=f"There was no run to resume, {nothing}{passed_over}")
    if wanted == LATEST and latest.read_run().is_complete:
        return Earlier(note=f"The latest run, {latest.path.name}, is complete, {nothing}{passed_over}")
    reports: dict[str, list[tuple[RunFolder, LedgerEntry]]] = {}
    for folder in _chain(latest, organization_id, oldest):
        for account_id, entry in _ledger_of(folder).items():
            generated = entry.report_generated
            if entry.outcome is Outcome.SCANNED and generated and oldest <= generated <= newest:
                reports.setdefault(account_id, []).append((folder, entry))
    return Earlier(latest.path.name, reports, passed_over.strip())


def check_resume(runs_dir: Path, wanted: str) -> None:
    """Raise ConfigError where `--resume` names what is no run, before anything is asked of AWS."""
    if wanted and wanted != LATEST:
        open_run(runs_dir, wanted, "--resume")


def _ledger_of(folder: RunFolder) -> dict[str, LedgerEntry]:
    try:
        return folder.read_ledger()
    except EvidenceError:
        return {}


def _named(runs_dir: Path, wanted: str, organization_id: str) -> tuple[RunFolder | None, list[str]]:
    """The run, and the names of later ones that cannot be read."""
    if wanted != LATEST:
        folder, run = open_run(runs_dir, wanted, "--resume")
        if run.organization_id != organization_id:
            raise ConfigError(
                f"--resume: {folder.path.name} is of organization {run.organization_id}, not of {organization_id}",
                "Name a run of this organization, or check which credentials are in use.",
            )
        return folder, []
    unreadable: list[str] = []
    for path in sorted(runs_dir.glob(f"*-{organization_id}"), key=lambda path: path.name, reverse=True):
        try:
            folder, run = _readable(path)
            if run.organization_id == organization_id:
                return folder, unreadable
            unreadable.append(path.name)
        except ConfigError:
            if any(path.glob("*.json*")):  # else it was killed before it had written anything
                unreadable.append(path.name)
    return None, unreadable


def _chain(folder: RunFolder, organization_id: str, oldest: datetime) -> Iterator[RunFolder]:
    """The run, the one it resumed, and so on, as far back as a report may be taken from."""
    seen: set[str] = set()
    run = folder.read_run()
    while run.started > oldest - LONGEST_RUN and run.organization_id == organization_id and len(seen) < MOST_RUNS:
        seen.add(folder.path.name)
        yield folder
        if not run.resumed_from or run.resumed_from in seen:
            return
        try:
            folder, run = _readable(folder.path.parent / run.resumed_from)
        except ConfigError:
            return


def open_run(runs_dir: Path, wanted: str, flag: str) -> tuple[RunFolder, Run]:
    """A run by its folder's path, or by its name within the runs folder; raises ConfigError, which names the flag."""
    try:
        path = Path(wanted).resolve() if Path(wanted).is_dir() else runs_dir / wanted
    except (OSError, ValueError):
        raise ConfigError(f"{flag}: {wanted[:60]!r} is not the folder of a run", WHAT_TO_NAME) from None
    return _readable(path, flag)


def _readable(path: Path, flag: str = "--resume") -> tuple[RunFolder, Run]:
    folder = RunFolder(path)
    try:
        run = folder.read_run()
        if not isinstance(run.is_complete, bool) or not isinstance(run.resumed_from, str):
            raise TypeError
    except (OSError, *NOT_OURS) as error:
        raise ConfigError(f"{flag}: {path} is not the folder of a run: {type(error).__name__}", WHAT_TO_NAME) from None
    return folder, run
