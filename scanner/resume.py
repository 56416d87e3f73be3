"""What an earlier, unfinished run has collected already, for the run that goes on from it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from scanner.errors import ConfigError, MalformedReport
from scanner.evidence import RunFolder
from scanner.models import LedgerEntry, Outcome, Run
from scanner.normalize import count_users

LATEST = "latest"


@dataclass(frozen=True, slots=True)
class TakenReport:
    """An account's evidence from an earlier run."""

    entry: LedgerEntry
    """With `source_run`: the run whose requests fetched it."""
    content: bytes
    keys: dict[str, Any]
    """The content of its ID.keys.json; empty where there is none."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """The runs to go on from, the latest first; none where the run begins from nothing."""

    folders: tuple[RunFolder, ...] = ()
    ledgers: tuple[dict[str, LedgerEntry], ...] = ()
    note: str = ""
    """Why there is nothing to go on from, where somebody asked for it."""

    @property
    def run_id(self) -> str:
        """The run that is resumed; empty where there is none."""
        return self.folders[0].path.name if self.folders else ""

    def report_of(self, account_id: str, oldest: datetime) -> TakenReport | None:
        """The account's report, if it was read, is whole, and was generated at `oldest` or later."""
        for folder, ledger in zip(self.folders, self.ledgers, strict=True):
            entry = ledger.get(account_id)
            if entry is not None and (taken := _take(folder, entry, oldest)):
                return taken
        return None


def _take(folder: RunFolder, entry: LedgerEntry, oldest: datetime) -> TakenReport | None:
    if entry.outcome is not Outcome.SCANNED or entry.report_generated is None or entry.report_generated < oldest:
        return None
    try:
        content = folder.read_report(entry.account_id)
        if hashlib.sha256(content).hexdigest() != entry.report_sha256:
            return None
        users = count_users(content, entry.account_id)
    except (OSError, MalformedReport):
        return None
    try:
        keys = folder.read_keys(entry.account_id)
    except (OSError, ValueError):
        keys = {}
    return TakenReport(replace(entry, users=users, source_run=entry.source_run or folder.path.name), content, keys)


def find_earlier(runs_dir: Path, wanted: str, organization_id: str) -> Earlier:
    """The run that `--resume` names and those that it resumed itself. Raises ConfigError where it cannot be one."""
    if not wanted:
        return Earlier()
    folders = tuple(_chain(_named(runs_dir, wanted, organization_id), organization_id))
    if wanted == LATEST:
        if not folders:
            return Earlier(note="There was no run to resume (--resume latest), so this one began from nothing.")
        if folders[0].read_run().is_complete:
            return Earlier(
                note=f"The latest run, {folders[0].path.name}, is complete, so there was nothing to resume "
                "(--resume latest): this run began from nothing."
            )
    return Earlier(folders, tuple(folder.read_ledger() for folder in folders))


def check_resume(runs_dir: Path, wanted: str) -> None:
    """Raise ConfigError where `--resume` names what is no run, before anything is asked of AWS."""
    if wanted and wanted != LATEST:
        _readable(_path_of(runs_dir, wanted))


def _named(runs_dir: Path, wanted: str, organization_id: str) -> RunFolder | None:
    if wanted != LATEST:
        folder, run = _readable(_path_of(runs_dir, wanted))
        if run.organization_id != organization_id:
            raise ConfigError(
                f"--resume: {folder.path.name} is of organization {run.organization_id}, not of {organization_id}",
                "Name a run of this organization, or check which credentials are in use.",
            )
        return folder
    for path in sorted(runs_dir.glob(f"*-{organization_id}"), key=lambda path: path.name, reverse=True):
        try:
            return _readable(path)[0]
        except ConfigError:  # a run that was killed before it had written a line
            continue
    return None


def _chain(folder: RunFolder | None, organization_id: str) -> Iterator[RunFolder]:
    """The run, the one it resumed, and so on."""
    seen: set[str] = set()
    while folder is not None and folder.path.name not in seen:
        seen.add(folder.path.name)
        yield folder
        earlier = folder.read_run().resumed_from
        try:
            folder, run = _readable(folder.path.parent / earlier) if earlier else (None, None)
        except ConfigError:
            return
        if run is not None and run.organization_id != organization_id:
            return


def _path_of(runs_dir: Path, wanted: str) -> Path:
    """A folder's path, or a run's name within the runs folder."""
    return Path(wanted) if Path(wanted).is_dir() else runs_dir / wanted


def _readable(path: Path) -> tuple[RunFolder, Run]:
    folder = RunFolder(path)
    try:
        return folder, folder.read_run()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"--resume: {path} is not the folder of a run: {type(error).__name__}",
            "Give the path that the run printed, the run's name, or `latest`.",
        ) from None
