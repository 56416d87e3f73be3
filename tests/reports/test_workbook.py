from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from openpyxl import Workbook, load_workbook
from openpyxl.utils import range_boundaries

from reports import cells, sheets
from reports.cells import cell_text
from reports.workbook import write_workbook
from scanner.checks import CATALOGUE
from scanner.evaluate import assess, read_frame
from scanner.evidence import RunFolder, sha256_of
from scanner.models import Account, Assessment, Caller, LedgerEntry, Outcome, Rules, Run, Stop, Verdict
from scanner.terminal import Terminal

AS_OF = datetime(2026, 11, 23, 6, 15, tzinfo=UTC)
RUN_ID = "20261123T061500Z-o-a1b2c3d4e5"

HOSTILE_NAMES = (
    '=HYPERLINK("http://example.com","click")',
    "@SUM(1+1)",
    "+x",
    "-x",
    "＝1+1",
    "\t=1+1",
    "\n=1+1",
    "bell\x07\0",
    "#N/A",
    "#REF!",
    "_x003D_1+1",
    "_x0041_x0042_",
    "abc\u202egnp.exe",
    "\ud800\uffff",
    "TRUE",
    "1E5",
    "  spaces  ",
    "n" * 200,
    "=" + "n" * 40_000,
)
SHEETS = [
    "Summary",
    "Findings",
    "Due soon",
    "Accounts",
    "Access keys",
    "Root users",
    "Exemptions",
    "Changes",
    "Account changes",
    "Controls",
    "Method",
]
TOTALS = 61

KEY_COLUMNS = ("active", "last_rotated", "last_used_date", "last_used_region", "last_used_service")
REPORT_COLUMNS = (
    *("user", "arn", "user_creation_time", "password_enabled", "password_last_used", "password_last_changed"),
    *("password_next_rotation", "mfa_active"),
    *(f"access_key_{slot}_{name}" for slot in (1, 2) for name in KEY_COLUMNS),
    *("cert_1_active", "cert_1_last_rotated", "cert_2_active", "cert_2_last_rotated"),
)


def ago(**duration: float) -> str:
    return (AS_OF - timedelta(**duration)).isoformat()


def user(account_id: str, name: str, **values: str) -> dict[str, str]:
    kind = "root" if name == "<root_account>" else f"user/{name}"
    row = dict.fromkeys(REPORT_COLUMNS, "N/A")
    row |= {"user": name, "arn": f"arn:aws:iam::{account_id}:{kind}", "user_creation_time": ago(days=800)}
    row |= {name: "false" for name in REPORT_COLUMNS if name.endswith(("_active", "_enabled"))}
    return row | values


def key(rotated: str, *, active: str = "true", used: str = "N/A", slot: int = 1) -> dict[str, str]:
    name = f"access_key_{slot}"
    return {f"{name}_active": active, f"{name}_last_rotated": rotated, f"{name}_last_used_date": used}


def users_of(account_id: str) -> list[dict[str, str]]:
    return [
        user(account_id, "<root_account>"),
        user(account_id, "young", **key(ago(days=10), used=ago(days=1))),
        user(account_id, "exactly", **key(ago(days=90))),
        user(account_id, "second-over", **key(ago(days=90, seconds=1)), **key(ago(days=3), slot=2)),
        user(account_id, "old", **key(ago(days=400), used=ago(days=2))),
        user(account_id, "before-records", **key("2014-01-01T00:00:00+00:00")),
        user(account_id, "inactive", **key(ago(days=500), active="false")),
        user(account_id, "no-date", **key("not-a-date")),
        user(account_id, "=1+1", **key(ago(days=120))),
        user(account_id, "#N/A", **key(ago(days=121))),
        user(account_id, "no-keys"),
    ]


