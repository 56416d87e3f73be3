"""The organization → evidence: all accounts concurrently, and an outcome in the ledger for each; no account is lost."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from scanner.aws import Aws, CallRecord
from scanner.batch import Batch
from scanner.config import ScanTable
from scanner.credential_report import (
    CredentialReport,
    ReportPacing,
    fetch_report,
    fetch_summary,
    list_access_keys,
)
from scanner.cross_check import Summary, from_json, to_json
from scanner.errors import (
    AccessDenied,
    AwsError,
    CallerExpired,
    CredauditError,
    EvidenceError,
    MalformedReport,
    NotFound,
)
from scanner.evidence import NOT_OURS, Ledger, RunFolder
from scanner.member import Access, Member
from scanner.models import Account, LedgerEntry, Outcome
from scanner.normalize import count_iam_users, count_users
from scanner.resume import Earlier

IN_FLIGHT_ACCOUNTS = 2_000
"""Accounts begun and not yet finished, at most; most of them wait for their report and hold no slot."""

BATCH_SECONDS = 0.2
BATCH_ACCOUNTS = 200
"""Accounts whose reports are judged together, to find the users whose key ids are to be looked up."""

FETCHES = 3
"""Of a report that cannot be read, before it is taken for malformed."""

MOST_CLOCK_SKEW = timedelta(minutes=5)
"""AWS itself refuses requests whose clock is further off."""

Item = TypeVar("Item")
Scanned = tuple[Account, LedgerEntry]
UsersToLookUp = Callable[[list[Scanned]], list[Sequence[str]]]
"""Scanned accounts → for each, the users whose key ids a reader will ask for."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where the evidence goes, and what earlier runs have of it already."""

    folder: RunFolder
    ledger: Ledger
    earlier: Earlier
    oldest_report: datetime
    """A report that was generated before is not accepted."""


