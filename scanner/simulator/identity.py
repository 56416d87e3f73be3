"""Who signs a request: the auditor's own credentials and the role sessions handed out."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

from .faults import ERRORS
from .model import FaultKind
from .policy import SessionPolicy
from .wire import Authorization, AwsError, ReceivedRequest, signing_key, verify_signature

_BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


class Credentials(NamedTuple):
    """A long-term access key."""

    access_key_id: str
    secret_access_key: str


BASE_CREDENTIALS = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
"""The pair that AWS prints as the example throughout its documentation."""


@dataclass(frozen=True, slots=True)
class Principal:
    """One set of credentials and whom it stands for; a user has no token, role, expiry or session policy."""

    access_key_id: str
    secret: str = field(repr=False)
    account_id: str
    arn: str
    user_id: str
    token: str = field(default="", repr=False)
    role_name: str = ""
    expires: datetime | None = None
    policy: SessionPolicy | None = None

    def authorize(self, action: str, resource: str = "*") -> None:
        """Raise AccessDenied unless the session policy, if there is one, allows the action."""
        if self.policy is not None and not self.policy.allows(action, resource):
            raise self.denied(action, resource, f" because no session policy allows the {action} action")

    def denied(self, action: str, resource: str = "*", reason: str = "") -> AwsError:
        """Return the AccessDenied answer in AWS's words."""
        message = f"User: {self.arn} is not authorized to perform: {action} on resource: {resource}{reason}"
        return AwsError("AccessDenied", message, 403)


class CredentialStore:
    """All credentials that are known to the simulated AWS."""

    def __init__(self, partition: str, caller_account_id: str) -> None:
        """Begin with the auditor's user alone."""
        self._partition = partition
        self._principals: dict[str, Principal] = {}
        self._sessions = 0
        self.caller = Principal(
            access_key_id=BASE_CREDENTIALS.access_key_id,
            secret=BASE_CREDENTIALS.secret_access_key,
            account_id=caller_account_id,
            arn=f"arn:{partition}:iam::{caller_account_id}:user/auditor",
            user_id="AIDAEXAMPLEAUDITOR234",
        )
        self._add(self.caller)

    def _add(self, principal: Principal) -> None:
        self._principals[principal.access_key_id] = principal

    def authenticate(self, request: ReceivedRequest, authorization: Authorization, now: datetime) -> Principal:
        """Return whose credentials signed the request; key id, token and signature must belong together."""
        principal = self._principals.get(authorization.key_id)
        if principal is None or request.headers.get("X-Amz-Security-Token", "") != principal.token:
            raise AwsError("InvalidClientTokenId", "The security token included in the request is invalid.", 403)
        key = signing_key(principal.secret, authorization.date, authorization.region, authorization.service)
        verify_signature(request, authorization, key)
        if principal.expires is not None and now >= principal.expires:
            raise AwsError(*ERRORS[FaultKind.EXPIRED_TOKEN])
        return principal

    def expire(self, principal: Principal, now: datetime) -> None:
        """End a role session before its time."""
        self._add(replace(principal, expires=now))

    def is_auditor(self, principal: Principal) -> bool:
        """Whether these are the auditor's credentials, the long-term ones or temporary ones."""
        return principal.arn == self.caller.arn

    def issue_to_auditor(self, expires: datetime) -> Principal:
        """Hand out temporary credentials of the auditor."""
        session = self.issue(self.caller.account_id, "", "", expires, None)
        session = replace(session, arn=self.caller.arn, user_id=self.caller.user_id)
        self._add(session)
        return session

    def issue(
        self, account_id: str, role_name: str, session_name: str, expires: datetime, policy: SessionPolicy | None
    ) -> Principal:
        """Hand out the credentials of a new role session, plainly fake and like no others."""
        self._sessions += 1
        nonce = secrets.token_hex(20)
        principal = Principal(
            access_key_id=f"ASIAIOSFODNN7{base32(self._sessions, 7)}",
            secret=f"simulated-secret-{nonce}",
            token=f"simulated-token-{secrets.token_hex(20)}",
            account_id=account_id,
            arn=f"arn:{self._partition}:sts::{account_id}:assumed-role/{role_name}/{session_name}",
            user_id=f"AROAEXAMPLE{base32(int(account_id), 10)}:{session_name}",
            role_name=role_name,
            expires=expires,
            policy=policy,
        )
        self._add(principal)
        return principal


def base32(number: int, width: int) -> str:
    """Write a number in the alphabet of AWS's ids, keeping its last `width` digits."""
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 32)
        digits.append(_BASE32[digit])
    return "".join(reversed(digits))
