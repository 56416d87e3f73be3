"""One scan from end to end: who is calling, who is there, what their reports say, and which keys the findings mean."""

from __future__ import annotations

import asyncio
import platform
import signal
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import pandas as pd

from scanner import __version__
from scanner.aws import LISTING_SESSION_SECONDS, SESSION_POLICY, Aws, CallRecord
from scanner.checks import CATALOGUE
from scanner.collect import Access, Collector
from scanner.config import Config
from scanner.errors import AwsError, OrganizationError
from scanner.evaluate import assess, read_frame, users_to_look_up
from scanner.evidence import RunFolder, run_id
from scanner.models import Assessment, Caller, LedgerEntry, Run
from scanner.organization import Organization, Population, Tree, describe_organization, list_accounts, select, walk_tree

Result = TypeVar("Result")

AWS_DOMAINS = ("amazonaws.com", "amazonaws.com.cn", "amazonaws.eu", "api.aws", "c2s.ic.gov", "sc2s.sgov.gov")


class Watcher(Protocol):
    """Whoever shows how far the scan is."""

    def begins(self, run: Run, folder: Path, accounts: int) -> None:
        """The organization is known; its accounts are about to be read."""

    def had_outcome(self, entry: LedgerEntry) -> None:
        """One account is done."""

    def looks_up_keys(self, accounts: int) -> None:
        """All reports are in; key ids are looked up in so many accounts."""

    def looked_up(self) -> None:
        """The key ids of one account are known."""


async def scan(config: Config, *, started: datetime, as_of: datetime, watcher: Watcher) -> tuple[RunFolder, Assessment]:
    """Collect the evidence of one run and evaluate it.

    SIGINT and SIGTERM end the collecting, not the run: what there is is evaluated, and `run.interrupted` says so.
    """
    record = CallRecord()
    scope = config.organization
    names_ous = bool(scope.include_ous or scope.exclude_ous)
    async with Aws(config) as aws, AsyncExitStack() as at_end:
        caller = await aws.identify_caller(record)
        await _enter_listing_role(aws, config, record, started)
        organization = await describe_organization(aws, record)
        walking = asyncio.create_task(walk_tree(aws, record, required=names_ous))
        at_end.push_async_callback(_cancel, walking)
        listed = await list_accounts(aws, record)
        population = select(listed, await walking if names_ous else None, scope)

        run = _new_run(config, aws, caller, organization, started, as_of)
        folder = RunFolder.create(Path(config.output.runs_dir), run.run_id)
        folder.write_run(run)
        folder.write_population(population.accounts, record.request_ids)
        watcher.begins(run, folder.path, len(population.accounts))
        collector = Collector(aws, folder, config, Access(caller, run.session_name, started))

        async def collect() -> Population:
            """The accounts listed, and then those that only the tree shows, if there are any."""
            with folder.open_ledger() as ledger:
                await collector.collect(population.accounts, ledger, watcher.had_outcome)
                complete = select(listed, await walking, scope)
                late = [account for account in complete.accounts if account.account_id not in listed]
                await collector.collect(late, ledger, watcher.had_outcome)
            return complete

        is_finished = False
        try:
            population = await _until_signal(collect())
            frame = _record_population(folder, population, record)
            if users := users_to_look_up(frame, CATALOGUE, run.limits, run.as_of):
                watcher.looks_up_keys(len(users))
                await _until_signal(collector.look_up_keys(users, watcher.looked_up))
            is_finished = True
        except _Stopped:
            if not population.has_places:
                population = select(listed, Tree({}, {}, "the run was interrupted"), scope)
            frame = _record_population(folder, population, record)
    notes = (*population.notes, *_foreign_endpoints(run.endpoints))
    finished = datetime.now(UTC).replace(microsecond=0)
    return folder, assess(folder, replace(run, finished=finished, interrupted=not is_finished, notes=notes), frame)


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
        )
    except AwsError as error:
        raise OrganizationError(
            f"the role that lists the organization could not be assumed: {error}",
            "Check [organization] role_arn, that role's trust policy, and that the caller may assume it.",
        ) from None
    await aws.use_organization_role(session)


def _foreign_endpoints(endpoints: dict[str, str]) -> list[str]:
    """A note where requests did not go to AWS: a stray AWS_ENDPOINT_URL must not pass for an audit."""
    hosts = {urlsplit(url).hostname or url for url in endpoints.values()}
    foreign = sorted(host for host in hosts if not any(host.endswith(f".{domain}") for domain in AWS_DOMAINS))
    return [f"Requests went to {', '.join(foreign)}, which is not AWS's domain."] if foreign else []


def _record_population(folder: RunFolder, population: Population, record: CallRecord) -> pd.DataFrame:
    """Write the population with its places, and read the evidence by it."""
    folder.write_population(population.accounts, record.request_ids)
    return read_frame(folder)


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
    stopped = False

    def release() -> None:
        for number in signals:
            loop.remove_signal_handler(number)

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
