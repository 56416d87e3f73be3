"""A ready-made organization with every case that an auditor meets."""

from __future__ import annotations

import base64
import hashlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from .model import (
    NO_INFORMATION,
    NOT_SUPPORTED,
    TRUE,
    Behaviour,
    SimulatedAccount,
    SimulatedKey,
    SimulatedOrganization,
    SimulatedRoot,
    SimulatedUser,
)

MANAGEMENT_ACCOUNT_ID = "111122223333"
CALLER_ACCOUNT_ID = "012345678901"
LIMIT = timedelta(days=90)
SECOND = timedelta(seconds=1)
EXAMPLES_ACCOUNT_ID = "444455556666"
"""The account whose users are each named for the case they show."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One line of the table of demo accounts."""

    account_id: str
    name: str
    ou: str = ""
    """Path of the unit, parts parted by slashes."""
    state: str = "ACTIVE"
    behaviour: Behaviour = Behaviour.NORMAL
    root: str = "without_credentials"
    """A key of `ROOTS`."""


PLANS = (
    Plan(MANAGEMENT_ACCOUNT_ID, "Example Corp", root="used_yesterday"),
    Plan(CALLER_ACCOUNT_ID, "security-audit", "Security"),
    Plan("012345678902", "log-archive", "Security"),
    Plan("012345678903", "security-tooling", "Security"),
    Plan("111122220001", "network-hub", "Infrastructure"),
    Plan("111122220002", "shared-services", "Infrastructure", root=NOT_SUPPORTED),
    Plan("111122220003", "backup-vault", "Infrastructure"),
    Plan("111122220004", "identity", "Infrastructure", root="protected"),
    Plan("222233330001", "payments-api-prod", "Prod/Payments"),
    Plan("222233330002", "payments-ledger-prod", "Prod/Payments", root="old_key"),
    Plan("222233330003", "payments-cards-prod", "Prod/Payments", behaviour=Behaviour.REPORT_DENIED_BY_SCP),
    Plan("222233330004", "data-lake-prod", "Prod/Data"),
    Plan("222233330005", "data-warehouse-prod", "Prod/Data"),
    Plan("222233330006", "data-ml-prod", "Prod/Data", root="never_used"),
    Plan("222233330007", "web-prod", "Prod"),
    Plan("222233330008", "mobile-api-prod", "Prod", root="inactive_key"),
    Plan("333344440001", "orders-eu", "Workloads/EU"),
    Plan("333344440002", "crm-eu", "Workloads/EU", root="without_mfa"),
    Plan("333344440003", "support-eu", "Workloads/EU", behaviour=Behaviour.ASSUME_DENIED),
    Plan("333344440004", "orders-us", "Workloads/US"),
    Plan("333344440005", "crm-us", "Workloads/US"),
    Plan("333344440006", "orders-tokyo", "Workloads/APAC/Japan"),
    Plan("555566660001", "web-staging", "Staging"),
    Plan("555566660002", "payments-staging", "Staging"),
    Plan("555566660003", "data-staging", "Staging"),
    Plan("555566660004", "web-dev", "Dev"),
    Plan("555566660005", "payments-dev", "Dev"),
    Plan("555566660006", "data-dev", "Dev"),
    Plan(EXAMPLES_ACCOUNT_ID, "key-age-examples", "Sandbox"),
    Plan("777788880001", "playground", "Sandbox"),
    Plan("777788880002", "playground", "Sandbox"),
    Plan("777788880003", '=HYPERLINK("http://example.com","click")', "Sandbox"),
    Plan("777788880004", "@SUM(1+1)", "Sandbox/@SUM(1+1)"),
    Plan("777788880005", "NA", "Sandbox"),
    Plan("777788880006", "legacy\timport\x07", "Sandbox"),
    Plan("000123456789", "intranet", "Workloads/Internal"),
    Plan("999900000001", "acquired-shop", "Quarantine", "SUSPENDED"),
    Plan("999900000002", "proof-of-concept", "Quarantine", "PENDING_CLOSURE"),
    Plan("999900000003", "retired-intranet", "Quarantine", "CLOSED"),
    Plan("999900000004", "incubator", "Sandbox", "PENDING_ACTIVATION"),
)

PEOPLE = (
    "alice.martin",
    "bruno.costa",
    "chloe.nguyen",
    "daniel.okafor",
    "elif.demir",
    "farid.haddad",
    "grace.kim",
    "hugo.lind",
    "ines.garcia",
    "jonas.weber",
    "keiko.sato",
    "liam.murphy",
    "maria.rossi",
    "nadia.petrova",
    "omar.said",
)
SERVICES = (
    "backup-agent",
    "ci-deployer",
    "cost-exporter",
    "dns-updater",
    "etl-loader",
    "log-shipper",
    "mail-sender",
    "metrics-scraper",
    "queue-worker",
    "terraform",
)
HOSTILE_USERS = ("+alice", "-bob", "=1+1", "@SUM.1", "doe,jane", "null", "nan")
"""Names that IAM allows and that spreadsheets, CSV files or data frames stumble over."""

