"""The Controls sheet: each requirement of each framework and version that the checks serve, and what was found."""

from __future__ import annotations

from typing import Any

from openpyxl.utils import get_column_letter

from reports.cells import (
    ALERT_COUNT,
    COUNT,
    EXPLANATION,
    LABEL,
    LINK_TEXT,
    PLAIN,
    PROSE,
    TIE_OUT,
    TITLE,
    Look,
    formula_cell,
    style_cell,
)
from reports.figures import IN_PART, requirements
from reports.links import render_links
from reports.rows import LINE_HEIGHT, count_lines
from reports.sheets import HEADING_ROWS, Table, heading_cell, set_up_page
from scanner.models import Assessment, Verdict

COLUMNS = {
    "Framework": (34, "Who publishes the requirement."),
    "Version": (9, "Of the framework; empty where it has none."),
    "Requirement": (36, "Its number in that version."),
    "Result": (16, "The worst verdict of its checks. PASS, in part: all pass, but accounts are missing."),
    "PASS": (9, "Asked, and in order."),
    "FAIL": (9, "Failing, and covered by no exemption."),
    "EXEMPT": (9, "Failing, and accepted until a day."),
    "UNKNOWN": (10, "The evidence allows no verdict. Not a pass."),
    "FAIL on Findings": (10, "A formula that counts the rows of Findings again."),
    "Tie-out": (11, "Whether FAIL and its recount are the same."),
    "Checks": (36, "Filter Check id on Findings for all rows of one."),
    "Rows": (18, "A click leads to the first finding of these checks."),
}
EXPLANATION_TEXT = (
    "What the checks say of each requirement, as far as a credential report can tell. A requirement may ask for more:"
    " PASS here is no statement on the rest of it."
)
BAD_RESULT = Look(bold=True, color="8C1C13", wraps=True)


def write_controls(sheet: Any, assessment: Assessment, findings: Table) -> bytes:
    """Write the sheet; its links."""
    widths = [width for width, _ in COLUMNS.values()]
    set_up_page(sheet, assessment.run.run_id, widths, orientation="landscape")
    found = requirements(assessment.checks)
    last = f"{get_column_letter(len(widths))}{HEADING_ROWS + max(len(found), 1)}"
    sheet.freeze_panes = f"A{HEADING_ROWS + 1}"
    sheet.auto_filter.ref = f"A{HEADING_ROWS}:{last}"
    sheet.print_area = f"A1:{last}"
    sheet.print_title_rows = f"{HEADING_ROWS}:{HEADING_ROWS}"
    sheet.append([style_cell(sheet, TITLE, "Controls")])
    sheet.append([style_cell(sheet, EXPLANATION, EXPLANATION_TEXT if found else "No check was asked.")])
    sheet.append([])
    sheet.row_dimensions[HEADING_ROWS].height = LINE_HEIGHT * 2 + 3
    sheet.append([heading_cell(sheet, title, note) for title, (_, note) in COLUMNS.items()])
    places = findings.places("check")
    links = []
    for row, each in enumerate(found, start=HEADING_ROWS + 1):
        checks = each.checks
        place = next((places[check.check_id] for check in checks if check.check_id in places), "")
        if place:
            links.append((f"{get_column_letter(len(widths))}{row}", place))
        ids = "\n".join(check.check_id for check in checks)
        requirement = f"{each.number}  ({each.note})" if each.note else each.number
        texts = ((each.framework, widths[0]), (requirement, widths[2]))
        lines = max(len(checks), *(count_lines(text, width) for text, width in texts))
        sheet.row_dimensions[row].height = LINE_HEIGHT * lines
        result = each.result(is_complete=assessment.run.is_complete)
        failing = "+".join(findings.count(("Verdict", "FAIL"), ("Check id", check.check_id)) for check in checks)
        sheet.append(
            [
                style_cell(sheet, PROSE, each.framework),
                style_cell(sheet, PLAIN, each.version),
                style_cell(sheet, LABEL, requirement),
                style_cell(sheet, BAD_RESULT if result in BAD_RESULTS else PROSE, result),
                *(
                    style_cell(sheet, _look(verdict, count), count)
                    for verdict, count in ((verdict, each.count(verdict)) for verdict in Verdict)
                ),
                formula_cell(sheet, COUNT, failing),
                formula_cell(sheet, TIE_OUT, f'IF(F{row}=I{row},"matches","DIFFERS")'),
                _lines(sheet, ids),
                style_cell(sheet, LINK_TEXT, f"Findings {place.rpartition('!')[2]}")
                if place
                else style_cell(sheet, PROSE),
            ]
        )
    return render_links(links)


BAD_RESULTS = frozenset({str(Verdict.FAIL), str(Verdict.UNKNOWN), IN_PART})


def _look(verdict: Verdict, count: int) -> Look:
    return ALERT_COUNT if count and verdict in (Verdict.FAIL, Verdict.UNKNOWN) else COUNT


def _lines(sheet: Any, ids: str) -> Any:
    """Our own ids, one a line."""
    cell = style_cell(sheet, PROSE)
    cell.value = ids
    return cell
