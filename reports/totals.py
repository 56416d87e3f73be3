"""Totals: the value that was counted, a formula that counts the sheets again, and whether the two agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from openpyxl.cell import Cell

from reports.cells import ALERT_COUNT, COUNT, LABEL, NOTE, PLAIN, TIE_OUT, TOTAL, Look, Value, formula_cell, style_cell
from reports.sheets import Prose
from reports.tables import Tables, verdict_column
from reports.words import KEY_AGE_CHECK, OUTCOME_WORDS, outcome_counts
from scanner.models import Assessment, CheckSummary, Outcome, Verdict

WIDTHS = (40, 12, 12, 16, 12, 12, 12, 12, 12)
TOTALS = ("Value", "Recount", "Tie-out")
SOURCE_SPAN = 5
"""The columns after Tie-out: one text, or as many numbers."""
MATCHES = "matches"
"""The word of the cross-check where IAM counts as many users as the report lists."""
BAD = (Verdict.FAIL, Verdict.UNKNOWN)


class Totals:
    """Writes totals onto a page, and remembers where they stand."""

    def __init__(self, page: Prose, sheet: Any, assessment: Assessment, tables: Tables) -> None:
        self.page = page
        self.sheet = sheet
        self.assessment = assessment
        self.tables = tables
        self.links: list[tuple[str, str]] = []
        """Cells that lead to another sheet, and where to."""
        self.places_of_checks = tables.findings.places("check")
        """Check id → the first row of its findings."""
        self._findings, self._accounts, self._keys = tables.findings, tables.accounts, tables.access_keys
        self._first = self._last = 0

    def write_accounts(self) -> None:
        """Listed = scanned + not active + excluded + each way to fail."""
        self.page.section("Accounts", *TOTALS, "Recounted from")
        counts = outcome_counts(self.assessment.run)
        listed = self._accounts.over_parts("COUNTA", "Account id")
        self.total("Listed by AWS Organizations", counts["listed"], listed, "Accounts: rows", look=TOTAL)
        first = self.page.row + 1
        for outcome in Outcome:
            recount = self._accounts.over_parts("COUNTIF", "Outcome", outcome)
            count = counts[outcome]
            source = f"Accounts: Outcome is {outcome}" + (" (a gap)" if outcome.is_gap else "")
            self.total(f"  {OUTCOME_WORDS[outcome]}", count, recount, source, is_alert=outcome.is_gap and count > 0)
        last = self.page.row
        total = sum(counts[outcome] for outcome in Outcome)
        self.total("Sum of the outcomes", total, f"SUM(C{first}:C{last})", "the nine recounts above", look=TOTAL)
        missing = counts["listed"] - total
        source = "must be 0"
        self.total("Listed, not accounted for", missing, f"C{first - 1}-C{last + 1}", source, is_alert=missing != 0)

    def write_credentials(self) -> None:
        """Users, credentials, and the access keys with their verdicts."""
        self.page.section("Credentials", *TOTALS, "Recounted from")
        credentials = self.assessment.credentials["credential"]
        users = int(credentials.eq("password").sum())
        self.total("Users, root users included", users, self._accounts.over_parts("SUM", "Users"), "Accounts: Users")
        recount = self._accounts.over_parts("SUM", "Credentials")
        self.total("Credentials", len(credentials), recount, "Accounts: Credentials (each user has a password row)")
        roots = int(self.assessment.credentials.loc[credentials.eq("password"), "is_root"].fillna(False).sum())
        recount = self.tables.root_users.over_parts("COUNTA", "Account id")
        self.total("Root users", roots, recount, "Root users: rows")
        recount = self._keys.over_parts("COUNTA", "Account id")
        self.total("Access keys, active or not", len(self._keys), recount, f"{self._key_sheets()}: rows")
        for check in self.assessment.checks:
            if check.check_id == KEY_AGE_CHECK:
                self._write_key_age(check)

    def write_cross_check(self) -> None:
        """Whether IAM counts as many users as the reports list."""
        self.page.section("Users, counted a second time", *TOTALS, "Recounted from")
        accounts = self.assessment.accounts
        counted, recount = accounts["iam_users"].sum(), self._accounts.over_parts("SUM", "Users in IAM")
        self.total("Users in IAM, without root users", int(counted), recount, "Accounts: Users in IAM")
        matching, words = self._accounts.over_parts("COUNTIF", "Cross-check", MATCHES), accounts["cross_check"]
        count = int(words.eq(MATCHES).sum())
        self.total("Accounts that match", count, matching, f"Accounts: Cross-check is {MATCHES}")
        rest = int(accounts["outcome"].eq(Outcome.SCANNED).sum()) - count
        scanned = self._accounts.over_parts("COUNTIF", "Outcome", Outcome.SCANNED)
        self.total(
            "Accounts that differ, or were not asked",
            rest,
            f"{scanned}-{matching.replace('+', '-')}",
            "Accounts: Outcome is scanned, Cross-check is another text",
            is_alert=rest > 0 and not words.eq("off").any(),
        )

    def _write_key_age(self, check: CheckSummary) -> None:
        population = sum(check.verdicts.values())
        recount = "+".join(self._keys.over_parts("COUNTIF", "Active", word) for word in ("yes", "not known"))
        self.total("Active access keys", population, recount, f"{self._key_sheets()}: Active is yes or not known")
        first = self.page.row + 1
        for verdict in Verdict:
            count = check.verdicts[verdict]
            recount = self._keys.over_parts("COUNTIF", verdict_column(check), verdict)
            source = f"{self._key_sheets()}: {verdict_column(check)} is {verdict}"
            self.total(f"  {verdict}", count, recount, source, is_alert=verdict in BAD and count > 0)
        recount = f"SUM(C{first}:C{self.page.row})"
        self.total("  Sum of the verdicts", population, recount, "the four recounts above")
        findings = self.assessment.findings
        ages = findings.loc[findings["check"].eq(check.check_id) & findings["verdict"].eq(Verdict.FAIL), "age_days"]
        ranges = [self._findings.ranges(name) for name in ("Verdict", "Check id", "Age (days)")]
        oldest = ",".join(
            f'SUMPRODUCT(MAX(({verdict}="{Verdict.FAIL}")*({check_id}="{check.check_id}")*{age}))'
            for verdict, check_id, age in zip(*ranges, strict=True)
        )
        recount = f'IF({self.count_findings(check, Verdict.FAIL)}=0,"none",MAX({oldest}))'
        value = int(ages.max()) if len(ages) else "none"
        self.total("  Oldest failing key, age in days", value, recount, "Findings: greatest Age (days) of FAIL")

    def write_conclusion(self) -> None:
        """Whether all recounts agree."""
        cells = f"D{self._first}:D{self._last}"
        self.page.section("Tie-out of this sheet", "", "Recount", "Tie-out")
        parts = [
            (style_cell(self.sheet, LABEL, "All recounts"), 1),
            (style_cell(self.sheet, PLAIN), 1),
            (formula_cell(self.sheet, COUNT, f'COUNTIF({cells},"matches")'), 1),
            (formula_cell(self.sheet, TIE_OUT, f'IF(COUNTIF({cells},"DIFFERS")=0,"all match","see DIFFERS")'), 1),
            (style_cell(self.sheet, NOTE, "how many match"), SOURCE_SPAN),
        ]
        self.page.spread(*parts)
        self.page.across(
            NOTE,
            "Values were counted by credaudit. Recount and Tie-out are formulas: the spreadsheet program counts the"
            " other sheets again. In Protected View and in previews they stay empty until editing is enabled.",
        )

    # One row

    def total(
        self,
        label: str,
        value: Value,
        recount: str,
        source: str | Sequence[Cell],
        *,
        look: Look = COUNT,
        is_alert: bool = False,
        tie_out: str = "",
        label_look: Look | None = None,
    ) -> None:
        """A value, its recount, whether they agree, and from where it was recounted, or other numbers of the row."""
        row = self.page.row + 1
        agrees = tie_out or f"B{row}=C{row}"
        rest = (
            [(style_cell(self.sheet, NOTE, source), SOURCE_SPAN)]
            if isinstance(source, str)
            else [(cell, 1) for cell in source]
        )
        self.page.spread(
            (style_cell(self.sheet, label_look or (LABEL if look is TOTAL else PLAIN), label), 1),
            (style_cell(self.sheet, ALERT_COUNT if is_alert else look, value), 1),
            (formula_cell(self.sheet, look, recount), 1),
            (formula_cell(self.sheet, TIE_OUT, f'IF({agrees},"matches","DIFFERS")'), 1),
            *rest,
        )
        self._first = self._first or row
        self._last = row

    def count(self, value: Value, *, is_alert: bool = False) -> Cell:
        """A number of a row."""
        return style_cell(self.sheet, ALERT_COUNT if is_alert and value else COUNT, value)

    def count_findings(self, check: CheckSummary, verdict: Verdict) -> str:
        """A formula: the rows of Findings with this verdict of this check."""
        return self._findings.count(("Verdict", verdict), ("Check id", check.check_id))

    def _key_sheets(self) -> str:
        names = [title for title, _, _ in self._keys.parts]
        return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
