"""A scan in this process, against the simulator in a thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from scanner.config import load_config
from scanner.evidence import RunFolder
from scanner.models import Assessment, LedgerEntry, Run
from scanner.rules import rules_of
from scanner.scan import judge, scan
from scanner.simulator import BASE_CREDENTIALS, Simulator, run_in_thread

NOW = datetime.now(UTC).replace(microsecond=0)
FAST_LISTING = {
    "list_accounts": 1000,
    "list_roots": 1000,
    "describe_organization": 1000,
    "describe_account": 1000,
    "organizations": 1000,
}

Scan = Callable[..., tuple[RunFolder, Assessment]]


class Silent:
    """A watcher that remembers what it was told."""

    def __init__(self) -> None:
        self.entries: list[LedgerEntry] = []

    def begins(self, run: Run) -> None: ...

    def lists(self, accounts: int, *, is_complete: bool) -> None: ...

    def had_outcome(self, entry: LedgerEntry) -> None:
        self.entries.append(entry)

    def enters(self, phase: str) -> None: ...


def scanner_in(runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Scan:
    """Scans a simulator's organization, with tables of config.toml as arguments."""

    def run(
        simulator: Simulator, first_wait: float = 0.1, started: datetime = NOW, **tables: dict[str, Any]
    ) -> tuple[RunFolder, Assessment]:
        key_id, secret = BASE_CREDENTIALS
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key_id)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
        monkeypatch.setattr("scanner.credential_report.FIRST_WAIT_SECONDS", first_wait)
        scan_table = {"rates": FAST_LISTING} | tables.pop("scan", {})
        config = load_config(None, {"output": {"runs_dir": str(runs_dir)}, "scan": scan_table, **tables})
        with run_in_thread(simulator) as endpoint:
            monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
            rules = rules_of(config)
            folder, run = asyncio.run(scan(config, started=started, as_of=started, rules=rules, watcher=Silent()))
            return folder, judge(folder, run, Silent())

    return run


def outcomes(assessment: Assessment) -> dict[str, str]:
    return dict(zip(assessment.accounts["account_id"], assessment.accounts["outcome"], strict=True))
