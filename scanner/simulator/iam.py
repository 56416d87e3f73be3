"""The simulated AWS Identity and Access Management of every account."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import lru_cache

from .accounts import Accounts
from .faults import ERRORS, Fault
from .identity import Principal
from .model import TRUE, Behaviour, FaultKind, Faults, SimulatedAccount, SimulatedKey, SimulatedUser
from .report import damage_report, render_report, user_arn
from .wire import AwsError, xml_text, xml_time

REPORT_LIFETIME = timedelta(hours=4)
"""AWS makes at most one report in four hours."""

REPORT_FAULTS = {FaultKind.STUCK_REPORT, FaultKind.MALFORMED_REPORT, FaultKind.EXPIRED_REPORT}
_MAX_ITEMS_RANGE = (1, 1000)
_DEFAULT_MAX_ITEMS = 100
_REPORT_REFUSALS = {
    Behaviour.REPORT_DENIED: " because no identity-based policy allows the {action} action",
    Behaviour.REPORT_DENIED_BY_SCP: " with an explicit deny in a service control policy",
}


class Iam:
    """Answers the report operations, ListAccessKeys and GetAccountSummary for the signer's account."""

    def __init__(self, accounts: Accounts, partition: str, clock: Callable[[], datetime], faults: Faults) -> None:
        """Begin with no report; each is rendered when it is asked for."""
        self._accounts = accounts.by_id
        self._partition = partition
        self._clock = clock
        self._delay = timedelta(seconds=faults.report_delay_seconds)
        self._stuck_lifetime = timedelta(seconds=faults.stuck_seconds)
        self._started: dict[str, datetime] = {}
        self._stuck: set[str] = set()
        # The keys of one account's users are asked for one after the other.
        self._users = lru_cache(maxsize=64)(self._users_by_name)

    def _users_by_name(self, account_id: str) -> dict[str, SimulatedUser]:
        return {user.name: user for user in self._accounts[account_id].users}

    def generate_credential_report(self, principal: Principal, _parameters: Mapping[str, str]) -> str:
        """Start a report, or tell how far the present one is."""
        account = self._authorize_report(principal, "iam:GenerateCredentialReport")
        if self._is_startable(account):
            self._started[account.account_id] = self._clock()
            self._stuck.discard(account.account_id)
            description = "No report exists. Starting a new report generation task"
            return f"<State>STARTED</State><Description>{description}</Description>"
        return f"<State>{'COMPLETE' if self._is_ready(account) else 'INPROGRESS'}</State>"

    def get_credential_report(self, principal: Principal, _parameters: Mapping[str, str]) -> str:
        """Send the report, once it is ready and while it is young."""
        account = self._authorize_report(principal, "iam:GetCredentialReport")
        if account.account_id not in self._started:
            raise AwsError("ReportNotPresent", "No report exists. Generate a report first.", 410)
        if not self._is_ready(account):
            raise AwsError("ReportInProgress", "Report generation is in progress.", 404)
        if self._is_expired(account):
            raise AwsError(*ERRORS[FaultKind.EXPIRED_REPORT])
        return self._report_xml(account, render_report(account, self._partition))

    def list_access_keys(self, principal: Principal, parameters: Mapping[str, str]) -> str:
        """List a user's keys as they are now, which may differ from the report."""
        account = self._accounts[principal.account_id]
        name = _user_name(principal, parameters)
        user = self._users(account.account_id).get(name)
        arn = user_arn(account.account_id, user or SimulatedUser(name, self._clock()), self._partition)
        principal.authorize("iam:ListAccessKeys", arn)
        if account.behaviour is Behaviour.KEYS_DENIED:
            reason = " because no identity-based policy allows the iam:ListAccessKeys action"
            raise principal.denied("iam:ListAccessKeys", arn, reason)
        if user is None or name in account.deleted_since_report:
            raise AwsError("NoSuchEntity", f"The user with name {name} cannot be found.", 404)
        keys = [key for key in user.keys if key is not None and key.key_id not in account.keys_deleted_since_report]
        return _keys_xml(account, user, keys, parameters)

    def get_account_summary(self, principal: Principal, _parameters: Mapping[str, str]) -> str:
        """Count what the account has now."""
        account = self._accounts[principal.account_id]
        principal.authorize("iam:GetAccountSummary")
        if account.behaviour is Behaviour.SUMMARY_DENIED:
            reason = " because no identity-based policy allows the iam:GetAccountSummary action"
            raise principal.denied("iam:GetAccountSummary", reason=reason)
        root = account.root
        counts = {
            "Users": len(account.users) + account.users_created_since_report - len(account.deleted_since_report),
            "UsersQuota": 5000,
            "AccessKeysPerUserQuota": 2,
            "AccountAccessKeysPresent": int(any(root.keys)),
            "AccountMFAEnabled": int(root.mfa_active),
            "AccountPasswordPresent": int(root.password_enabled == TRUE),
            "AccountSigningCertificatesPresent": int(bool(root.certificates)),
        }
        entries = "".join(f"<entry><key>{name}</key><value>{count}</value></entry>" for name, count in counts.items())
        return f"<SummaryMap>{entries}</SummaryMap>"

    def _authorize_report(self, principal: Principal, action: str) -> SimulatedAccount:
        principal.authorize(action)
        account = self._accounts[principal.account_id]
        refusal = _REPORT_REFUSALS.get(account.behaviour)
        if refusal is not None:
            raise principal.denied(action, reason=refusal.format(action=action))
        return account

    def _report_xml(self, account: SimulatedAccount, content: bytes) -> str:
        return (
            f"<Content>{base64.b64encode(content).decode()}</Content><ReportFormat>text/csv</ReportFormat>"
            f"<GeneratedTime>{xml_time(self._started[account.account_id] + self._delay)}</GeneratedTime>"
        )

    def _is_startable(self, account: SimulatedAccount) -> bool:
        started = self._started.get(account.account_id)
        is_stuck = account.account_id in self._stuck
        return (
            started is None
            or self._is_expired(account)
            or (is_stuck and self._clock() >= started + self._stuck_lifetime)
        )

    def _is_ready(self, account: SimulatedAccount) -> bool:
        never = account.behaviour is Behaviour.REPORT_NEVER_READY or account.account_id in self._stuck
        started = self._started.get(account.account_id)
        return not never and started is not None and self._clock() >= started + self._delay

    def _is_expired(self, account: SimulatedAccount) -> bool:
        age_at_most = self._delay + REPORT_LIFETIME
        return self._is_ready(account) and self._clock() >= self._started[account.account_id] + age_at_most

    def can_befall(self, fault: Fault) -> bool:
        """Whether a fault of reports has a report to befall; any other may befall every call."""
        if fault.kind not in REPORT_FAULTS:
            return True
        account = self._accounts[fault.account_id]
        if fault.kind is FaultKind.STUCK_REPORT:
            return self._is_startable(account)
        return self._is_ready(account) and not self._is_expired(account)

    def stick(self, account_id: str) -> None:
        """Let the report that was just started never be ready."""
        self._stuck.add(account_id)

    def forget(self, account_id: str) -> None:
        """Let the account have no report."""
        del self._started[account_id]

    def damaged_report(self, fault: Fault) -> str:
        """Send something in the place of the account's report."""
        account = self._accounts[fault.account_id]
        other = next((other for other in self._accounts.values() if other is not account), account)
        own, foreign = (render_report(given, self._partition) for given in (account, other))
        return self._report_xml(account, damage_report(own, foreign, fault.chance))


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
