"""One scan from end to end: who is calling, who is there, what their reports say, and which keys the findings mean."""

from __future__ import annotations

import asyncio
import json
import platform
import signal
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import pandas as pd

from scanner import __version__
from scanner.aws import LISTING_POLICY, LISTING_SESSION_SECONDS, SESSION_POLICY, Aws, CallRecord
from scanner.checks import CATALOGUE
from scanner.collect import Access, Collector
from scanner.config import Config, OrganizationTable
from scanner.errors import AwsError, OrganizationError
from scanner.evaluate import assess, read_frame, users_to_look_up
from scanner.evidence import RunFolder, run_id
from scanner.models import Account, Assessment, Caller, LedgerEntry, Run
from scanner.organization import Organization, Population, Tree, describe_organization, list_accounts, select, walk_tree

Result = TypeVar("Result")

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

    def begins(self, run: Run, accounts: int) -> None:
        """The organization is known; its accounts are about to be read."""

    def had_outcome(self, entry: LedgerEntry) -> None:
        """One account is done."""

    def looks_up_keys(self, accounts: int) -> None:
        """All reports are in; key ids are looked up in so many accounts."""

    def looked_up(self) -> None:
        """The key ids of one account are known."""


@dataclass(frozen=True, slots=True)
class _Listing:
    """The accounts as listed, and the tree that may still be walked."""

    listed: dict[str, Account]
    walking: asyncio.Task[Tree]
    scope: OrganizationTable
    record: CallRecord

    async def population(self, *, with_tree: bool) -> Population:
        """Who is in the organization; with the tree, once it is walked, where they stand in it too."""
        return select(self.listed, await self.walking if with_tree else None, self.scope)

    def population_so_far(self) -> Population:
        """The same for a run that was stopped: with the tree if it was finished by then."""
        walked = self.walking.done() and not self.walking.cancelled() and not self.walking.exception()
        tree = self.walking.result() if walked else Tree({}, {}, "the run was stopped before")
        return select(self.listed, tree, self.scope)


async def scan(config: Config, *, started: datetime, as_of: datetime, watcher: Watcher) -> tuple[RunFolder, Assessment]:
    """Collect the evidence of one run and evaluate it.

    SIGINT and SIGTERM end the collecting, not the run: what there is is evaluated, and `run.interrupted` says so.
    Raises CallerError, OrganizationError or EvidenceError where there can be no run.
    """
    record = CallRecord()
    names_ous = bool(config.organization.include_ous or config.organization.exclude_ous)
    async with Aws(config) as aws, AsyncExitStack() as at_end:
        caller = await aws.identify_caller(record)
        await _enter_listing_role(aws, config, record, started)
        organization = await describe_organization(aws, record)
        walking = asyncio.create_task(walk_tree(aws, record, required=names_ous))
        at_end.push_async_callback(_cancel, walking)
        listing = _Listing(await list_accounts(aws, record), walking, config.organization, record)
        population = await listing.population(with_tree=names_ous)

        run = _new_run(config, aws, caller, organization, started, as_of)
        folder = RunFolder.create(Path(config.output.runs_dir), run.run_id)
        folder.write_run(run)
        folder.write_population(population.accounts, record.request_ids)
        watcher.begins(run, len(population.accounts))
        collector = Collector(aws, folder, config, Access(caller, run.session_name, started))
        interrupted = False
        try:
            population, frame = await _until_signal(_collect(collector, folder, run, listing, population, watcher))
        except _Stopped:
            interrupted = True
            population = listing.population_so_far()
            folder.write_population(population.accounts, record.request_ids)
            frame = read_frame(folder)
    notes = (*_other_moment(run), *population.notes, *_foreign_endpoints(run.endpoints))
    finished = datetime.now(UTC).replace(microsecond=0)
    return folder, assess(folder, replace(run, finished=finished, interrupted=interrupted, notes=notes), frame)


async def _collect(
    collector: Collector, folder: RunFolder, run: Run, listing: _Listing, population: Population, watcher: Watcher
) -> tuple[Population, pd.DataFrame]:
    """The reports of all accounts, then the key ids of those users whose keys do not pass."""
    with folder.open_ledger() as ledger:
        await collector.collect(population.accounts, ledger, watcher.had_outcome)
        collected = {account.account_id for account in population.accounts}
        population = await listing.population(with_tree=True)
        late = [account for account in population.accounts if account.account_id not in collected]
        await collector.collect(late, ledger, watcher.had_outcome)
    folder.write_population(population.accounts, listing.record.request_ids)
    frame = read_frame(folder)
    if users := users_to_look_up(frame, CATALOGUE, run.limits, run.as_of):
        watcher.looks_up_keys(len(users))
        await collector.look_up_keys(users, watcher.looked_up)
    return population, frame


def _new_run(
    config: Config, aws: Aws, caller: Caller, organization: Organization, started: datetime, as_of: datetime
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
        session_policy=SESSION_POLICY,
        organization_role_arn=config.organization.role_arn,
        endpoints=aws.endpoints,
        as_of=as_of,
        limits=config.check_limits(),
        parameters=config.model_dump(exclude={"access": {"external_id"}}),
        started=started,
    )


async def _enter_listing_role(aws: Aws, config: Config, record: CallRecord, started: datetime) -> None:
    role_arn = config.organization.role_arn
    if not role_arn:
        return
    try:
        session = await aws.assume_role(
            role_arn,
            record,
            session_name=f"credaudit-{started:%Y%m%dT%H%M%SZ}",
            duration_seconds=LISTING_SESSION_SECONDS,
            Policy=json.dumps(LISTING_POLICY, separators=(",", ":")),
        )
    except AwsError as error:
        raise OrganizationError(
            f"the role that lists the organization could not be assumed: {error}",
            "Check [organization] role_arn, that role's trust policy, and that the caller may assume it.",
        ) from None
    await aws.use_organization_role(session)


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


async def _cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


class _Stopped(Exception):
    """A person or the machine asked the run to stop."""


async def _until_signal(work: Coroutine[Any, Any, Result]) -> Result:
    """Run `work`; at SIGINT or SIGTERM cancel it and raise _Stopped. A second signal has its usual effect at once."""
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
    signals = (signal.SIGINT, signal.SIGTERM)
    at_sigterm = signal.getsignal(signal.SIGTERM)
    stopped = False

    def release() -> None:
        for number in signals:
            loop.remove_signal_handler(number)
        signal.signal(signal.SIGTERM, at_sigterm)

    def stop() -> None:
        nonlocal stopped
        stopped = True
        release()
        task.cancel()

    for number in signals:
        loop.add_signal_handler(number, stop)
    try:
        return await task
    except asyncio.CancelledError:
        if stopped:
            raise _Stopped from None
        raise
    finally:
        release()
