"""Sheets as openpyxl writes them: safe cells, styles, tables that continue on another sheet, and pages of prose.

openpyxl's write-only mode: each row goes to disk as it is appended, so that a sheet of a million rows needs no memory.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

import pandas as pd
from openpyxl import Workbook
from openpyxl.cell import Cell, WriteOnlyCell
from openpyxl.formatting.rule import Rule
from openpyxl.styles import Alignment, Border, Font, PatternFill, Side
from openpyxl.styles.differential import DifferentialStyle
from openpyxl.utils import get_column_letter, quote_sheetname
from openpyxl.worksheet.properties import PageSetupProperties

from reports.table import FORMULA_TRIGGERS, safe_text

MAX_ROWS = 1_048_576
"""Rows of a sheet, the heading included; a longer table continues on another sheet."""
MAX_TEXT = 32_767
"""Characters of a cell, as Excel counts: UTF-16 units."""
HEADING_ROWS = 4
"""Title, explanation, an empty row, column headings."""
LINE_HEIGHT = 15.0
"""Points; also openpyxl's default row height."""
MAX_ROW_HEIGHT = 409.0
"""Points; Excel's."""
MAX_LINES = 6
"""Lines that a wrapped row may take; the rest of a longer text is in the cell, and not shown."""
CHUNK_ROWS = 50_000

CUT = " … [cut here: Excel holds 32,767 characters]"
_DECODED_BY_EXCEL = re.compile(r"_(?=x[0-9A-Fa-f]{4}_)")
"""Excel reads `_x0041_` in a text as the letter A; `_x005F_` stands for the underscore itself."""
_NOT_PLAIN = (*FORMULA_TRIGGERS, "#")
"""A text that begins so is written as text explicitly: openpyxl takes `=` for a formula and `#N/A` for an error."""

Value = str | int | float | None
"""A cell's value before it has a style; a float is a date as Excel counts them, in days since 1899-12-30."""
EPOCH = pd.Timestamp("1899-12-30", tz="UTC")
READABLE_SERIALS = (61.0, 2_958_466.0)
"""1900-03-01 to 9999-12-31: Excel shows days outside of these as ####."""


def cell_text(text: str, *, keeps_lines: bool = False) -> str:
    """A text with nothing in it that acts, as Excel has to read it, and no longer than a cell can hold."""
    safe = "\n".join(map(safe_text, text.split("\n"))) if keeps_lines else safe_text(text)
    if "_x" in safe:
        safe = _DECODED_BY_EXCEL.sub("_x005F_", safe)
    if len(safe) > MAX_TEXT // 2 and len(units := safe.encode("utf-16-le")) > MAX_TEXT * 2:
        safe = units[: (MAX_TEXT - len(CUT)) * 2].decode("utf-16-le", errors="ignore") + CUT
    return safe


@dataclass(frozen=True, slots=True)
class Look:
    """How a cell is shown."""

    bold: bool = False
    italic: bool = False
    size: float = 11
    color: str | None = None
    fill: str | None = None
    wraps: bool = False
    vertical: str | None = "top"
    align: str | None = None
    indent: int = 0
    line: str = ""
    """The colour of a thin line below."""
    number_format: str = "General"


ACCENT, ALERT, ALERT_FILL, GREY, PALE = "1F3A5F", "8C1C13", "F7E1DE", "595959", "BFBFBF"
INTEGER = "#,##0"

TITLE = Look(bold=True, size=15, color=ACCENT)
EXPLANATION = Look(italic=True, color=GREY)
HEADING = Look(bold=True, color="FFFFFF", fill=ACCENT, wraps=True, vertical="center")
SECTION = Look(bold=True, size=12, color=ACCENT, line=ACCENT)
SUBHEADING = Look(bold=True, color=GREY)
PLAIN = Look()
PROSE = Look(wraps=True)
LABEL = Look(bold=True, wraps=True)
COUNT = Look(align="right", number_format=INTEGER)
TOTAL = Look(bold=True, align="right", number_format=INTEGER)
TIE_OUT = Look(align="center")
NOTE = Look(color=GREY, wraps=True)
VERDICT = Look(bold=True, size=13, color=ACCENT, wraps=True)
ALERT_VERDICT = Look(bold=True, size=13, color=ALERT, fill=ALERT_FILL, wraps=True)
ALERT_TEXT = Look(bold=True, color=ALERT)
ALERT_COUNT = Look(bold=True, color=ALERT, fill=ALERT_FILL, align="right", number_format=INTEGER)
MOMENT = Look(number_format="yyyy-mm-dd hh:mm:ss", align="left")
DAY = Look(number_format="yyyy-mm-dd", align="center")


