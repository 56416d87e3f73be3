"""What is said of a run wherever it is said, on the Summary sheet and in the terminal, in the same words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from datetime import datetime, timedelta

from scanner.models import Assessment, CheckSummary, Limits, Outcome, Run, Severity, Verdict

KEY_AGE_CHECK = "access-key-not-rotated"
"""The check whose population has a name of its own: active access keys."""

GAPS = tuple(outcome for outcome in Outcome if outcome.is_gap)

OUTCOME_WORDS = {
    Outcome.SCANNED: "scanned",
    Outcome.NOT_ACTIVE: "not active",
    Outcome.EXCLUDED: "excluded by configuration",
    Outcome.ACCESS_DENIED: "access denied",
    Outcome.REPORT_DENIED: "report denied",
    Outcome.REPORT_TIMEOUT: "report not ready in time",
    Outcome.REPORT_MALFORMED: "report malformed",
    Outcome.ERROR: "error",
    Outcome.INTERRUPTED: "interrupted",
}


def coverage(run: Run) -> str:
    """COMPLETE or INCOMPLETE, and why."""
    counts = outcome_counts(run)
    listed, scanned, gaps = counts["listed"], counts[Outcome.SCANNED], sum(counts[outcome] for outcome in GAPS)
    if gaps:
        stopped = "the run was interrupted; " if run.interrupted else ""
        return f"INCOMPLETE: {stopped}{gaps:,} of {plural(scanned + gaps, 'account')} in scope could not be assessed"
    if run.interrupted:
        return "INCOMPLETE: the run was interrupted before all key ids were looked up"
    if not run.is_complete:
        return "INCOMPLETE: the run did not finish"
    left_out = listed - scanned
    rest = f"; {left_out:,} of {listed:,} listed are not active or excluded" if left_out else ""
    if not scanned:
        return f"COMPLETE, but no account was in scope{rest}"
    return f"COMPLETE: {plural(scanned, 'account')} in scope, all assessed{rest}"


def result(check: CheckSummary, run: Run) -> str:
    """How many of the check's population fail."""
    population, failing = sum(check.verdicts.values()), count_failing(check)
    if check.check_id == KEY_AGE_CHECK:
        noun, verb = "active access keys", "is older than" if failing == 1 else "are older than"
        # Overrides may set another limit for some accounts.
        limit = "their limit" if run.rules.overrides else _days(run.limits.access_key_max_age)
        predicate = f"{verb} {limit}"
    else:
        noun, verb = check.population, "fails" if failing == 1 else "fail"
        predicate = f"{verb} {check.check_id}"
    sentence = f"{failing:,} of {population:,} {noun} {predicate}"
    if exempt := check.verdicts[Verdict.EXEMPT]:
        sentence += f", {exempt:,} of them exempt"
    if unknown := check.verdicts[Verdict.UNKNOWN]:
        sentence += f"; {unknown:,} could not be judged"
    if not run.is_complete:
        sentence += " (in the accounts that were assessed)"
    return sentence


def failing_in_words(assessment: Assessment) -> str:
    """`25 findings fail: 1 critical, 24 medium; 2 could not be judged; 3 are exempt`."""
    totals = assessment.run.totals or {}
    by_severity = {str(severity): totals.get(str(severity), 0) for severity in reversed(Severity)}
    failing = sum(by_severity.values())
    sentence = "No finding fails"
    if failing:
        each = ", ".join(f"{count:,} {name}" for name, count in by_severity.items() if count)
        sentence = f"{plural(failing, 'finding')} {'fails' if failing == 1 else 'fail'}: {each}"
    if unknown := totals.get(Verdict.UNKNOWN, 0):
        sentence += f"; {unknown:,} could not be judged"
    if exempt := totals.get(Verdict.EXEMPT, 0):
        sentence += f"; {exempt:,} {'is' if exempt == 1 else 'are'} exempt"
    return sentence if assessment.run.is_complete else f"{sentence} (in the accounts that were assessed)"


def count_failing(check: CheckSummary) -> int:
    """Those beyond the limit, whether an exemption covers them or not."""
    return check.verdicts[Verdict.FAIL] + check.verdicts[Verdict.EXEMPT]


def outcome_counts(run: Run) -> dict[str, int]:
    """Accounts per outcome and `listed`; the run of an assessment has them."""
    assert run.counts is not None
    return run.counts


def limit_texts(limits: Limits) -> Iterator[tuple[str, str]]:
    """Each limit's name and value."""
    for name in (each.name for each in fields(limits)):
        value = getattr(limits, name)
        yield name.replace("_", " "), limit_text(value)


def limit_text(value: timedelta) -> str:
    """`90 days (7,776,000 seconds)`, `60 seconds`."""
    seconds = f"{int(value.total_seconds()):,} seconds"
    return f"{_days(value)} ({seconds})" if value >= timedelta(days=1) else seconds


def utc(moment: datetime) -> str:
    """`2026-11-23 06:15:00 UTC`; all of the run's moments are UTC."""
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def day(moment: datetime) -> str:
    """`2026-11-23`, in UTC."""
    return f"{moment:%Y-%m-%d}"


def plural(count: int, noun: str) -> str:
    """`1 account`, `4,000 accounts`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _days(duration: timedelta) -> str:
    return plural(duration.days, "day")
