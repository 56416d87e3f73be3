"""What may end the collecting before its time: a signal, the run's deadline, credentials that have ended."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

from scanner.errors import CallerExpired
from scanner.models import Stop

Result = TypeVar("Result")


class Stopped(Exception):
    """The collecting was stopped; what there is by then is evaluated."""

    def __init__(self, by: Stop, why: str) -> None:
        super().__init__(why)
        self.by = by
        self.why = why
        """For a reader of the reports."""


async def until_stopped(work: Coroutine[Any, Any, Result], deadline: float) -> Result:
    """Run `work`; cancel it and raise Stopped at SIGINT or SIGTERM, at the deadline, or without credentials.

    `deadline` is by the loop's clock. A second signal has its usual effect at once.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
    signals = (signal.SIGINT, signal.SIGTERM)
    at_sigterm = signal.getsignal(signal.SIGTERM)
    stopped: Stopped | None = None

    def release() -> None:
        for number in signals:
            loop.remove_signal_handler(number)
        signal.signal(signal.SIGTERM, at_sigterm)

    def stop(reason: Stopped) -> None:
        nonlocal stopped
        stopped = stopped or reason
        release()
        task.cancel()

    for number in signals:
        loop.add_signal_handler(
            number, stop, Stopped(Stop.SIGNAL, f"the run was stopped by {signal.Signals(number).name}")
        )
    why = "the run's deadline passed ([scan] run_timeout_seconds)"
    timer = loop.call_at(deadline, stop, Stopped(Stop.DEADLINE, why))
    try:
        return await task
    except asyncio.CancelledError:
        if stopped is not None:
            raise stopped from None
        raise
    except CallerExpired as error:
        raise stopped or Stopped(Stop.CREDENTIALS, f"the caller's credentials ended: {error}") from None
    finally:
        timer.cancel()
        release()
