"""The organization → evidence, concurrently. Decides nothing about compliance, and loses no account."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from scanner.aws import CALLER_SESSION, SESSION_POLICY, Aws, CallRecord, RoleSession
from scanner.config import Config
from scanner.credential_report import ReportPacing, fetch_report, list_access_keys
from scanner.errors import AccessDenied, AwsError, CredauditError, EvidenceError, MalformedReport, NotFound
from scanner.evidence import Ledger, RunFolder
from scanner.models import Account, Caller, LedgerEntry, Outcome
from scanner.normalize import count_users

Item = TypeVar("Item")

IN_FLIGHT_ACCOUNTS = 2_000
"""Accounts begun and not yet finished, at most; most of them wait for their report and hold no slot."""

SESSION_MARGIN = timedelta(minutes=2)
CLOCK_TOLERANCE = timedelta(minutes=5)
"""AWS itself refuses requests whose clock is further off."""


@dataclass(frozen=True, slots=True)
class Access:
    """How this run enters accounts."""

    caller: Caller
    session_name: str
    started: datetime
    """UTC start of the run: freshness is counted back from here."""


class Collector:
    """Collects the evidence of one run."""

    def __init__(self, aws: Aws, folder: RunFolder, config: Config, access: Access) -> None:
        self._aws = aws
        self._folder = folder
        self._config = config
        self._access = access
        self._oldest_report = access.started - timedelta(hours=config.scan.report_max_age_hours)
        self._pacing = ReportPacing()
        self._sessions: dict[str, RoleSession] = {}

    async def collect(
        self, accounts: Sequence[Account], ledger: Ledger, on_outcome: Callable[[LedgerEntry], None]
    ) -> None:
        """Give every account an outcome. On cancellation those without one become `interrupted`.

        `on_outcome` hears of each account once its line is on disk. Raises EvidenceError where the disk fails.
        """
        recorded: set[str] = set()

        def note(entry: LedgerEntry, record: CallRecord) -> None:
            entry = replace(
                entry,
                finished=datetime.now(UTC),
                attempts=record.attempts,
                throttles=record.throttles,
                request_ids=tuple(record.request_ids),
            )
            ledger.append(entry)
            recorded.add(entry.account_id)
            on_outcome(entry)

        async def collect_one(account: Account) -> None:
            record = CallRecord()
            started = datetime.now(UTC)
            try:
                note(await self._outcome_of(account, started, record), record)
            except asyncio.CancelledError:
                note(_interrupted(account, started), record)
                raise

        try:
            await _for_each(accounts, collect_one)
        finally:
            for account in accounts:
                if account.account_id not in recorded:
                    note(_interrupted(account, None), CallRecord())

    async def look_up_keys(self, users: Mapping[str, Sequence[str]], on_account: Callable[[], None]) -> None:
        """Store what ListAccessKeys answers for these users (account id → names). A failure here changes no outcome."""

        async def look_up(item: tuple[str, Sequence[str]]) -> None:
            account_id, names = item
            self._folder.write_keys(account_id, await self._keys_of(account_id, names))
            on_account()

        await _for_each(list(users.items()), look_up)

    async def _outcome_of(self, account: Account, started: datetime, record: CallRecord) -> LedgerEntry:
        entry = LedgerEntry(account_id=account.account_id, outcome=Outcome.ERROR, started=started)
        if not account.is_active:
            return replace(entry, outcome=Outcome.NOT_ACTIVE, reason=f"the account's state is {account.state}")
        if account.excluded_by:
            return replace(entry, outcome=Outcome.EXCLUDED, reason=f"excluded by configuration: {account.excluded_by}")
        return await self._read(entry, record)

    async def _read(self, entry: LedgerEntry, record: CallRecord) -> LedgerEntry:
        """Enter the account, fetch its report and store it; every way this can fail has its own outcome."""
        session: RoleSession | None = None
        try:
            async with asyncio.timeout(self._config.scan.account_timeout_seconds) as record.deadline:
                session = await self._enter(entry.account_id, record)
                report = await fetch_report(self._aws, session, record, self._pacing, self._oldest_report)
            self._folder.write_report(entry.account_id, report.content)
            entry = replace(
                entry,
                credentials="caller" if session is CALLER_SESSION else "role",
                report_generated=report.generated,
                report_sha256=hashlib.sha256(report.content).hexdigest(),
                report_bytes=len(report.content),
            )
            if report.generated > datetime.now(UTC) + CLOCK_TOLERANCE:
                raise MalformedReport(
                    "the report was generated in the future: its time or this machine's clock is wrong"
                )
            return replace(entry, outcome=Outcome.SCANNED, users=count_users(report.content, entry.account_id))
        except EvidenceError:
            raise
        except TimeoutError:
            seconds = self._config.scan.account_timeout_seconds
            if session is None:
                return replace(entry, outcome=Outcome.ERROR, reason=f"the role could not be assumed within {seconds} s")
            return replace(
                entry, outcome=Outcome.REPORT_TIMEOUT, reason=f"no current credential report within {seconds} s"
            )
        except AccessDenied as error:
            outcome = Outcome.ACCESS_DENIED if session is None else Outcome.REPORT_DENIED
            by_scp = "refused by a service control policy: " if error.by_service_control_policy else ""
            return replace(entry, outcome=outcome, reason=f"{by_scp}{error}")
        except MalformedReport as error:
            return replace(entry, outcome=Outcome.REPORT_MALFORMED, reason=str(error))
        except CredauditError as error:
            return replace(entry, reason=str(error))
        except Exception as error:  # an account must neither take the run with it nor be lost
            return replace(entry, reason=f"credaudit failed on this account: {type(error).__name__}: {error}")

    async def _enter(self, account_id: str, record: CallRecord) -> RoleSession:
        """A role session in the account. In the caller's own account its own credentials serve where no role does."""
        access = self._config.access
        optional = {"Policy": json.dumps(SESSION_POLICY, separators=(",", ":"))}
        if access.external_id:
            optional["ExternalId"] = access.external_id
        try:
            session = await self._aws.assume_role(
                role_arn(self._access.caller.partition, account_id, access.role_name),
                record,
                session_name=self._access.session_name,
                duration_seconds=access.session_duration_seconds,
                **optional,
            )
        except AccessDenied as error:
            if account_id != self._access.caller.account_id:
                raise AccessDenied(error.action, error.code, self._without_external_id(error.message)) from None
            session = CALLER_SESSION
        self._sessions[account_id] = session
        return session

    def _without_external_id(self, message: str) -> str:
        external_id = self._config.access.external_id
        return message.replace(external_id, "[external id]") if external_id else message

    async def _keys_of(self, account_id: str, names: Sequence[str]) -> dict[str, Any]:
        """The content of evidence/ID.keys.json."""
        record = CallRecord()
        answers: dict[str, Any] = {}
        refused: str | None = None
        try:
            async with asyncio.timeout(self._config.scan.account_timeout_seconds) as record.deadline:
                session = self._sessions[account_id]
                if session.expires - datetime.now(UTC) < SESSION_MARGIN:
                    session = await self._enter(account_id, record)
                for name in names:
                    answers[name] = await self._keys_of_user(session, record, name)
        except TimeoutError:
            refused = f"no answer within {self._config.scan.account_timeout_seconds} s"
        except AwsError as error:
            refused = str(error)
        except Exception as error:  # as in _read: what is found out later must not take what was found out before
            refused = f"credaudit failed on this look-up: {type(error).__name__}: {error}"
        for name in names:
            answers.setdefault(name, {"looked_up": datetime.now(UTC), "keys": None, "error": refused})
        return {"attempts": record.attempts, "request_ids": record.request_ids, "users": answers}

    async def _keys_of_user(self, session: RoleSession, record: CallRecord, name: str) -> dict[str, Any]:
        looked_up = datetime.now(UTC)
        try:
            keys = await list_access_keys(self._aws, session, record, name)
        except NotFound:
            return {"looked_up": looked_up, "keys": [], "error": "NoSuchEntity"}
        return {
            "looked_up": looked_up,
            "keys": [{"key_id": key.key_id, "status": key.status, "created": key.created} for key in keys],
            "error": None,
        }


async def _for_each(items: Sequence[Item], work: Callable[[Item], Coroutine[Any, Any, None]]) -> None:
    """Work on all items at once, IN_FLIGHT_ACCOUNTS of them at most; the first error ends the others and is raised."""
    in_flight = asyncio.Semaphore(IN_FLIGHT_ACCOUNTS)

    async def work_on(item: Item) -> None:
        try:
            await work(item)
        finally:
            in_flight.release()

    try:
        async with asyncio.TaskGroup() as tasks:
            for item in items:
                await in_flight.acquire()
                tasks.create_task(work_on(item))
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None


def _interrupted(account: Account, started: datetime | None) -> LedgerEntry:
    return LedgerEntry(
        account_id=account.account_id, outcome=Outcome.INTERRUPTED, reason="the run was stopped", started=started
    )


def role_arn(partition: str, account_id: str, role_name: str) -> str:
    """The ARN of the role to assume in an account."""
    return f"arn:{partition}:iam::{account_id}:role/{role_name}"
