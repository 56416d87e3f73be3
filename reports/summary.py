"""The workbook's first sheet: the verdict, the reconciliation, and each total beside a formula that counts it again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd

from reports.cells import (
    ALERT_COUNT,
    ALERT_VERDICT,
    COUNT,
    EXPLANATION,
    LABEL,
    NOTE,
    PLAIN,
    PROSE,
    SUBHEADING,
    TIE_OUT,
    TITLE,
    TOTAL,
    VERDICT,
    Look,
    Value,
    formula_cell,
    style_cell,
)
from reports.columns import texts
from reports.sheets import Prose, Table
from reports.words import (
    GAPS,
    KEY_AGE_CHECK,
    OUTCOME_WORDS,
    count_failing,
    coverage,
    limit_texts,
    outcome_counts,
    plural,
    result,
    utc,
)
from scanner.models import Assessment, CheckSummary, Outcome, Run, Verdict

WIDTHS = (37, 13, 13, 23, 54)
MAX_GAP_ROWS = 25
MIN_GAP_ROWS_PER_OUTCOME = 3
WORST = 10


class Tables(NamedTuple):
    """The tables that Summary counts again, in the order of their sheets."""

    findings: Table
    accounts: Table
    access_keys: Table


def verdict_column(check: CheckSummary) -> str:
    """The heading of a check's column on Access keys."""
    return f"Verdict: {check.check_id}"


def write_summary(sheet: Any, assessment: Assessment, tables: Tables) -> None:
    """Write the sheet, from the verdict down to the worst findings."""
    page = Prose(sheet, assessment.run.run_id, WIDTHS)
    _write_verdict(page, assessment)
    _write_run(page, sheet, assessment.run)
    totals = _Totals(page, sheet, assessment, tables)
    totals.write_accounts()
    totals.write_credentials()
    totals.write_conclusion()
    _write_gaps(page, assessment.accounts)
    _write_worst(page, assessment.findings)
    _write_notes(page, [*assessment.run.notes, *_continued(tables)])


# The verdict in words


def _write_verdict(page: Prose, assessment: Assessment) -> None:
    page.across(TITLE, "Access key audit")
    page.across(EXPLANATION, f"{assessment.run.organization_id} as of {utc(assessment.run.as_of)}")
    page.blank()
    page.across(VERDICT if assessment.run.is_complete else ALERT_VERDICT, coverage(assessment.run))
    for check in assessment.checks:
        page.across(ALERT_VERDICT if count_failing(check) else VERDICT, result(check, assessment.run))


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


# The totals


