"""Credentials that are replaced before they end, and when AWS no longer takes them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from scanner.signing import RenewableCredentials, RoleSession, TaskCredentials


def session(number: int, **life: float) -> RoleSession:
    return RoleSession(f"ASIAIOSFODNN7EXAMPL{number}", "secret", "token", datetime.now(UTC) + timedelta(**life))


def renewable(sessions: Iterator[RoleSession]) -> RenewableCredentials:
    async def load() -> RoleSession:
        return next(sessions)

    return RenewableCredentials(load)


async def key_of(credentials: RenewableCredentials) -> str:
    return str((await credentials.get_frozen_credentials()).access_key)


def test_a_session_is_replaced_before_it_ends_and_not_sooner() -> None:
    async def ask() -> list[str]:
        credentials = renewable(iter([session(1, minutes=1), session(2, hours=1)]))
        return [await key_of(credentials) for _ in range(3)]

    assert asyncio.run(ask()) == [f"ASIAIOSFODNN7EXAMPL{number}" for number in (1, 2, 2)]


def test_what_aws_refused_is_replaced_once_however_many_tasks_were_refused() -> None:
    async def ask() -> tuple[list[bool], str]:
        credentials = renewable(iter([session(1, hours=1), session(2, hours=1)]))
        refused = await credentials.get_frozen_credentials()
        renewed = await asyncio.gather(*(credentials.renew(refused) for _ in range(10)))
        return renewed, await key_of(credentials)

    assert asyncio.run(ask()) == ([True] * 10, "ASIAIOSFODNN7EXAMPL2")


def test_what_was_found_anew_signs_nothing_until_it_has_passed_its_check_once() -> None:
    async def ask() -> tuple[list[str], str]:
        sessions = iter([session(1, hours=1), session(2, hours=1)])
        seen: list[str] = []

        async def load() -> RoleSession:
            return next(sessions)

        async def check(found: RoleSession) -> None:
            waiting = asyncio.create_task(key_of(credentials))
            await asyncio.sleep(0.05)
            seen.append(f"checked {found.access_key_id}, others have it: {waiting.done()}")

        credentials = RenewableCredentials(load, check)
        refused = await credentials.get_frozen_credentials()
        await asyncio.gather(*(credentials.renew(refused) for _ in range(10)))
        return seen, await key_of(credentials)

    assert asyncio.run(ask()) == (["checked ASIAIOSFODNN7EXAMPL2, others have it: False"], "ASIAIOSFODNN7EXAMPL2")


def test_what_fails_its_check_is_not_used() -> None:
    async def ask() -> str:
        async def load() -> RoleSession:
            return next(sessions)

        async def check(found: RoleSession) -> None:
            raise ValueError("somebody else's")

        sessions = iter([session(1, hours=1), session(2, hours=1)])
        credentials = RenewableCredentials(load, check)
        refused = await credentials.get_frozen_credentials()
        with pytest.raises(ValueError, match="somebody"):
            await credentials.renew(refused)
        return await key_of(credentials)

    assert asyncio.run(ask()) == "ASIAIOSFODNN7EXAMPL1"


def test_the_same_again_is_no_renewal() -> None:
    async def ask() -> bool:
        same = session(1, hours=1)
        credentials = renewable(iter([same, same]))
        return await credentials.renew(await credentials.get_frozen_credentials())

    assert asyncio.run(ask()) is False


def test_a_request_that_was_given_no_credentials_is_not_signed() -> None:
    with pytest.raises(AssertionError, match="whose credentials"):
        asyncio.run(TaskCredentials().get_frozen_credentials())
