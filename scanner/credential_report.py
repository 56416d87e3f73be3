"""One account's credential report: have it generated, wait for it, fetch it. And the access keys of named users."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from datetime import datetime

from scanner.aws import Aws, CallRecord, RoleSession
from scanner.errors import ReportMissing, ReportNotReady

FIRST_WAIT_SECONDS = 2.0
"""Before anything is known of this run's reports."""

WAIT_CAP_SECONDS = 30.0


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
        """Seconds from GenerateCredentialReport to the first GetCredentialReport."""
        return self._expected * random.uniform(1.1, 1.2)

    def was_ready_after(self, seconds: float, *, at_first: bool) -> None:
        """Learn: ready at the first question may have been ready before; ready later was surely not."""
        if at_first:
            self._expected = max(0.5, self._expected * 0.995)
        else:
            self._expected += 0.2 * (min(seconds, WAIT_CAP_SECONDS) - self._expected)


async def fetch_report(
    aws: Aws,
    session: RoleSession,
    record: CallRecord,
    pacing: ReportPacing,
    oldest: datetime,
) -> CredentialReport:
    """Generate, wait and fetch, for as long as the caller's deadline lets it.

    A report that is gone, or was generated before `oldest`, is generated anew: AWS reuses one for four hours only.
    """
    wait = pacing.first_wait()
    while True:
        ready = await _generate(aws, session, record)
        try:
            report = await _wait_and_get(aws, session, record, pacing, ready=ready)
            if report.generated >= oldest:
                return report
        except ReportMissing:
            pass
        await asyncio.sleep(wait)
        wait = min(WAIT_CAP_SECONDS, wait * 2)


async def _generate(aws: Aws, session: RoleSession, record: CallRecord) -> bool:
    """Start a report; True when AWS has one of the last four hours already."""
    answer = await aws.call("iam:GenerateCredentialReport", record, session=session)
    return bool(answer.get("State") == "COMPLETE")


async def _wait_and_get(
    aws: Aws, session: RoleSession, record: CallRecord, pacing: ReportPacing, *, ready: bool
) -> CredentialReport:
    """Ask until the report is there. A task that waits here holds no slot."""
    started = time.monotonic()
    wait = 0.0 if ready else pacing.first_wait()
    first = True
    while True:
        await asyncio.sleep(wait)
        try:
            answer = await aws.call("iam:GetCredentialReport", record, session=session)
        except ReportNotReady:
            first = False
            wait = min(WAIT_CAP_SECONDS, max(1.0, wait * 1.5)) * random.uniform(0.8, 1.0)
            continue
        if not ready:
            pacing.was_ready_after(time.monotonic() - started, at_first=first)
        return CredentialReport(answer["Content"], answer["GeneratedTime"])


async def list_access_keys(aws: Aws, session: RoleSession, record: CallRecord, user: str) -> list[AccessKey]:
    """The keys a user has now; raises NotFound where the user is gone."""
    keys: list[AccessKey] = []
    marker: dict[str, str] = {}
    while True:
        answer = await aws.call("iam:ListAccessKeys", record, {"UserName": user, **marker}, session=session)
        keys += [AccessKey(raw["AccessKeyId"], raw["Status"], raw["CreateDate"]) for raw in answer["AccessKeyMetadata"]]
        if not answer.get("IsTruncated"):
            return keys
        marker = {"Marker": answer["Marker"]}
