"""How fast AWS is called: in the long run, at once, and after it has throttled."""

from __future__ import annotations

import asyncio

import pytest

from scanner.actions import CALLER_ACTIONS, MEMBER_ACTIONS
from scanner.config import RatesTable
from scanner.rates import WINDOW, Rate, rates_of_actions

from .virtual_time import run


def sent_at(rate: Rate, calls: int) -> list[float]:
    """When each of so many calls, all wanted at once, may be sent; in the order in which they came."""

    async def send() -> list[tuple[int, float]]:
        sent: list[tuple[int, float]] = []

        async def call(number: int) -> None:
            await rate.wait()
            sent.append((number, asyncio.get_running_loop().time()))

        await asyncio.gather(*(call(number) for number in range(calls)))
        return sent

    sent = run(send())
    assert [number for number, _ in sent] == list(range(calls)), "first come, first served"
    return [at for _, at in sent]


def answer(rate: Rate, throttles: int, windows: int = 1) -> None:
    for _ in range(windows):
        for number in range(WINDOW):
            rate.had_answer(throttled=number < throttles)


def test_a_burst_goes_at_once_and_the_rest_at_the_rate() -> None:
    at = sent_at(Rate(8, burst=12), 28)
    assert at[:12] == [0.0] * 12
    assert at[12:] == pytest.approx([number / 8 for number in range(1, 17)])


@pytest.mark.parametrize("calls_a_second", [1, 5, 8, 500, 10_000])
def test_no_second_has_more_calls_than_the_rate_and_its_burst(calls_a_second: int) -> None:
    burst = calls_a_second + 1
    at = sent_at(Rate(calls_a_second, burst), 4 * calls_a_second + burst)
    for first in range(len(at)):
        within = sum(1 for moment in at[first:] if moment < at[first] + 1 - 1e-6)
        assert within <= calls_a_second + burst
        if first > 50:
            break
    assert at[-1] == pytest.approx(4, abs=0.01)


def test_time_that_passes_unused_is_not_saved_beyond_the_burst() -> None:
    async def late() -> list[float]:
        rate = Rate(10, burst=2)
        await rate.wait()
        await asyncio.sleep(100)
        sent = []
        for _ in range(4):
            await rate.wait()
            sent.append(asyncio.get_running_loop().time() - 100)
        return sent

    assert run(late()) == pytest.approx([0, 0, 0.1, 0.2])


def test_a_waiter_that_is_cancelled_costs_the_others_nothing() -> None:
    async def cancel() -> float:
        rate = Rate(1, burst=1)
        await rate.wait()
        gone = asyncio.create_task(rate.wait())
        await asyncio.sleep(0.5)
        gone.cancel()
        await rate.wait()
        return asyncio.get_running_loop().time()

    assert run(cancel()) == pytest.approx(1.0)


def test_too_many_throttles_slow_a_rate_down_and_their_end_brings_it_back() -> None:
    rate = Rate(8, burst=12)
    answer(rate, throttles=10)
    assert rate.calls_a_second == pytest.approx(5.6)
    answer(rate, throttles=0)
    assert rate.calls_a_second == pytest.approx(6.4)
    answer(rate, throttles=0, windows=10)
    assert rate.calls_a_second == 8


def test_some_throttles_are_expected() -> None:
    rate = Rate(8, burst=12)
    answer(rate, throttles=5, windows=20)
    assert rate.calls_a_second == 8


def test_a_rate_never_stands_still() -> None:
    rate = Rate(8, burst=12)
    answer(rate, throttles=WINDOW, windows=100)
    assert rate.calls_a_second == 0.5


def test_a_slower_rate_is_heeded_by_those_who_wait_already() -> None:
    async def slow_down() -> float:
        rate = Rate(10, burst=1)
        waiting = [asyncio.create_task(rate.wait()) for _ in range(11)]
        await asyncio.sleep(0.05)
        answer(rate, throttles=WINDOW)
        await asyncio.gather(*waiting)
        return asyncio.get_running_loop().time()

    assert run(slow_down()) == pytest.approx(10 / 7)


def test_every_declared_action_has_a_rate_and_shares_it_where_aws_counts_together() -> None:
    rates = rates_of_actions(RatesTable())
    assert set(rates) == {*CALLER_ACTIONS, *MEMBER_ACTIONS}
    shared = [
        {action for action, each in rates.items() if each is rate}
        for rate in {id(r): r for r in rates.values()}.values()
    ]
    assert [group for group in shared if len(group) > 1] == [
        {"sts:GetCallerIdentity", "sts:AssumeRole"},
        {"organizations:ListOrganizationalUnitsForParent", "organizations:ListAccountsForParent"},
    ]
    assert rates["organizations:ListAccounts"].calls_a_second == 8
    assert rates["organizations:ListRoots"].calls_a_second == rates["organizations:DescribeOrganization"].calls_a_second