AGES_DAYS = (3, 17, 40, 61, 75, 88, 89, 95, 120, 200, 410, 1500)


def key_id(*parts: str) -> str:
    """Make a plainly fake access key id that is always the same for the same words."""
    digest = hashlib.sha256("/".join(parts).encode()).digest()
    return f"AKIAEXAMPLE{base64.b32encode(digest[:10]).decode()[:9]}"


def demo_organization(now: datetime) -> SimulatedOrganization:
    """Return forty accounts that hold every case, the same for the same moment."""
    moment = now.replace(microsecond=0)
    return SimulatedOrganization(
        organization_id="o-exampleorg1",
        management_account_id=MANAGEMENT_ACCOUNT_ID,
        caller_account_id=CALLER_ACCOUNT_ID,
        accounts=tuple(_with_changes(_account(plan, moment)) for plan in PLANS),
    )


def _account(plan: Plan, now: datetime) -> SimulatedAccount:
    return SimulatedAccount(
        account_id=plan.account_id,
        name=plan.name,
        email=f"aws+{plan.account_id}@example.com",
        state=plan.state,
        ou_path=tuple(plan.ou.split("/")) if plan.ou else (),
        users=tuple(_users(plan.account_id, now)),
        root=ROOTS[plan.root](plan.account_id, now),
        behaviour=plan.behaviour,
    )


def _with_changes(account: SimulatedAccount) -> SimulatedAccount:
    """Let time pass between three reports and the look-up of their keys."""
    old = key_id(account.account_id, CHANGED_USER, "1")
    if account.name == "payments-api-prod":
        return replace(account, keys_deleted_since_report=frozenset({old}))
    if account.name == "data-lake-prod":
        return replace(account, inactive_since_report=frozenset({old}))
    if account.name == "web-prod":
        return replace(account, deleted_since_report=frozenset({CHANGED_USER}))
    return account


CHANGED_USER = "contractor"
CHANGED_ACCOUNT_IDS = ("222233330001", "222233330004", "222233330007")


def _users(account_id: str, now: datetime) -> Iterator[SimulatedUser]:
    generator = random.Random(account_id)
    people = generator.sample(PEOPLE, generator.randint(3, 9))
    services = generator.sample(SERVICES, generator.randint(2, 8))
    yield from (_person(account_id, name, generator, now) for name in people)
    yield from (_service_user(account_id, name, generator, now) for name in services)
    if account_id == EXAMPLES_ACCOUNT_ID:
        yield from _example_users(account_id, now)
    if account_id == "777788880003":
        yield from (_user(account_id, name, now, _aged(200)) for name in HOSTILE_USERS)
    if account_id == CALLER_ACCOUNT_ID:
        yield _user(account_id, "auditor", now, _aged(12, used_days_ago=0))
    if account_id in CHANGED_ACCOUNT_IDS:
        yield _user(account_id, CHANGED_USER, now, _aged(300, used_days_ago=30))


def _person(account_id: str, name: str, generator: random.Random, now: datetime) -> SimulatedUser:
    """Make someone who signs in, and perhaps has a key as well."""
    # Most are in order: a demo in which everything fails shows nothing.
    last_used = None if generator.random() < 0.1 else now - timedelta(days=generator.randint(0, 70), minutes=7)
    slots = [_aged(generator.choice(AGES_DAYS[:9]), used_days_ago=2)] if generator.random() < 0.4 else []
    return replace(
        _user(account_id, name, now, *slots),
        password_enabled=True,
        password_last_used=last_used,
        password_last_changed=now - timedelta(days=generator.randint(1, 300)),
        mfa_active=generator.random() < 0.85,
    )


def _service_user(account_id: str, name: str, generator: random.Random, now: datetime) -> SimulatedUser:
    """Make a program's user: one key, or two in the middle of a rotation."""
    age = generator.choice(AGES_DAYS if generator.random() < 0.5 else AGES_DAYS[:7])
    slots = [_aged(age, used_days_ago=min(age, generator.randint(0, 20)))]
    if generator.random() < 0.2:
        slots.append(_aged(1, used_days_ago=None))
    user = _user(account_id, name, now, *slots)
    return replace(user, path="/service/")


@dataclass(frozen=True, slots=True)
class Slot:
    """A key as its age and use, before it has an id."""

    age: timedelta
    active: bool = True
    used_days_ago: int | None = None


