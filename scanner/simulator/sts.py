"""The simulated AWS Security Token Service."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from .accounts import Accounts
from .identity import CredentialStore, Principal
from .model import READER_ROLE_NAME, Behaviour, SimulatedOrganization
from .policy import parse_policy
from .wire import AwsError, xml_text, xml_time

ACTION = "sts:AssumeRole"
DEFAULT_DURATION_SECONDS = 3600
DURATION_RANGE_SECONDS = (900, 43200)
_ROLE_ARN = re.compile(
    r"arn:(?P<partition>aws[\w-]*):iam::(?P<account_id>\d{12}):role/(?P<name>[\w+=,.@/-]+)", re.ASCII
)
_SESSION_NAME = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
_EXTERNAL_ID = re.compile(r"[\w+=,.@:/-]{2,1224}", re.ASCII)


class Sts:
    """Answers GetCallerIdentity and AssumeRole."""

    def __init__(
        self,
        organization: SimulatedOrganization,
        accounts: Accounts,
        credentials: CredentialStore,
        clock: Callable[[], datetime],
        session_seconds: float | None = None,
    ) -> None:
        """Let role sessions end after `session_seconds` at the latest, whatever Expiration they are told."""
        self._organization = organization
        self._accounts = accounts
        self._credentials = credentials
        self._clock = clock
        self._lifetime = None if session_seconds is None else timedelta(seconds=session_seconds)

    def get_caller_identity(self, principal: Principal, _parameters: Mapping[str, str]) -> str:
        """Tell who calls; AWS asks for no permission here."""
        return (
            f"<Arn>{xml_text(principal.arn)}</Arn><UserId>{xml_text(principal.user_id)}</UserId>"
            f"<Account>{principal.account_id}</Account>"
        )

    def assume_role(self, principal: Principal, parameters: Mapping[str, str]) -> str:
        """Hand out a session of a role that trusts the caller."""
        role_arn = parameters.get("RoleArn", "")
        session_name = _session_name(parameters)
        duration = _duration(parameters)
        external_id = _external_id(parameters)
        policy = parse_policy(parameters["Policy"]) if "Policy" in parameters else None
        target = _ROLE_ARN.fullmatch(role_arn)
        if target is None:
            raise AwsError("ValidationError", f"{role_arn} is invalid")
        if not self._trusts(principal, target, external_id):
            raise principal.denied(ACTION, role_arn)
        expires, ends = self._life(duration)
        # The session's ARN has the role's name without its path.
        role_name = target["name"].rpartition("/")[2]
        session = self._credentials.issue(target["account_id"], role_name, session_name, ends, policy)
        return _session_xml(session, expires, len(parameters.get("Policy", "")))

    def get_session_token(self, principal: Principal, parameters: Mapping[str, str]) -> str:
        """Hand out temporary credentials of the user that asks."""
        if principal is not self._credentials.caller:
            raise AwsError("AccessDenied", "Cannot call GetSessionToken with session credentials", 403)
        expires, ends = self._life(_duration(parameters))
        return _credentials_xml(self._credentials.issue_to_auditor(ends), expires)

    def _life(self, seconds: int) -> tuple[datetime, datetime]:
        """When a session of so many seconds ends by what is told, and when it does."""
        now = self._clock()
        expires = now.replace(microsecond=0) + timedelta(seconds=seconds)
        return expires, expires if self._lifetime is None else min(expires, now + self._lifetime)

    def _trusts(self, principal: Principal, target: re.Match[str], external_id: str | None) -> bool:
        organization = self._organization
        account = self._accounts.by_id.get(target["account_id"])
        if (
            account is None
            or self._accounts.state(account) != "ACTIVE"
            or target["partition"] != organization.partition
        ):
            return False
        # Member roles trust the auditor alone, so sessions cannot hop on.
        if not self._credentials.is_auditor(principal):
            return False
        if target["name"] == READER_ROLE_NAME and account.account_id == organization.management_account_id:
            return True
        return (
            target["name"] == organization.role_name
            and account.account_id != organization.caller_account_id
            and account.behaviour is not Behaviour.ASSUME_DENIED
            and organization.external_id in (None, external_id)
        )


def _session_name(parameters: Mapping[str, str]) -> str:
    name = parameters.get("RoleSessionName", "")
    if not _SESSION_NAME.fullmatch(name):
        raise _invalid(name, "roleSessionName", r"satisfy regular expression pattern: [\w+=,.@-]{2,64}")
    return name


def _duration(parameters: Mapping[str, str]) -> int:
    text = parameters.get("DurationSeconds", str(DEFAULT_DURATION_SECONDS))
    shortest, longest = DURATION_RANGE_SECONDS
    if not text.isdecimal() or int(text) < shortest:
        raise _invalid(text, "durationSeconds", f"have value greater than or equal to {shortest}")
    if int(text) > longest:
        raise _invalid(text, "durationSeconds", f"have value less than or equal to {longest}")
    return int(text)


def _external_id(parameters: Mapping[str, str]) -> str | None:
    external_id = parameters.get("ExternalId")
    if external_id is not None and not _EXTERNAL_ID.fullmatch(external_id):
        raise _invalid(external_id, "externalId", r"satisfy regular expression pattern: [\w+=,.@:\/-]{2,1224}")
    return external_id


def _invalid(value: str, name: str, constraint: str) -> AwsError:
    message = f"1 validation error detected: Value '{value}' at '{name}' failed to satisfy constraint: "
    return AwsError("ValidationError", f"{message}Member must {constraint}")


def _session_xml(session: Principal, expires: datetime, policy_length: int) -> str:
    packed = f"<PackedPolicySize>{policy_length * 100 // 2048}</PackedPolicySize>" if policy_length else ""
    return (
        f"{_credentials_xml(session, expires)}"
        f"<AssumedRoleUser><AssumedRoleId>{xml_text(session.user_id)}</AssumedRoleId>"
        f"<Arn>{xml_text(session.arn)}</Arn></AssumedRoleUser>{packed}"
    )


def _credentials_xml(session: Principal, expires: datetime) -> str:
    return (
        f"<Credentials><AccessKeyId>{session.access_key_id}</AccessKeyId>"
        f"<SecretAccessKey>{session.secret}</SecretAccessKey><SessionToken>{session.token}</SessionToken>"
        f"<Expiration>{xml_time(expires)}</Expiration></Credentials>"
    )
