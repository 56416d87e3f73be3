"""A ready-made organization as large as a benchmark asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from .model import SimulatedAccount, SimulatedKey, SimulatedOrganization, SimulatedRoot, SimulatedUser

BENCHMARK_OUS: tuple[tuple[str, ...], ...] = (("Security",), ("Prod",), ("Workloads", "EU"))
"""Four units in all, one of them nested."""

_ROOT = SimulatedRoot()
_FIVE_DAYS = timedelta(5)
_LETTERS = str.maketrans("0123456789", "ABCDEFGHIJ")


class LazyUsers(Sequence[SimulatedUser]):
    """Users that are made each time they are asked for: fifty thousand accounts' would fill the memory."""

    __slots__ = ("_count", "_make")

    def __init__(self, count: int, make: Callable[[], tuple[SimulatedUser, ...]]) -> None:
        """Keep how many there are and how they are made."""
        self._count, self._make = count, make

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        return self._make()[index]

    def __iter__(self) -> Iterator[SimulatedUser]:
        return iter(self._make())


def benchmark_organization(
    accounts: int, users_per_account: int, now: datetime, failing_share: float = 0.0
) -> SimulatedOrganization:
    """Return that many normal accounts; `failing_share` of all users have a key older than 90 days."""
    if accounts < 1 or users_per_account < 0 or not 0 <= failing_share <= 1:
        raise ValueError("needs an account, no negative number of users, and a share between 0 and 1")
    moment = now.replace(microsecond=0)
    listed = tuple(_account(number, users_per_account, moment, failing_share) for number in range(accounts))
    return SimulatedOrganization(
        organization_id="o-benchmark01",
        management_account_id=listed[0].account_id,
        caller_account_id=listed[min(1, accounts - 1)].account_id,
        accounts=listed,
    )


def _account(number: int, users: int, now: datetime, failing_share: float) -> SimulatedAccount:
    account_id = f"{100_000_000_000 + number}"
    return SimulatedAccount(
        account_id=account_id,
        name=f"benchmark-{number:05d}",
        email=f"aws+{account_id}@example.com",
        ou_path=BENCHMARK_OUS[number % len(BENCHMARK_OUS)],
        users=LazyUsers(users, partial(_users, number * users, users, now, failing_share)),
        root=_ROOT,
    )


def _users(first: int, count: int, now: datetime, failing_share: float) -> tuple[SimulatedUser, ...]:
    yesterday = now - timedelta(1)
    return tuple(
        _user(number, first + number, now, yesterday, is_failing=_is_failing(first + number, failing_share))
        for number in range(count)
    )


def _is_failing(position: int, share: float) -> bool:
    # Spreads the failing users evenly over all positions.
    return int((position + 1) * share) > int(position * share)


def _user(number: int, position: int, now: datetime, yesterday: datetime, is_failing: bool) -> SimulatedUser:
    days = 120 + number if is_failing else 5 + number % 80
    # Odd hours and seconds, as real keys have them.
    created = now - timedelta(days, 7200 + days % 60 * 60 + days % 59)
    has_password = number % 2 == 0
    key_id = f"AKIAEXAMPLE{f'{position:09d}'.translate(_LETTERS)}"
    return SimulatedUser(
        f"user-{number:05d}",
        created=created - _FIVE_DAYS,
        password_enabled=has_password,
        password_last_used=yesterday if has_password else None,
        mfa_active=has_password,
        keys=(SimulatedKey(key_id, created, last_used=yesterday),),
    )
