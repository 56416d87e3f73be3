"""report.html: one page that needs no network and no script; what a script adds is sorting and filtering.

Other people's text is made safe twice: control and direction characters become escapes, and Jinja2 escapes the rest.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from reports.figures import SEVERITIES, by_ou, key_ages, requirements
from reports.svg import Bar, Line, bars, lines
from reports.table import safe_text
from reports.words import (
    GAPS,
    OUTCOME_WORDS,
    coverage,
    failing_in_words,
    limit_texts,
    outcome_counts,
    plural,
    utc,
)
from scanner.models import Assessment, Outcome, Verdict

MOST_FINDINGS = 500
"""Findings on the page; findings.csv and the workbook have all."""
MOST_ROWS = 200
"""Rows of the other tables that grow with the organization."""
OUS = 15


def write_html(assessment: Assessment, path: Path) -> None:
    """Write the page. Same assessment, same bytes."""
    style, script = _asset("style.css"), _asset("script.js")
    page = _environment().get_template("report.html.j2")
    text = page.render(
        policy=(
            f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; base-uri 'none';"
            " form-action 'none'"
        ),
        style=Markup(style),  # noqa: S704 # our own files, without anybody's text
        script=Markup(script),  # noqa: S704
        **_content(assessment),
    )
    path.write_text(text, encoding="utf-8", errors="backslashreplace")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["day"] = _day
    environment.filters["utc"] = lambda moment: "" if moment is None else utc(moment)
    environment.filters["number"] = lambda number: "" if number is None else f"{number:,}"
    return environment


def _asset(name: str) -> str:
    return resources.files("reports").joinpath("templates", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _day(moment: Any) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d}"


def _content(assessment: Assessment) -> dict[str, Any]:
    """All that the page shows, as plain values; every text in it safe."""
    run, counts = assessment.run, outcome_counts(assessment.run)
    findings = assessment.findings
    open_findings = findings[findings["verdict"].ne(Verdict.EXEMPT)]
    email = assessment.accounts.set_index("account_id")["email"]
    shown = open_findings.head(MOST_FINDINGS)
    gaps = assessment.accounts[assessment.accounts["outcome"].isin([str(outcome) for outcome in GAPS])]
    return {
        "title": f"Credential audit of {safe_text(run.organization_id)}",
        "run": run,
        "limits": list(limit_texts(run.limits)),
        "coverage": coverage(run),
        "failing": failing_in_words(assessment),
        "is_bad": bool(len(open_findings)),
        "reevaluated": assessment.reevaluated,
        "notes": [safe_text(note) for note in run.notes],
        "caller": safe_text(run.caller.arn),
        "counts": [(OUTCOME_WORDS[each], counts[each], each.is_gap and counts[each] > 0) for each in Outcome],
        "listed": counts["listed"],
        "accounted_for": sum(counts[each] for each in Outcome),
        "checks": [(check, sum(check.verdicts.values())) for check in assessment.checks],
        "verdicts": list(Verdict),
        "severities": SEVERITIES,
        "requirements": requirements(assessment.checks),
        "charts": list(_charts(assessment)),
        "gaps": list(_rows(gaps.head(MOST_ROWS))),
        "gaps_left": max(len(gaps) - MOST_ROWS, 0),
        "findings": list(_rows(shown.assign(email=email.reindex(shown["account_id"]).array), keeps=("fix", "undo"))),
        "findings_left": len(open_findings) - len(shown),
        "due_soon": list(_rows(assessment.due_soon.head(MOST_ROWS))),
        "due_soon_count": len(assessment.due_soon),
        "next_audit": plural(run.rules.next_audit.days, "day"),
        "exemptions": list(_rows(assessment.exemptions)),
        "changes": assessment.changes,
        "change_counts": _change_counts(assessment),
        "changed": [] if assessment.changes is None else list(_rows(_told(assessment.changes.findings))),
        "account_changes": [] if assessment.changes is None else list(_rows(assessment.changes.accounts)),
        "most_rows": MOST_ROWS,
    }


def _change_counts(assessment: Assessment) -> list[tuple[str, int]]:
    if assessment.changes is None:
        return []
    found = assessment.changes.findings["change"].value_counts()
    words = ("new", "reappeared", "open", "not_rechecked", "resolved")
    return [(word.replace("_", "-"), int(found.get(word, 0))) for word in words]


def _told(changes: pd.DataFrame) -> pd.DataFrame:
    """What is still open is among the findings already."""
    return changes[changes["change"].ne("open")].head(MOST_ROWS)


def _rows(frame: pd.DataFrame, keeps: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
    """The rows as plain values: texts safe (those that it keeps line by line), missing ones None."""
    columns = {}
    for name in frame.columns:
        values = frame[name].astype(object).where(frame[name].notna(), None).tolist()
        columns[name] = [_safe(each, keeps_lines=name in keeps) for each in values]
    for row in zip(*columns.values(), strict=True):
        yield dict(zip(columns, row, strict=True))


def _safe(value: Any, *, keeps_lines: bool) -> Any:
    if not isinstance(value, str):
        return value
    return "\n".join(map(safe_text, value.split("\n"))) if keeps_lines else safe_text(value)


def _charts(assessment: Assessment) -> Iterator[tuple[str, Markup, list[str], list[list[Any]]]]:
    """Title, picture, and the same as a table: its headings and its rows."""
    ous = by_ou(assessment.accounts, assessment.findings, OUS)
    rows: list[list[Any]] = [[safe_text(ou), *counts] for ou, *counts in ous[["ou", *SEVERITIES]].to_numpy().tolist()]
    if any(sum(row[1:]) for row in rows):
        title = "Failing findings by OU and severity"
        yield title, bars(title, [Bar(row[0], row[1:]) for row in rows], SEVERITIES), ["OU", *SEVERITIES], rows
    limit = assessment.run.limits.access_key_max_age
    buckets: list[list[Any]] = [
        [each.label, each.passing, each.failing] for each in key_ages(assessment.credentials, limit)
    ]
    if any(sum(each[1:]) for each in buckets):
        title = f"Ages of active access keys; the limit is {plural(limit.days, 'day')}"
        names = ("within the limit", "beyond the limit")
        yield title, bars(title, [Bar(each[0], each[1:]) for each in buckets], names), ["Age", *names], buckets
    runs = assessment.trend
    if runs is not None and len(runs) > 1:
        title = "Failing findings over the runs"
        marks = [f"{row.as_of:%Y-%m-%d}{'' if row.complete else '*'}" for row in runs.itertuples()]
        series = [Line(name, [int(value) for value in runs[name]]) for name in SEVERITIES]
        table = [[mark, *(line.values[at] for line in series)] for at, mark in enumerate(marks)]
        yield title, lines(title, marks, series), ["Run (* incomplete)", *SEVERITIES], table
