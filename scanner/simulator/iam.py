"""The simulated AWS Identity and Access Management of every account."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from .identity import Principal
from .model import Behaviour, SimulatedAccount, SimulatedKey, SimulatedOrganization, SimulatedUser
from .report import render_report, user_arn
from .wire import AwsError, xml_text, xml_time

REPORT_LIFETIME = timedelta(hours=4)
"""AWS makes at most one report in four hours."""

_MAX_ITEMS_RANGE = (1, 1000)
_DEFAULT_MAX_ITEMS = 100
_REPORT_REFUSALS = {
    Behaviour.REPORT_DENIED: " because no identity-based policy allows the {action} action",
    Behaviour.REPORT_DENIED_BY_SCP: " with an explicit deny in a service control policy",
}


class Iam:
    """Answers the report operations and ListAccessKeys for the signer's account."""

    def __init__(
        self, organization: SimulatedOrganization, clock: Callable[[], datetime], report_delay_seconds: float
    ) -> None:
        """Render every report beforehand, so that a benchmark does not measure it."""
        self._partition = organization.partition
        self._accounts = {account.account_id: account for account in organization.accounts}
        self._users = {
            account.account_id: {user.name: user for user in account.users} for account in organization.accounts
        }
        self._contents = {
            account.account_id: base64.b64encode(render_report(account, organization.partition)).decode()
            for account in organization.accounts
        }
        self._clock = clock
        self._delay = timedelta(seconds=report_delay_seconds)
        self._started: dict[str, datetime] = {}

    def generate_credential_report(self, principal: Principal, _parameters: Mapping[str, str]) -> str:
        """Start a report, or tell how far the present one is."""
        account = self._authorize_report(principal, "iam:GenerateCredentialReport")
        generated = self._generated(account)
        if generated is None or self._is_expired(account, generated):
            self._started[account.account_id] = self._clock()
            description = "No report exists. Starting a new report generation task"
            return f"<State>STARTED</State><Description>{description}</Description>"
        return f"<State>{'COMPLETE' if self._is_ready(account, generated) else 'INPROGRESS'}</State>"

    def get_credential_report(self, principal: Principal, _parameters: Mapping[str, str]) -> str:
        """Send the report, once it is ready and while it is young."""
        account = self._authorize_report(principal, "iam:GetCredentialReport")
        generated = self._generated(account)
        if generated is None:
            raise AwsError("ReportNotPresent", "No report exists. Generate a report first.", 410)
        if not self._is_ready(account, generated):
            raise AwsError("ReportInProgress", "Report generation is in progress.", 404)
        if self._is_expired(account, generated):
            raise AwsError("ReportExpired", "The report has expired. Generate a new report.", 410)
        return (
            f"<Content>{self._contents[account.account_id]}</Content><ReportFormat>text/csv</ReportFormat>"
            f"<GeneratedTime>{xml_time(generated)}</GeneratedTime>"
        )

    def list_access_keys(self, principal: Principal, parameters: Mapping[str, str]) -> str:
        """List a user's keys as they are now, which may differ from the report."""
        account = self._accounts[principal.account_id]
        name = _user_name(principal, parameters)
        user = self._users[account.account_id].get(name)
        arn = user_arn(account.account_id, user or SimulatedUser(name, self._clock()), self._partition)
        principal.authorize("iam:ListAccessKeys", arn)
        if account.behaviour is Behaviour.KEYS_DENIED:
            reason = " because no identity-based policy allows the iam:ListAccessKeys action"
            raise principal.denied("iam:ListAccessKeys", arn, reason)
        if user is None or name in account.deleted_since_report:
            raise AwsError("NoSuchEntity", f"The user with name {name} cannot be found.", 404)
        keys = [key for key in user.keys if key is not None and key.key_id not in account.keys_deleted_since_report]
        return _keys_xml(account, user, keys, parameters)

    def _authorize_report(self, principal: Principal, action: str) -> SimulatedAccount:
        principal.authorize(action)
        account = self._accounts[principal.account_id]
        refusal = _REPORT_REFUSALS.get(account.behaviour)
        if refusal is not None:
            raise principal.denied(action, reason=refusal.format(action=action))
        return account

    def _generated(self, account: SimulatedAccount) -> datetime | None:
        started = self._started.get(account.account_id)
        return None if started is None else started + self._delay

    def _is_ready(self, account: SimulatedAccount, generated: datetime) -> bool:
        return account.behaviour is not Behaviour.REPORT_NEVER_READY and self._clock() >= generated

    def _is_expired(self, account: SimulatedAccount, generated: datetime) -> bool:
        return self._is_ready(account, generated) and self._clock() >= generated + REPORT_LIFETIME


def _user_name(principal: Principal, parameters: Mapping[str, str]) -> str:
    if "UserName" in parameters:
        return parameters["UserName"]
    if principal.role_name:
        raise AwsError("ValidationError", "Must specify userName when calling with non-User credentials")
    return principal.arn.rpartition("/")[2]


def _keys_xml(
    account: SimulatedAccount, user: SimulatedUser, keys: list[SimulatedKey], parameters: Mapping[str, str]
) -> str:
    first, last = _window(parameters)
    is_truncated = last < len(keys)
    marker = f"<Marker>{_marker(last)}</Marker>" if is_truncated else ""
    members = "".join(
        f"<member><UserName>{xml_text(user.name)}</UserName><AccessKeyId>{xml_text(key.key_id)}</AccessKeyId>"
        f"<Status>{_status(account, key)}</Status><CreateDate>{xml_time(key.created)}</CreateDate></member>"
        for key in keys[first:last]
    )
    return (
        f"<UserName>{xml_text(user.name)}</UserName><AccessKeyMetadata>{members}</AccessKeyMetadata>"
        f"<IsTruncated>{'true' if is_truncated else 'false'}</IsTruncated>{marker}"
    )


def _status(account: SimulatedAccount, key: SimulatedKey) -> str:
    return "Active" if key.active and key.key_id not in account.inactive_since_report else "Inactive"


def _window(parameters: Mapping[str, str]) -> tuple[int, int]:
    size = parameters.get("MaxItems", str(_DEFAULT_MAX_ITEMS))
    smallest, largest = _MAX_ITEMS_RANGE
    if not size.isdecimal() or not smallest <= int(size) <= largest:
        raise AwsError("ValidationError", f"Value '{size}' at 'maxItems' must be between {smallest} and {largest}")
    first = _offset(parameters["Marker"]) if "Marker" in parameters else 0
    return first, first + int(size)


def _offset(marker: str) -> int:
    try:
        return int(base64.b64decode(marker, validate=True).removeprefix(b"access-key/"))
    except ValueError as error:
        raise AwsError("ValidationError", "Invalid Marker.") from error


def _marker(offset: int) -> str:
    return base64.b64encode(f"access-key/{offset}".encode()).decode()