def _aged(days: int, *, active: bool = True, used_days_ago: int | None = None) -> Slot:
    # Odd hours and seconds, as real keys have them.
    return Slot(timedelta(days=days, hours=2, minutes=days % 60, seconds=days % 59), active, used_days_ago)


def _user(account_id: str, name: str, now: datetime, *slots: Slot | None) -> SimulatedUser:
    oldest = max((slot.age for slot in slots if slot is not None), default=timedelta(days=400))
    keys = tuple(
        None if slot is None else _key(key_id(account_id, name, str(number)), slot, now)
        for number, slot in enumerate(slots, start=1)
    )
    return SimulatedUser(name, created=now - oldest - timedelta(days=5), keys=keys)


def _key(identifier: str, slot: Slot, now: datetime) -> SimulatedKey:
    last_used = None if slot.used_days_ago is None else now - timedelta(days=slot.used_days_ago)
    return SimulatedKey(identifier, now - slot.age, slot.active, last_used)


EXAMPLE_SLOTS: dict[str, tuple[Slot | None, ...]] = {
    "young-key": (_aged(10, used_days_ago=1),),
    "exactly-90-days": (Slot(LIMIT, used_days_ago=1),),
    "one-second-over-90-days": (Slot(LIMIT + SECOND, used_days_ago=1),),
    "one-second-under-90-days": (Slot(LIMIT - SECOND, used_days_ago=1),),
    "old-key-120-days": (_aged(120, used_days_ago=3),),
    "ancient-key": (_aged(3650, used_days_ago=400),),
    "old-but-inactive": (_aged(500, active=False, used_days_ago=450),),
    "old-and-never-used": (_aged(150),),
    "both-keys-old": (_aged(130, used_days_ago=1), _aged(700, used_days_ago=90)),
    "second-slot-only": (None, _aged(140, used_days_ago=2)),
    "two-keys-in-one-second": (_aged(160, used_days_ago=4), _aged(160)),
    "old-inactive-young-active": (_aged(180, active=False, used_days_ago=91), _aged(5, used_days_ago=0)),
    "no-keys": (),
}


def _example_users(account_id: str, now: datetime) -> Iterator[SimulatedUser]:
    for name, slots in EXAMPLE_SLOTS.items():
        yield _user(account_id, name, now, *slots)


def _days_ago(now: datetime, days: int) -> str:
    return (now - timedelta(days=days)).isoformat(timespec="seconds")


def _root_without_credentials(_account_id: str, _now: datetime) -> SimulatedRoot:
    return SimulatedRoot()


def _root_protected(_account_id: str, now: datetime) -> SimulatedRoot:
    """Make a root user with a password and MFA, last used long ago."""
    return SimulatedRoot(
        password_enabled=TRUE,
        password_last_used=_days_ago(now, 700),
        password_last_changed=_days_ago(now, 701),
        mfa_active=True,
    )


def _root_not_supported(_account_id: str, now: datetime) -> SimulatedRoot:
    """Make the row of an older report, in which AWS told nothing of root's password."""
    return SimulatedRoot(
        password_enabled=NOT_SUPPORTED,
        password_last_used=_days_ago(now, 400),
        password_last_changed=NOT_SUPPORTED,
        mfa_active=True,
    )


def _root_used_yesterday(account_id: str, now: datetime) -> SimulatedRoot:
    return replace(_root_protected(account_id, now), password_last_used=_days_ago(now, 1))


def _root_never_used(account_id: str, now: datetime) -> SimulatedRoot:
    return replace(_root_protected(account_id, now), password_last_used=NO_INFORMATION)


def _root_without_mfa(account_id: str, now: datetime) -> SimulatedRoot:
    return replace(_root_protected(account_id, now), mfa_active=False)


def _root_old_key(account_id: str, now: datetime) -> SimulatedRoot:
    key = _key(key_id(account_id, "root", "1"), _aged(1200, used_days_ago=20), now)
    return replace(_root_protected(account_id, now), keys=(key,))


def _root_inactive_key(account_id: str, now: datetime) -> SimulatedRoot:
    key = _key(key_id(account_id, "root", "1"), _aged(2500, active=False), now)
    return replace(_root_protected(account_id, now), keys=(key,))


ROOTS: dict[str, Callable[[str, datetime], SimulatedRoot]] = {
    "without_credentials": _root_without_credentials,
    "protected": _root_protected,
    "not_supported": _root_not_supported,
    "used_yesterday": _root_used_yesterday,
    "never_used": _root_never_used,
    "without_mfa": _root_without_mfa,
    "old_key": _root_old_key,
    "inactive_key": _root_inactive_key,
}
