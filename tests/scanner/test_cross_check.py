"""The users of each account counted a second time, over the wire and in the table of what is said of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest

from scanner.collect import Collector
from scanner.cross_check import Root, Summary, compare, from_json, roots_of, to_json
from scanner.errors import AccessDenied, Throttled
from scanner.member import Member
from scanner.models import Assessment, Outcome
from scanner.resume import Earlier
from scanner.simulator import Behaviour, Faults, SimulatedRoot, SimulatedUser, Simulator

from .scanning import NOW, Scan, outcomes
from .simulation import MEMBER, key, member, organization

ASKED = datetime(2026, 11, 23, 6, 15, tzinfo=UTC)
USERS = tuple(SimulatedUser(f"user-{number}", NOW - timedelta(days=9)) for number in range(3))
GENERATED = ASKED - timedelta(hours=3, minutes=20)


def of_account(assessment: Assessment, account_id: str = MEMBER) -> dict[str, Any]:
    accounts = assessment.accounts
    return dict(accounts[accounts["account_id"].eq(account_id)].iloc[0])


def test_every_account_is_asked_and_what_agrees_matches(scanned: Scan) -> None:
    simulator = Simulator(organization(member(users=USERS)))
    folder, assessment = scanned(simulator)
    assert assessment.accounts["cross_check"].eq("matches").all()
    assert assessment.accounts["user_difference"].eq(0).all()
    assert of_account(assessment)["iam_users"] == 3
    assert simulator.counts["iam", "GetAccountSummary"] == 3
    kept = json.loads((folder.path / "evidence" / f"{MEMBER}.summary.json").read_text())
    assert kept["summary"]["Users"] == 3
    assert kept["error"] is None
    entry = folder.read_ledger()[MEMBER]
    assert len(entry.request_ids) == entry.attempts == 4


def test_a_young_report_that_lists_fewer_users_is_malformed(scanned: Scan) -> None:
    simulator = Simulator(organization(member(users=USERS, users_created_since_report=2)))
    folder, assessment = scanned(simulator)
    assert outcomes(assessment)[MEMBER] == Outcome.REPORT_MALFORMED
    assert "fewer users than IAM has, 3 of 5" in folder.read_ledger()[MEMBER].reason
    assert not assessment.run.is_complete
    assert simulator.counts["iam", "GetAccountSummary"] == 4, "the report was fetched and counted once more"


def test_an_older_report_that_lists_fewer_users_says_so(scanned: Scan) -> None:
    moments = iter([datetime.now(UTC) - timedelta(hours=2)] * 10_000)
    simulator = Simulator(
        organization(member(users=USERS, users_created_since_report=2)),
        Faults(clock_skew_seconds=0),
        clock=lambda: next(moments),
    )
    _, assessment = scanned(simulator)
    told = of_account(assessment)
    assert (told["outcome"], told["users"], told["iam_users"], told["user_difference"]) == ("scanned", 4, 5, -2)
    assert told["cross_check"].startswith("2 users fewer in the report than in IAM; the report is 2 h 0 min older")


def test_an_account_that_refuses_the_summary_is_scanned_and_not_cross_checked(scanned: Scan) -> None:
    simulator = Simulator(organization(member(users=USERS, behaviour=Behaviour.SUMMARY_DENIED)))
    _, assessment = scanned(simulator)
    told = of_account(assessment)
    assert told["outcome"] == "scanned"
    assert pd.isna(told["iam_users"])
    assert pd.isna(told["user_difference"])
    assert told["cross_check"].startswith("not cross-checked: iam:GetAccountSummary: AccessDenied")


def test_it_can_be_turned_off_and_then_nobody_is_asked(scanned: Scan) -> None:
    simulator = Simulator(organization(member(users=USERS, users_created_since_report=2)))
    folder, assessment = scanned(simulator, scan={"cross_check": False})
    assert simulator.counts["iam", "GetAccountSummary"] == 0
    assert assessment.accounts["cross_check"].eq("off").all()
    (statement,) = assessment.run.session_policy["Statement"]
    assert "iam:GetAccountSummary" not in statement["Action"]
    assert not (folder.path / "evidence" / f"{MEMBER}.summary.json").exists()


def test_what_root_has_is_compared_too(scanned: Scan) -> None:
    root = SimulatedRoot(keys=(key(1, created=NOW - timedelta(days=9)),), mfa_active=True)
    folder, assessment = scanned(Simulator(organization(member(root=root))))
    assert of_account(assessment)["cross_check"] == "matches"
    kept = folder.read_summary(MEMBER)
    kept["summary"] |= {"AccountAccessKeysPresent": 0, "AccountMFAEnabled": 0}
    root_as_reported = roots_of(assessment.credentials)[MEMBER]
    assert root_as_reported == Root(has_keys=True, has_mfa=True)
    words = compare(from_json(kept), 0, GENERATED, root_as_reported)
    assert words.split("; ") == [
        "IAM says that root has no access keys, the report otherwise",
        "IAM says that root has no MFA, the report otherwise",
    ]


COUNTS = {"Users": 3, "AccountAccessKeysPresent": 0, "AccountMFAEnabled": 0}
ROWS = [
    (Summary(ASKED, COUNTS), 3, "matches"),
    (Summary(ASKED, COUNTS), 2, "1 user fewer in the report than in IAM; the report is 3 h 20 min older"),
    (Summary(ASKED, COUNTS), 5, "2 users more in the report than in IAM; the report is 3 h 20 min older"),
    (Summary(ASKED, None, "iam:GetAccountSummary: Throttling"), 3, "not cross-checked: iam:GetAccountSummary"),
    (None, 3, "not cross-checked: IAM's answer is not there"),
]


@pytest.mark.parametrize(("summary", "listed", "words"), ROWS)
def test_words(summary: Summary | None, listed: int, words: str) -> None:
    assert compare(summary, listed, GENERATED, Root(has_keys=False, has_mfa=None)).startswith(words)


@pytest.mark.parametrize(
    ("listed", "age", "lacks"),
    [(2, 0, True), (2, 59, True), (2, 60, False), (3, 0, False), (4, 0, False), (2, -30, True)],
)
def test_only_a_report_younger_than_a_minute_cannot_be_explained(listed: int, age: int, lacks: bool) -> None:
    assert Summary(ASKED, {"Users": 3}).lacks_users(listed, ASKED - timedelta(seconds=age)) is lacks


def test_what_is_kept_comes_back() -> None:
    for summary in (
        Summary(ASKED, {"Users": 3, "AccountAccessKeysPresent": 0, "AccountMFAEnabled": 1}),
        Summary(ASKED, None, "refused"),
    ):
        assert from_json(to_json(summary) | {"asked": ASKED.isoformat()}) == summary


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"asked": "soon", "summary": None, "error": None},
        {"asked": "2026-11-23T06:15:00Z", "summary": {"Users": "many"}, "error": None},
        {"asked": "2026-11-23T06:15:00Z", "summary": {"Users": 1}, "error": None},
        {"asked": "2026-11-23T06:15:00Z", "summary": None, "error": 1},
    ],
)
def test_what_is_not_as_we_write_it_is_refused(content: dict[str, Any]) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        from_json(content)


def test_what_a_first_answer_found_holds_where_the_second_is_refused(
    scanned: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([{"Users": 5, "AccountAccessKeysPresent": 0, "AccountMFAEnabled": 0}])

    async def summary(asked: Member) -> dict[str, int]:
        if asked.account_id != MEMBER:
            return {"Users": 0, "AccountAccessKeysPresent": 0, "AccountMFAEnabled": 0}
        try:
            return next(answers)
        except StopIteration:
            raise AccessDenied("iam:GetAccountSummary", "AccessDenied", "no") from None

    monkeypatch.setattr("scanner.collect.fetch_summary", summary)
    folder, assessment = scanned(Simulator(organization(member(users=USERS))))
    assert outcomes(assessment)[MEMBER] == Outcome.REPORT_MALFORMED
    assert "3 of 5" in folder.read_ledger()[MEMBER].reason


def test_a_resumed_run_takes_a_sound_summary_with_the_report_and_no_other(scanned: Scan) -> None:
    folder, _ = scanned(Simulator(organization(member(users=USERS))))
    earlier = Earlier(reports={MEMBER: [(folder, folder.read_ledger()[MEMBER])]})
    kept = folder.read_summary(MEMBER)
    taken = earlier.report_of(MEMBER)
    assert taken is not None
    assert taken.summary == kept
    (folder.path / "evidence" / f"{MEMBER}.summary.json").write_text('{"asked": "soon"}')
    taken = earlier.report_of(MEMBER)
    assert taken is not None
    assert taken.summary == {}


def test_a_report_without_a_root_row_does_not_match() -> None:
    assert compare(Summary(ASKED, COUNTS), 3, GENERATED, None) == "the report has no row of the root user"


def test_asking_again_does_not_make_a_young_report_old(scanned: Scan, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second count comes a minute later, when the report's age alone could explain what it lacks."""
    lacks = iter([True, False])
    monkeypatch.setattr(Summary, "lacks_users", lambda *_: next(lacks, False))
    simulator = Simulator(organization(member(users=USERS, users_created_since_report=2)))
    monkeypatch.setattr("scanner.collect.count_iam_users", lambda *_: 0)
    _, assessment = scanned(simulator, organization={"include_accounts": [MEMBER]})
    assert outcomes(assessment)[MEMBER] == Outcome.REPORT_MALFORMED


def test_an_account_whose_second_fetch_fails_is_not_scanned(scanned: Scan, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch, calls = Collector._fetch, []

    async def once(self: Any, *arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) > 1:
            raise Throttled("iam:GetCredentialReport", "Throttling", "Rate exceeded")
        return await fetch(self, *arguments)

    monkeypatch.setattr(Collector, "_fetch", once)
    simulator = Simulator(organization(member(users=USERS, users_created_since_report=2)))
    _, assessment = scanned(simulator, organization={"include_accounts": [MEMBER]})
    assert outcomes(assessment)[MEMBER] == Outcome.ERROR
