"""Questions of many tasks, answered together."""

from __future__ import annotations

import asyncio

import pytest

from scanner.batch import Batch

from .virtual_time import run


def test_questions_of_one_moment_are_answered_in_one_call_each_with_its_own_answer() -> None:
    calls: list[list[int]] = []

    def double(numbers: list[int]) -> list[int]:
        calls.append(numbers)
        return [number * 2 for number in numbers]

    async def ask() -> list[int]:
        batch = Batch(double, seconds=1, most=3)
        return await asyncio.gather(*(batch.ask(number) for number in range(5)))

    assert run(ask()) == [0, 2, 4, 6, 8]
    assert calls == [[0, 1, 2], [3, 4]]


def test_nobody_waits_longer_than_the_moment() -> None:
    async def ask() -> tuple[float, float]:
        batch = Batch(lambda questions: questions, seconds=1, most=10)
        await batch.ask("first")
        first = asyncio.get_running_loop().time()
        await batch.ask("second")
        return first, asyncio.get_running_loop().time()

    assert run(ask()) == pytest.approx((1.0, 2.0))


def test_one_who_is_cancelled_takes_no_answer_from_the_others() -> None:
    async def ask() -> str:
        batch = Batch(lambda questions: questions, seconds=1, most=10)
        gone = asyncio.create_task(batch.ask("gone"))
        stays = asyncio.create_task(batch.ask("stays"))
        await asyncio.sleep(0.5)
        gone.cancel()
        return await stays

    assert run(ask()) == "stays"


def test_a_failure_is_everybodys() -> None:
    def fail(_: list[str]) -> list[str]:
        raise ValueError("no answer")

    async def ask() -> list[object]:
        batch = Batch(fail, seconds=1, most=10)
        return await asyncio.gather(batch.ask("a"), batch.ask("b"), return_exceptions=True)

    assert [str(error) for error in run(ask())] == ["no answer", "no answer"]