class Collector:
    """Collects the evidence of one run."""

    def __init__(
        self,
        aws: Aws,
        access: Access,
        evidence: Evidence,
        settings: ScanTable,
        users_to_look_up: UsersToLookUp,
        on_outcome: Callable[[LedgerEntry], None],
    ) -> None:
        """`on_outcome` hears of each account once its line is on disk."""
        self._aws = aws
        self._access = access
        self._folder, self._ledger, self._earlier = evidence.folder, evidence.ledger, evidence.earlier
        self._oldest_report = evidence.oldest_report
        self._seconds = settings.account_timeout_seconds
        self._cross_checks = settings.cross_check
        self._on_outcome = on_outcome
        self._pacing = ReportPacing()
        self._lookups = Batch(users_to_look_up, seconds=BATCH_SECONDS, most=BATCH_ACCOUNTS)
        self.recorded: set[str] = set()
        """The accounts that have an outcome."""
        self.taken = 0
        """Accounts whose reports earlier runs collected."""
        self.denied: dict[str, LedgerEntry] = {}
        """Those of them that let nobody in."""

    async def collect(self, accounts: AsyncIterator[Account]) -> None:
        """Give every account an outcome as it comes. On cancellation those that have begun become `interrupted`.

        Raises EvidenceError where the disk fails, CallerExpired where nobody is let in any more.
        """
        await _for_each(accounts, self._collect_one)

    def settle(self, accounts: Iterable[Account]) -> None:
        """Give an outcome to those that have none: left out for a reason of their own, or interrupted."""
        for account in accounts:
            if account.account_id not in self.recorded:
                self._note(_without_asking(account) or _interrupted(account, None, CallRecord()))

    def was_suspended(self, account: Account) -> None:
        """An account that let nobody in turns out to be no longer active: that is why, and no gap."""
        before = self.denied.pop(account.account_id)
        reason = f"the account's state became {account.state} during the run; before: {before.reason}"
        self._note(replace(before, outcome=Outcome.NOT_ACTIVE, reason=reason))

    async def _collect_one(self, account: Account) -> None:
        started = datetime.now(UTC)
        member = Member(self._aws, self._access, account.account_id)
        taken = self._earlier.report_of(account.account_id)
        if taken is not None:
            self.taken += 1
            self._folder.write_report(account.account_id, taken.content)
            if taken.summary:
                self._folder.write_summary(account.account_id, taken.summary)
        try:
            entry = taken.entry if taken else await self._read(account, started, member)
        except asyncio.CancelledError:
            self._note(_interrupted(account, started, member.record))
            raise
        self._note(entry)
        if entry.outcome is Outcome.SCANNED:
            await self._look_up_keys(account, entry, member, taken.keys if taken else {})

    def _note(self, entry: LedgerEntry) -> None:
        self._ledger.append(entry)
        self.recorded.add(entry.account_id)
        if entry.outcome in (Outcome.ACCESS_DENIED, Outcome.REPORT_DENIED):
            self.denied[entry.account_id] = entry
        self._on_outcome(entry)

    async def _read(self, account: Account, started: datetime, member: Member) -> LedgerEntry:
        """Enter the account, fetch its report and store it; every way this can fail has its own outcome."""
        entry = LedgerEntry(account_id=account.account_id, outcome=Outcome.ERROR, started=started)
        try:
            entry = await self._fetch(entry, member)
            if self._cross_checks and (lack := await self._lack_of_users(entry, member)):
                entry = await self._fetch(entry, member)  # rows may have been lost on the way
                if lack := await self._lack_of_users(entry, member, before=lack):
                    raise _Unsound(lack, entry)
        except (EvidenceError, CallerExpired):
            raise
        except _Unsound as unsound:
            entry = replace(unsound.entry, outcome=Outcome.REPORT_MALFORMED, reason=str(unsound))
        except TimeoutError:
            what, outcome = "no current credential report", Outcome.REPORT_TIMEOUT
            if not member.is_entered:
                what, outcome = "the role could not be assumed", Outcome.ERROR
            entry = replace(entry, outcome=outcome, reason=f"{what} within {self._seconds} s")
        except AccessDenied as error:
            outcome = Outcome.ACCESS_DENIED if error.action == "sts:AssumeRole" else Outcome.REPORT_DENIED
            by_scp = "refused by a service control policy: " if error.by_service_control_policy else ""
            entry = replace(entry, outcome=outcome, reason=f"{by_scp}{error}")
        except CredauditError as error:
            entry = replace(entry, outcome=Outcome.ERROR, reason=str(error))
        except Exception as error:  # an account must neither take the run with it nor be lost
            reason = f"credaudit failed on this account: {type(error).__name__}: {error}"
            entry = replace(entry, outcome=Outcome.ERROR, reason=reason)
        return _closed(entry, member.record)

    async def _fetch(self, entry: LedgerEntry, member: Member) -> LedgerEntry:
        """The account's report, stored. One that cannot be read is fetched again: the damage may be on the way."""
        async with asyncio.timeout(self._seconds) as member.record.deadline:
            for fetch in range(1, FETCHES + 1):
                report = await fetch_report(member, self._pacing, self._oldest_report)
                self._folder.write_report(entry.account_id, report.content)
                entry = replace(
                    entry,
                    credentials=member.credentials,
                    source_run=self._folder.path.name,
                    report_generated=report.generated,
                    report_sha256=hashlib.sha256(report.content).hexdigest(),
                    report_bytes=len(report.content),
                )
                try:
                    return replace(entry, outcome=Outcome.SCANNED, users=_count_users(report, entry.account_id))
                except MalformedReport as error:
                    if fetch == FETCHES:
                        raise _Unsound(str(error), entry) from None
        raise AssertionError("unreachable: the last fetch returns or raises")

    async def _lack_of_users(self, entry: LedgerEntry, member: Member, before: str = "") -> str:
        """Ask IAM how many users there are, and keep its answer → what is wrong, empty if nothing is known.

        That there is no answer changes nothing: what was found `before` holds.
        """
        asked, counts, refused = datetime.now(UTC), None, None
        try:
            async with asyncio.timeout(self._seconds) as member.record.deadline:
                counts = await fetch_summary(member)
        except CallerExpired:
            raise
        except TimeoutError:
            refused = f"no answer within {self._seconds} s"
        except AwsError as error:
            refused = str(error)
        except NOT_OURS as error:
            refused = f"AWS's answer is not as documented: {error}"
        try:
            content = to_json(Summary(asked, counts, refused))
            summary = from_json(content | {"asked": asked.isoformat()})
        except NOT_OURS as error:
            summary = Summary(asked, None, f"AWS's answer is not as documented: {error}")
            content = to_json(summary)
        self._folder.write_summary(entry.account_id, content)
        if summary.counts is None or entry.report_generated is None:
            return before
        users = count_iam_users(self._folder.read_report(entry.account_id), entry.account_id)
        if not summary.lacks_users(users, entry.report_generated):
            # A report that was too young for it once is not explained by the time that it took to ask again.
            return before if users < summary.counts["Users"] else ""
        return (
            f"the report lists fewer users than IAM has, {users:,} of {summary.counts['Users']:,},"
            " and is too young for that"
        )

    async def _look_up_keys(self, account: Account, entry: LedgerEntry, member: Member, known: dict[str, Any]) -> None:
        """Store what ListAccessKeys answers for the users whose key ids matter. A failure here changes no outcome."""
        names = await self._lookups.ask((account, entry))
        answered = {name: answer for name, answer in known.get("users", {}).items() if answer["keys"] is not None}
        if missing := [name for name in names if name not in answered]:
            content = await self._keys_of(member, missing)
            content["users"] = answered | content["users"]
            content["request_ids"] = [*known.get("request_ids", ()), *content["request_ids"]]
            self._folder.write_keys(account.account_id, content)
        elif names:
            self._folder.write_keys(account.account_id, known)

    async def _keys_of(self, member: Member, names: Sequence[str]) -> dict[str, Any]:
        """The content of evidence/ID.keys.json."""
        record = member.record = CallRecord()
        answers: dict[str, Any] = {}
        refused: str | None = None
        try:
            async with asyncio.timeout(self._seconds) as record.deadline:
                for name in names:
                    answers[name] = await _keys_of_user(member, name)
        except CallerExpired:
            raise
        except TimeoutError:
            refused = f"no answer within {self._seconds} s"
        except AwsError as error:
            refused = str(error)
        except Exception as error:  # as in _read: what is found out later must not take what was found out before
            refused = f"credaudit failed on this look-up: {type(error).__name__}: {error}"
        for name in names:
            answers.setdefault(name, {"looked_up": datetime.now(UTC), "keys": None, "error": refused})
        return {"attempts": record.attempts, "request_ids": record.request_ids, "users": answers}


