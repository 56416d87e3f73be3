"""Runs as they stand in their folders, written without a wire; and accounts of one user to put into them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from scanner.evaluate import assess, read_frame
from scanner.evidence import RunFolder, run_id
from scanner.history import with_history
from scanner.models import Account, Assessment, Caller, LedgerEntry, Outcome, Rules, Run, Stop
from scanner.simulator import SimulatedAccount, SimulatedKey, SimulatedUser
from scanner.simulator.report import render_report

from .simulation import key, member

A, B, C, D = "444455556666", "555566667777", "666677778888", "777788889999"
DAY = timedelta(days=1)
KEY, MFA = "access-key-not-rotated", "console-user-without-mfa"
ORGANIZATION = "o-exampleorg1"
START = datetime(2026, 1, 1, tzinfo=UTC)
OLD = START - 200 * DAY
SHOWN_OLD = OLD.isoformat(timespec="seconds")
"""As it stands in a report."""
ASKED = Rules(checks=(KEY, MFA))


class Runs:
    """A runs folder and the runs in it, each a day after the one before."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.days = 0

    def add(
        self,
        *accounts: SimulatedAccount,
        outcomes: dict[str, Outcome] | None = None,
        rules: Rules = ASKED,
        days: int = 1,
        stopped_by: Stop | None = None,
    ) -> tuple[RunFolder, Assessment]:
        """One run of these accounts, which are scanned but for those in `outcomes`."""
        self.days += days
        moment = START + self.days * DAY
        run = Run(
            run_id=run_id(moment, ORGANIZATION),
            tool_version="0",
            python_version="3",
            organization_id=ORGANIZATION,
            management_account_id=A,
            caller=Caller(account_id=A, arn=f"arn:aws:iam::{A}:user/auditor", partition="aws"),
            role_name="CredentialAudit",
            external_id_used=False,
            session_name="credaudit",
            session_policy={},
            organization_role_arn="",
            endpoints={},
            as_of=moment,
            rules=rules,
            parameters={},
            started=moment,
            finished=moment,
            stopped_by=stopped_by,
        )
        folder = RunFolder.create(self.path, run.run_id)
        folder.write_population([self._account(each) for each in accounts], [])
        with folder.open_ledger() as ledger:
            for each in accounts:
                ledger.append(self._entry(folder, each, (outcomes or {}).get(each.account_id, Outcome.SCANNED)))
        assessment = finished(folder, assess(folder, run, read_frame(folder)))
        return folder, assessment

    def _account(self, account: SimulatedAccount) -> Account:
        return Account(account_id=account.account_id, name=account.name, email=account.email, state=account.state)

    def _entry(self, folder: RunFolder, account: SimulatedAccount, outcome: Outcome) -> LedgerEntry:
        if outcome is not Outcome.SCANNED:
            return LedgerEntry(account_id=account.account_id, outcome=outcome)
        content = render_report(account)
        folder.write_report(account.account_id, content)
        return LedgerEntry(
            account_id=account.account_id, outcome=outcome, report_sha256=hashlib.sha256(content).hexdigest()
        )


def user(name: str, *keys: SimulatedKey | None, created: datetime = OLD, **fields: Any) -> SimulatedUser:
    return SimulatedUser(name, created, keys=keys, **fields)


def aged(number: int, created: datetime, **fields: Any) -> SimulatedKey:
    return key(number, created=created, **fields)


def of_user(*keys: SimulatedKey | None, account_id: str = A, **fields: Any) -> SimulatedAccount:
    return member(account_id, users=[user("ann", *keys, **{"created": OLD, **fields})])


def reported(account: SimulatedAccount, old: str, new: str) -> SimulatedAccount:
    """The account with this text of its report replaced."""
    content = render_report(account).decode()
    assert old in content
    return replace(account, report=content.replace(old, new).encode())


def finished(folder: RunFolder, assessment: Assessment) -> Assessment:
    """As the command does it at the end of a scan."""
    known = with_history(folder, assessment, write=True)
    folder.write_run(known.run)
    folder.write_manifest(None)
    return known
