"""Questions that are cheaper to answer together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

Question = TypeVar("Question")
Answer = TypeVar("Answer")


class Batch(Generic[Question, Answer]):
    """Collects the questions of many tasks for a moment, and answers them in one call."""

    def __init__(self, answer: Callable[[list[Question]], list[Answer]], *, seconds: float, most: int) -> None:
        self._answer = answer
        self._seconds = seconds
        self._most = most
        self._waiting: list[tuple[Question, asyncio.Future[Answer]]] = []
        self._timer: asyncio.TimerHandle | None = None

    async def ask(self, question: Question) -> Answer:
        """The answer to one question, `seconds` after the first of its batch was asked, or once there are `most`."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append((question, future))
        if len(self._waiting) >= self._most:
            self._flush()
        elif self._timer is None:
            self._timer = loop.call_later(self._seconds, self._flush)
        return await future

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        asked = [(question, future) for question, future in self._waiting if not future.done()]
        self._waiting = []
        try:
            answers = self._answer([question for question, _ in asked])
        except Exception as error:  # it goes to those who asked
            for _, future in asked:
                future.set_exception(error)
            return
        for (_, future), answer in zip(asked, answers, strict=True):
            future.set_result(answer)
