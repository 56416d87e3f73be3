"""The workbook of a whole catalogue against findings.csv and accounts.csv, as a spreadsheet program recalculates it."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from lxml import etree
from openpyxl import Workbook, load_workbook

from reports import links, sheets
from reports.csv import tables as csv_tables
from reports.csv import write_csv
from reports.workbook import write_workbook
from scanner.models import Assessment, Outcome

from .assessed import demo_assessment, empty_assessment, full, hostile

FIRST = sheets.HEADING_ROWS + 1
needs_libreoffice = pytest.mark.skipif(shutil.which("soffice") is None, reason="LibreOffice is not installed")


@pytest.fixture(scope="module")
def assessment(tmp_path_factory: pytest.TempPathFactory) -> Assessment:
    found = full(demo_assessment(tmp_path_factory.mktemp("runs")))
    assert found.trend is not None
    earlier = found.trend.assign(run_id="20260824T061500Z-o-exampleorg1")
    return replace(found, trend=pd.concat([earlier, found.trend], ignore_index=True))


@pytest.fixture(scope="module")
def path(assessment: Assessment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("workbook") / "workbook.xlsx"
    write_workbook(assessment, path)
    return path


@pytest.fixture(scope="module")
def book(path: Path) -> Workbook:
    return load_workbook(path)


@pytest.fixture(scope="module")
def rows(assessment: Assessment, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, str]]]:
    """The rows of findings.csv and accounts.csv, read as a stranger to the project would."""
    folder = tmp_path_factory.mktemp("csv")
    found = {}
    for name in ("findings.csv", "accounts.csv"):
        write_csv(csv_tables(assessment)[name], folder / name)
        with (folder / name).open(encoding="utf-8-sig", newline="") as file:
            found[name] = list(csv.DictReader(file))
    return found


def recalculated(path: Path, folder: Path) -> Workbook:
    profile = f"-env:UserInstallation={(folder / 'profile').as_uri()}"
    command = [shutil.which("soffice") or "", profile, "--headless", "--convert-to", "xlsx", "--outdir", str(folder)]
    subprocess.run([*command, str(path)], check=True, capture_output=True, timeout=180)
    return load_workbook(folder / path.name, data_only=True)


def totals_of(book: Workbook) -> dict[str, tuple[Any, Any]]:
    """Label → value and recount, of each row of Summary that ties out."""
    return {
        str(row[0]).strip(): (row[1], row[2])
        for row in book["Summary"].iter_rows(values_only=True)
        if row[3] in ("matches", "DIFFERS")
    }


def places_of(book: Workbook, title: str) -> dict[str, str]:
    """Cell → where it leads."""
    return {
        cell.coordinate: cell.hyperlink.location for row in book[title].iter_rows() for cell in row if cell.hyperlink
    }


@needs_libreoffice
def test_recalculated_totals_are_those_of_the_csv_files(
    path: Path, rows: dict[str, list[dict[str, str]]], assessment: Assessment, tmp_path: Path
) -> None:
    book = recalculated(path, tmp_path)
    totals = totals_of(book)
    findings, accounts = rows["findings.csv"], rows["accounts.csv"]
    failing = [row for row in findings if row["verdict"] == "FAIL"]
    by_severity, by_ou = Counter(row["severity"] for row in failing), Counter(row["ou_path"] for row in failing)
    outcomes = Counter(row["outcome"] for row in accounts)

    assert [label for label, (value, again) in totals.items() if value != again] == []
    expected = {
        "Listed by AWS Organizations": len(accounts),
        "scanned": outcomes[Outcome.SCANNED],
        "access denied": outcomes[Outcome.ACCESS_DENIED],
        "Findings that fail": len(failing),
        "Findings": len(findings),
        "exempt": sum(row["verdict"] == "EXEMPT" for row in findings),
        "unknown": sum(row["verdict"] == "UNKNOWN" for row in findings),
        "Users, root users included": sum(int(row["users"] or 0) for row in accounts),
        "Credentials": sum(int(row["credentials"] or 0) for row in accounts),
        "Root users": outcomes[Outcome.SCANNED],
        **{f"fail, {severity}": by_severity[severity] for severity in ("critical", "high", "medium", "low")},
        **{ou: count for ou, count in by_ou.items() if ou in totals},
    }
    assert {label: totals[label][1] for label in expected} == expected
    assert sum(again for label, (_, again) in totals.items() if label.startswith(("Root/", "all others"))) + sum(
        by_ou[ou] for ou in ("Root",)
    ) == len(failing)
    for check in assessment.checks:
        found = sum(row["check"] == check.check_id for row in findings)
        assert totals[f"{check.check_id} ({check.severity})"] == (found, found)
    last = [row[3] for row in book["Summary"].iter_rows(values_only=True) if row[0] == "All recounts"]
    assert last == ["all match"]
    assert "DIFFERS" not in [row[9] for row in book["Controls"].iter_rows(values_only=True)]


@needs_libreoffice
@pytest.mark.parametrize("more", [{"PASS": 1, "FAIL": -1}, {"UNKNOWN": 1, "FAIL": -1}, {"PASS": 1}])
def test_a_verdict_that_is_wrong_in_one_cell_differs(
    assessment: Assessment, tmp_path: Path, more: dict[str, int]
) -> None:
    check = next(each for each in assessment.checks if each.check_id == "root-without-mfa")
    verdicts = {word: count + more.get(word, 0) for word, count in check.verdicts.items()}
    wrong = tuple(replace(each, verdicts=verdicts) if each is check else each for each in assessment.checks)
    (tmp_path / "out").mkdir()

    write_workbook(replace(assessment, checks=wrong), tmp_path / "w.xlsx")
    book = recalculated(tmp_path / "w.xlsx", tmp_path / "out")

    differing = [row[0] for row in book["Summary"].iter_rows(values_only=True) if row[3] == "DIFFERS"]
    assert differing == ["root-without-mfa (critical)", "2.5  root-without-mfa"]
    assert "see DIFFERS" in [row[3] for row in book["Summary"].iter_rows(values_only=True)]


# Links


def test_account_ids_lead_to_their_row(book: Workbook) -> None:
    for title, column in (("Findings", "D"), ("Due soon", "C"), ("Root users", "A"), ("Changes", "B")):
        places = places_of(book, title)
        last = book[title].max_row
        assert len(places) == last - FIRST + 1, title
        for cell, place in places.items():
            assert cell.startswith(column)
            sheet, _, target = place.partition("!")
            assert book[sheet.strip("'")][target].value == book[title][cell].value


def test_counts_of_accounts_lead_to_the_first_finding_of_the_account(book: Workbook) -> None:
    first: dict[str, str] = {}
    for row in range(FIRST, book["Findings"].max_row + 1):
        first.setdefault(book["Findings"].cell(row, 4).value, f"'Findings'!A{row}")

    places = places_of(book, "Accounts")

    assert {book["Accounts"][f"A{cell[1:]}"].value: place for cell, place in places.items()} == first


def test_checks_and_requirements_lead_to_the_first_finding(book: Workbook) -> None:
    of_summary, of_controls = places_of(book, "Summary"), places_of(book, "Controls")

    assert of_summary
    assert of_controls
    for cell, place in of_summary.items():
        row = int(place.rpartition("A")[2])
        check = [each.value for each in book["Findings"][row]][-2]
        assert str(check) in str(book["Summary"][cell].value)
    for cell, place in of_controls.items():
        row = int(place.rpartition("A")[2])
        assert [each.value for each in book["Findings"][row]][-2] in book["Controls"][f"K{cell[1:]}"].value


def test_links_hold_where_findings_go_on_on_another_sheet(
    assessment: Assessment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sheets, "MAX_ROWS", 60)
    write_workbook(assessment, tmp_path / "w.xlsx")
    book = load_workbook(tmp_path / "w.xlsx")

    seen = set()
    for cell, place in places_of(book, "Accounts").items():
        sheet, _, target = place.partition("!")
        seen.add(sheet)
        assert book[sheet.strip("'")][f"D{target[1:]}"].value == book["Accounts"][f"A{cell[1:]}"].value
    assert len(seen) > 1


def test_no_more_links_than_excel_takes(
    assessment: Assessment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sheets, "MAX_LINKS", 7)
    write_workbook(assessment, tmp_path / "w.xlsx")

    assert links.MAX_LINKS < 65_530
    assert len(places_of(load_workbook(tmp_path / "w.xlsx"), "Findings")) == 7


# The file


ORDER = (
    *("sheetPr", "dimension", "sheetViews", "sheetFormatPr", "cols", "sheetData", "autoFilter", "mergeCells"),
    *("conditionalFormatting", "dataValidations", "hyperlinks", "printOptions", "pageMargins", "pageSetup"),
    *("headerFooter", "rowBreaks", "drawing", "legacyDrawing"),
)


@pytest.mark.parametrize("kind", ["full", "hostile", "empty"])
def test_the_parts_of_each_sheet_stand_in_the_order_of_the_standard(
    assessment: Assessment, tmp_path: Path, kind: str
) -> None:
    chosen = {"full": lambda: assessment, "hostile": lambda: hostile(assessment)}.get(
        kind, lambda: empty_assessment(tmp_path)
    )()
    write_workbook(chosen, tmp_path / "w.xlsx")

    with zipfile.ZipFile(tmp_path / "w.xlsx") as parts:
        names = [name for name in parts.namelist() if name.startswith("xl/worksheets/sheet")]
        assert len(names) == 11
        for name in names:
            elements = [etree.QName(each).localname for each in etree.fromstring(parts.read(name))]
            assert elements == sorted(elements, key=ORDER.index), name


def test_every_heading_of_controls_and_every_link_column_has_a_note(book: Workbook) -> None:
    assert all(cell.comment for cell in book["Controls"][sheets.HEADING_ROWS])
    assert book["Accounts"]["I4"].comment.text.startswith("Findings with the verdict FAIL")
    assert book["Findings"]["A4"].comment.author == "credaudit"


def test_charts_show_the_numbers_beside_their_headings(path: Path, book: Workbook) -> None:
    with zipfile.ZipFile(path) as parts:
        charts = [parts.read(name).decode() for name in parts.namelist() if name.startswith("xl/charts/chart")]
    assert len(charts) == 3
    headings = [
        [
            book["Summary"][cell.replace("$", "")].value
            for cell in re.findall(r"<(?:c:)?tx>.*?'Summary'!(\$?[A-Z]+\$?\d+)", chart)
        ]
        for chart in charts
    ]
    severities = ["critical", "high", "medium", "low"]
    assert headings == [severities, ["within limit", "beyond limit"], severities]


def test_the_sheet_can_be_signed(book: Workbook) -> None:
    lines = [row[0] for row in book["Summary"].iter_rows(values_only=True)]
    assert lines.index("Prepared by") < lines.index("Reviewed by")
    assert "Evaluated again, offline" in str(lines[6])


@pytest.mark.parametrize("is_complete", [True, False])
def test_no_requirement_passes_where_accounts_are_missing(
    assessment: Assessment, tmp_path: Path, is_complete: bool
) -> None:
    outcomes = {str(outcome): 0 for outcome in Outcome}
    counts = {"listed": 2, **outcomes, "scanned": 1 + is_complete, "error": 1 - is_complete}
    passing = tuple(
        replace(each, verdicts={word: int(word == "PASS") for word in each.verdicts}) for each in assessment.checks
    )
    run = replace(assessment.run, counts=counts)
    write_workbook(
        replace(assessment, run=run, checks=passing, findings=assessment.findings.head(0)), tmp_path / "w.xlsx"
    )

    results = {row[3] for row in load_workbook(tmp_path / "w.xlsx")["Controls"].iter_rows(FIRST, values_only=True)}

    assert results == {"PASS" if is_complete else "PASS, in part"}


def test_a_forecast_that_was_not_asked_is_not_nothing(assessment: Assessment, tmp_path: Path) -> None:
    checks = tuple(each for each in assessment.checks if each.check_id != "access-key-not-rotated")
    write_workbook(
        replace(assessment, checks=checks, due_soon=pd.DataFrame(assessment.due_soon.head(0))), tmp_path / "w.xlsx"
    )

    assert "was not asked" in load_workbook(tmp_path / "w.xlsx")["Due soon"]["A2"].value
