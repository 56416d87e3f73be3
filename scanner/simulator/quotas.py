"""AWS's request quotas: token buckets that refill with time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from .wire import AwsError, Call

DOCUMENTED_QUOTAS: Mapping[str, tuple[float, int]] = {
    "organizations:DescribeAccount": (20, 30),
    "organizations:DescribeOrganization": (1, 2),
    "organizations:ListAccounts": (8, 12),
    "organizations:ListOrganizationalUnitsForParent+ListAccountsForParent": (5, 8),
    "organizations:ListRoots": (1, 2),
    "sts:AssumeRole+GetCallerIdentity": (600, 600),
}
"""Those of one calling account; IAM's have no documented numbers.

docs.aws.amazon.com/organizations/latest/userguide/orgs_reference_limits,
docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas
"""


class TokenBucket:
    """A number of calls that may be made at once, and that grows back at a rate."""

    __slots__ = ("_burst", "_rate", "_since", "_tokens")

    def __init__(self, rate: float, burst: int, now: datetime) -> None:
        """Begin full."""
        self._rate, self._burst, self._tokens, self._since = rate, burst, float(burst), now

    def take(self, now: datetime) -> bool:
        """Take a token, if there is one."""
        # A clock that was set back has not taken any token away.
        elapsed = max(0.0, (now - self._since).total_seconds())
        self._tokens = min(float(self._burst), self._tokens + elapsed * self._rate)
        self._since = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Quotas:
    """The buckets of all actions that have a quota."""

    def __init__(self, quotas: Mapping[str, tuple[float, int]], clock: Callable[[], datetime]) -> None:
        """Begin with full buckets; each is made at its first call."""
        self.throttled = 0
        """Calls that were beyond a quota."""
        self._limits = {action: (name, *quota) for name, quota in quotas.items() for action in _actions(name)}
        self._buckets: dict[tuple[str, str], TokenBucket] = {}
        self._clock = clock

    def take(self, call: Call, account_id: str) -> None:
        """Raise Throttling when the call is beyond its quota, which in IAM is that of the account."""
        limit = self._limits.get((call.service, call.action))
        if limit is None:
            return
        name, rate, burst = limit
        now = self._clock()
        owner = (name, account_id if call.service == "iam" else "")
        bucket = self._buckets.get(owner)
        if bucket is None:
            bucket = self._buckets[owner] = TokenBucket(rate, burst, now)
        if not bucket.take(now):
            self.throttled += 1
            raise AwsError("Throttling", "Rate exceeded")


def _actions(name: str) -> list[tuple[str, str]]:
    service, separator, actions = name.partition(":")
    if not separator:
        raise ValueError(f"a quota is named SERVICE:ACTION or SERVICE:ACTION+ACTION, not {name!r}")
    return [(service, action) for action in actions.split("+")]
