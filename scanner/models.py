"""The words of the project as types. Everything imports this; it imports nothing of ours."""

from __future__ import annotations

from dataclasses import dataclass
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

    access_key_max_age: timedelta


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
    limits: Limits
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """Everything the reports are written from; a pure function of the evidence, the limits and `as_of`.

    `accounts`, `credentials` and `findings` are frames with the columns of accounts.csv, credentials.csv and
    findings.csv; `credentials` also carries one verdict column per check (`verdict:CHECK-ID`).
    """

    run: Run
    accounts: pd.DataFrame
    credentials: pd.DataFrame
    findings: pd.DataFrame
    checks: tuple[CheckSummary, ...]