def style_cell(sheet: Any, look: Look, value: Value = None) -> Cell:
    """A cell of this look. A text is made safe and stays a text, whatever it begins with."""
    cell: Cell = WriteOnlyCell(sheet)
    cell.font = Font(name="Calibri", size=look.size, bold=look.bold, italic=look.italic, color=look.color)
    if look.fill:
        cell.fill = PatternFill("solid", start_color=look.fill)
    if look.line:
        cell.border = Border(bottom=Side(style="thin", color=look.line))
    cell.alignment = Alignment(
        horizontal=look.align,
        vertical=look.vertical,
        wrap_text=look.wraps or None,
        indent=look.indent,
    )
    cell.number_format = look.number_format
    if isinstance(value, str) and value:
        _set_text(cell, cell_text(value))
    elif value != "":
        cell.value = value
    return cell


def formula_cell(sheet: Any, look: Look, formula: str) -> Cell:
    """The one way to a formula: ours, never data."""
    cell = style_cell(sheet, look)
    cell.value = f"={formula}"
    return cell


def _set_text(cell: Cell, text: str) -> None:
    cell.value = text
    cell.data_type = "s"
    # So that editing the cell does not bring a formula to life.
    cell.quotePrefix = text.startswith(FORMULA_TRIGGERS)


class Kind(Enum):
    """What the values of a column are."""

    TEXT = "text"
    LINES = "lines"  # our own text, whose line breaks stay
    NUMBER = "number"
    MOMENT = "moment"
    DAY = "day"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    title: str
    width: float
    kind: Kind
    read: Callable[[pd.DataFrame], Iterable[Value]]
    wraps: bool = False
    """Whether a long value makes its row higher."""
    is_printed: bool = True
    """Columns that are not stand to the right of those that are."""
    alerts: frozenset[str] = field(default=frozenset())
    """The words that stand out."""


def texts(name: str) -> Callable[[pd.DataFrame], list[str]]:
    """The values of a column of the frame as text; empty where missing."""
    return lambda frame: [str(value) for value in frame[name].astype("string").fillna("")]


def numbers(name: str) -> Callable[[pd.DataFrame], list[int | None]]:
    """Whole numbers; None where missing."""
    return lambda frame: [None if pd.isna(value) else int(value) for value in frame[name]]


def moments(name: str) -> Callable[[pd.DataFrame], list[Value]]:
    """Moments in UTC; None where missing."""
    return lambda frame: serials(frame[name])


def days(name: str) -> Callable[[pd.DataFrame], list[Value]]:
    """Days in UTC; None where missing."""
    return lambda frame: serials(frame[name].dt.floor("D"))


