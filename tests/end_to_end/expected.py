"""What must be reported of the plan, and what was: the two sides that the tests compare.

What must be is worked out with the standard library alone; none of credaudit's code is used.
"""

from __future__ import annotations

import csv
import hashlib
import json
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import openpyxl

from .command import Finished
from .plan import AS_OF, FAIL, LIMIT, UNKNOWN, Account, Key, User, at

CHECK = "access-key-not-rotated"


@dataclass(frozen=True)
class Row:
    """One key, with where it is."""

    account: Account
    user: User
    slot: int
    key: Key

    @property
    def last_rotated(self) -> datetime:
        return self.key.created.replace(microsecond=0)

    @property
    def age(self) -> timedelta:
        return AS_OF - self.last_rotated

    @property
    def days(self) -> int:
        return whole_days(self.age)

    @property
    def due(self) -> date | None:
        return (self.last_rotated + LIMIT).date() if self.key.is_active else None

    @property
    def key_id(self) -> str:
        return self.key.key_id if self.user.is_looked_up and not self.user.has_twins else ""

    @property
    def last_used(self) -> datetime | str:
        """AWS has recorded the use of keys since 2015-04-22."""
        return self.key.used or ("never" if self.key.created >= at("2015-04-22T00:00:00") else "not known")

    @property
    def note(self) -> str:
        """What must be said of the key's id."""
        if not self.user.has_twins:
            return ""
        ids = " or ".join(key.key_id for key in self.user.keys)
        return f"ambiguous: keys were created in the same second; this one is {ids}"

    @property
    def reason(self) -> str:
        if self.key.verdict == UNKNOWN:
            return f"the report dates the key in the future: {in_csv(self.last_rotated)}"
        hours, seconds = divmod(self.age.seconds, 3600)
        duration = f"{self.age.days} d {hours:02}:{seconds // 60:02}:{seconds % 60:02}"
        return f"active and not rotated for {duration}; the limit is 90 days" + (f"; {self.note}" if self.note else "")


def whole_days(age: timedelta) -> int:
    """Cut towards zero."""
    return int(age.total_seconds() / 86_400)


@dataclass
class Scan:
    """A finished run beside the organization as it was at that moment."""

    run: Finished
    accounts: list[Account]

    @property
    def folder(self) -> Path:
        return self.run.folder

    @cached_property
    def book(self) -> Any:
        return openpyxl.load_workbook(self.folder / "reports" / "workbook.xlsx")

    @cached_property
    def json(self) -> dict[str, Any]:
        return json.loads((self.folder / "run.json").read_text())

    @property
    def scanned(self) -> list[Account]:
        return [account for account in self.accounts if account.outcome == "scanned"]

    @property
    def rows(self) -> list[Row]:
        """The access keys that a report must show, in its order."""
        return [
            Row(account, user, slot, key)
            for account in self.scanned
            for user in account.users
            for slot, key in enumerate(user.keys, start=1)
        ]

    @property
    def findings(self) -> list[Row]:
        """The failing ones first, the oldest first."""
        return sorted(
            (row for row in self.rows if row.key.verdict in (FAIL, UNKNOWN)),
            key=lambda row: (
                row.key.verdict != FAIL,
                row.last_rotated,
                row.account.account_id,
                row.user.name,
                row.slot,
            ),
        )

    def count(self, verdict: str, account: Account | None = None) -> int:
        return sum(row.key.verdict == verdict for row in self.rows if account in (None, row.account))

    def served(self, account: Account) -> tuple[bytes, datetime]:
        """The report on the wire, and its GeneratedTime."""
        return self.run.served[account.account_id]

    def state(self, account: Account) -> dict[str, Any]:
        """What must be said of an account, under the names of accounts.csv."""
        about = {
            "account_id": account.account_id,
            "account_name": account.shown,
            "email": account.email,
            "ou_path": account.ou_path,
            "state": "SUSPENDED" if account.is_closed else "ACTIVE",
            "outcome": account.outcome,
            "reason": account.reason,
        }
        if account.outcome != "scanned":
            names = ("report_generated", "report_sha256", "users", "credentials", "failing", "unknown")
            names += ("iam_users", "user_difference", "cross_check")
            return about | dict.fromkeys((*names, "source_run")) | {"attempts": 0 if account.is_closed else 1}
        content, generated = self.served(account)
        return about | {
            "report_generated": generated,
            "report_sha256": hashlib.sha256(content).hexdigest(),
            "source_run": self.folder.name,
            "users": len(account.users),
            "credentials": sum(1 + len(user.keys) for user in account.users),
            "failing": self.count(FAIL, account),
            "unknown": self.count(UNKNOWN, account),
            "iam_users": len(account.users),  # moto's reports have no root row
            "user_difference": 0,
            "cross_check": "the report has no row of the root user",
            "attempts": 4,  # AssumeRole, GenerateCredentialReport, GetCredentialReport, GetAccountSummary
        }

    def csv(self, name: str) -> list[dict[str, str]]:
        with (self.folder / "reports" / name).open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file, strict=True))

    @property
    def ledger(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "ledger.jsonl").read_text().splitlines()]


def is_within(scan: Scan, *moments: str) -> bool:
    """Whether these moments are in order and lie in the time of the run."""
    times = [datetime.fromisoformat(moment) for moment in moments]
    times = [scan.run.started.replace(microsecond=0), *times, scan.run.finished]
    return times == sorted(times)


HEADING_ROW = 4


def totals(scan: Scan) -> list[tuple[int, str, Any, str]]:
    """Row, label, value and recount of each total on Summary."""
    rows = [
        (cells[0].row, cells[0].value.strip(), cells[1].value, cells[2].value)
        for cells in scan.book["Summary"].iter_rows()
        if cells[1].value is not None and cells[2].data_type == "f" and cells[0].value != "All recounts"
    ]
    assert len({label for _, label, _, _ in rows}) == len(rows)
    return rows


def table(scan: Scan, sheet: str) -> list[dict[str, Any]]:
    """A table of the workbook by its headings; no cell of it may be a formula."""
    rows = scan.book[sheet].iter_rows(min_row=HEADING_ROW)
    headings = [cell.value for cell in next(rows)]
    records = []
    for row in rows:
        for cell in row:
            assert cell.data_type in ("s", "n", "d")
            assert cell.hyperlink is None or cell.hyperlink.target is None, "links lead to sheets of ours alone"
            # Without it, who edits the cell brings the formula to life.
            assert cell.quotePrefix or not str(cell.value).startswith(("=", "+", "@")), cell
        records.append(dict(zip(headings, (cell.value for cell in row), strict=True)))
    return records


def in_sheet(value: Any) -> Any:
    """A value as openpyxl reads it: no zone, a day as its midnight, nothing for an empty text."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=None)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)
    # Excel takes _x0041_ for the letter A; only with its underscore escaped does it show what is written there.
    return value.replace("_x0041_", "_x005F_x0041_") or None if isinstance(value, str) else value


def in_csv(value: Any) -> str:
    """A value as it stands in a CSV file."""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M:%SZ}"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"'{value}" if value.startswith(("=", "+", "-", "@", "'")) else value
    return "" if value is None else str(value)


def without(record: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in names}
