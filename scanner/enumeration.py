"""Who is in the organization: what the listing and the walk through the OU tree know together, while they go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

from scanner.aws import Aws, CallRecord
from scanner.config import OrganizationTable
from scanner.models import Account
from scanner.organization import Listing, OnPage, Population, Tree, excluded_by, select, walk_tree


class Enumeration:
    """Who is in the organization: known account by account while it is listed, and in full in the end."""

    def __init__(self, aws: Aws, scope: OrganizationTable, record: CallRecord, on_page: OnPage) -> None:
        self._scope = scope
        self._listing = Listing(aws, record, on_page)
        self._names_ous = bool(scope.include_ous or scope.exclude_ous)
        self._walking = asyncio.create_task(self._walk(aws, record))

    async def _walk(self, aws: Aws, record: CallRecord) -> Tree:
        with_accounts = not await self._listing.sends_paths()
        return await walk_tree(aws, record, required=self._names_ous, with_accounts=with_accounts)

    async def to_be_read(self) -> AsyncIterator[Account]:
        """The accounts in scope, each as soon as its page has come; once all are known, where the scope asks for it.

        Accounts that are not read for a reason of their own are left out: they may be listed anew as active.
        """
        if self._scope.include_accounts or self._names_ous:
            for account in (await self.complete()).accounts:
                if account.is_in_scope:
                    yield account
            return
        async for account in self._listing.as_listed():
            if replace(account, excluded_by=excluded_by(account, self._scope)).is_in_scope:
                yield account

    async def complete(self) -> Population:
        """Everybody, and where they stand; raises OrganizationError where that cannot be established."""
        return select(await self._listing.complete(), await self._walking, self._scope)

    def so_far(self) -> Population:
        """The same for a run that was stopped: as far as it is known."""
        walked = self._walking.done() and not self._walking.cancelled() and not self._walking.exception()
        tree = self._walking.result() if walked else Tree({}, {}, "the run was stopped before")
        is_complete = self._listing.is_complete
        population = select(self._listing.accounts, tree, self._scope, is_complete=is_complete)
        if is_complete:
            return population
        note = (
            f"The run was stopped while AWS listed the accounts: {len(population.accounts):,} were known by then, "
            "and the organization may have more."
        )
        return replace(population, notes=(note, *population.notes))

    async def stop(self) -> None:
        """Ask no more."""
        await self._listing.stop()
        self._walking.cancel()
        await asyncio.gather(self._walking, return_exceptions=True)
