"""One scan from end to end: who is calling, who is there, what their reports say, and which keys the findings mean."""

from __future__ import annotations

import asyncio
import gc
import json
import platform
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from scanner import __version__
from scanner.actions import LISTING_POLICY, session_policy
from scanner.aws import Aws, CallRecord
from scanner.collect import MOST_CLOCK_SKEW, Collector, Evidence, Scanned
from scanner.config import Config
from scanner.enumeration import Enumeration
from scanner.errors import AwsError, OrganizationError
from scanner.evaluate import assess, read_frame, users_to_look_up
from scanner.evidence import RunFolder, run_id
from scanner.member import Access
from scanner.models import Account, Assessment, Caller, LedgerEntry, Rules, Run
from scanner.normalize import RawReport, normalize
from scanner.organization import Organization, Population, describe_account, describe_organization
from scanner.resume import Earlier, check_resume, find_earlier
from scanner.rules import override_notes
from scanner.signing import RoleSession
from scanner.stopping import Stopped, until_stopped

LISTING_SESSION_SECONDS = 3600
DENIED_ASKED_AGAIN = 100
"""Accounts; where more let nobody in, it is the role that is wrong."""

AWS_DOMAINS = (
    "amazonaws.com",
    "amazonaws.com.cn",
    "amazonaws.eu",
    "api.aws",
    "c2s.ic.gov",
    "sc2s.sgov.gov",
    "cloud.adc-e.uk",
    "csp.hci.ic.gov",
)


class Watcher(Protocol):
    """Whoever shows how far the scan is."""

    def begins(self, run: Run) -> None:
        """The first accounts are listed, and about to be read."""

    def lists(self, accounts: int, *, is_complete: bool) -> None:
        """So many accounts are listed by now."""

    def had_outcome(self, entry: LedgerEntry) -> None:
        """One account is done."""

    def enters(self, phase: str) -> None:
        """What is done from now on: normalize, evaluate."""


async def scan(
    config: Config,
    *,
    started: datetime,
    as_of: datetime,
    rules: Rules,
    watcher: Watcher,
    resume: str = "",
    on_collected: Callable[[], None] = lambda: None,
) -> tuple[RunFolder, Run]:
    """Collect the evidence of one run, for `judge`; `resume` names a run to go on from, or is `latest`.

    SIGINT, SIGTERM, the run's deadline and the end of the caller's credentials end the collecting, not the run:
    `run.stopped_by` says so. From `on_collected` on, signals are the caller's again. Raises CallerError,
    OrganizationError, ConfigError or EvidenceError where there can be no run.
    """
    deadline = asyncio.get_running_loop().time() + config.scan.run_timeout_seconds
    record, runs_dir = CallRecord(), Path(config.output.runs_dir)
    check_resume(runs_dir, resume)
    async with Aws(config) as aws, AsyncExitStack() as at_end:
        async with _until_first_account(deadline):
            caller = await aws.identify_caller(record)
            await _enter_listing_role(aws, config, record, started)
            organization = await describe_organization(aws, record)
            enumeration = Enumeration(aws, config.organization, record, watcher.lists)
            at_end.push_async_callback(enumeration.stop)
            accounts = enumeration.to_be_read()
            first = await anext(accounts, None)
            if first is None:
                await enumeration.complete()  # raises, and says why there is nothing to read

        oldest = started - timedelta(hours=config.scan.report_max_age_hours)
        newest = started + MOST_CLOCK_SKEW
        earlier = find_earlier(runs_dir, resume, organization.organization_id, oldest=oldest, newest=newest)
        run = _new_run(config, aws, caller, organization, started, as_of, rules, earlier)
        folder = RunFolder.create(runs_dir, run.run_id)
        folder.write_run(run)
        with folder.open_ledger() as ledger, _little_garbage_collection():
            collector = Collector(
                aws,
                Access(caller, run.session_name, json.dumps(run.session_policy, separators=(",", ":")), config.access),
                Evidence(folder, ledger, earlier, oldest),
                config.scan,
                lambda scanned: _users_to_look_up(folder, scanned, run),
                watcher.had_outcome,
            )
            watcher.begins(run)
            work = _collect(collector, _chained([first], accounts), enumeration, aws, record)
            everybody, stopped = await _until_stopped(work, deadline, enumeration)
            on_collected()
            collector.settle(everybody.accounts)
        folder.write_population(everybody.accounts, record.request_ids)
    notes = (_resumed(run, collector, earlier), *_other_moment(run), stopped.why if stopped else "", *everybody.notes)
    notes = (*notes, *override_notes(rules, everybody.accounts))
    run = replace(
        run,
        finished=datetime.now(UTC).replace(microsecond=0),
        stopped_by=stopped.by if stopped else None,
        notes=tuple(note for note in (*notes, *_foreign_endpoints(run.endpoints)) if note),
    )
    return folder, run


def judge(folder: RunFolder, run: Run, watcher: Watcher) -> Assessment:
    """What the evidence of a run says, by its limits and `as_of`."""
    watcher.enters("normalize")
    frame = read_frame(folder)
    watcher.enters("evaluate")
    return assess(folder, run, frame)


@asynccontextmanager
async def _until_first_account(deadline: float) -> AsyncIterator[None]:
    """The run's deadline, for as long as there is nothing to report."""
    try:
        async with asyncio.timeout_at(deadline):
            yield
    except TimeoutError:
        raise OrganizationError(
            "the run's deadline passed before an account could be read",
            "Raise [scan] run_timeout_seconds, or see why AWS or the network is slow.",
        ) from None


