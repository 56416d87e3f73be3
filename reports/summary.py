"""The workbook's first sheet: verdict, charts, reconciliation; each total beside a formula that counts it again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from reports.breakdown import (
    write_ages,
    write_checks,
    write_ous,
    write_outlook,
    write_requirements,
    write_severities,
    write_trend,
)
from reports.cells import ALERT_VERDICT, EXPLANATION, LABEL, NOTE, PLAIN, PROSE, SIGNATURE, TITLE, VERDICT, style_cell
from reports.charts import chart_of_ages, chart_of_ous, chart_of_trend, place
from reports.columns import texts
from reports.links import render_links
from reports.sheets import Prose
from reports.tables import Tables
from reports.totals import WIDTHS, Totals
from reports.words import GAPS, KEY_AGE_CHECK, coverage, failing_in_words, limit_texts, plural, result, utc
from scanner.models import Assessment, Run, Verdict

MAX_GAP_ROWS = 25
MIN_GAP_ROWS_PER_OUTCOME = 3
WORST = 10
CHART_ROWS, TREND_ROWS = 16, 13
"""Rows that the charts lie on."""


def write_summary(sheet: Any, assessment: Assessment, tables: Tables) -> bytes:
    """Write the sheet, from the verdict down to the signatures; its links."""
    page = Prose(sheet, assessment.run.run_id, WIDTHS)
    _write_verdict(page, assessment)
    upper = (page.row + 1, page.row + 1 + CHART_ROWS)
    has_trend = assessment.trend is not None and len(assessment.trend) > 1
    for _ in range(CHART_ROWS + (TREND_ROWS if has_trend else 0) + 1):
        page.blank()
    totals = Totals(page, sheet, assessment, tables)
    totals.write_accounts()
    write_severities(totals)
    write_checks(totals)
    write_requirements(totals)
    ous = write_ous(totals)
    totals.write_credentials()
    totals.write_cross_check()
    ages = write_ages(totals)
    write_outlook(totals)
    totals.write_conclusion()
    trend = write_trend(totals)
    if ous is not None:
        place(sheet, chart_of_ous(sheet, ous), (0, 4), upper)
    if ages is not None:
        limit = plural(assessment.run.limits.access_key_max_age.days, "day")
        place(sheet, chart_of_ages(sheet, ages, limit), (4, 9), upper)
    if trend is not None:
        place(sheet, chart_of_trend(sheet, trend), (0, 9), (upper[1], upper[1] + TREND_ROWS))
    _write_gaps(page, sheet, assessment.accounts)
    _write_worst(page, sheet, assessment.findings)
    _write_notes(page, [*assessment.run.notes, *_continued(tables)])
    _write_run(page, sheet, assessment.run)
    _write_signatures(page, sheet)
    return render_links(totals.links)


# The verdict in words


def _write_verdict(page: Prose, assessment: Assessment) -> None:
    page.across(TITLE, "Credential audit")
    page.across(EXPLANATION, f"{assessment.run.organization_id} as of {utc(assessment.run.as_of)}")
    page.blank()
    page.across(VERDICT if assessment.run.is_complete else ALERT_VERDICT, coverage(assessment.run))
    failing = assessment.findings["verdict"].eq(Verdict.FAIL).any()
    page.across(ALERT_VERDICT if failing else VERDICT, failing_in_words(assessment))
    for check in assessment.checks:
        if check.check_id == KEY_AGE_CHECK:
            is_bad = check.verdicts[Verdict.FAIL] + check.verdicts[Verdict.UNKNOWN] > 0
            page.across(ALERT_VERDICT if is_bad else VERDICT, result(check, assessment.run))
    if assessment.reevaluated is not None:
        page.across(
            ALERT_VERDICT,
            f"Evaluated again, offline, at {utc(assessment.reevaluated)}, from the evidence of this run. Notes has what"
            " differs.",
        )
    for note in assessment.run.notes:
        if "not AWS's domain" in note:
            page.across(ALERT_VERDICT, note)


def _write_run(page: Prose, sheet: Any, run: Run) -> None:
    page.section("The run")
    facts = (
        ("Run", run.run_id),
        ("Organization", f"{run.organization_id}, management account {run.management_account_id}"),
        ("Caller", run.caller.arn),
        ("Ages measured as of", utc(run.as_of)),
        ("Started, finished", f"{utc(run.started)}, {utc(run.finished) if run.finished else 'not finished'}"),
        ("Limits", "; ".join(f"{name}: {limit}" for name, limit in limit_texts(run.limits))),
    )
    for label, text in facts:
        page.across(PROSE, text, after=[style_cell(sheet, LABEL, label)])


# What a reader must act on


def _write_gaps(page: Prose, sheet: Any, accounts: pd.DataFrame) -> None:
    """The accounts that could not be assessed; where they are many, the first of each outcome."""
    gaps = accounts[accounts["outcome"].isin([str(outcome) for outcome in GAPS])]
    page.section("Accounts not assessed", "Name", "", "Outcome", "Reason")
    if gaps.empty:
        page.values((PLAIN, "None."))
    groups = [(outcome, gaps[gaps["outcome"].eq(outcome)]) for outcome in GAPS if gaps["outcome"].eq(outcome).any()]
    limit = MAX_GAP_ROWS
    if len(gaps) > MAX_GAP_ROWS:
        limit = max(MAX_GAP_ROWS // len(groups), MIN_GAP_ROWS_PER_OUTCOME)
    for outcome, group in groups:
        shown = group.head(limit)
        for account_id, name, reason in _rows(shown, "account_id", "account_name", "reason"):
            _record(page, sheet, account_id, name, str(outcome), reason)
        if more := len(group) - len(shown):
            _record(page, sheet, f"… and {more:,} more", "", str(outcome), f"sheet Accounts, Outcome {outcome}")


def _record(page: Prose, sheet: Any, *parts: str) -> None:
    """Four texts: as wide as one, two, one and five columns."""
    page.spread(*((style_cell(sheet, PROSE, text), span) for text, span in zip(parts, (1, 2, 1, 5), strict=True)))


def _write_worst(page: Prose, sheet: Any, findings: pd.DataFrame) -> None:
    """The first findings that are not exempt; the frame has the worst first."""
    open_findings = findings[findings["verdict"].ne(Verdict.EXEMPT)]
    page.section("Worst findings", "User", "", "Credential", "Reason")
    if open_findings.empty:
        page.values((PLAIN, "None."))
    names = ("account_id", "account_name", "user", "credential", "key_id", "verdict", "severity", "reason")
    for account_id, name, user, credential, key_id, verdict, severity, reason in _rows(
        open_findings.head(WORST), *names
    ):
        text = f"{verdict}, {severity}: {reason}"
        _record(page, sheet, f"{account_id} {name}", user, key_id or credential, text)
    if len(open_findings) > WORST:
        page.values((NOTE, f"… and {len(open_findings) - WORST:,} more: sheet Findings"))


def _rows(frame: pd.DataFrame, *names: str) -> Iterator[tuple[str, ...]]:
    return zip(*(texts(name)(frame) for name in names), strict=True)


def _continued(tables: Tables) -> Iterator[str]:
    """Where the rows stand of each table that one sheet cannot hold."""
    for table in tables:
        if len(table.parts) > 1:
            places = ", ".join(f"{title} ({plural(end - start, 'row')})" for title, start, end in table.parts)
            yield (
                f"The {len(table):,} rows of {table.title} are more than a sheet can hold; they stand on"
                f" {len(table.parts)} sheets, to be read as one table: {places}."
            )


def _write_notes(page: Prose, notes: Sequence[str]) -> None:
    if notes:
        page.section("Notes")
    for note in notes:
        page.across(PROSE, note)


def _write_signatures(page: Prose, sheet: Any) -> None:
    """Lines to be signed by those who prepared and reviewed this."""
    page.section("Sign-off", "Name", "", "Date", "Signature")
    for label in ("Prepared by", "Reviewed by"):
        page.line([])
        empty = [style_cell(sheet, SIGNATURE) for _ in WIDTHS[1:]]
        page.line([style_cell(sheet, LABEL, label), *empty], height=20)
