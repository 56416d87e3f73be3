"""The rows as we render them against the rows as openpyxl writes them, cell by cell."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
from openpyxl import Workbook, load_workbook

from reports import package, sheets
from reports.cells import ALERT, DAY, INTEGER, MOMENT, PALE, Kind, Look, Value, cell_text, style_cell
from reports.columns import Column, days, moments, numbers, texts
from reports.package import save
from reports.rows import LINE_HEIGHT, MAX_LINES, count_lines
from reports.sheets import HEADING_ROWS, Table
from reports.table import FORMULA_TRIGGERS

RUN_ID = "20261123T061500Z-o-a1b2c3d4e5"

TEXTS = (
    *("alice", "", "FAIL", "fail", "Zürich 日本 😀", "TRUE", "1E5", "-1", "0012", "2026-11-23"),
    *("=1+1", "+x", "-x", "@SUM(1+1)", "＝1+1", "＋1", "－1", "＠x", "\t=1", "\n=1", "\r=1", "\0=1", "'=1"),
    *("#N/A", "#REF!", "#", "<b>&amp;</b>", "]]></t></is></c></row></sheetData>", '"quoted"', "a&b<c>d", "&#x3d;1"),
    *("_x0041_", "_x003D_1+1", "=_x0041_", "_x005F_x0041_", "_xD800_", "_x12"),
    *("  spaces  ", " ", "\u00a0edge\u00a0", "\u2003", "line\nfeed\n", "tab\tcr\r", "\n\n"),
    *("\ud800", "\udc00x", "\ufffe\uffff", "bell\x07\x0b\x1f\x7f\x85", "abc\u202egnp", "\u200b\u2028\u3164", "\ue000"),
    *("word " * 100, "n" * 32_767, "n" * 32_768, "=" + "n" * 40_000, "😀" * 20_000, "_x0041_" * 5_000, "&" * 40_000),
)
MOMENTS = (
    *("2026-11-23T06:15:00Z", "1900-03-01T00:00:00Z", "1900-02-28T23:59:59Z", "1600-01-01T00:00:00Z"),
    *("9999-12-31T23:59:59Z", "2199-12-31T23:59:59Z", None, "2026-11-23T06:15:00Z", "1970-01-01T00:00:01Z"),
)
NUMBERS = (0, 1, -45_474, 1_234_567, None, 90)


def hostile_table(values: tuple[str, ...] = TEXTS, *, has_row_heights: bool) -> Table:
    size = len(values)

    def cycle(column: tuple[Any, ...]) -> list[Any]:
        return [column[number % len(column)] for number in range(size)]

    frame = pd.DataFrame(
        {
            "text": pd.Series(values, dtype="string"),
            "moment": pd.Series(pd.to_datetime(pd.Series(cycle(MOMENTS), dtype="object"), utc=True, format="ISO8601")),
            "number": pd.Series(cycle(NUMBERS), dtype="Int64"),
        }
    )
    frame.loc[frame.index % 7 == 3, "text"] = pd.NA
    columns = (
        Column("Text", 20, Kind.TEXT, texts("text"), alerts=frozenset({"FAIL", "=1+1"})),
        Column("Wrapped", 12, Kind.TEXT, texts("text"), wraps=True),
        Column("Lines", 30, Kind.LINES, texts("text"), wraps=True),
        Column("Long lines", 30, Kind.LINES, texts("text")),
        Column("Moment", 20, Kind.MOMENT, moments("moment")),
        Column("Number", 9, Kind.NUMBER, numbers("number")),
        Column("Day", 14, Kind.DAY, days("moment"), is_printed=False),
        Column("Mixed", 14, Kind.MOMENT, lambda frame: [each or "never" for each in moments("moment")(frame)]),
    )
    return Table("Hostile", "Explained", columns, frame, has_row_heights=has_row_heights)


# The oracle: openpyxl, cell by cell and value by value


def by_openpyxl(table: Table, path: Path) -> Workbook:
    workbook = Workbook(write_only=True)
    for sheet, rows in table.write(workbook, RUN_ID).items():
        frame = table.rows(rows.start, rows.end)
        for number, values in enumerate(zip(*(column.read(frame) for column in table.columns), strict=True), start=5):
            record = [plain_cell(sheet, *each, table) for each in zip(table.columns, values, strict=True)]
            if table.has_row_heights:
                sheet.row_dimensions[number].height = LINE_HEIGHT * highest(table, values)
            sheet.append(record)
    workbook.save(path)
    return load_workbook(path)


def plain_cell(sheet: Any, column: Column, value: Value, table: Table) -> Any:
    is_styled = table.has_row_heights
    look = Look(wraps=column.wraps or column.kind is Kind.LINES, line=PALE) if is_styled else Look(vertical=None)
    if value is None or value == "":
        return style_cell(sheet, look) if is_styled else None
    if isinstance(value, float):
        shown = DAY if column.kind is Kind.DAY else MOMENT
        return style_cell(sheet, replace(shown, line=look.line, vertical=look.vertical), value)
    if isinstance(value, int):
        number = replace(look, align="right", indent=1, number_format=INTEGER)
        return style_cell(sheet, number, value) if is_styled else value
    if value in column.alerts:
        return style_cell(sheet, replace(look, bold=True, color=ALERT), value)
    text = cell_text(value, keeps_lines=column.kind is Kind.LINES)
    acts = text.startswith(FORMULA_TRIGGERS)
    if not is_styled and not acts and not text.startswith("#"):
        return text
    cell = style_cell(sheet, replace(look, align="left") if text.startswith("#") else look)
    cell.value = text
    cell.data_type = "s"
    cell.quotePrefix = acts
    return cell


def highest(table: Table, values: tuple[Value, ...]) -> int:
    lines = [
        count_lines(str(value or ""), column.width)
        for column, value in zip(table.columns, values, strict=True)
        if column.wraps
    ]
    return min(max(lines), MAX_LINES)


def by_us(table: Table, path: Path) -> Workbook:
    workbook = Workbook(write_only=True)
    save(workbook, path, table.write(workbook, RUN_ID))
    return load_workbook(path)


def description(book: Workbook) -> Iterator[tuple[object, ...]]:
    """All that a reader of the file can tell of it."""
    for sheet in book:
        yield sheet.title, sheet.dimensions, sheet.freeze_panes, sheet.auto_filter.ref, sheet.sheet_view.showGridLines
        yield sheet.print_area, sheet.print_title_rows, sheet.page_setup.orientation, sheet.oddHeader.left.text
        yield sheet.oddFooter.left.text, [str(cells) for cells in sheet.merged_cells.ranges]
        yield tuple((str(each.sqref), each.rules[0].formula) for each in sheet.conditional_formatting)
        yield tuple((letter, each.width) for letter, each in sheet.column_dimensions.items())
        yield tuple((number, each.height) for number, each in sheet.row_dimensions.items())
        for row in sheet.iter_rows():
            for cell in row:
                look = (cell.number_format, cell.font, cell.fill, cell.alignment, cell.border, cell.quotePrefix)
                yield cell.coordinate, cell.value, cell.data_type, *map(repr, look)


def stored_texts(path: Path) -> list[tuple[dict[str, str], str | None]]:
    """Each text with its attributes: xml:space, without which Excel drops the spaces around a text."""
    with zipfile.ZipFile(path) as file:
        parts = [file.read(name) for name in file.namelist() if name.startswith("xl/worksheets/")]
    return [(dict(text.attrib), text.text) for part in parts for text in etree.fromstring(part).iter("{*}t")]


def assert_same(table: Table, folder: Path) -> Workbook:
    ours = by_us(table, folder / "ours.xlsx")
    expected = by_openpyxl(table, folder / "openpyxl.xlsx")
    for one, other in zip(description(ours), description(expected), strict=True):
        assert one == other
    assert stored_texts(folder / "ours.xlsx") == stored_texts(folder / "openpyxl.xlsx")
    return ours


@pytest.mark.parametrize("has_row_heights", [True, False])
def test_hostile_rows_are_those_of_openpyxl(
    has_row_heights: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sheets, "CHUNK_ROWS", 7)

    sheet = assert_same(hostile_table(has_row_heights=has_row_heights), tmp_path)["Hostile"]

    assert sheet.max_row == HEADING_ROWS + len(TEXTS)
    assert {cell.data_type for row in sheet.iter_rows() for cell in row} == {"s", "n", "d"}


def test_a_table_on_several_sheets_is_that_of_openpyxl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheets, "MAX_ROWS", HEADING_ROWS + 20)
    monkeypatch.setattr(sheets, "CHUNK_ROWS", 7)

    book = assert_same(hostile_table(has_row_heights=True), tmp_path)

    assert book.sheetnames == ["Hostile", "Hostile 2", "Hostile 3"]


@pytest.mark.parametrize("has_row_heights", [True, False])
def test_an_empty_table_is_that_of_openpyxl(has_row_heights: bool, tmp_path: Path) -> None:
    assert assert_same(hostile_table((), has_row_heights=has_row_heights), tmp_path)["Hostile"].max_row == HEADING_ROWS


def test_every_character_is_written_as_openpyxl_writes_it(tmp_path: Path) -> None:
    blocks = (range(start, start + 64) for start in range(0, 0x20000, 64))
    values = tuple("".join(map(chr, block)) for block in blocks)

    assert_same(hostile_table(values, has_row_heights=False), tmp_path)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=())), min_size=1, max_size=40))
def test_any_text_is_written_as_openpyxl_writes_it(tmp_path_factory: pytest.TempPathFactory, values: list[str]) -> None:
    assert_same(hostile_table(tuple(values), has_row_heights=True), tmp_path_factory.mktemp("rows"))


# The file


def zip_versions(path: Path) -> dict[str, int]:
    """What a reader of the ZIP file must know of ZIP, times ten: 4.5 is ZIP64."""
    with zipfile.ZipFile(path) as file:
        assert file.testzip() is None
        return {entry.filename: entry.extract_version for entry in file.infolist()}


def test_only_a_sheet_that_is_too_large_makes_a_file_of_zip64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = hostile_table(has_row_heights=True)
    expected = list(description(by_us(table, tmp_path / "small.xlsx")))
    monkeypatch.setattr(package, "MAX_PART", 500_000)

    large = by_us(table, tmp_path / "large.xlsx")

    assert set(zip_versions(tmp_path / "small.xlsx").values()) == {20}
    assert zip_versions(tmp_path / "large.xlsx")["xl/worksheets/sheet1.xml"] == 45
    assert list(description(large)) == expected
