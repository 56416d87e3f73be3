"""One account while it is read: its role session, replaced when it ends, and what was sent for it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scanner.aws import Aws, CallRecord
from scanner.config import AccessTable
from scanner.errors import AccessDenied, AwsError, CallerExpired, CredentialsRefused
from scanner.models import Caller
from scanner.signing import CALLER_SESSION, RoleSession

ENTRIES = 4
"""Sessions that one request may take, should AWS call each of them expired."""

ENTRY_PAUSE_SECONDS = 1.0
"""Before AWS is asked with yet another session: a new one may take a moment until all of AWS knows it."""


@dataclass(frozen=True, slots=True)
class Access:
    """How this run enters accounts."""

    caller: Caller
    session_name: str
    policy: str
    """The session may do no more than this, as JSON."""
    settings: AccessTable


class Member:
    """An account that is being read. In the caller's own account its own credentials serve where no role does."""

    def __init__(self, aws: Aws, access: Access, account_id: str) -> None:
        self.account_id = account_id
        self.record = CallRecord()
        self._aws = aws
        self._access = access
        self.is_entered = False
        """Whether there were credentials to ask the account with."""
        self._session: RoleSession | None = None

    @property
    def credentials(self) -> str:
        """Whose they are, as the ledger says it."""
        return "caller" if self._session is CALLER_SESSION else "role"

    async def call(self, action: str, parameters: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Ask the account; a session that has ended, or soon will, is replaced by another. Raises errors.AwsError."""
        for entry in range(1, ENTRIES + 1):
            if self._session is None or self._session.ends_soon:
                self._session = await self._enter()
                self.is_entered = True
            try:
                return await self._aws.call(action, self.record, parameters, session=self._session)
            except CredentialsRefused as error:
                if isinstance(error, CallerExpired) or entry == ENTRIES:
                    raise
            self._session = None
            if entry > 1:
                await asyncio.sleep(ENTRY_PAUSE_SECONDS)
        raise AssertionError("unreachable: the last entry returns or raises")

    async def _enter(self) -> RoleSession:
        settings, caller = self._access.settings, self._access.caller
        optional = {"Policy": self._access.policy}
        if settings.external_id:
            optional["ExternalId"] = settings.external_id
        try:
            return await self._aws.assume_role(
                role_arn(caller.partition, self.account_id, settings.role_name),
                self.record,
                session_name=self._access.session_name,
                duration_seconds=settings.session_duration_seconds,
                **optional,
            )
        except AwsError as error:
            if isinstance(error, AccessDenied) and self.account_id == caller.account_id:
                return CALLER_SESSION
            raise type(error)(error.action, error.code, self._without_external_id(error.message)) from None

    def _without_external_id(self, message: str) -> str:
        external_id = self._access.settings.external_id
        return message.replace(external_id, "[external id]") if external_id else message


def role_arn(partition: str, account_id: str, role_name: str) -> str:
    """The ARN of the role to assume in an account."""
    return f"arn:{partition}:iam::{account_id}:role/{role_name}"