def report(users: list[dict[str, str]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, REPORT_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(users)
    return text.getvalue().encode()


def new_run() -> Run:
    return Run(
        run_id=RUN_ID,
        tool_version="0.1.0",
        python_version="3.11.9",
        organization_id="o-a1b2c3d4e5",
        management_account_id="111122223333",
        caller=Caller(account_id="012345678901", arn="arn:aws:iam::012345678901:user/auditor", partition="aws"),
        role_name="CredentialAudit",
        external_id_used=True,
        session_name=f"credaudit-{RUN_ID}",
        session_policy={"Statement": [{"Effect": "Allow", "Action": ["iam:GetCredentialReport"], "Resource": "*"}]},
        organization_role_arn="",
        endpoints={"iam": "https://iam.amazonaws.com"},
        as_of=AS_OF,
        rules=Rules(checks=("access-key-not-rotated",)),
        parameters={"organization": {"exclude_ous": ["Root/=1+1"], "role_arn": ""}, "scan": {"rates": {"iam": 500}}},
        started=AS_OF,
        finished=AS_OF + timedelta(minutes=2),
        notes=("=NOTE()",),
    )


def assessment_of(
    path: Path, outcomes: list[Outcome], users: list[list[dict[str, str]]] | None = None, run: Run | None = None
) -> Assessment:
    """Accounts with these outcomes, hostile names included; each scanned one has the next list of users."""
    folder = RunFolder.create(path, RUN_ID)
    ids = [f"{number:012d}" for number in range(12_345_678_901, 12_345_678_901 + len(outcomes))]
    names = [HOSTILE_NAMES[number % len(HOSTILE_NAMES)] for number in range(len(outcomes))]
    folder.write_population(
        [
            Account(account_id=each, name=name, email="=x@example.com", state="ACTIVE", ou_path=f"Root/{name}")
            for each, name in zip(ids, names, strict=True)
        ],
        ["request-1"],
    )
    contents = iter(users or [])
    with folder.open_ledger() as ledger:
        for account_id, outcome in zip(ids, outcomes, strict=True):
            entry = LedgerEntry(
                account_id=account_id, outcome=outcome, reason="" if outcome is Outcome.SCANNED else "=R()"
            )
            if outcome is Outcome.SCANNED:
                rows = next(contents, users_of(account_id))
                folder.write_report(account_id, report(rows))
                digest = sha256_of(folder.path / "evidence" / f"{account_id}.csv")
                entry = replace(entry, report_generated=AS_OF, report_sha256=digest, users=len(rows), attempts=3)
            ledger.append(replace(entry, started=AS_OF, finished=AS_OF))
    return assess(folder, run or new_run(), read_frame(folder))


MIXED = [Outcome.SCANNED] * len(HOSTILE_NAMES) + [outcome for outcome in Outcome if outcome is not Outcome.SCANNED]


@pytest.fixture(scope="module")
def assessment(tmp_path_factory: pytest.TempPathFactory) -> Assessment:
    return assessment_of(tmp_path_factory.mktemp("runs"), MIXED)


@pytest.fixture(scope="module")
def path(assessment: Assessment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("workbook") / "workbook.xlsx"
    write_workbook(assessment, path)
    return path


@pytest.fixture(scope="module")
def book(path: Path) -> Workbook:
    return load_workbook(path)


def written(assessment: Assessment, path: Path) -> Workbook:
    write_workbook(assessment, path)
    return load_workbook(path)


def rows_of(book: Workbook, title: str) -> list[dict[str, Any]]:
    """The rows of a table sheet: heading → cell."""
    sheet = book[title]
    heading = [cell.value for cell in sheet[sheets.HEADING_ROWS]]
    rows = sheet.iter_rows(min_row=sheets.HEADING_ROWS + 1)
    return [dict(zip(heading, row, strict=True)) for row in rows if any(cell.value is not None for cell in row)]


def summary_text(book: Workbook) -> str:
    return "\n".join(str(cell.value) for row in book["Summary"].iter_rows() for cell in row if cell.value is not None)


# No cell acts


def test_only_recounts_are_formulas(book: Workbook) -> None:
    formulas = [
        (sheet.title, cell.column_letter)
        for sheet in book
        for row in sheet.iter_rows()
        for cell in row
        if cell.data_type not in ("s", "n", "d")
    ]

    assert set(formulas) == {("Summary", "C"), ("Summary", "D"), ("Controls", "I"), ("Controls", "J")}


def test_hostile_names_survive_as_text_that_stays_text_when_edited(book: Workbook) -> None:
    names = {row["Account name"].value: row["Account name"] for row in rows_of(book, "Accounts")}

    assert list(names)[: len(HOSTILE_NAMES)] == [cell_text(name) for name in HOSTILE_NAMES]
    assert all(cell.data_type == "s" for cell in names.values())
    assert {cell.value[0]: bool(cell.quotePrefix) for cell in names.values() if cell.value[0] in "=+-@＝#"} == {
        "=": True,
        "+": True,
        "-": True,
        "@": True,
        "＝": True,
        "#": False,
    }


def test_hostile_users_survive_on_the_fast_sheet(book: Workbook) -> None:
    users = {row["User"].value: row["User"] for row in rows_of(book, "Access keys")}

    assert users["=1+1"].data_type == users["#N/A"].data_type == "s"
    assert users["=1+1"].quotePrefix
    assert not users["young"].has_style


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("_x003D_1", "_x005F_x003D_1"),
        ("_x0041_x0042_", "_x005F_x0041_x005F_x0042_"),
        ("_x12", "_x12"),
        ("a\nb", r"a\nb"),
    ],
)
def test_excel_decodes_no_sequence_of_a_name(text: str, stored: str) -> None:
    assert cell_text(text) == stored


@pytest.mark.parametrize("text", ["n" * 40_000, "😀" * 20_000, "_x0041_" * 5_000])
def test_long_texts_are_cut_where_excel_would_refuse_them_and_say_so(text: str) -> None:
    cut = cell_text(text)

    assert len(cut.encode("utf-16-le")) // 2 <= cells.MAX_TEXT
    assert cut.endswith(cells.CUT)
    assert cell_text("n" * cells.MAX_TEXT) == "n" * cells.MAX_TEXT


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_an_os_error(assessment: Assessment) -> None:
    with pytest.raises(OSError, match="No space left on device"):
        write_workbook(assessment, Path("/dev/full"))


# What stands where


def test_sheets_in_order_and_properties(book: Workbook) -> None:
    assert book.sheetnames == SHEETS
    assert (book.properties.creator, book.properties.subject) == ("credaudit", RUN_ID)
    assert book.properties.created == datetime(2026, 11, 23, 6, 17)


def test_the_verdict_comes_first(book: Workbook) -> None:
    lines = [book["Summary"].cell(row, 1).value for row in range(1, 7)]

    gaps = sum(outcome.is_gap for outcome in Outcome)
    scanned = len(HOSTILE_NAMES)
    assert lines[3] == f"INCOMPLETE: {gaps} of {gaps + scanned} accounts in scope could not be assessed"
    assert lines[4] == (
        f"{scanned * 5} findings fail: {scanned * 5} medium; {scanned} could not be judged"
        " (in the accounts that were assessed)"
    )
    assert lines[5] == (
        f"{scanned * 5} of {scanned * 9} active access keys are older than 90 days; {scanned} could not be judged"
        " (in the accounts that were assessed)"
    )


def test_values_have_their_types(book: Workbook) -> None:
    rows = {row["User"].value: row for row in rows_of(book, "Access keys")}
    over = rows["second-over"] | next(row for row in rows_of(book, "Findings") if row["User"].value == "second-over")

    assert over["Account id"].value == "012345678901"
    assert over["Last rotated (UTC)"].value == datetime(2026, 8, 25, 6, 14, 59)
    assert over["Last rotated (UTC)"].number_format == "yyyy-mm-dd hh:mm:ss"
    assert over["Due on (UTC)"].value == datetime(2026, 11, 23)
    assert over["Due on (UTC)"].number_format == "yyyy-mm-dd"
    assert over["Age (days)"].value == 90
    assert isinstance(over["Age (days)"].value, int)
    assert over["Fix (commands)"].value.count("\n") > 3
    assert all(cell.value is not None and str(cell.value) not in ("nan", "NaT", "<NA>") for cell in _filled(book))


def _filled(book: Workbook) -> list[Any]:
    return [cell for sheet in book for row in sheet.iter_rows() for cell in row if cell.value is not None]


@pytest.mark.parametrize(
    ("name", "active", "used", "verdict"),
    [
        ("young", "yes", datetime(2026, 11, 22, 6, 15), "PASS"),
        ("exactly", "yes", "never", "PASS"),
        ("old", "yes", datetime(2026, 11, 21, 6, 15), "FAIL"),
        ("before-records", "yes", "not known", "FAIL"),
        ("inactive", "no", "never", "not active"),
        ("no-date", "yes", "not known", "UNKNOWN"),
    ],
)
def test_every_access_key_is_there_with_its_verdict(
    book: Workbook, name: str, active: str, used: object, verdict: str
) -> None:
    row = next(row for row in rows_of(book, "Access keys") if row["User"].value == name)

    assert row["Active"].value == active
    assert row["Last used (UTC)"].value == used
    assert row["Verdict: access-key-not-rotated"].value == verdict


def test_accounts_say_what_happened(book: Workbook, assessment: Assessment) -> None:
    rows = rows_of(book, "Accounts")

    assert [row["Outcome"].value for row in rows] == [str(outcome) for outcome in MIXED]
    assert rows[0]["SHA-256 of the report"].value == assessment.accounts["report_sha256"][0]
    assert rows[0]["Users"].value == len(users_of("012345678901"))
    assert rows[-1]["Users"].value is None
    assert rows[-1]["Reason"].value == "=R()"


def test_method_tells_the_rules_and_every_control(book: Workbook) -> None:
    text = "\n".join(str(cell.value) for row in book["Method"].iter_rows() for cell in row if cell.value)

    assert "7,776,000 seconds" in text
    assert all(
        str(word) in text for word in (*Outcome, "sha256sum", "manifest.json", "four hours", "organization.exclude_ous")
    )
    asked = [check for check in CATALOGUE if check.id == "access-key-not-rotated"]
    assert all(control.number in text and control.note in text for check in asked for control in check.controls)


@pytest.mark.parametrize("title", ["Findings", "Accounts", "Access keys"])
def test_tables_are_ready_to_scroll_filter_and_print(book: Workbook, title: str) -> None:
    sheet = book[title]

    assert sheet.freeze_panes == "A5"
    assert sheet.auto_filter.ref == f"A4:{sheet.cell(4, sheet.max_column).coordinate[:-1]}{sheet.max_row}"
    assert sheet.print_title_rows == "$4:$4"
    assert (sheet.page_setup.orientation, sheet.page_setup.paperSize) == ("landscape", 9)
    assert all(dimension.width >= 8 for dimension in sheet.column_dimensions.values())
    assert max((row.height or 15) for row in sheet.row_dimensions.values()) <= 15 * sheets.MAX_LINES


@pytest.mark.parametrize("title", SHEETS)
def test_every_page_says_what_it_is(book: Workbook, title: str) -> None:
    sheet = book[title]

    assert (sheet.page_setup.fitToWidth, sheet.page_setup.fitToHeight) == (1, 0)
    assert sheet.sheet_properties.pageSetUpPr.fitToPage
    assert RUN_ID in sheet.oddFooter.left.text
    assert (sheet.oddFooter.center.text, sheet.oddFooter.right.text) == ("&A", "Page &P of &N")


def test_same_assessment_same_cells(assessment: Assessment, book: Workbook, tmp_path: Path) -> None:
    again = written(assessment, tmp_path / "again.xlsx")

    for sheet in book:
        assert list(again[sheet.title].values) == list(sheet.values)


# The numbers agree


def recounts(book: Workbook) -> list[tuple[str, object, object]]:
    """Label, value and recount of each total that has one."""
    sheet = book["Summary"]
    return [
        (str(sheet.cell(row, 1).value).strip(), sheet.cell(row, 2).value, recount(book, str(sheet.cell(row, 3).value)))
        for row in range(1, sheet.max_row + 1)
        if str(sheet.cell(row, 4).value).startswith(("=IF(B", "=IF(AND(B"))
    ]


def recount(book: Workbook, formula: str) -> object:
    """What a spreadsheet program makes of one of our formulas."""
    oldest = re.fullmatch(r'=IF\((.*)=0,"none",MAX\((.*)\)\)', formula)
    if oldest:
        return _oldest(book, oldest[2]) if recount(book, oldest[1]) else "none"
    if difference := re.fullmatch(r"=(C\d+)-(C\d+)", formula):
        return int.__sub__(*(recount(book, book["Summary"][each].value) for each in difference.groups()))
    if products := re.findall(r"SUMPRODUCT\(EXACT\(([^,]*),([^)]*)\)\*\(([^=]*)=\"FAIL\"\)\)", formula):
        return sum(_exact(book, *each) for each in products)
    terms = re.findall(r"([-+=]?)(COUNTIFS|COUNTIF|COUNTA|SUM)\(([^()]*)\)", formula)
    assert terms, formula
    return sum((-1 if sign == "-" else 1) * _count(book, name, arguments.split(",")) for sign, name, arguments in terms)


def _exact(book: Workbook, paths: str, path: str, verdicts: str) -> int:
    wanted = None if path == '""' else book["Summary"][path].value
    pairs = zip(_values(book, paths), _values(book, verdicts), strict=True)
    return sum(pair == (wanted, "FAIL") for pair in pairs)


def _count(book: Workbook, function: str, arguments: list[str]) -> int:
    ranges = [_values(book, cells) for cells in arguments[::2]]
    words = [word.strip('"') for word in arguments[1::2]]
    if function == "SUM":
        return sum(_number(book, value) for value in ranges[0] if value is not None)
    if function == "COUNTA":
        return sum(value is not None for value in ranges[0])
    return sum(all(map(_fits, row, words)) for row in zip(*ranges, strict=True))


def _fits(value: Any, word: str) -> bool:
    if word.startswith((">=", "<=")):
        bound = int(word[2:])
        return value is not None and (value >= bound if word[0] == ">" else value <= bound)
    return bool(value == word)


def _number(book: Workbook, value: Any) -> Any:
    return recount(book, value) if isinstance(value, str) else value


def _oldest(book: Workbook, products: str) -> int:
    ages = []
    for verdicts, check_ids, numbers in re.findall(r'\(\((.*?)="FAIL"\)\*\((.*?)=".*?"\)\*(.*?)\)\)', products):
        rows = zip(*(_values(book, cells) for cells in (verdicts, check_ids, numbers)), strict=True)
        ages += [age for verdict, check_id, age in rows if (verdict, check_id) == ("FAIL", "access-key-not-rotated")]
    return max(ages)


def _values(book: Workbook, cells: str) -> list[Any]:
    title, _, reference = cells.rpartition("!")
    column, first, last_column, last = range_boundaries(reference)
    sheet = book[title.strip("'") or "Summary"]
    return [sheet.cell(row, each).value for each in range(column, last_column + 1) for row in range(first, last + 1)]


def test_every_total_is_counted_again_and_matches(book: Workbook) -> None:
    totals = recounts(book)

    assert len(totals) == TOTALS
    assert [(label, value) for label, value, again in totals if value != again] == []
    assert ("Listed by AWS Organizations", len(MIXED), len(MIXED)) in totals
    assert ("Listed, not accounted for", 0, 0) in totals
    assert (
        next(value for label, value, _ in totals if label.startswith("Oldest"))
        == (AS_OF - datetime(2014, 1, 1, tzinfo=UTC)).days
    )


def test_a_total_that_is_wrong_does_not_match(assessment: Assessment, tmp_path: Path) -> None:
    counts = {**(assessment.run.counts or {}), "scanned": 1}

    totals = recounts(written(replace(assessment, run=replace(assessment.run, counts=counts)), tmp_path / "w.xlsx"))

    differing = [label for label, value, again in totals if value != again]
    assert differing == ["scanned", "Sum of the outcomes", "Listed, not accounted for"]


def test_keys_that_aws_does_not_show_are_counted_as_they_are_listed(assessment: Assessment, tmp_path: Path) -> None:
    credential = assessment.credentials["credential"].where(
        assessment.credentials["credential"].ne("access_key_2"), "additional_credentials"
    )
    assert credential.eq("additional_credentials").any()

    book = written(
        replace(assessment, credentials=assessment.credentials.assign(credential=credential)), tmp_path / "w.xlsx"
    )

    assert [each for each in recounts(book) if each[1] != each[2]] == []


def test_ranges_are_those_of_the_data(book: Workbook) -> None:
    formulas = [str(cell.value) for cell in book["Summary"]["C"] if str(cell.value).startswith("=")]
    ends = {
        (title.strip("'"), int(end))
        for formula in formulas
        for title, end in re.findall(r"('Access keys'|'Findings'|'Accounts')!\$[A-Z]+\$5:\$[A-Z]+\$(\d+)", formula)
    }

    assert ends == {(title, book[title].max_row) for title in ("Findings", "Accounts", "Access keys")}


def recalculated(path: Path, folder: Path) -> Workbook:
    subprocess.run(
        [
            shutil.which("soffice") or "",
            f"-env:UserInstallation={(folder / 'profile').as_uri()}",
            "--headless",
            *("--convert-to", "xlsx", "--outdir", str(folder), str(path)),
        ],
        check=True,
        capture_output=True,
        timeout=180,
    )
    return load_workbook(folder / path.name, data_only=True)


@pytest.mark.skipif(shutil.which("soffice") is None, reason="LibreOffice (soffice) is not installed")
@pytest.mark.parametrize("rows", [sheets.MAX_ROWS, 60])
def test_libreoffice_computes_the_same(
    assessment: Assessment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(sheets, "MAX_ROWS", rows)
    write_workbook(assessment, tmp_path / "workbook.xlsx")
    (tmp_path / "out").mkdir()

    book = recalculated(tmp_path / "workbook.xlsx", tmp_path / "out")
    sheet = book["Summary"]

    tie_outs = [sheet.cell(row, 4).value for row in range(1, sheet.max_row + 1)]
    assert tie_outs.count("matches") == TOTALS
    assert tie_outs.count("all match") == 1
    assert "DIFFERS" not in tie_outs
    controls = [row[9].value for row in book["Controls"].iter_rows(min_row=sheets.HEADING_ROWS + 1)]
    assert controls == ["matches"] * sum(len(check.controls) for check in assessment.checks)


# Small, empty and huge


def test_a_complete_run_without_findings(tmp_path: Path) -> None:
    users = [[user("012345678901", "<root_account>"), user("012345678901", "young", **key(ago(days=1)))]]
    assessment = assessment_of(tmp_path, [Outcome.SCANNED, Outcome.EXCLUDED], users)

    book = written(assessment, tmp_path / "w.xlsx")

    assert "COMPLETE: 1 account in scope, all assessed; 1 of 2 listed are not active or excluded" in summary_text(book)
    assert "0 of 1 active access keys are older than 90 days" in summary_text(book)
    assert rows_of(book, "Findings") == []
    assert book["Findings"].auto_filter.ref.startswith("A4:")
    assert [each for each in recounts(book) if each[1] != each[2]] == []
    assert ("Oldest failing key, age in days", "none", "none") in recounts(book)


@pytest.mark.parametrize("outcomes", [[], [Outcome.NOT_ACTIVE], [Outcome.ACCESS_DENIED]])
def test_no_account_scanned(outcomes: list[Outcome], tmp_path: Path) -> None:
    book = written(assessment_of(tmp_path, outcomes), tmp_path / "w.xlsx")

    expected = "INCOMPLETE: 1 of 1" if Outcome.ACCESS_DENIED in outcomes else "COMPLETE, but no account was in scope"
    assert expected in summary_text(book)
    assert rows_of(book, "Access keys") == []
    assert [each for each in recounts(book) if each[1] != each[2]] == []


def with_another_check(assessment: Assessment) -> Assessment:
    """With a check of passwords that one exemption covers."""
    name = "user-without-mfa"
    is_password = assessment.credentials["credential"].eq("password")
    verdicts = is_password.map({True: "PASS", False: ""}).astype("string")
    verdicts.iloc[0] = "EXEMPT"
    exempt = assessment.findings.head(1).assign(check=name, title="No MFA", verdict="EXEMPT")
    passes = int(is_password.sum()) - 1
    check = replace(
        assessment.checks[0],
        check_id=name,
        title="No MFA",
        verdicts={Verdict.PASS: passes, Verdict.FAIL: 0, Verdict.EXEMPT: 1, Verdict.UNKNOWN: 0},
    )
    return replace(
        assessment,
        run=replace(assessment.run, totals={**(assessment.run.totals or {}), "EXEMPT": 1}),
        credentials=assessment.credentials.assign(**{f"verdict:{name}": verdicts}),
        findings=pd.concat([assessment.findings, exempt]),
        checks=(*assessment.checks, check),
    )


def test_a_check_of_other_credentials_and_exemptions(tmp_path: Path) -> None:
    assessment = with_another_check(assessment_of(tmp_path, [Outcome.SCANNED]))
    name, population = "user-without-mfa", len(users_of("012345678901"))

    book = written(assessment, tmp_path / "w.xlsx")

    (row,) = (row for row in book["Summary"].iter_rows(values_only=True) if str(row[0]).startswith(name))
    assert (row[1], *row[4:9]) == (1, population, population - 1, 0, 1, 0)
    assert [each for each in recounts(book) if each[1] != each[2]] == []
    assert f"Verdict: {name}" not in rows_of(book, "Access keys")[0]


@pytest.mark.parametrize("outcomes", [MIXED, [Outcome.SCANNED, Outcome.NOT_ACTIVE]])
@pytest.mark.parametrize("interrupted", [True, False])
def test_the_terminal_says_the_verdict_in_the_same_words(
    outcomes: list[Outcome], interrupted: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = replace(new_run(), stopped_by=Stop.SIGNAL if interrupted else None)
    assessment = with_another_check(assessment_of(tmp_path, outcomes, run=run))

    Terminal().summarize(assessment, all_is_well=False)

    lines = capsys.readouterr().err.splitlines()
    sheet = written(assessment, tmp_path / "w.xlsx")["Summary"]
    coverage, *results = [sheet.cell(row, 1).value for row in (4, 5, 6)]
    assert lines[0] == coverage
    assert "active access keys" in results[1]
    assert [line.strip() for line in lines if line.strip() in results] == results
    assert any("user-without-mfa" in line for line in lines)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stopped_by": Stop.SIGNAL}, "INCOMPLETE: the run was interrupted"),
        ({"finished": None}, "INCOMPLETE: the run did not finish"),
    ],
)
def test_a_run_that_did_not_end_well_is_not_complete(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    assessment = assessment_of(tmp_path, [Outcome.SCANNED], run=replace(new_run(), **changes))

    assert words in summary_text(written(assessment, tmp_path / "w.xlsx"))


def test_many_gaps_are_shortened_with_a_pointer(tmp_path: Path) -> None:
    outcomes = [Outcome.ACCESS_DENIED] * 40 + [Outcome.ERROR] * 2
    assessment = assessment_of(tmp_path, outcomes)

    text = summary_text(written(assessment, tmp_path / "w.xlsx"))

    assert "… and 28 more" in text
    assert "sheet Accounts, Outcome access_denied" in text
    assert text.count("=R()") == 14


def test_a_table_longer_than_a_sheet_continues_on_the_next(
    assessment: Assessment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sheets, "MAX_ROWS", 60)
    monkeypatch.setattr(sheets, "CHUNK_ROWS", 7)

    book = written(assessment, tmp_path / "w.xlsx")

    parts = [title for title in book.sheetnames if title.startswith("Access keys")]
    assert parts == ["Access keys", "Access keys 2", "Access keys 3", "Access keys 4"]
    assert book["Access keys 2"]["A1"].value == "Access keys (2 of 4)"
    assert [book[title].max_row for title in parts[:3]] == [60, 60, 60]
    keys = int(assessment.credentials["credential"].astype(str).str.startswith("access_key").sum())
    assert sum(len(rows_of(book, title)) for title in parts) == keys
    assert [each for each in recounts(book) if each[1] != each[2]] == []
    assert len(recounts(book)) == TOTALS
    assert "Access keys to Access keys 4: rows" in summary_text(book)
    assert (
        f"The {keys} rows of Access keys are more than a sheet can hold; they stand on 4 sheets, to be read as one"
        " table: Access keys (56 rows), Access keys 2 (56 rows), Access keys 3 (56 rows), "
        f"Access keys 4 ({keys - 168} rows)."
    ) in summary_text(book)
    assert "rows of Accounts" not in summary_text(book)
