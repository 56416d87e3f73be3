"""Every number and every row of the workbook against what was planted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from openpyxl.utils import range_boundaries

from .expected import CHECK, in_sheet, is_within, table, totals, without
from .plan import AS_OF, FAIL, PASS, UNKNOWN


def test_summary_has_the_planted_numbers_and_no_others(scan):
    verdicts = {verdict: scan.count(verdict) for verdict in (PASS, FAIL, UNKNOWN)}
    active = sum(verdicts.values())
    outcomes = Counter(account.outcome for account in scan.accounts)
    users = sum(len(account.users) for account in scan.scanned)
    oldest = max((row.days for row in scan.findings if row.key.verdict == FAIL), default="none")
    findings = verdicts[FAIL] + verdicts[UNKNOWN]
    until = (AS_OF + timedelta(days=90)).date()
    expected = {
        "Listed by AWS Organizations": 41,
        "scanned": outcomes["scanned"],
        "not active": 1,
        "excluded by configuration": 0,
        "access denied": outcomes["access_denied"],
        "report denied": 0,
        "report not ready in time": 0,
        "report malformed": 0,
        "error": 0,
        "interrupted": 0,
        "Sum of the outcomes": 41,
        "Listed, not accounted for": 0,
        **{f"fail, {severity}": 0 for severity in ("critical", "high", "low")},
        "fail, medium": verdicts[FAIL],
        "Findings that fail": verdicts[FAIL],
        "exempt": 0,
        "unknown": verdicts[UNKNOWN],
        "Findings": findings,
        f"{CHECK} (medium)": findings,
        f"2.12  {CHECK}": findings,
        **failures_by_ou(scan),
        "Users, root users included": users,
        "Credentials": users + len(scan.rows),
        "Root users": 0,  # moto's reports have none
        "Access keys, active or not": len(scan.rows),
        "Active access keys": active,
        **verdicts,
        "EXEMPT": 0,
        "Sum of the verdicts": active,
        "Oldest failing key, age in days": oldest,
        "Users in IAM, without root users": users,
        "Accounts that match": 0,  # moto's reports have no root row
        "Accounts that differ, or were not asked": outcomes["scanned"],
        **keys_by_age(scan),
        f"Keys that fall due by {until}": sum(row.key.verdict == PASS and row.due <= until for row in scan.rows),
        **{f"Exemptions, {state}": 0 for state in ("live", "expired", "not yet in force")},
        **changes(scan),
    }
    assert {label: value for _, label, value, _ in totals(scan)} == expected
    (check,) = (row for row in scan.book["Summary"].iter_rows(values_only=True) if str(row[0]).startswith(CHECK))
    assert check[4:9] == (active, verdicts[PASS], verdicts[FAIL], 0, verdicts[UNKNOWN])


def failures_by_ou(scan) -> dict[str, int]:
    failing = Counter(row.account.ou_path for row in scan.findings if row.key.verdict == FAIL)
    return {account.ou_path: failing[account.ou_path] for account in scan.scanned}


def keys_by_age(scan) -> dict[str, int]:
    ages = [max(row.days, 0) for row in scan.rows if row.key.verdict in (PASS, FAIL)]
    last = [30, 60, 90, 180, 365]
    steps = {
        f"{first}–{end} days": (first, end) for first, end in zip([0, *(each + 1 for each in last)], last, strict=False)
    }
    steps["over 365 days"] = (366, 10**6)
    return {label: sum(first <= age <= end for age in ages) for label, (first, end) in steps.items()} if ages else {}


def changes(scan) -> dict[str, int]:
    """The changes by the rows of their sheets, which tests of the comparison check; none in the first run."""
    rows = table(scan, "Changes")
    words = ("new", "reappeared", "open", "not_rechecked", "resolved")
    counted = {word.replace("_", " "): sum(row["Change"] == word for row in rows) for word in words}
    counted["accounts that joined, left or differ"] = len(table(scan, "Account changes"))
    return counted if "no earlier run" not in scan.book["Changes"]["A2"].value else {}


def test_summary_says_the_same_in_words(scan):
    sheet = scan.book["Summary"]
    lines = [str(row[0]) for row in sheet.iter_rows(values_only=True) if row[0]]
    active = sum(scan.count(verdict) for verdict in (PASS, FAIL, UNKNOWN))
    coverage = next(line for line in lines if "COMPLETE" in line)
    gaps = sum(account.outcome == "access_denied" for account in scan.accounts)
    assert coverage.startswith("INCOMPLETE: 1 of 40 accounts " if gaps else "COMPLETE: 40 accounts ")
    verdict = next(line for line in lines if "active access keys are" in line)
    assert verdict.startswith(f"{scan.count(FAIL)} of {active} active access keys are older than 90 days")
    assert (f"; {scan.count(UNKNOWN)} could not be judged" in verdict) == (scan.count(UNKNOWN) > 0)
    assert any("as of 2025-06-30 12:00:00 UTC" in line for line in lines)
    listed = {row[0]: row for row in sheet.iter_rows(values_only=True) if re.fullmatch(r"\d{12}", str(row[0]))}
    assert listed.keys() == {account.account_id for account in scan.accounts if account.outcome == "access_denied"}
    for account_id, row in listed.items():
        assert {"Denied", "access_denied"} < set(row)
        assert any(f"{account_id}:role/CredentialAudit" in str(value) for value in row)
    worst = [f"{row.account.account_id} {in_sheet(row.account.shown)}" for row in scan.findings[:10]]
    shown = [line for line in lines if re.match(r"\d{12} ", line)]
    assert shown == worst


def test_recounts_on_summary_give_the_values_beside_them(scan):
    summary = scan.book["Summary"]
    for row, label, value, formula in totals(scan):
        agrees = rf"B{row}=C{row}|AND\(B{row}=C{row},.*\)"
        assert re.fullmatch(rf'=IF\(({agrees}),"matches","DIFFERS"\)', summary.cell(row, 4).value)
        if not formula.startswith(("=IF(", "=SUMPRODUCT(")):  # the oldest key, the OUs: left to spreadsheet programs
            assert recount(scan.book, formula) == value, label
    formulas = [cell for sheet in scan.book for row in sheet for cell in row if cell.data_type == "f"]
    columns = {("Summary", "C"), ("Summary", "D"), ("Controls", "I"), ("Controls", "J")}
    assert {(cell.parent.title, cell.column_letter) for cell in formulas} == columns


def recount(book: Any, formula: str) -> int:
    """The few formulas of Summary, as a spreadsheet program works them out."""
    if difference := re.fullmatch(r"=([BC]\d+)-([BC]\d+)", formula):
        first, second = (_value(book, book["Summary"][name]) for name in difference.groups())
        return first - second
    terms = re.findall(r"([-+=])([A-Z]+\([^()]*\))", formula)
    assert "".join(sign + term for sign, term in terms) == formula
    return sum((-1 if sign == "-" else 1) * _term(book, term) for sign, term in terms)


def _term(book: Any, term: str) -> int:
    name, arguments = re.fullmatch(r"([A-Z]+)\((.*)\)", term).groups()
    ranges, words = arguments.split(",")[::2], [word.strip('"') for word in arguments.split(",")[1::2]]
    columns = [[_value(book, cell) for cell in _cells(book, cells)] for cells in ranges]
    if name == "SUM":
        return sum(value for value in columns[0] if value is not None)
    if name == "COUNTA":
        return sum(value is not None for value in columns[0])
    assert name in ("COUNTIF", "COUNTIFS")
    return sum(all(map(_fits, row, words)) for row in zip(*columns, strict=True))


def _fits(value: Any, word: str) -> bool:
    if word.startswith((">=", "<=")):
        bound = int(word[2:])
        return value is not None and (value >= bound if word[0] == ">" else value <= bound)
    return value == word


def _cells(book: Any, cells: str) -> Iterator[Any]:
    sheet, _, area = cells.rpartition("!")
    column, first, last_column, last = range_boundaries(area)
    sheet = book[sheet.strip("'") or "Summary"]
    last = min(last, sheet.max_row)  # to ask for a cell further down would make openpyxl add it
    return (cell for row in sheet.iter_rows(first, last, column, last_column) for cell in row)


def _value(book: Any, cell: Any) -> Any:
    return recount(book, cell.value) if cell.data_type == "f" else cell.value


def test_boundary_is_as_worked_out_by_hand(incomplete):
    shown = {
        row["User"]: (row[f"Verdict: {CHECK}"], row["Age (days)"], f"{row['Due on (UTC)']:%Y-%m-%d}")
        for row in table(incomplete, "Access keys")
        if row["Account name"] == "Boundary"
    }
    assert shown == {
        "exactly-90-days": (PASS, 90, "2025-06-30"),
        "one-second-more": (FAIL, 90, "2025-06-30"),
        "almost-91-days": (FAIL, 90, "2025-06-29"),
        "91-days": (FAIL, 91, "2025-06-29"),
        "within-a-second": (FAIL, 92, "2025-06-28"),
        "ten-years": (FAIL, 3653, "2015-09-28"),
        "before-use-was-recorded": (FAIL, 4929, "2012-03-31"),
        "one-day": (PASS, 1, "2025-09-27"),
        "after-the-date-of-the-audit": (PASS, 0, "2025-09-29"),
        "in-the-future": (UNKNOWN, -45474, "2150-04-01"),
    }


def test_accounts_sheet_has_every_account(scan):
    shown = table(scan, "Accounts")
    headings = {
        "account_id": "Account id",
        "account_name": "Account name",
        "email": "E-mail",
        "ou_path": "OU path",
        "state": "State",
        "outcome": "Outcome",
        "reason": "Reason",
        "report_generated": "Report generated (UTC)",
        "report_sha256": "SHA-256 of the report",
        "source_run": "Report collected by run",
        "users": "Users",
        "credentials": "Credentials",
        "failing": "Failing",
        "unknown": "Unknown",
        "iam_users": "Users in IAM",
        "user_difference": "Difference",
        "cross_check": "Cross-check",
        "attempts": "Requests sent",
    }
    assert [without(row, "Started (UTC)", "Finished (UTC)") for row in shown] == [
        {headings[name]: in_sheet(value) for name, value in scan.state(account).items()} for account in scan.accounts
    ]
    for row in shown:
        assert is_within(scan, *(f"{row[name]}+00:00" for name in ("Started (UTC)", "Finished (UTC)")))


def test_findings_sheet_has_every_finding_the_worst_first(scan):
    shown = table(scan, "Findings")
    text = ("Check", "Controls", "Fix (commands)", "Undo (commands)")
    assert [without(row, *text) for row in shown] == [
        {
            "Verdict": row.key.verdict,
            "Severity": "medium",
            "Account id": row.account.account_id,
            "Account name": in_sheet(row.account.shown),
            "OU path": row.account.ou_path,
            "User": in_sheet(row.user.name),
            "Credential": f"access_key_{row.slot}",
            "Key id": in_sheet(row.key_id),
            "Last rotated (UTC)": in_sheet(row.last_rotated),
            "Age (days)": row.days,
            "Due on (UTC)": in_sheet(row.due),
            "Last used (UTC)": in_sheet(row.last_used),
            "Reason": row.reason,
            "First seen (UTC)": in_sheet(AS_OF.date()),
            "Exemption": None,
            "Account e-mail": in_sheet(row.account.email),
            "Check id": CHECK,
            "ARN": in_sheet(row.user.arn),
        }
        for row in scan.findings
    ]
    for row, finding in zip(shown, scan.csv("findings.csv"), strict=True):
        assert row["Check"] == finding["title"]
        assert row["Controls"] == finding["controls"]
        assert row["Fix (commands)"] == in_sheet(finding["fix"])
        assert row["Undo (commands)"] == in_sheet(finding["undo"])


def test_access_keys_sheet_has_every_key(scan):
    assert table(scan, "Access keys") == [
        {
            "Account id": row.account.account_id,
            "Account name": in_sheet(row.account.shown),
            "OU path": row.account.ou_path,
            "User": in_sheet(row.user.name),
            "Slot": f"access_key_{row.slot}",
            "Key id": in_sheet(row.key_id),
            "Active": "yes" if row.key.is_active else "no",
            "Last rotated (UTC)": in_sheet(row.last_rotated),
            "Age (days)": row.days,
            "Due on (UTC)": in_sheet(row.due),
            "Last used (UTC)": in_sheet(row.last_used),
            "Last used region": None,  # moto does not say
            "Last used service": None,
            f"Verdict: {CHECK}": row.key.verdict,
            "Key note": in_sheet(row.note),
            "User created (UTC)": in_sheet(row.user.created),
            "Report generated (UTC)": in_sheet(scan.served(row.account)[1]),
        }
        for row in scan.rows
    ]
