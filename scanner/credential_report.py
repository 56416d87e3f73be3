"""One account's credential report: have it generated, wait for it, fetch it. And the access keys of named users."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from datetime import datetime

from scanner.errors import ReportMissing, ReportNotReady
from scanner.member import Member

FIRST_WAIT_SECONDS = 2.0
"""Before anything is known of this run's reports."""

LEAST_FIRST_WAIT_SECONDS = 0.5

SCOUTS = 0.03
"""Share of the accounts that ask early, to find out whether reports are ready sooner than expected."""

LEAST_WAIT_SECONDS = 1.0
"""Before the second question and those after it."""

WAIT_CAP_SECONDS = 30.0

STARTED, COMPLETE = "STARTED", "COMPLETE"
"""States that GenerateCredentialReport answers; the third is INPROGRESS."""

QUESTIONS = 2
"""For one generation, before another is asked for."""


@dataclass(frozen=True, slots=True)
class CredentialReport:
    """A report as AWS sent it."""

    content: bytes
    generated: datetime


@dataclass(frozen=True, slots=True)
class AccessKey:
    """One answer of ListAccessKeys."""

    key_id: str
    status: str
    """Active, Inactive or Expired."""
    created: datetime


class ReportPacing:
    """How long to wait before a report is first asked for, learned from the reports of this run.

    AWS tells no duration. Asking early costs a request and finds nothing; asking late costs time.
    """

    def __init__(self) -> None:
        self._expected = FIRST_WAIT_SECONDS

    def first_wait(self) -> float:
        """Seconds from GenerateCredentialReport to the first GetCredentialReport; a few accounts try with less."""
        if random.random() < SCOUTS:
            return self._expected * 0.85
        return self._expected * random.uniform(1.1, 1.2)

    def was_ready_after(self, seconds: float, *, first_wait: float, at_first: bool) -> None:
        """Learn. Many accounts wait at once, so what one of them shows must not be counted again for the next."""
        if at_first:
            self._expected = max(LEAST_FIRST_WAIT_SECONDS, min(self._expected, first_wait))
        elif first_wait >= self._expected:
            self._expected += 0.2 * (min(seconds, WAIT_CAP_SECONDS) - self._expected)


async def fetch_report(member: Member, pacing: ReportPacing, oldest: datetime) -> CredentialReport:
    """Generate, wait and fetch, for as long as the caller's deadline lets it. A task that waits here holds no slot.

    A report that is gone, or was generated before `oldest`, is generated anew: AWS reuses one for four hours only.
    So is one that does not get ready, in case its generation hangs; of one that is under way AWS only says so.
    """
    is_there = await _generate(member) == COMPLETE
    started = time.monotonic()
    wait = first_wait = 0.0 if is_there else pacing.first_wait()
    generation, questions = 1, 0
    while True:
        await asyncio.sleep(wait)
        questions += 1
        is_lost = True
        try:
            answer = await member.call("iam:GetCredentialReport")
            if answer["GeneratedTime"] >= oldest:
                if not is_there and generation == 1:
                    waited = time.monotonic() - started
                    pacing.was_ready_after(waited, first_wait=first_wait, at_first=questions == 1)
                return CredentialReport(answer["Content"], answer["GeneratedTime"])
        except ReportNotReady:
            is_lost = questions % QUESTIONS == 0
        except ReportMissing:
            pass
        wait = min(WAIT_CAP_SECONDS, max(LEAST_WAIT_SECONDS, wait * (0.5 if questions == 1 else 1.5)))
        if is_lost and await _generate(member) == STARTED:
            generation, questions = generation + 1, 0
            wait = min(WAIT_CAP_SECONDS, pacing.first_wait() * max(1.0, 1.5 ** (generation - 3)))


async def _generate(member: Member) -> str:
    """Start a report; AWS says whether it does, already is at it, or has one of the last four hours."""
    answer = await member.call("iam:GenerateCredentialReport")
    return str(answer["State"])


async def fetch_summary(member: Member) -> dict[str, int]:
    """What IAM counts in the account: Users, AccountMFAEnabled and so on."""
    answer = await member.call("iam:GetAccountSummary")
    return dict(answer["SummaryMap"])


async def list_access_keys(member: Member, user: str) -> list[AccessKey]:
    """The keys a user has now; raises NotFound where the user is gone."""
    keys: list[AccessKey] = []
    marker: dict[str, str] = {}
    while True:
        answer = await member.call("iam:ListAccessKeys", {"UserName": user, **marker})
        keys += [AccessKey(raw["AccessKeyId"], raw["Status"], raw["CreateDate"]) for raw in answer["AccessKeyMetadata"]]
        if not answer.get("IsTruncated"):
            return keys
        marker = {"Marker": answer["Marker"]}
