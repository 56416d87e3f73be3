"""Whose credentials sign a request, and how they are replaced before, or when, they end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from aiobotocore.credentials import AioCredentials
from botocore.credentials import ReadOnlyCredentials

RENEWAL_MARGIN = timedelta(minutes=2)
"""A role session is replaced so long before it ends."""


@dataclass(frozen=True, slots=True)
class RoleSession:
    """Temporary credentials of one role; the secrets stay out of every repr."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    expires: datetime

    @property
    def ends_soon(self) -> bool:
        """Whether it is time for another one."""
        return self.expires - datetime.now(UTC) < RENEWAL_MARGIN

    async def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """As the AWS library wants them."""
        return ReadOnlyCredentials(self.access_key_id, self.secret_access_key, self.session_token)


CALLER_SESSION = RoleSession("", "", "", datetime.max.replace(tzinfo=UTC))
"""Stands for the caller's own credentials: in the account one already is, no role can be assumed."""


class RenewableCredentials:
    """Credentials that are loaded once, and again when AWS no longer takes them.

    `load` gives what has `get_frozen_credentials`: the caller's own, which the library refreshes by itself where it
    can, or a RoleSession, which is replaced here before it ends. `check` raises where what was loaded anew must not be
    used; nothing is signed with it before.
    """

    def __init__(
        self, load: Callable[[], Awaitable[Any]], check: Callable[[Any], Awaitable[None]] | None = None
    ) -> None:
        self._load = load
        self._check = check
        self._source: Any = None
        self._turn = asyncio.Lock()

    async def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """What signs the next request."""
        async with self._turn:
            if self._source is None or (isinstance(self._source, RoleSession) and self._source.ends_soon):
                self._source = await self._load()
            frozen: ReadOnlyCredentials = await self._source.get_frozen_credentials()
            return frozen

    async def renew(self, refused: ReadOnlyCredentials | None) -> bool:
        """Load others than those that AWS refused (None: that could not be had); False where there are no others."""
        async with self._turn:
            if refused is not None and await self._source.get_frozen_credentials() != refused:
                return True
            found = await self._load()
            if await found.get_frozen_credentials() == refused:
                return False
            if self._check is not None:
                await self._check(found)
            self._source = found
            return True


signing: ContextVar[ReadOnlyCredentials | None] = ContextVar("signing", default=None)
"""What signs the request that this task is making. No two tasks can see each other's."""


class TaskCredentials(AioCredentials):  # type: ignore[misc]
    """What every client takes for its credentials: at each signature, those of the request being made."""

    def __init__(self) -> None:
        super().__init__(access_key="", secret_key="", method="credaudit")

    async def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """A request that was given none fails here."""
        frozen = signing.get()
        assert frozen is not None, "a request must say whose credentials sign it"
        return frozen


class TaskCredentialProvider:
    """The component botocore asks for credentials when it makes a client."""

    async def load_credentials(self) -> TaskCredentials:
        """The same for every client."""
        return TaskCredentials()
