"""Sheets: tables that continue on another sheet, page set-up, and pages of prose.

openpyxl writes all but the data rows of the tables; those are rendered while the file is saved (see reports.rows and
reports.package), so that a sheet of a million rows needs no memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
from openpyxl import Workbook
from openpyxl.cell import Cell
from openpyxl.comments import Comment
from openpyxl.formatting.rule import Rule
from openpyxl.styles import Border, Side
from openpyxl.styles.differential import DifferentialStyle
from openpyxl.utils import get_column_letter, quote_sheetname
from openpyxl.worksheet.properties import PageSetupProperties

from reports.cells import (
    ACCENT,
    EXPLANATION,
    GREY,
    HEADING,
    PALE,
    PROSE,
    SECTION,
    TITLE,
    Look,
    Value,
    style_cell,
)
from reports.columns import Column
from reports.links import MAX_LINKS, render_links
from reports.rows import LINE_HEIGHT, MAX_LINES, RowRenderer, count_lines

MAX_ROWS = 1_048_576
"""Rows of a sheet, the heading included; a longer table continues on another sheet."""
HEADING_ROWS = 4
"""Title, explanation, an empty row, column headings."""
MAX_ROW_HEIGHT = 409.0
"""Points; Excel's."""
CHUNK_ROWS = 5_000
"""Rows that are in memory as text at a time: some 20 MB of findings with their commands."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table: on one sheet or, where it is longer than a sheet holds, on several."""

    title: str
    explanation: str
    columns: Sequence[Column]
    frame: pd.DataFrame
    has_row_heights: bool = True
    """False for a table of plain single lines: cells have a style only where it tells something, which is fast."""
    positions: np.ndarray | None = None
    """Which rows of the frame are the table's; None for all. A copy of them would double the frame."""

    def __len__(self) -> int:
        """Rows, over all sheets."""
        return len(self.frame if self.positions is None else self.positions)

    def rows(self, start: int, end: int) -> pd.DataFrame:
        """The table's rows from the first position to before the second."""
        return self.frame.iloc[slice(start, end) if self.positions is None else self.positions[start:end]]

    @property
    def parts(self) -> list[tuple[str, int, int]]:
        """Each sheet's title and its rows: from the first position to before the second."""
        size = MAX_ROWS - HEADING_ROWS
        starts = range(0, max(len(self), 1), size)
        return [
            (self.title if number == 1 else f"{self.title} {number}", start, min(start + size, len(self)))
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

    def places(self, name: str) -> dict[str, str]:
        """Each value of a column of the frame → the first cell of the first row that has it."""
        values = (self.frame if self.positions is None else self.frame.iloc[self.positions])[name].astype("string")
        firsts = np.flatnonzero(~values.duplicated() & values.notna())
        size = MAX_ROWS - HEADING_ROWS
        titles = [quote_sheetname(title) for title, _, _ in self.parts]
        return {
            value: f"{titles[position // size]}!A{HEADING_ROWS + 1 + position % size}"
            for value, position in zip(values.iloc[firsts].tolist(), firsts.tolist(), strict=True)
        }

    def over_parts(self, function: str, column: str, *criteria: str) -> str:
        """A formula that adds up FUNCTION(range, criteria) over all sheets; criteria are our own words."""
        arguments = "".join(f',"{word}"' for word in criteria)
        return "+".join(f"{function}({cells}{arguments})" for cells in self.ranges(column))

    def count(self, *criteria: tuple[str, str]) -> str:
        """A formula that counts the rows, over all sheets, where each column named is as said; our own words."""
        ranges = zip(*(self.ranges(column) for column, _ in criteria), strict=True)
        words = [word for _, word in criteria]
        return "+".join(
            "COUNTIFS(" + ",".join(f'{cells},"{word}"' for cells, word in zip(part, words, strict=True)) + ")"
            for part in ranges
        )

    def write(self, workbook: Workbook, run_id: str) -> dict[Any, DataRows]:
        """Make the sheets down to their headings; the rows that each is to be saved with."""
        parts = self.parts
        rows = {}
        by_letter = {get_column_letter(number): column for number, column in enumerate(self.columns, start=1)}
        for number, (title, start, end) in enumerate(parts, start=1):
            sheet = workbook.create_sheet(title)
            self._set_up(sheet, run_id, end - start)
            suffix = f" ({number} of {len(parts)})" if len(parts) > 1 else ""
            sheet.append([style_cell(sheet, TITLE, self.title + suffix)])
            sheet.append([style_cell(sheet, EXPLANATION, self.explanation)])
            sheet.append([])
            sheet.row_dimensions[HEADING_ROWS].height = LINE_HEIGHT * 2 + 3
            sheet.append([heading_cell(sheet, column.title, column.help) for column in self.columns])
            renderer = RowRenderer(sheet, by_letter, is_styled=self.has_row_heights)
            rows[sheet] = DataRows(renderer, self, start, end)
        return rows

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


def heading_cell(sheet: Any, title: str, note: str) -> Cell:
    """The heading of a column, with a note that shows while the pointer rests on it."""
    cell = style_cell(sheet, HEADING, title)
    if note:
        cell.comment = Comment(note, "credaudit", height=24 + 18 * (len(note) // 34 + 1), width=260)
    return cell


@dataclass(frozen=True, slots=True)
class DataRows:
    """The rows of a table on one sheet, rendered each time they are asked for."""

    renderer: RowRenderer
    table: Table
    start: int
    """Position of the first in the table."""
    end: int

    def __iter__(self) -> Iterator[bytes]:
        """The rows in chunks of CHUNK_ROWS."""
        for position in range(self.start, self.end, CHUNK_ROWS):
            chunk = self.table.rows(position, min(position + CHUNK_ROWS, self.end))
            yield self.renderer.render(chunk, HEADING_ROWS + 1 + position - self.start)

    def links(self) -> bytes:
        """The links of each column that has some, as many as Excel takes."""
        cells = (
            (f"{get_column_letter(number)}{row}", place)
            for number, column in enumerate(self.table.columns, start=1)
            if column.links is not None
            for row, place in enumerate(column.links()[self.start : self.end], start=HEADING_ROWS + 1)
            if place is not None
        )
        return render_links(islice(cells, MAX_LINKS))


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
_COLUMN_LOOKS = {"Tie-out": replace(_COLUMN_LOOK, align="center"), "Status": replace(_COLUMN_LOOK, align="center")}
_TEXT_COLUMNS = ("", "Name", "User", "Outcome", "Credential", "Reason", "Recounted from", "Checks", "Date", "Signature")
_NUMBER_COLUMN = replace(_COLUMN_LOOK, align="right")


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
                if cell is not None
                and isinstance(cell.value, str)
                and cell.data_type != "f"
                and cell.alignment.wrap_text
            ]
            height = LINE_HEIGHT * max(wrapped, default=1)
        self._sheet.row_dimensions[self.row].height = min(height, MAX_ROW_HEIGHT)
        self._sheet.append(cells)

    def values(self, *values: tuple[Look, Value]) -> None:
        """One row of styled values."""
        self.line([style_cell(self._sheet, *each) for each in values])

    def section(self, title: str, *headings: str) -> None:
        """An empty row, then a heading with a line below it, over all columns."""
        self.blank()
        words = [*headings] + [""] * (len(self._widths) - 1 - len(headings))
        looks = [_COLUMN_LOOKS.get(word, _COLUMN_LOOK if word in _TEXT_COLUMNS else _NUMBER_COLUMN) for word in words]
        cells = [style_cell(self._sheet, look, word) for look, word in zip(looks, words, strict=True)]
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

    def spread(self, *parts: tuple[Cell, int]) -> None:
        """A row of cells, each as wide as so many columns; as high as the longest needs, up to MAX_LINES."""
        cells: list[Cell] = []
        lines = 1
        for cell, span in parts:
            width = sum(self._widths[len(cells) : len(cells) + span])
            if span > 1:
                first, last = (get_column_letter(len(cells) + at) for at in (1, span))
                self._sheet.merged_cells.add(f"{first}{self.row + 1}:{last}{self.row + 1}")
            if cell.alignment.wrap_text and isinstance(cell.value, str):
                lines = max(lines, count_lines(cell.value, width))
            cells += [cell, *[style_cell(self._sheet, PROSE)] * (span - 1)]
        self.line(cells, height=LINE_HEIGHT * min(lines, MAX_LINES))
