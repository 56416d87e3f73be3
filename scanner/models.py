"""The words of the project as types. Everything imports this; it imports nothing of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


class Outcome(StrEnum):
    """What happened to one account of the organization in one run."""

    SCANNED = "scanned"
    NOT_ACTIVE = "not_active"
    EXCLUDED = "excluded"
    ACCESS_DENIED = "access_denied"
    REPORT_DENIED = "report_denied"
    REPORT_TIMEOUT = "report_timeout"
    REPORT_MALFORMED = "report_malformed"
    ERROR = "error"
    INTERRUPTED = "interrupted"

    @property
    def is_gap(self) -> bool:
        """Whether an account with this outcome makes the run incomplete."""
        return self not in (Outcome.SCANNED, Outcome.NOT_ACTIVE, Outcome.EXCLUDED)


class Stop(StrEnum):
    """What ended the collecting before every account had its turn."""

    SIGNAL = "signal"
    DEADLINE = "deadline"
    CREDENTIALS = "credentials"


class Verdict(StrEnum):
    """What a check says of one credential."""

    PASS = "PASS"
    FAIL = "FAIL"
    EXEMPT = "EXEMPT"
    UNKNOWN = "UNKNOWN"


class Severity(StrEnum):
    """How much a failing check matters; declared from least to most."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for low to 3 for critical."""
        return list(Severity).index(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One account as AWS Organizations lists it. Name, e-mail and OU names are other people's text."""

    account_id: str
    """12 digits."""
    name: str
    email: str
    state: str
    """AWS's `State`, or the older `Status` where `State` is not sent."""
    ou_path: str = ""
    """`Root/Prod/Payments`; empty where the tree could not be read."""
    ou_ids: tuple[str, ...] = ()
    """Ids of the root and the OUs above the account, outermost first."""
    excluded_by: str = ""
    """The configuration rule that leaves this account out; empty where it is in scope."""

    @property
    def is_active(self) -> bool:
        """Whether a role could be assumed in it. A state that AWS adds later counts as active: it must not hide one."""
        return self.state not in ("PENDING_ACTIVATION", "SUSPENDED", "PENDING_CLOSURE", "CLOSED")

    @property
    def is_in_scope(self) -> bool:
        """Whether it is to be read."""
        return self.is_active and not self.excluded_by

    def stands_under(self, ou: str) -> bool:
        """Whether this OU, by id or path, is the account's or one above it."""
        return ou in self.ou_ids or self.ou_path == ou or self.ou_path.startswith(f"{ou}/")


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """What happened to one account: a line of ledger.jsonl."""

    account_id: str
    outcome: Outcome
    reason: str = ""
    """Why, for a person; may hold AWS's own message."""
    credentials: str = ""
    """`role` or `caller`: whose credentials read the account; empty where none did."""
    source_run: str = ""
    """The run whose requests fetched the report: this one, or the one it resumed; empty where there is no report."""
    report_generated: datetime | None = None
    """GeneratedTime of the report, UTC."""
    report_sha256: str = ""
    report_bytes: int = 0
    users: int = 0
    """Rows of the report, the root row included."""
    started: datetime | None = None
    finished: datetime | None = None
    attempts: int = 0
    """Requests sent for this account, retries included."""
    throttles: int = 0
    """Answers that asked to slow down."""
    request_ids: tuple[str, ...] = ()
    """AWS's request ids, in order: CloudTrail of the account has the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who ran the scan, from GetCallerIdentity."""

    account_id: str
    arn: str
    partition: str
    """aws, aws-us-gov, aws-cn …"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The thresholds that the checks decide by."""

    access_key_max_age: timedelta = timedelta(days=90)
    """An active access key that is older fails."""
    credential_max_unused: timedelta = timedelta(days=45)
    """A credential that was not used for so long, or longer, fails."""
    root_unused: timedelta = timedelta(days=90)
    """A root user that was used since fails."""
    access_key_setup_window: timedelta = timedelta(seconds=60)
    """An access key created within this of its user counts as created with it."""
    password_max_age: timedelta = timedelta(days=90)
    """A password that was changed longer ago fails."""
    inactive_access_key_max_age: timedelta = timedelta(days=30)
    """An inactive access key neither created nor used since fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """Limits and severities of the accounts below one OU; of several that hold, the one of the longest path wins."""

    ou: str
    """An OU id, or a path such as `Root/Prod`."""
    limits: Mapping[str, timedelta] = field(default_factory=dict)
    """The names of Limits that differ there."""
    severities: Mapping[str, Severity] = field(default_factory=dict)
    """Check id → severity, where it differs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exemption:
    """Findings that somebody accepted, until a day. Empty lists and patterns stand for all."""

    id: str
    checks: tuple[str, ...]
    accounts: tuple[str, ...] = ()
    ous: tuple[str, ...] = ()
    """OU ids or paths; an OU stands for all below it."""
    user: str = ""
    """The whole user name; `*` stands for any text."""
    arn: str = ""
    """The whole ARN; `*` stands for any text."""
    reason: str
    owner: str
    approver: str
    ticket: str
    starts: datetime | None = None
    """From when on it holds, UTC; None for always."""
    expires: datetime
    """The first moment it no longer holds, UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """All that decides what the evidence means, beside `as_of`: kept in run.json, so that it can be decided again."""

    limits: Limits = Limits()
    checks: tuple[str, ...] | None = None
    """The ids of the checks that are asked; None for the whole catalogue."""
    severities: Mapping[str, Severity] = field(default_factory=dict)
    """Check id → severity, where it is not the catalogue's."""
    overrides: tuple[Override, ...] = ()
    exemptions: tuple[Exemption, ...] = ()
    next_audit: timedelta = timedelta(days=90)
    """How far the forecast looks ahead of `as_of`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One scan: who ran it, over which organization, by which rules, and how far it came. The content of run.json."""

    run_id: str
    """`20261123T061500Z-o-a1b2c3d4e5`: UTC start and organization id; also the folder's name."""
    tool_version: str
    python_version: str
    organization_id: str
    management_account_id: str
    caller: Caller
    role_name: str
    external_id_used: bool
    session_name: str
    session_policy: dict[str, Any]
    organization_role_arn: str
    endpoints: dict[str, str]
    """Where each service's requests went: a stray AWS_ENDPOINT_URL shows here."""
    as_of: datetime
    """The moment ages are measured at, UTC, whole seconds."""
    rules: Rules
    parameters: dict[str, Any]
    """The configuration in force, as in config.toml."""
    started: datetime
    finished: datetime | None = None
    resumed_from: str = ""
    """The run whose evidence this one went on from; empty where it began from nothing."""
    stopped_by: Stop | None = None
    """None where the collecting came to its end."""
    notes: tuple[str, ...] = ()
    """What a reader must know about the coverage, such as an OU tree that could not be read."""
    counts: dict[str, int] | None = None
    """Accounts per outcome, and `listed`: their sum."""
    totals: dict[str, int] | None = None
    """Findings: those that fail by severity (low, medium, high, critical), EXEMPT and UNKNOWN."""

    @property
    def limits(self) -> Limits:
        """The limits where no override holds."""
        return self.rules.limits

    @property
    def interrupted(self) -> bool:
        """Whether the collecting was stopped."""
        return self.stopped_by is not None

    @property
    def is_complete(self) -> bool:
        """Whether every listed account was scanned, is not active, or is excluded by configuration."""
        counts = self.counts or {}
        gaps = sum(counts.get(outcome, 0) for outcome in Outcome if outcome.is_gap)
        return self.finished is not None and not self.interrupted and gaps == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """A requirement of a published framework that a check serves."""

    framework: str
    version: str
    number: str
    note: str = ""

    def __str__(self) -> str:
        return " ".join(part for part in (self.framework, self.version, self.number) if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSummary:
    """What reports say about a check: its definition and how many credentials met which verdict."""

    check_id: str
    title: str
    severity: Severity
    why: str
    controls: tuple[Control, ...]
    verdicts: dict[Verdict, int]
    population: str = "credentials"
    """What the check asks about, in the plural."""
    limits: tuple[str, ...] = ()
    """The names of the Limits it decides by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What differs from an earlier run."""

    old_run: str
    old_as_of: datetime
    findings: pd.DataFrame
    """One row per finding of either run, with CHANGE_COLUMNS."""
    accounts: pd.DataFrame
    """Accounts that joined, left, or were read in one of the two runs only: change, account_id, account_name, note."""


CHANGE_COLUMNS = (
    "change",  # new, reappeared, open, not_rechecked, resolved
    "account_id",
    "account_name",
    "ou_path",
    "user",
    "arn",
    "credential",
    "key_id",
    "check",
    "title",
    "severity",
    "verdict",  # of the new run; empty where it has no such finding
    "old_verdict",
    "first_seen",  # UTC; as_of of the first run that had it without a break
    "open_days",  # whole days from first_seen to the new run's as_of; to where it was last seen for the resolved
    "note",
)

EXEMPTION_COLUMNS = (
    "id",
    "state",  # live, expired, not yet in force
    "checks",
    "accounts",
    "ous",
    "user",
    "arn",
    "reason",
    "owner",
    "approver",
    "ticket",
    "starts",
    "expires",
    "covers",  # findings that are EXEMPT by it; of an expired one, those that it would cover
    "note",  # what its owner must see: matches nothing, expired, ends before the next audit
)

DUE_SOON_COLUMNS = (
    "account_id",
    "account_name",
    "email",
    "ou_path",
    "user",
    "arn",
    "credential",
    "key_id",
    "last_rotated",
    "age_days",
    "due_on",
    "days_left",
    "last_used",
)

TREND_COLUMNS = ("run_id", "as_of", "complete", "scanned", "critical", "high", "medium", "low", "EXEMPT", "UNKNOWN")


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """Everything the reports are written from; a pure function of the evidence, the rules and `as_of`.

    `accounts`, `credentials` and `findings` are frames with the columns of accounts.csv, credentials.csv and
    findings.csv; `credentials` also carries one verdict column per check (`verdict:CHECK-ID`).
    """

    run: Run
    accounts: pd.DataFrame
    credentials: pd.DataFrame
    findings: pd.DataFrame
    checks: tuple[CheckSummary, ...]
    exemptions: pd.DataFrame
    """With EXEMPTION_COLUMNS, in the order of their file."""
    due_soon: pd.DataFrame
    """Active access keys that pass and fall due before the next audit, with DUE_SOON_COLUMNS, the earliest first."""
    changes: Changes | None = None
    """Against the last complete run; None where there is none."""
    trend: pd.DataFrame | None = None
    """This run and those before it, the oldest first, with TREND_COLUMNS; None where it was not looked for."""
    reevaluated: datetime | None = None
    """When the evidence was evaluated again, offline; None for the reports that the scan itself wrote."""
