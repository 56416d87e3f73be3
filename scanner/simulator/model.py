"""What a simulated AWS Organization consists of, as plain frozen records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

READER_ROLE_NAME = "OrganizationReader"
"""The role of the management account that may list the organization when the caller itself may not."""

TRUE = "true"
FALSE = "false"
NO_VALUE = "N/A"
NO_INFORMATION = "no_information"
NOT_SUPPORTED = "not_supported"


class Behaviour(StrEnum):
    """How an account answers the auditor."""

    NORMAL = "normal"
    ASSUME_DENIED = "assume_denied"
    REPORT_DENIED = "report_denied"
    REPORT_DENIED_BY_SCP = "report_denied_by_scp"
    REPORT_NEVER_READY = "report_never_ready"
    KEYS_DENIED = "keys_denied"
    SUMMARY_DENIED = "summary_denied"


class FaultKind(StrEnum):
    """What AWS, the network or the clock can do to one call."""

    THROTTLING = "throttling"
    LIMIT_EXCEEDED = "limit_exceeded"
    """Of GenerateCredentialReport alone; no retry mode of botocore repeats it."""
    SERVER_ERROR = "server_error"
    UNAVAILABLE = "unavailable"
    RESET_BEFORE = "reset_before"
    """The connection is reset, and the action not carried out."""
    RESET_AFTER = "reset_after"
    """The action is carried out, and the connection closed without an answer."""
    TRUNCATED_BODY = "truncated_body"
    """The connection is closed before the body is as long as its Content-Length."""
    CUT_DOCUMENT = "cut_document"
    """The body is as long as its Content-Length, but its XML or JSON ends in the middle."""
    EXPIRED_TOKEN = "expired_token"
    """The role session that signed the call is expired from now on."""
    STUCK_REPORT = "stuck_report"
    """The report that GenerateCredentialReport starts is never ready."""
    MALFORMED_REPORT = "malformed_report"
    """GetCredentialReport sends a damaged report, this once."""
    EXPIRED_REPORT = "expired_report"
    """GetCredentialReport finds the report expired, which is gone until another is generated."""
    SLOW = "slow"


@dataclass(frozen=True, slots=True)
class SimulatedKey:
    """One access key; dates are UTC, and a key never used has no `last_used`."""

    key_id: str
    created: datetime
    active: bool = True
    last_used: datetime | None = None
    last_used_region: str = "us-east-1"
    last_used_service: str = "s3"


@dataclass(frozen=True, slots=True)
class SimulatedUser:
    """One IAM user; a None among `keys` is an empty slot, and the report shows two slots at most."""

    name: str
    created: datetime
    path: str = "/"
    password_enabled: bool = False
    password_last_used: datetime | None = None
    password_last_changed: datetime | None = None
    mfa_active: bool = False
    keys: tuple[SimulatedKey | None, ...] = ()
    certificates: tuple[tuple[datetime, bool], ...] = ()
    """(created, active) of each signing certificate."""


@dataclass(frozen=True, slots=True)
class SimulatedRoot:
    """The `<root_account>` row; the password columns are CSV text, since root's differ from a user's.

    The defaults are a member account created by Organizations: its root user has no credentials.
    """

    created: datetime = datetime(2019, 3, 14, 9, 26, 53, tzinfo=UTC)
    password_enabled: str = FALSE
    password_last_used: str = NO_VALUE
    password_last_changed: str = NO_VALUE
    password_next_rotation: str = NOT_SUPPORTED
    mfa_active: bool = False
    keys: tuple[SimulatedKey | None, ...] = ()
    certificates: tuple[tuple[datetime, bool], ...] = ()


@dataclass(frozen=True, slots=True)
class SimulatedAccount:
    """One account, and what changed in it after its report was made."""

    account_id: str
    name: str
    email: str
    state: str = "ACTIVE"
    ou_path: tuple[str, ...] = ()
    """Names of the organizational units from the root down; empty directly under the root."""
    users: Sequence[SimulatedUser] = ()
    root: SimulatedRoot = field(default_factory=SimulatedRoot)
    behaviour: Behaviour = Behaviour.NORMAL
    report: bytes | None = None
    """Sent instead of the rendered report, for malformed ones."""
    users_created_since_report: int = 0
    """Users that GetAccountSummary counts and the report does not list."""
    deleted_since_report: frozenset[str] = frozenset()
    """User names that ListAccessKeys no longer knows."""
    keys_deleted_since_report: frozenset[str] = frozenset()
    """Key ids that ListAccessKeys no longer shows."""
    inactive_since_report: frozenset[str] = frozenset()
    """Key ids that ListAccessKeys shows Inactive, whatever the report says."""
    suspended_after_calls: int | None = None
    """Calls (AssumeRole into it, IAM in it) after which AWS suspends the account; None for never."""


@dataclass(frozen=True, slots=True)
class SimulatedOrganization:
    """All accounts, who manages them, and from which of them the auditor calls."""

    organization_id: str
    management_account_id: str
    caller_account_id: str
    accounts: tuple[SimulatedAccount, ...]
    partition: str = "aws"
    role_name: str = "CredentialAudit"
    external_id: str | None = None
    """Demanded by the audit role's trust policy; None demands nothing."""
    lists_state: bool = True
    lists_status: bool = True
    sends_paths: bool = False
    """Whether accounts come with their `Paths`, as AWS sends them since 2026-03-31."""
    caller_may_list: bool = True
    """When False, only sessions of `OrganizationReader` in the management account may list."""

    def __post_init__(self) -> None:
        """Refuse an organization in which an account is missing or listed twice."""
        ids = [account.account_id for account in self.accounts]
        if len(set(ids)) != len(ids):
            raise ValueError("an account id occurs twice")
        if not {self.management_account_id, self.caller_account_id} <= set(ids):
            raise ValueError("the management account and the caller's account must be among the accounts")


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong on the way, beyond the behaviour of single accounts."""

    latency_seconds: float = 0.0
    report_delay_seconds: float = 0.0
    fault_rate: float = 0.0
    """Share of the calls, 0 to 1, that a fault of one of the `kinds` befalls."""
    seed: int = 0
    max_faults_per_account: int | None = None
    """Faults after which calls about one account succeed; None for no bound."""
    kinds: tuple[FaultKind, ...] = tuple(FaultKind)
    """The kinds to draw among; each befalls only calls that it applies to."""
    slow_seconds: float = 1.0
    """How long a slow answer takes, beyond the latency."""
    stuck_seconds: float = 1.0
    """Age from which GenerateCredentialReport replaces a stuck report."""
    quotas: Mapping[str, tuple[float, int]] = field(default_factory=dict)
    """(calls a second, burst) of actions such as `sts:AssumeRole`; those of `sts:AssumeRole+GetCallerIdentity`
    share one bucket. Over all callers, except for IAM's: theirs are those of each account."""
    session_seconds: float | None = None
    """Age at which role sessions really end, whatever Expiration was told; None for the one that was told."""
    clock_skew_seconds: float = 0.0
    """How far AWS's clock is ahead of this machine's."""