@dataclass
class _Totals:
    """Each total: the value we counted, a formula that counts it again on another sheet, and whether they agree."""

    page: Prose
    sheet: Any
    assessment: Assessment
    tables: Tables

    def __post_init__(self) -> None:
        self._first = self._last = 0
        self._findings, self._accounts = self.tables.findings, self.tables.accounts
        self._keys = self.tables.access_keys

    def write_accounts(self) -> None:
        """Listed = scanned + not active + excluded + each way to fail."""
        self.page.section("Accounts", "Value", "Recount", "Tie-out", "Recounted from")
        counts = outcome_counts(self.assessment.run)
        self._first = self.page.row + 1
        listed = self._accounts.over_parts("COUNTA", "Account id")
        self._total("Listed by AWS Organizations", counts["listed"], listed, "Accounts: rows", look=TOTAL)
        first = self.page.row + 1
        for outcome in Outcome:
            recount = self._accounts.over_parts("COUNTIF", "Outcome", outcome)
            count = counts[outcome]
            source = f"Accounts: Outcome is {outcome}" + (" (a gap)" if outcome.is_gap else "")
            self._total(f"  {OUTCOME_WORDS[outcome]}", count, recount, source, is_alert=outcome.is_gap and count > 0)
        last = self.page.row
        total = sum(counts[outcome] for outcome in Outcome)
        self._total("Sum of the outcomes", total, f"SUM(C{first}:C{last})", "the nine recounts above", look=TOTAL)
        missing = counts["listed"] - total
        self._total(
            "Listed, not accounted for", missing, f"C{first - 1}-C{last + 1}", "must be 0", is_alert=missing != 0
        )

    def write_credentials(self) -> None:
        """Users, credentials, the population and verdicts of each check, the findings."""
        self.page.section("Credentials", "Value", "Recount", "Tie-out", "Recounted from")
        credentials = self.assessment.credentials["credential"]
        users = int(credentials.eq("password").sum())
        self._total("Users, root users included", users, self._accounts.over_parts("SUM", "Users"), "Accounts: Users")
        recount = self._accounts.over_parts("SUM", "Credentials")
        self._total("Credentials", len(credentials), recount, "Accounts: Credentials (each user has a password row)")
        recount = self._keys.over_parts("COUNTA", "Account id")
        self._total("Access keys, active or not", len(self._keys), recount, f"{self._parts()}: rows")
        for check in self.assessment.checks:
            self._write_check(check)
        findings, failing = self.assessment.findings, self._findings.over_parts("COUNTA", "Verdict")
        self._total("Findings", len(findings), failing, "Findings: rows", look=TOTAL)
        failing = self._accounts.over_parts("SUM", "Failing")
        count = int(findings["verdict"].eq(Verdict.FAIL).sum())
        self._total("Findings that fail", count, failing, "Accounts: Failing")

    def _write_check(self, check: CheckSummary) -> None:
        self.page.values((SUBHEADING, f"{check.title} ({check.check_id}, {check.severity})"))
        column = verdict_column(check)
        has_column = column in [each.title for each in self._keys.columns]
        population = sum(check.verdicts.values())
        if check.check_id == KEY_AGE_CHECK:
            recount = "+".join(self._keys.over_parts("COUNTIF", "Active", word) for word in ("yes", "not known"))
            self._total("  Active access keys", population, recount, f"{self._parts()}: Active is yes or not known")
        first = self.page.row + 1
        for verdict in Verdict:
            count = check.verdicts[verdict]
            if verdict is not Verdict.PASS:
                recount, source = self._count_findings(check, verdict), f"Findings: Verdict is {verdict}"
            elif has_column:
                recount = self._keys.over_parts("COUNTIF", column, verdict)
                source = f"{self._parts()}: Verdict is {verdict}"
            else:
                recount, source = "", "no sheet lists them; credentials.csv has every credential, without its verdict"
            is_alert = verdict in (Verdict.FAIL, Verdict.UNKNOWN) and count > 0
            self._total(f"  {verdict}", count, recount, source, is_alert=is_alert)
        added, rows = ("C", "recounts") if has_column else ("B", "values")
        recount = f"SUM({added}{first}:{added}{self.page.row})"
        self._total("  Sum of the verdicts", population, recount, f"the four {rows} above")
        if check.check_id == KEY_AGE_CHECK:
            self._write_oldest(check)

    def _write_oldest(self, check: CheckSummary) -> None:
        findings = self.assessment.findings
        ages = findings.loc[findings["check"].eq(check.check_id) & findings["verdict"].eq(Verdict.FAIL), "age_days"]
        ranges = [self._findings.ranges(name) for name in ("Verdict", "Check id", "Age (days)")]
        oldest = ",".join(
            f'SUMPRODUCT(MAX(({verdict}="{Verdict.FAIL}")*({check_id}="{check.check_id}")*{age}))'
            for verdict, check_id, age in zip(*ranges, strict=True)
        )
        recount = f'IF({self._count_findings(check, Verdict.FAIL)}=0,"none",MAX({oldest}))'
        value = int(ages.max()) if len(ages) else "none"
        self._total("  Oldest failing key, age in days", value, recount, "Findings: greatest Age (days) of FAIL")

    def _count_findings(self, check: CheckSummary, verdict: Verdict) -> str:
        ranges = zip(self._findings.ranges("Verdict"), self._findings.ranges("Check id"), strict=True)
        return "+".join(f'COUNTIFS({words},"{verdict}",{ids},"{check.check_id}")' for words, ids in ranges)

    def _parts(self) -> str:
        names = [title for title, _, _ in self._keys.parts]
        return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"

    def _total(
        self, label: str, value: Value, recount: str, source: str, *, look: Look = COUNT, is_alert: bool = False
    ) -> None:
        row = self.page.row + 1
        cells = [
            style_cell(self.sheet, LABEL if look is TOTAL else PLAIN, label),
            style_cell(self.sheet, ALERT_COUNT if is_alert else look, value),
        ]
        if recount:
            cells.append(formula_cell(self.sheet, look, recount))
            cells.append(formula_cell(self.sheet, TIE_OUT, f'IF(B{row}=C{row},"matches","DIFFERS")'))
        else:
            cells += [style_cell(self.sheet, PLAIN), style_cell(self.sheet, TIE_OUT, "not in this file")]
        self.page.line([*cells, style_cell(self.sheet, NOTE, source)])
        self._last = row

    def write_conclusion(self) -> None:
        """Whether all recounts agree."""
        row = self.page.row + 1
        cells = f"D{self._first}:D{self._last}"
        verdict = f'IF(COUNTIF({cells},"DIFFERS")=0,"all match","see DIFFERS")'
        self.page.line(
            [
                style_cell(self.sheet, LABEL, "All recounts"),
                None,
                formula_cell(self.sheet, COUNT, f'COUNTIF({cells},"matches")'),
                formula_cell(self.sheet, TIE_OUT, verdict),
                style_cell(self.sheet, NOTE, "how many match"),
            ]
        )
        assert self.page.row == row
        self.page.across(
            NOTE,
            "Values were counted by credaudit. Recount and Tie-out are formulas: the spreadsheet program counts the"
            " other sheets again. In Protected View and in previews they stay empty until editing is enabled.",
        )


# What a reader must act on


def _write_gaps(page: Prose, accounts: pd.DataFrame) -> None:
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
            page.record((PLAIN, account_id), (PROSE, name), (PLAIN, str(outcome)), (PROSE, reason))
        if more := len(group) - len(shown):
            where = f"sheet Accounts, Outcome {outcome}"
            page.record((PLAIN, f"… and {more:,} more"), (PROSE, ""), (PLAIN, str(outcome)), (PROSE, where))


def _write_worst(page: Prose, findings: pd.DataFrame) -> None:
    """The first findings that are not exempt; the frame has the worst first."""
    open_findings = findings[findings["verdict"].ne(Verdict.EXEMPT)]
    page.section("Worst findings", "User", "", "Key", "Reason")
    if open_findings.empty:
        page.values((PLAIN, "None."))
    names = ("account_id", "account_name", "user", "credential", "key_id", "verdict", "severity", "reason")
    for account_id, name, user, credential, key_id, verdict, severity, reason in _rows(
        open_findings.head(WORST), *names
    ):
        text = f"{verdict}, {severity}: {reason}"
        page.record((PROSE, f"{account_id} {name}"), (PROSE, user), (PROSE, key_id or credential), (PROSE, text))
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