def serials(values: pd.Series) -> list[Value]:
    """Moments as Excel counts them; as text where Excel could not show them."""
    counted = (values - EPOCH) / pd.Timedelta(days=1)
    first, end = READABLE_SERIALS
    return [
        serial if first <= serial < end else None if math.isnan(serial) else moment.isoformat()
        for serial, moment in zip(counted.to_list(), values, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class Table:
    """A table: on one sheet or, where it is longer than a sheet holds, on several."""

    title: str
    explanation: str
    columns: Sequence[Column]
    frame: pd.DataFrame
    has_row_heights: bool = True
    """False for a table of plain single lines: cells have a style only where it tells something, which is fast."""

    @property
    def parts(self) -> list[tuple[str, int, int]]:
        """Each sheet's title and its rows of the frame: from the first position to before the second."""
        size = MAX_ROWS - HEADING_ROWS
        starts = range(0, max(len(self.frame), 1), size)
        return [
            (self.title if number == 1 else f"{self.title} {number}", start, min(start + size, len(self.frame)))
            for number, start in enumerate(starts, start=1)
        ]

    def ranges(self, column: str) -> list[str]:
        """Where the values of a column stand, on each sheet; the empty first row where there are none."""
        letter = get_column_letter([each.title for each in self.columns].index(column) + 1)
        first = HEADING_ROWS + 1
        return [
            f"{quote_sheetname(title)}!${letter}${first}:${letter}${max(HEADING_ROWS + end - start, first)}"
            for title, start, end in self.parts
        ]

    def over_parts(self, function: str, column: str, *criteria: str) -> str:
        """A formula that adds up FUNCTION(range, criteria) over all sheets; criteria are our own words."""
        arguments = "".join(f',"{word}"' for word in criteria)
        return "+".join(f"{function}({cells}{arguments})" for cells in self.ranges(column))

    def write(self, workbook: Workbook, run_id: str) -> None:
        """Make the sheets, and write them row by row."""
        parts = self.parts
        for number, (title, start, end) in enumerate(parts, start=1):
            sheet = workbook.create_sheet(title)
            self._set_up(sheet, run_id, end - start)
            suffix = f" ({number} of {len(parts)})" if len(parts) > 1 else ""
            sheet.append([style_cell(sheet, TITLE, self.title + suffix)])
            sheet.append([style_cell(sheet, EXPLANATION, self.explanation)])
            sheet.append([])
            sheet.row_dimensions[HEADING_ROWS].height = LINE_HEIGHT * 2 + 3
            sheet.append([style_cell(sheet, HEADING, column.title) for column in self.columns])
            self._write_rows(sheet, start, end)

    def _set_up(self, sheet: Any, run_id: str, rows: int) -> None:
        set_up_page(sheet, run_id, [column.width for column in self.columns], orientation="landscape")
        printed = get_column_letter(sum(column.is_printed for column in self.columns))
        last = max(HEADING_ROWS + rows, HEADING_ROWS + 1)
        sheet.freeze_panes = f"A{HEADING_ROWS + 1}"
        sheet.auto_filter.ref = f"A{HEADING_ROWS}:{get_column_letter(len(self.columns))}{last}"
        sheet.print_area = f"A{1 if self.has_row_heights else HEADING_ROWS}:{printed}{last}"
        sheet.print_title_rows = f"{HEADING_ROWS}:{HEADING_ROWS}"
        if not self.has_row_heights:
            # Thin lines by one rule: a style on each cell would take half as long again to write.
            rule = Rule(
                type="expression",
                formula=["TRUE"],
                dxf=DifferentialStyle(border=Border(bottom=Side(style="thin", color=PALE))),
            )
            sheet.conditional_formatting.add(f"A{HEADING_ROWS + 1}:{get_column_letter(len(self.columns))}{last}", rule)
            sheet.oddHeader.left.text = self.title
            sheet.oddHeader.left.font = "Calibri,Bold"

    def _write_rows(self, sheet: Any, start: int, end: int) -> None:
        row = HEADING_ROWS
        writers = [_CellWriter(sheet, column, is_styled=self.has_row_heights) for column in self.columns]
        for position in range(start, end, CHUNK_ROWS):
            chunk = self.frame.iloc[position : min(position + CHUNK_ROWS, end)]
            values = [list(column.read(chunk)) for column in self.columns]
            cells = zip(*(writer.cells(each) for writer, each in zip(writers, values, strict=True)), strict=True)
            if not self.has_row_heights:
                for record in cells:
                    sheet.append(record)
                continue
            for lines, record in zip(self._lines(values), cells, strict=True):
                row += 1
                sheet.row_dimensions[row].height = LINE_HEIGHT * lines
                sheet.append(record)
                del sheet.row_dimensions[row]  # is written; a million of them would fill the memory

    def _lines(self, values: list[list[Value]]) -> Iterator[int]:
        wrapped = [(each, column.width) for each, column in zip(values, self.columns, strict=True) if column.wraps]
        for position in range(len(values[0])):
            lines = max((count_lines(str(each[position] or ""), width) for each, width in wrapped), default=1)
            yield min(lines, MAX_LINES)


class _CellWriter:
    """Turns the values of one column into cells.

    A cell is written the moment its row is appended, so one object per look serves a whole column.
    """

    def __init__(self, sheet: Any, column: Column, *, is_styled: bool) -> None:
        wraps = column.wraps or column.kind is Kind.LINES
        base = Look(wraps=wraps, line=PALE) if is_styled else Look(vertical=None)
        self._keeps_lines = column.kind is Kind.LINES
        alert = replace(base, bold=True, color=ALERT)
        self._alerts = {word: style_cell(sheet, alert, word) for word in column.alerts}
        self._text = style_cell(sheet, base) if is_styled else None
        self._empty = style_cell(sheet, base) if is_styled else None
        self._quoted = style_cell(sheet, base, "=")
        self._hash = style_cell(sheet, replace(base, align="left"))
        number = replace(base, align="right", indent=1, number_format=INTEGER)
        self._number = style_cell(sheet, number) if is_styled else None
        shown = DAY if column.kind is Kind.DAY else MOMENT
        self._date = style_cell(sheet, replace(shown, line=base.line, vertical=base.vertical))

    def cells(self, values: Iterable[Value]) -> Iterator[Cell | Value]:
        for value in values:
            if value is None or value == "":
                yield self._empty
            elif isinstance(value, str):
                yield self._alerts.get(value) or self._from_text(cell_text(value, keeps_lines=self._keeps_lines))
            else:
                cell = self._date if isinstance(value, float) else self._number
                if cell is None:
                    yield value
                else:
                    cell.value = value
                    yield cell

    def _from_text(self, text: str) -> Cell | str:
        if text.startswith(_NOT_PLAIN):
            cell = self._hash if text.startswith("#") else self._quoted
            cell.value = text
            cell.data_type = "s"
            return cell
        if self._text is None:
            return text
        self._text.value = text
        return self._text


def count_lines(text: str, width: float) -> int:
    """How many lines a text takes in a column so wide; a guess on the safe side, as fonts differ."""
    per_line = max(int(width * 1.1) - 6, 1)  # a proportional font holds more, whole words less
    return sum(max(math.ceil(len(line) / per_line), 1) for line in text.split("\n"))


def set_up_page(sheet: Any, run_id: str, widths: Sequence[float], *, orientation: str) -> None:
    """Column widths, A4, one page wide, and who and what at the foot of each page."""
    for number, width in enumerate(widths, start=1):
        sheet.column_dimensions[get_column_letter(number)].width = width
    sheet.sheet_view.showGridLines = orientation == "landscape"
    sheet.sheet_properties.pageSetUpPr = PageSetupProperties(fitToPage=True)
    sheet.page_setup.orientation = orientation
    sheet.page_setup.paperSize = 9  # A4
    sheet.page_setup.fitToWidth = 1
    sheet.page_setup.fitToHeight = 0
    sheet.page_margins.left = sheet.page_margins.right = 0.5
    sheet.page_margins.top = sheet.page_margins.bottom = 0.75
    sheet.page_margins.header = sheet.page_margins.footer = 0.4
    footer = sheet.oddFooter
    for part, text in ((footer.left, f"credaudit {run_id}"), (footer.center, "&A"), (footer.right, "Page &P of &N")):
        part.text = text
        part.size = 8


_COLUMN_LOOK = Look(bold=True, color=GREY, line=ACCENT)
_COLUMN_LOOKS = {
    "Value": replace(_COLUMN_LOOK, align="right"),
    "Recount": replace(_COLUMN_LOOK, align="right"),
    "Tie-out": replace(_COLUMN_LOOK, align="center"),
}


class Prose:
    """A sheet that is read from top to bottom: each line is put together cell by cell."""

    def __init__(self, sheet: Any, run_id: str, widths: Sequence[float]) -> None:
        self._sheet = sheet
        self._widths = widths
        self.row = 0
        """The last row written, from 1."""
        set_up_page(sheet, run_id, widths, orientation="portrait")

    def blank(self) -> None:
        """An empty row."""
        self.line([])

    def line(self, cells: Sequence[Cell | None], height: float | None = None) -> None:
        """One row; as high as its wrapped cells need, unless it is said."""
        self.row += 1
        if height is None:
            wrapped = [
                count_lines(str(cell.value), width)
                for cell, width in zip(cells, self._widths, strict=False)
                if cell is not None and isinstance(cell.value, str) and cell.alignment.wrap_text
            ]
            height = LINE_HEIGHT * max(wrapped, default=1)
        self._sheet.row_dimensions[self.row].height = min(height, MAX_ROW_HEIGHT)
        self._sheet.append(cells)

    def values(self, *values: tuple[Look, Value] | None) -> None:
        """One row of styled values."""
        self.line([None if each is None else style_cell(self._sheet, *each) for each in values])

    def section(self, title: str, *headings: str) -> None:
        """An empty row, then a heading with a line below it, over all columns."""
        self.blank()
        words = [*headings] + [""] * (len(self._widths) - 1 - len(headings))
        cells = [style_cell(self._sheet, _COLUMN_LOOKS.get(word, _COLUMN_LOOK), word) for word in words]
        self.line([style_cell(self._sheet, SECTION, title), *cells], height=20)

    def across(self, look: Look, text: str, *, after: Sequence[Cell] = ()) -> None:
        """A text over all columns, or over those that `after` leaves."""
        first = len(after) + 1
        width = sum(self._widths[len(after) :]) * 11 / look.size
        lines = count_lines(text, width)
        filler = [style_cell(self._sheet, look)] * (len(self._widths) - first)
        self.line([*after, style_cell(self._sheet, look, text), *filler], height=(look.size + 4) * lines)
        last = get_column_letter(len(self._widths))
        self._sheet.merged_cells.add(f"{get_column_letter(first)}{self.row}:{last}{self.row}")

    def record(self, first: tuple[Look, Value], second: tuple[Look, Value], *others: tuple[Look, Value]) -> None:
        """A row of values of which the second is as wide as two columns."""
        cells = [style_cell(self._sheet, *each) for each in (first, second, *others)]
        width = self._widths[1] + self._widths[2]
        lines = count_lines(str(cells[1].value or ""), width)
        widths = (self._widths[0], *self._widths[3:])
        for cell, column in zip((cells[0], *cells[2:]), widths, strict=True):
            if cell.alignment.wrap_text:
                lines = max(lines, count_lines(str(cell.value or ""), column))
        self.line(
            [cells[0], cells[1], style_cell(self._sheet, PROSE), *cells[2:]], height=LINE_HEIGHT * min(lines, MAX_LINES)
        )
        self._sheet.merged_cells.add(f"B{self.row}:C{self.row}")
