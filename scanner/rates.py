"""How fast each API of AWS is called: its documented rate and burst, and slower for as long as AWS asks for it.

AWS's numbers: https://docs.aws.amazon.com/organizations/latest/userguide/orgs_reference_limits.html
"""

from __future__ import annotations

import asyncio
import math

from scanner.config import RatesTable

WINDOW = 20
"""Answers after which a rate is thought over."""

EXPECTED_THROTTLES = 2
"""Of WINDOW answers. Others call these APIs too, so a few throttles are no sign that we are too fast."""

TOO_MANY_THROTTLES = 5
SLOW_DOWN = 0.7
SPEED_UP = 0.1
SLOWEST = 1 / 16
"""Of the rate that is configured."""

BURST = 1.5
"""AWS documents a burst of 12 beside 8 calls a second, of 8 beside 5, and of 2 beside 1."""


class Rate:
    """A token bucket: so many calls a second in the long run, and no more than `burst` at once.

    The rate falls while AWS throttles more than a quarter of the calls, and climbs back when it no longer does.
    """

    def __init__(self, calls_a_second: float, burst: int) -> None:
        self._full = self.calls_a_second = float(calls_a_second)
        self._burst = self._tokens = float(burst)
        self._filled_at = -math.inf
        self._turn = asyncio.Lock()
        self._answers = self._throttles = 0

    async def wait(self) -> None:
        """Return when the next call may be sent; calls are sent in the order in which they came to wait."""
        async with self._turn:
            self._fill()
            if self._tokens < 1:
                await asyncio.sleep((1 - self._tokens) / self.calls_a_second)
                self._fill()
            self._tokens -= 1

    def had_answer(self, *, throttled: bool) -> None:
        """Learn from an answer whether AWS can bear this rate."""
        self._answers += 1
        self._throttles += throttled
        if self._answers < WINDOW:
            return
        if self._throttles > TOO_MANY_THROTTLES:
            self.calls_a_second = max(self._full * SLOWEST, self.calls_a_second * SLOW_DOWN)
        elif self._throttles <= EXPECTED_THROTTLES:
            self.calls_a_second = min(self._full, self.calls_a_second + self._full * SPEED_UP)
        self._answers = self._throttles = 0

    def _fill(self) -> None:
        now = asyncio.get_running_loop().time()
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self.calls_a_second)
        self._filled_at = now


def rates_of_actions(table: RatesTable) -> dict[str, Rate]:
    """Each action that a scan calls, and its rate. Actions share one where AWS counts them together."""

    def documented(calls_a_second: int) -> Rate:
        return Rate(calls_a_second, math.ceil(calls_a_second * BURST))

    tree = documented(table.organizations)
    sts = Rate(table.sts, table.sts)
    return {
        "sts:GetCallerIdentity": sts,
        "sts:AssumeRole": sts,
        "organizations:DescribeOrganization": documented(table.describe_organization),
        "organizations:ListAccounts": documented(table.list_accounts),
        "organizations:DescribeAccount": documented(table.describe_account),
        "organizations:ListRoots": documented(table.list_roots),
        "organizations:ListOrganizationalUnitsForParent": tree,
        "organizations:ListAccountsForParent": tree,
        "iam:GenerateCredentialReport": Rate(table.iam, table.iam),
        "iam:GetCredentialReport": Rate(table.iam, table.iam),
        "iam:ListAccessKeys": Rate(table.iam, table.iam),
        "iam:GetAccountSummary": Rate(table.iam, table.iam),
    }
