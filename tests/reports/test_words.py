from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from reports.words import KEY_AGE_CHECK, OUTCOME_WORDS, coverage, limit_texts, plural, result, utc
from scanner.models import Caller, CheckSummary, Limits, Outcome, Rules, Run, Severity, Stop, Verdict

AS_OF = datetime(2026, 11, 23, 6, 15, tzinfo=UTC)
LIMITS = Limits(access_key_max_age=timedelta(days=90))


def run_with(*, stopped: bool = False, unfinished: bool = False, **outcomes: int) -> Run:
    counts = {str(outcome): outcomes.get(outcome, 0) for outcome in Outcome}
    return Run(
        run_id="20261123T061500Z-o-a1b2c3d4e5",
        tool_version="0.1.0",
        python_version="3.11.9",
        organization_id="o-a1b2c3d4e5",
        management_account_id="111122223333",
        caller=Caller(account_id="012345678901", arn="arn:aws:iam::012345678901:user/auditor", partition="aws"),
        role_name="CredentialAudit",
        external_id_used=False,
        session_name="credaudit",
        session_policy={},
        organization_role_arn="",
        endpoints={},
        as_of=AS_OF,
        rules=Rules(limits=LIMITS),
        parameters={},
        started=AS_OF,
        finished=None if unfinished else AS_OF,
        stopped_by=Stop.SIGNAL if stopped else None,
        counts={"listed": sum(counts.values()), **counts},
    )


def check_with(check_id: str, *verdicts: int) -> CheckSummary:
    return CheckSummary(
        check_id=check_id,
        title="No MFA",
        severity=Severity.LOW,
        why="",
        controls=(),
        verdicts=dict(zip(Verdict, verdicts, strict=True)),
    )


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (run_with(scanned=40), "COMPLETE: 40 accounts in scope, all assessed"),
        (run_with(scanned=1), "COMPLETE: 1 account in scope, all assessed"),
        (
            run_with(scanned=1_200, not_active=3, excluded=1_000),
            "COMPLETE: 1,200 accounts in scope, all assessed; 1,003 of 2,203 listed are not active or excluded",
        ),
        (run_with(not_active=1), "COMPLETE, but no account was in scope; 1 of 1 listed are not active or excluded"),
        (run_with(), "COMPLETE, but no account was in scope"),
        (
            run_with(scanned=34, not_active=4, access_denied=1, report_denied=1),
            "INCOMPLETE: 2 of 36 accounts in scope could not be assessed",
        ),
        (run_with(error=1), "INCOMPLETE: 1 of 1 account in scope could not be assessed"),
        (
            run_with(stopped=True, scanned=3, error=1, interrupted=2),
            "INCOMPLETE: the run was interrupted; 3 of 6 accounts in scope could not be assessed",
        ),
        (
            run_with(stopped=True, scanned=3),
            "INCOMPLETE: the run was interrupted before all key ids were looked up",
        ),
        (run_with(unfinished=True, scanned=3), "INCOMPLETE: the run did not finish"),
    ],
)
def test_coverage_says_complete_only_where_the_run_is(run: Run, words: str) -> None:
    assert coverage(run) == words
    assert run.is_complete == words.startswith("COMPLETE")


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome.is_gap])
def test_each_gap_counts_as_one(outcome: Outcome) -> None:
    run = run_with(scanned=1, **{outcome: 1})

    assert coverage(run) == "INCOMPLETE: 1 of 2 accounts in scope could not be assessed"


@pytest.mark.parametrize(
    ("check", "words"),
    [
        (check_with(KEY_AGE_CHECK, 5, 0, 0, 0), "0 of 5 active access keys are older than 90 days"),
        (check_with(KEY_AGE_CHECK, 4, 1, 0, 0), "1 of 5 active access keys is older than 90 days"),
        (check_with(KEY_AGE_CHECK, 0, 1_000, 0, 0), "1,000 of 1,000 active access keys are older than 90 days"),
        (
            check_with(KEY_AGE_CHECK, 1, 2, 3, 4),
            "5 of 10 active access keys are older than 90 days, 3 of them exempt; 4 could not be judged",
        ),
        (check_with("no-mfa", 2, 0, 0, 1), "0 of 3 credentials fail no-mfa; 1 could not be judged"),
        (check_with("no-mfa", 1, 0, 1, 0), "1 of 2 credentials fails no-mfa, 1 of them exempt"),
    ],
)
def test_result_counts_what_is_exempt_as_failing_and_what_is_unknown_beside_it(check: CheckSummary, words: str) -> None:
    assert result(check, run_with(scanned=1)) == words
    assert result(check, run_with(scanned=1, error=1)) == f"{words} (in the accounts that were assessed)"


def test_every_outcome_has_words() -> None:
    assert OUTCOME_WORDS.keys() == set(Outcome)


def test_limits_tell_their_seconds() -> None:
    assert ("access key max age", "90 days (7,776,000 seconds)") in list(limit_texts(LIMITS))


def test_moments_are_in_utc_to_the_second() -> None:
    assert utc(AS_OF) == "2026-11-23 06:15:00 UTC"


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 accounts"), (1, "1 account"), (2, "2 accounts"), (4_000, "4,000 accounts")]
)
def test_only_one_is_singular(count: int, words: str) -> None:
    assert plural(count, "account") == words
