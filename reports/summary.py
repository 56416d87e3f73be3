"""The workbook's first sheet: the verdict, the reconciliation, and each total beside a formula that counts it again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

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
    SIGNATURE,
    TIE_OUT,
    TITLE,
    TOTAL,
    VERDICT,
    Look,
    Value,
    formula_cell,
    style_cell,
)
from reports.charts import ROWS, key_ages, severities_by_ou, trend
from reports.columns import texts
from reports.figures import SEVERITIES, by_ou, latest_foundations, requirements
from reports.figures import key_ages as age_buckets
from reports.sheets import Prose
from reports.tables import Tables, verdict_column
from reports.words import (
    GAPS,
    KEY_AGE_CHECK,
    OUTCOME_WORDS,
    coverage,
    failing_in_words,
    limit_texts,
    outcome_counts,
    plural,
    result,
    utc,
)
from scanner.models import Assessment, CheckSummary, Outcome, Run, Verdict

WIDTHS = (37, 12, 12, 12, 12, 12, 43)
OUS = 15
MAX_GAP_ROWS = 25
MIN_GAP_ROWS_PER_OUTCOME = 3
WORST = 10
CHANGES = ("new", "reappeared", "open", "not_rechecked", "resolved")


def write_summary(sheet: Any, assessment: Assessment, tables: Tables) -> None:
    """Write the sheet, from the verdict down to the signatures."""
    page = Prose(sheet, assessment.run.run_id, WIDTHS)
    _write_verdict(page, assessment)
    _write_run(page, sheet, assessment.run)
    totals = _Totals(page, sheet, assessment, tables)
    totals.write_accounts()
    totals.write_findings()
    totals.write_credentials()
    totals.write_checks()
    totals.write_ous()
    totals.write_ages()
    totals.write_outlook()
    totals.write_conclusion()
    _write_trend(page, sheet, assessment)
    _write_controls(page, sheet, assessment)
    _write_gaps(page, sheet, assessment.accounts)
    _write_worst(page, sheet, assessment.findings)
    _write_notes(page, [*assessment.run.notes, *_continued(tables)])
    _write_signatures(page, sheet)


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


# The totals


@dataclass
class _Totals:
    """Each total: the value we counted, a formula that counts it again on another sheet, and whether they agree."""

    page: Prose
    sheet: Any
    assessment: Assessment
    tables: Tables

    def __post_init__(self) -> None:
        self._tie_outs: list[str] = []
        self._findings, self._accounts = self.tables.findings, self.tables.accounts
        self._keys = self.tables.access_keys

    def write_accounts(self) -> None:
        """Listed = scanned + not active + excluded + each way to fail."""
        self.page.section("Accounts", "Value", "Recount", "Tie-out", "Recounted from")
        counts = outcome_counts(self.assessment.run)
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

    def write_findings(self) -> None:
        """Those that fail by severity, the exempt and the unknown."""
        self.page.section("Findings", "Value", "Recount", "Tie-out", "Recounted from")
        findings = self.assessment.findings
        is_failing = findings["verdict"].eq(Verdict.FAIL)
        first = self.page.row + 1
        for severity in SEVERITIES:
            count = int((is_failing & findings["severity"].eq(severity)).sum())
            recount = self._count_findings(("Verdict", Verdict.FAIL), ("Severity", severity))
            source = f"Findings: Verdict is FAIL, Severity {severity}"
            self._total(f"  fail, {severity}", count, recount, source, is_alert=count > 0)
        failing = self._accounts.over_parts("SUM", "Failing")
        self._total("Findings that fail", int(is_failing.sum()), failing, "Accounts: Failing", look=TOTAL)
        for verdict, words in ((Verdict.EXEMPT, "exempt"), (Verdict.UNKNOWN, "unknown")):
            count = int(findings["verdict"].eq(verdict).sum())
            recount = self._count_findings(("Verdict", verdict))
            is_alert = verdict is Verdict.UNKNOWN and count > 0
            self._total(f"  {words}", count, recount, f"Findings: Verdict is {verdict}", is_alert=is_alert)
        rows = self._findings.over_parts("COUNTA", "Verdict")
        self._total("Findings", len(findings), rows, "Findings: rows", look=TOTAL)
        added = f"SUM(B{first}:B{first + 3})+SUM(B{first + 5}:B{first + 6})"
        self._total("Sum of the verdicts", len(findings), added, "the six values above")

    def write_credentials(self) -> None:
        """Users, credentials, access keys and the oldest of them that fails."""
        self.page.section("Credentials", "Value", "Recount", "Tie-out", "Recounted from")
        credentials = self.assessment.credentials["credential"]
        users = int(credentials.eq("password").sum())
        self._total("Users, root users included", users, self._accounts.over_parts("SUM", "Users"), "Accounts: Users")
        recount = self._accounts.over_parts("SUM", "Credentials")
        self._total("Credentials", len(credentials), recount, "Accounts: Credentials (each user has a password row)")
        recount = self._keys.over_parts("COUNTA", "Account id")
        self._total("Access keys, active or not", len(self._keys), recount, f"{self._parts()}: rows")
        roots = self.tables.root_users
        self._total("Root users", len(roots), roots.over_parts("COUNTA", "Account id"), "Root users: rows")
        for check in self.assessment.checks:
            if check.check_id == KEY_AGE_CHECK:
                population = sum(check.verdicts.values())
                recount = "+".join(self._keys.over_parts("COUNTIF", "Active", word) for word in ("yes", "not known"))
                source = f"{self._parts()}: Active is yes or not known"
                self._total("Active access keys", population, recount, source)
                self._write_oldest(check)

    def _write_oldest(self, check: CheckSummary) -> None:
        findings = self.assessment.findings
        ages = findings.loc[findings["check"].eq(check.check_id) & findings["verdict"].eq(Verdict.FAIL), "age_days"]
        ranges = [self._findings.ranges(name) for name in ("Verdict", "Check id", "Age (days)")]
        oldest = ",".join(
            f'SUMPRODUCT(MAX(({verdict}="{Verdict.FAIL}")*({check_id}="{check.check_id}")*{age}))'
            for verdict, check_id, age in zip(*ranges, strict=True)
        )
        failing = self._count_findings(("Verdict", Verdict.FAIL), ("Check id", check.check_id))
        recount = f'IF({failing}=0,"none",MAX({oldest}))'
        value = int(ages.max()) if len(ages) else "none"
        self._total("Oldest failing key, age in days", value, recount, "Findings: greatest Age (days) of FAIL")

    def write_checks(self) -> None:
        """One row per check: its population by verdict, and whether the sheets say the same."""
        self.page.section("Checks", "Population", *map(str, Verdict), "Tie-out")
        for check in self.assessment.checks:
            row = self.page.row + 1
            counts = [check.verdicts[verdict] for verdict in Verdict]
            looks = [ALERT_COUNT if count and is_bad else COUNT for count, is_bad in zip(counts, _IS_BAD, strict=True)]
            terms = [f"B{row}=SUM(C{row}:F{row})"]
            for letter, verdict in zip("CDEF", Verdict, strict=True):
                recount = self._recount(check, verdict)
                terms += [f"{letter}{row}={recount}"] if recount else []
            where = "all verdicts" if len(terms) > len(Verdict) else "all but PASS"
            cells = [style_cell(self.sheet, PLAIN, f"{check.check_id} ({check.severity})")]
            cells.append(style_cell(self.sheet, COUNT, sum(counts)))
            cells += [style_cell(self.sheet, look, count) for look, count in zip(looks, counts, strict=True)]
            cells.append(
                formula_cell(self.sheet, TIE_OUT, f'IF(AND({",".join(terms)}),"matches","DIFFERS")&" ({where})"')
            )
            self.page.line(cells)
            self._tie_outs.append(f"G{row}")

    def _recount(self, check: CheckSummary, verdict: Verdict) -> str:
        """How to count a verdict again; empty where no sheet has all of its rows."""
        if verdict is not Verdict.PASS:
            return self._count_findings(("Verdict", verdict), ("Check id", check.check_id))
        for table in (self._keys, self.tables.root_users):
            if verdict_column(check) in [column.title for column in table.columns]:
                return table.over_parts("COUNTIF", verdict_column(check), verdict)
        return ""

    def write_ous(self) -> None:
        """Failing findings by OU, with a chart."""
        table = by_ou(self.assessment.accounts, self.assessment.findings, OUS)
        self.page.page_break()
        self.page.section("By OU: findings that fail", *SEVERITIES, "accounts")
        first = self.page.row + 1
        row: Any
        for row in table.itertuples():
            counts = [int(getattr(row, severity)) for severity in SEVERITIES]
            self.page.values((PROSE, str(row.ou)), *((COUNT, count) for count in (*counts, row.accounts)))
        if table.empty:
            self.page.values((PLAIN, "None."))
        last = self.page.row
        failing = int(self.assessment.findings["verdict"].eq(Verdict.FAIL).sum())
        self._total("All OUs", failing, f"SUM(B{first}:E{last})", "the rows above", look=TOTAL)
        if failing:
            self.page.picture(severities_by_ou(self.sheet, first, last, SEVERITIES), ROWS + max(0, len(table) - 8))

    def write_ages(self) -> None:
        """Active access keys by age, with a chart."""
        limit = self.assessment.run.limits.access_key_max_age
        buckets = age_buckets(self.assessment.credentials, limit)
        if not sum(each.passing + each.failing for each in buckets):
            return
        self.page.section("Ages of active access keys", "within limit", "beyond limit")
        first = self.page.row + 1
        for each in buckets:
            self.page.values((PLAIN, each.label), (COUNT, each.passing), (COUNT, each.failing))
        last = self.page.row
        key_age = next(check for check in self.assessment.checks if check.check_id == KEY_AGE_CHECK)
        judged = sum(key_age.verdicts[each] for each in (Verdict.PASS, Verdict.FAIL, Verdict.EXEMPT))
        self._total("Active access keys of known age", judged, f"SUM(B{first}:C{last})", "the rows above", look=TOTAL)
        self.page.picture(key_ages(self.sheet, first, last, plural(limit.days, "day")), ROWS)

    def write_outlook(self) -> None:
        """What falls due, what was accepted, what changed."""
        self.page.section("Until the next audit", "Value", "Recount", "Tie-out", "Recounted from")
        due, days = self.tables.due_soon, plural(self.assessment.run.rules.next_audit.days, "day")
        recount = due.over_parts("COUNTA", "Account id")
        self._total(f"Keys that fall due within {days}", len(due), recount, "Due soon: rows")
        exemptions = self.assessment.exemptions
        for state in ("live", "expired", "not yet in force"):
            count = int(exemptions["state"].eq(state).sum())
            recount = self.tables.exemptions.over_parts("COUNTIF", "State", state)
            is_alert = state == "expired" and count > 0
            self._total(f"Exemptions, {state}", count, recount, f"Exemptions: State is {state}", is_alert=is_alert)
        changes = self.assessment.changes
        if changes is None:
            self.page.across(NOTE, _FIRST_RUN, after=[style_cell(self.sheet, PLAIN, "Changes")])
            return
        for change in CHANGES:
            count = int(changes.findings["change"].eq(change).sum())
            recount = self.tables.changes.over_parts("COUNTIF", "Change", change)
            words = change.replace("_", "-")
            is_alert = change in ("new", "reappeared", "not_rechecked") and count > 0
            self._total(f"Findings, {words}", count, recount, f"Changes: Change is {change}", is_alert=is_alert)

    def _count_findings(self, *criteria: tuple[str, str]) -> str:
        parts = zip(*(self._findings.ranges(column) for column, _ in criteria), strict=True)
        words = [word for _, word in criteria]
        pairs = ([f'{cells},"{word}"' for cells, word in zip(part, words, strict=True)] for part in parts)
        return "+".join(f"COUNTIFS({','.join(each)})" for each in pairs)

    def _parts(self) -> str:
        names = [title for title, _, _ in self._keys.parts]
        return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"

    def _total(
        self, label: str, value: Value, recount: str, source: str, *, look: Look = COUNT, is_alert: bool = False
    ) -> None:
        row = self.page.row + 1
        self.page.spread(
            (style_cell(self.sheet, LABEL if look is TOTAL else PLAIN, label), 1),
            (style_cell(self.sheet, ALERT_COUNT if is_alert else look, value), 1),
            (formula_cell(self.sheet, look, recount), 1),
            (formula_cell(self.sheet, TIE_OUT, f'IF(B{row}=C{row},"matches","DIFFERS")'), 1),
            (style_cell(self.sheet, NOTE, source), 3),
        )
        self._tie_outs.append(f"D{row}")

    def write_conclusion(self) -> None:
        """Whether all recounts agree."""
        row = self.page.row + 1
        matching = "+".join(f'(LEFT({cell},7)="matches")' for cell in self._tie_outs)
        everything = f'IF(C{row}={len(self._tie_outs)},"all match","see DIFFERS")'
        self.page.spread(
            (style_cell(self.sheet, LABEL, "All recounts"), 1),
            (style_cell(self.sheet, TOTAL, len(self._tie_outs)), 1),
            (formula_cell(self.sheet, TOTAL, matching), 1),
            (formula_cell(self.sheet, TIE_OUT, everything), 1),
            (style_cell(self.sheet, NOTE, "how many there are, and how many match"), 3),
        )
        self.page.across(
            NOTE,
            "Values were counted by credaudit. Recount and Tie-out are formulas: the spreadsheet program counts the"
            " other sheets again. In Protected View and in previews they stay empty until editing is enabled.",
        )


_IS_BAD = tuple(verdict in (Verdict.FAIL, Verdict.UNKNOWN) for verdict in Verdict)
_FIRST_RUN = "There is no earlier run of this organization to compare with."


def _write_trend(page: Prose, sheet: Any, assessment: Assessment) -> None:
    """Failing findings of the last runs, with a chart, where there is more than one."""
    runs = assessment.trend
    if runs is None or len(runs) < 2:
        return
    page.page_break()
    page.section("Over the runs: findings that fail", *SEVERITIES, "UNKNOWN", "accounts scanned")
    first = page.row + 1
    for row in runs.itertuples():
        name = f"{row.as_of:%Y-%m-%d %H:%M}{'' if row.complete else ' (incomplete)'}"
        counts = [int(getattr(row, each)) for each in (*SEVERITIES, "UNKNOWN", "scanned")]
        page.values((PLAIN, name), *((COUNT, count) for count in counts))
    page.picture(trend(sheet, first, page.row, SEVERITIES), ROWS)


def _write_controls(page: Prose, sheet: Any, assessment: Assessment) -> None:
    """The newest version of the first framework; the sheet Controls has all of them."""
    found = list(latest_foundations(requirements(assessment.checks)))
    if not found:
        return
    page.section(f"{found[0].framework} {found[0].version}", *map(str, Verdict), "Status", "Checks")
    for each in found:
        counts = [each.count(verdict) for verdict in Verdict]
        looks = [ALERT_COUNT if count and is_bad else COUNT for count, is_bad in zip(counts, _IS_BAD, strict=True)]
        page.values(
            (PLAIN, each.number),
            *zip(looks, counts, strict=True),
            (TIE_OUT, each.status),
            (NOTE, " ".join(check.check_id for check in each.checks)),
        )
    page.across(NOTE, "The sheet Controls has every framework and version.")


# What a reader must act on


def _write_gaps(page: Prose, sheet: Any, accounts: pd.DataFrame) -> None:
    """The accounts that could not be assessed; where they are many, the first of each outcome."""
    gaps = accounts[accounts["outcome"].isin([str(outcome) for outcome in GAPS])]
    page.section("Accounts not assessed", "Name", "", "Outcome", "", "Reason")
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
    """Four texts: as wide as one, two, two and two columns."""
    page.spread(*((style_cell(sheet, PROSE, text), span) for text, span in zip(parts, (1, 2, 2, 2), strict=True)))


def _write_worst(page: Prose, sheet: Any, findings: pd.DataFrame) -> None:
    """The first findings that are not exempt; the frame has the worst first."""
    open_findings = findings[findings["verdict"].ne(Verdict.EXEMPT)]
    page.section("Worst findings", "User", "", "Credential", "", "Reason")
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
    page.section("Sign-off", "Name", "", "Date", "", "Signature")
    for label in ("Prepared by", "Reviewed by"):
        page.line([])
        empty = [style_cell(sheet, SIGNATURE) for _ in WIDTHS[1:]]
        page.line([style_cell(sheet, LABEL, label), *empty], height=20)
