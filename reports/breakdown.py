"""The breakdowns on Summary: by severity, check, requirement, OU and age; what is to come and what changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from reports.cells import LINK_TEXT, NOTE, PLAIN, PROSE, TOTAL, Look, style_cell
from reports.figures import NO_PLACE, OTHERS, SEVERITIES, by_ou, key_ages, latest_foundations, requirements
from reports.tables import verdict_column
from reports.totals import TOTALS, Totals
from reports.words import KEY_AGE_CHECK, day, plural
from scanner.models import CheckSummary, Verdict

RIGHT_TEXT = Look(align="right")
MAX_OUS = 15
VERDICTS = ("Asked", *map(str, Verdict))


class Block(NamedTuple):
    """Where the numbers of a chart stand on Summary."""

    heading: int
    """The row of the headings."""
    first: int
    last: int


# By severity


def write_severities(totals: Totals) -> None:
    """The findings by severity, then those that do not count as failing."""
    run, findings = totals.assessment.run, totals.tables.findings
    totals.page.section("Findings by severity", *TOTALS, "Recounted from")
    counts = run.totals or {}
    for severity in SEVERITIES:
        recount = findings.count(("Verdict", "FAIL"), ("Severity", severity))
        source = f"Findings: Verdict is FAIL, Severity is {severity}"
        value = counts.get(severity, 0)
        totals.total(
            f"  fail, {severity}", value, recount, source, is_alert=severity in ("critical", "high") and value > 0
        )
    failing = sum(counts.get(severity, 0) for severity in SEVERITIES)
    totals.total(
        "Findings that fail",
        failing,
        totals.tables.accounts.over_parts("SUM", "Failing"),
        "Accounts: Failing",
        look=TOTAL,
    )
    for verdict, label in ((Verdict.EXEMPT, "  exempt"), (Verdict.UNKNOWN, "  unknown")):
        recount, value = findings.over_parts("COUNTIF", "Verdict", verdict), counts.get(verdict, 0)
        is_alert = verdict is Verdict.UNKNOWN and value > 0
        totals.total(label, value, recount, f"Findings: Verdict is {verdict}", is_alert=is_alert)
    recount = findings.over_parts("COUNTA", "Verdict")
    totals.total("Findings", len(totals.assessment.findings), recount, "Findings: rows", look=TOTAL)


# By check and by requirement


def write_checks(totals: Totals) -> None:
    """A row for each check: its population, its verdicts, its findings and their recount."""
    totals.page.section("By check", "Findings", "Recount", "Tie-out", *VERDICTS)
    for check in totals.assessment.checks:
        _write_verdicts(totals, f"{check.check_id} ({check.severity})", [check])
    totals.page.across(
        NOTE, "Tie-out compares each verdict, where a sheet lists it: PASS is on Access keys or Root users, or nowhere."
    )


def write_requirements(totals: Totals) -> None:
    """A row for each requirement of the newest version of the first framework."""
    found = list(latest_foundations(requirements(totals.assessment.checks)))
    if not found:
        return
    title = f"{found[0].framework.removesuffix(' Benchmark')} {found[0].version}"
    totals.page.section(title, "Findings", "Recount", "Tie-out", *VERDICTS)
    for each in found:
        first, *others = (check.check_id for check in each.checks)
        more = f" + {len(others)}" if others else ""
        _write_verdicts(totals, f"{each.number}  {first}{more}", each.checks)
    totals.page.across(NOTE, "The sheet Controls has every requirement of every framework and version.")


def _write_verdicts(totals: Totals, label: str, checks: Sequence[CheckSummary]) -> None:
    row = totals.page.row + 1
    counts = {verdict: sum(check.verdicts[verdict] for check in checks) for verdict in Verdict}
    found = {each: "+".join(totals.count_findings(check, each) for check in checks) for each in list(Verdict)[1:]}
    agrees = [f"B{row}=C{row}", f"E{row}=SUM(F{row}:I{row})"]
    agrees += [f"{column}{row}={found[verdict]}" for column, verdict in zip("GHI", list(Verdict)[1:], strict=True)]
    if passing := _count_passing(totals, checks):
        agrees.append(f"F{row}={passing}")
    findings = sum(count for verdict, count in counts.items() if verdict is not Verdict.PASS)
    numbers = [totals.count(sum(counts.values()))]
    numbers += [totals.count(counts[each], is_alert=each in (Verdict.FAIL, Verdict.UNKNOWN)) for each in Verdict]
    recount = "+".join(totals.tables.findings.over_parts("COUNTIF", "Check id", check.check_id) for check in checks)
    place = next((place for check in checks if (place := totals.places_of_checks.get(check.check_id))), "")
    if place:
        totals.links.append((f"A{row}", place))
    totals.total(
        label,
        findings,
        recount,
        numbers,
        tie_out=f"AND({','.join(agrees)})",
        label_look=LINK_TEXT if place else PROSE,
    )


def _count_passing(totals: Totals, checks: Sequence[CheckSummary]) -> str:
    """A formula that counts PASS of all the checks; empty where a sheet is missing for one."""
    terms = []
    for check in checks:
        heading = verdict_column(check)
        tables = (totals.tables.access_keys, totals.tables.root_users)
        table = next((each for each in tables if heading in [column.title for column in each.columns]), None)
        if table is None:
            return ""
        terms.append(table.over_parts("COUNTIF", heading, Verdict.PASS))
    return "+".join(terms)


# By OU


def write_ous(totals: Totals) -> Block | None:
    """The OUs with the worst failures, and all others as one; None where no account was scanned."""
    ous = by_ou(totals.assessment.accounts, totals.assessment.findings, MAX_OUS)
    if ous.empty:
        return None
    totals.page.section("By OU: findings that fail", *TOTALS, *SEVERITIES, "Accounts")
    heading = totals.page.row
    row: Any
    for row in ous.itertuples():
        at = totals.page.row + 1
        numbers = [totals.count(int(getattr(row, name)), is_alert=name == "critical") for name in SEVERITIES]
        if row.ou.startswith(OTHERS):
            all_failing = totals.tables.findings.over_parts("COUNTIF", "Verdict", Verdict.FAIL)
            recount = f"{all_failing}-SUM(C{heading + 1}:C{at - 1})"
        else:
            recount = _count_ou(totals, '""' if row.ou == NO_PLACE else f"A{at}")
        failing = sum(int(getattr(row, name)) for name in SEVERITIES)
        totals.total(row.ou, failing, recount, [*numbers, totals.count(int(row.accounts))], label_look=PROSE)
    return Block(heading, heading + 1, totals.page.row)


def _count_ou(totals: Totals, path: str) -> str:
    """Compared exactly: as a criterion of COUNTIFS, a name of others would be a pattern."""
    findings = totals.tables.findings
    ranges = zip(findings.ranges("OU path"), findings.ranges("Verdict"), strict=True)
    return "+".join(f'SUMPRODUCT(EXACT({paths},{path})*({words}="FAIL"))' for paths, words in ranges)


# By age


def write_ages(totals: Totals) -> Block | None:
    """Active access keys by age; None where there are none, or their age was not asked."""
    limit = totals.assessment.run.limits.access_key_max_age
    verdict = f"Verdict: {KEY_AGE_CHECK}"
    if verdict not in [column.title for column in totals.tables.access_keys.columns]:
        return None
    buckets = key_ages(totals.assessment.credentials, limit)
    if not sum(each.passing + each.failing for each in buckets):
        return None
    totals.page.section("Age of active access keys", *TOTALS, "within limit", "beyond limit")
    heading = totals.page.row
    for each in buckets:
        bounds = [("Age (days)", f">={each.first}")] if each.first else []  # a negative age is of the first bucket
        bounds += [("Age (days)", f"<={each.last}")] if each.last is not None else []
        words = (Verdict.PASS, Verdict.FAIL, Verdict.EXEMPT)
        recount = "+".join(totals.tables.access_keys.count((verdict, word), *bounds) for word in words)
        numbers = [totals.count(each.passing), totals.count(each.failing)]
        empty = [style_cell(totals.sheet, PLAIN)] * 3
        totals.total(each.label, each.passing + each.failing, recount, [*numbers, *empty])
    last = totals.page.row
    totals.page.across(
        NOTE,
        f"Within and beyond are decided to the second, by the limit of {plural(limit.days, 'day')} or that of the"
        " account's OU. Keys that cannot be judged are not here.",
    )
    return Block(heading, heading + 1, last)


# What is to come, what was accepted, what changed


def write_outlook(totals: Totals) -> None:
    """The forecast, the exemptions and the changes, each with its recount."""
    assessment, tables = totals.assessment, totals.tables
    run = assessment.run
    totals.page.section("Outlook", *TOTALS, "Recounted from")
    until = day(run.as_of + run.rules.next_audit)
    recount = tables.due_soon.over_parts("COUNTA", "Account id")
    totals.total(f"Keys that fall due by {until}", len(assessment.due_soon), recount, "Due soon: rows")
    states = assessment.exemptions["state"]
    for state in ("live", "expired", "not yet in force"):
        value, recount = int(states.eq(state).sum()), tables.exemptions.over_parts("COUNTIF", "State", state)
        is_alert = state == "expired" and value > 0
        totals.total(f"Exemptions, {state}", value, recount, f"Exemptions: State is {state}", is_alert=is_alert)
    if assessment.changes is None:
        totals.page.values((PLAIN, "Changes: there is no earlier run to compare with."))
        return
    totals.page.section(f"Changes since {day(assessment.changes.old_as_of)}", *TOTALS, "Recounted from")
    kinds = assessment.changes.findings["change"]
    for kind in ("new", "reappeared", "open", "not_rechecked", "resolved"):
        value, recount = int(kinds.eq(kind).sum()), tables.changes.over_parts("COUNTIF", "Change", kind)
        is_alert = kind in ("new", "reappeared") and value > 0
        totals.total(f"  {kind.replace('_', ' ')}", value, recount, f"Changes: Change is {kind}", is_alert=is_alert)
    recount = tables.account_changes.over_parts("COUNTA", "Account id")
    value, label = len(assessment.changes.accounts), "  accounts that joined, left or differ"
    totals.total(label, value, recount, "Account changes: rows")


def write_trend(totals: Totals) -> Block | None:
    """A row for each run so far; None where this is the only one."""
    trend = totals.assessment.trend
    if trend is None or len(trend) < 2:
        return None
    totals.page.section("Trend", "Scanned", "Complete", "As of", *SEVERITIES, "UNKNOWN")
    heading = totals.page.row
    row: Any
    for row in trend.itertuples():
        cells = [
            style_cell(totals.sheet, PROSE, str(row.run_id)),
            totals.count(int(row.scanned)),
            style_cell(totals.sheet, RIGHT_TEXT, "yes" if row.complete else "no"),
            style_cell(totals.sheet, RIGHT_TEXT, day(row.as_of)),
            *(totals.count(int(getattr(row, name))) for name in (*SEVERITIES, "UNKNOWN")),
        ]
        totals.page.spread(*((cell, 1) for cell in cells))
    return Block(heading, heading + 1, totals.page.row)