class _Unsound(Exception):
    """A report that is none, however often it was fetched; `entry` has what is known of it."""

    def __init__(self, reason: str, entry: LedgerEntry) -> None:
        super().__init__(reason)
        self.entry = entry


def _count_users(report: CredentialReport, account_id: str) -> int:
    if report.generated > datetime.now(UTC) + MOST_CLOCK_SKEW:
        raise MalformedReport("the report was generated in the future: its time or this machine's clock is wrong")
    return count_users(report.content, account_id)


async def _keys_of_user(member: Member, name: str) -> dict[str, Any]:
    looked_up = datetime.now(UTC)
    try:
        keys = await list_access_keys(member, name)
    except NotFound:
        return {"looked_up": looked_up, "keys": [], "error": "NoSuchEntity"}
    return {
        "looked_up": looked_up,
        "keys": [{"key_id": key.key_id, "status": key.status, "created": key.created} for key in keys],
        "error": None,
    }


async def _for_each(items: AsyncIterator[Item], work: Callable[[Item], Coroutine[Any, Any, None]]) -> None:
    """Work on all items as they come, IN_FLIGHT_ACCOUNTS at once at most; the first error ends the others."""
    in_flight = asyncio.Semaphore(IN_FLIGHT_ACCOUNTS)

    async def work_on(item: Item) -> None:
        try:
            await work(item)
        finally:
            in_flight.release()

    try:
        async with asyncio.TaskGroup() as tasks:
            async for item in items:
                await in_flight.acquire()
                tasks.create_task(work_on(item))
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None


def _without_asking(account: Account) -> LedgerEntry | None:
    """The outcome of an account that is not read for a reason of its own; None for one that is in scope."""
    if account.is_in_scope:
        return None
    outcome, reason = Outcome.NOT_ACTIVE, f"the account's state is {account.state}"
    if account.is_active:
        outcome, reason = Outcome.EXCLUDED, f"excluded by configuration: {account.excluded_by}"
    now = datetime.now(UTC)
    return LedgerEntry(account_id=account.account_id, outcome=outcome, reason=reason, started=now, finished=now)


def _interrupted(account: Account, started: datetime | None, record: CallRecord) -> LedgerEntry:
    entry = LedgerEntry(
        account_id=account.account_id, outcome=Outcome.INTERRUPTED, reason="the run was stopped", started=started
    )
    return _closed(entry, record)


def _closed(entry: LedgerEntry, record: CallRecord) -> LedgerEntry:
    """The entry with its end, and what was sent for it."""
    return replace(
        entry,
        finished=datetime.now(UTC),
        attempts=record.attempts,
        throttles=record.throttles,
        request_ids=tuple(record.request_ids),
    )
