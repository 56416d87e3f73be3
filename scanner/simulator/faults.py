"""Which calls something goes wrong with, decided by a seed."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass

from .model import FaultKind, Faults
from .wire import Call

ERRORS = {
    FaultKind.THROTTLING: ("Throttling", "Rate exceeded", 400),
    FaultKind.LIMIT_EXCEEDED: ("LimitExceeded", "Cannot exceed quota for credential reports", 409),
    FaultKind.SERVER_ERROR: (
        "ServiceFailure",
        "The request processing has failed because of an unknown error.",
        500,
    ),
    FaultKind.UNAVAILABLE: ("ServiceUnavailable", "The service is temporarily unable to handle the request.", 503),
    FaultKind.EXPIRED_TOKEN: ("ExpiredToken", "The security token included in the request is expired", 403),
    FaultKind.EXPIRED_REPORT: ("ReportExpired", "The report has expired. Generate a new report.", 410),
}
"""The kinds that are answers in place of the action's own."""

_ONLY_ACTION = {
    FaultKind.LIMIT_EXCEEDED: "GenerateCredentialReport",
    FaultKind.STUCK_REPORT: "GenerateCredentialReport",
    FaultKind.MALFORMED_REPORT: "GetCredentialReport",
    FaultKind.EXPIRED_REPORT: "GetCredentialReport",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with one call, and the chance that decides how."""

    kind: FaultKind
    account_id: str
    chance: random.Random


class FaultInjector:
    """Draws the faults; the nth call of one kind about one account always has the same fate."""

    def __init__(self, faults: Faults) -> None:
        """Begin with no call seen."""
        self.counts: Counter[FaultKind] = Counter()
        """Faults that happened."""
        self._faults = faults
        self._calls: Counter[tuple[str, str]] = Counter()
        self._happened: Counter[str] = Counter()

    def draw(self, call: Call, account_id: str, is_session: bool) -> Fault | None:
        """Return the fault of this call about the account, if it is to have one."""
        if self._faults.fault_rate <= 0:
            return None
        self._calls[account_id, call.action] += 1
        bound = self._faults.max_faults_per_account
        if bound is not None and self._happened[account_id] >= bound:
            return None
        # One generator a call: the order in which concurrent calls arrive must not matter.
        nth = self._calls[account_id, call.action]
        chance = random.Random(f"{self._faults.seed}/{account_id}/{call.action}/{nth}")
        kinds = [kind for kind in self._faults.kinds if _applies(kind, call, is_session)]
        if not kinds or chance.random() >= self._faults.fault_rate:
            return None
        return Fault(chance.choice(kinds), account_id, chance)

    def record(self, fault: Fault) -> None:
        """Count a fault that happens: one that was drawn may find nothing to go wrong with."""
        self.counts[fault.kind] += 1
        self._happened[fault.account_id] += 1


def _applies(kind: FaultKind, call: Call, is_session: bool) -> bool:
    if kind is FaultKind.EXPIRED_TOKEN:
        return is_session
    return _ONLY_ACTION.get(kind, call.action) == call.action