async def _until_stopped(
    work: Coroutine[Any, Any, Population], deadline: float, enumeration: Enumeration
) -> tuple[Population, Stopped | None]:
    """The population at the end of the work, or as it is known when something stops it, and what that was."""
    try:
        return await until_stopped(work, deadline), None
    except Stopped as stopped:
        return enumeration.so_far(), stopped
    except OrganizationError as error:
        advice = f"{error.advice} What was read is kept: `credaudit scan --resume latest` goes on from it."
        raise OrganizationError(str(error), advice.strip()) from None


async def _collect(
    collector: Collector, accounts: AsyncIterator[Account], enumeration: Enumeration, aws: Aws, record: CallRecord
) -> Population:
    """The reports of all accounts as they are listed, and the key ids of those users whose keys do not pass."""
    await collector.collect(accounts)
    everybody = await enumeration.complete()
    # Those that came to be known late: in the tree alone, or active only when they were listed a second time.
    late = [a for a in everybody.accounts if a.is_in_scope and a.account_id not in collector.recorded]
    await collector.collect(_chained(late))
    return await _without_suspended(collector, everybody, aws, record)


async def _without_suspended(collector: Collector, everybody: Population, aws: Aws, record: CallRecord) -> Population:
    """Ask of those accounts that let nobody in, unless they are many, whether they were suspended meanwhile.

    A caller who may not ask leaves them as they are: gaps.
    """
    if len(collector.denied) > DENIED_ASKED_AGAIN:
        return everybody
    asked = list(collector.denied)
    answers = await asyncio.gather(*(describe_account(aws, record, each) for each in asked), return_exceptions=True)
    states = {
        account_id: answer.state
        for account_id, answer in zip(asked, answers, strict=True)
        if isinstance(answer, Account) and answer.account_id == account_id and not answer.is_active
    }
    accounts = tuple(
        replace(account, state=states.get(account.account_id, account.state)) for account in everybody.accounts
    )
    for account in accounts:
        if account.account_id in states:
            collector.was_suspended(account)
    return replace(everybody, accounts=accounts)


@contextmanager
def _little_garbage_collection() -> Iterator[None]:
    """Look for cycles seldom, and only among what the block makes.

    Going through the AWS library's models again and again took a fifth of the CPU of an account, and more in large
    organizations.
    """
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


async def _chained(
    known: Iterable[Account | None], coming: AsyncIterator[Account] | None = None
) -> AsyncIterator[Account]:
    for account in known:
        if account is not None:
            yield account
    if coming is not None:
        async for account in coming:
            yield account


def _users_to_look_up(folder: RunFolder, scanned: list[Scanned], run: Run) -> list[Sequence[str]]:
    """For each account, the users whose keys do not pass by the run's limits."""
    frame = normalize(RawReport(account, entry, folder.read_report(account.account_id)) for account, entry in scanned)
    users = users_to_look_up(frame, [account for account, _ in scanned], run.rules, run.as_of)
    return [users.get(account.account_id, ()) for account, _ in scanned]


def _new_run(
    config: Config,
    aws: Aws,
    caller: Caller,
    organization: Organization,
    started: datetime,
    as_of: datetime,
    rules: Rules,
    earlier: Earlier,
) -> Run:
    name = run_id(started, organization.organization_id)
    return Run(
        run_id=name,
        tool_version=__version__,
        python_version=platform.python_version(),
        organization_id=organization.organization_id,
        management_account_id=organization.management_account_id,
        caller=caller,
        role_name=config.access.role_name,
        external_id_used=bool(config.access.external_id),
        session_name=f"credaudit-{name}"[:64],
        session_policy=session_policy(cross_check=config.scan.cross_check),
        organization_role_arn=config.organization.role_arn,
        endpoints=aws.endpoints,
        as_of=as_of,
        rules=rules,
        parameters=config.model_dump(exclude={"access": {"external_id"}}),
        started=started,
        resumed_from=earlier.run_id,
    )


async def _enter_listing_role(aws: Aws, config: Config, record: CallRecord, started: datetime) -> None:
    role_arn = config.organization.role_arn
    if not role_arn:
        return

    async def enter() -> RoleSession:
        return await aws.assume_role(
            role_arn,
            record,
            session_name=f"credaudit-{started:%Y%m%dT%H%M%SZ}",
            duration_seconds=LISTING_SESSION_SECONDS,
            Policy=json.dumps(LISTING_POLICY, separators=(",", ":")),
        )

    try:
        await aws.use_organization_role(enter)
    except AwsError as error:
        raise OrganizationError(
            f"the role that lists the organization could not be assumed: {error}",
            "Check [organization] role_arn, that role's trust policy, and that the caller may assume it.",
        ) from None


def _resumed(run: Run, collector: Collector, earlier: Earlier) -> str:
    """What a reader must know of an earlier run's part in this one."""
    if not run.resumed_from:
        return earlier.note
    note = f" {earlier.note}" if earlier.note else ""
    return (
        f"This run resumed {run.resumed_from}: {collector.taken:,} reports were collected by earlier runs, "
        f"and were not fetched again; the Accounts sheet says which.{note}"
    )


def _other_moment(run: Run) -> list[str]:
    """A note where ages are not those of the run's own day."""
    if run.as_of == run.started:
        return []
    return [
        f"Ages are measured at {run.as_of:%Y-%m-%d %H:%M:%S} UTC (--as-of), not at the start of the run; "
        "the keys are those that exist now."
    ]


def _foreign_endpoints(endpoints: dict[str, str]) -> list[str]:
    """A note where requests did not go to AWS: a stray AWS_ENDPOINT_URL must not pass for an audit."""
    hosts = {urlsplit(url).hostname or url for url in endpoints.values()}
    foreign = sorted(host for host in hosts if not any(host.endswith(f".{domain}") for domain in AWS_DOMAINS))
    return [f"Requests went to {', '.join(foreign)}, which is not AWS's domain."] if foreign else []
