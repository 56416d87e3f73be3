"""Which calls fail on the way, decided by a seed."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass

from .model import Faults
from .wire import AwsError, Call


@dataclass(frozen=True, slots=True)
class Fault:
    """One way for a call to fail; without a code, the connection is reset once the call was carried out."""

    code: str = ""
    message: str = ""
    status: int = 0

    def error(self) -> AwsError:
        """Return the answer that reports the fault."""
        return AwsError(self.code, self.message, self.status)


COMMON_FAULTS = (
    Fault("Throttling", "Rate exceeded", 400),
    Fault("ServiceFailure", "The request processing has failed because of an unknown error.", 500),
    Fault("ServiceUnavailable", "The service is temporarily unable to handle the request.", 503),
    Fault(),
)
GENERATE_FAULTS = (*COMMON_FAULTS, Fault("LimitExceeded", "Cannot exceed quota for credential reports", 409))


class FaultInjector:
    """Draws the faults; the nth call of one kind about one account always has the same fate."""

    def __init__(self, faults: Faults) -> None:
        """Begin with no call seen."""
        self._faults = faults
        self._calls: Counter[tuple[str, str]] = Counter()
        self._injected: Counter[str] = Counter()

    def draw(self, call: Call, account_id: str) -> Fault | None:
        """Return the fault of this call about the account, if it has one."""
        if self._faults.fault_rate <= 0:
            return None
        self._calls[account_id, call.action] += 1
        bound = self._faults.max_faults_per_account
        if bound is not None and self._injected[account_id] >= bound:
            return None
        # One generator a call: the order in which concurrent calls arrive must not matter.
        nth = self._calls[account_id, call.action]
        generator = random.Random(f"{self._faults.seed}/{account_id}/{call.action}/{nth}")
        if generator.random() >= self._faults.fault_rate:
            return None
        self._injected[account_id] += 1
        return generator.choice(GENERATE_FAULTS if call.action == "GenerateCredentialReport" else COMMON_FAULTS)
