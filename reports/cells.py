"""One cell as openpyxl writes it: its text, which cannot act, its look, and the one way to a formula."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

from openpyxl.cell import Cell, WriteOnlyCell
from openpyxl.styles import Alignment, Border, Font, PatternFill, Side

from reports.table import FORMULA_TRIGGERS, safe_text

MAX_TEXT = 32_767
"""Characters of a cell, as Excel counts: UTF-16 units."""
CUT = " … [cut here: Excel holds 32,767 characters]"
_DECODED_BY_EXCEL = re.compile(r"_(?=x[0-9A-Fa-f]{4}_)")
"""Excel reads `_x0041_` in a text as the letter A; `_x005F_` stands for the underscore itself."""

Value = str | int | float | None
"""A cell's value before it has a style; a float is a date as Excel counts them, in days since 1899-12-30."""


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
    underline: Literal["single"] | None = None
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
LINK = "1F4E9E"
INTEGER = "#,##0"

TITLE = Look(bold=True, size=15, color=ACCENT)
EXPLANATION = Look(italic=True, color=GREY)
HEADING = Look(bold=True, color="FFFFFF", fill=ACCENT, wraps=True, vertical="center")
SECTION = Look(bold=True, size=12, color=ACCENT, line=ACCENT)
PLAIN = Look()
PROSE = Look(wraps=True)
LABEL = Look(bold=True, wraps=True)
COUNT = Look(align="right", number_format=INTEGER)
TOTAL = Look(bold=True, align="right", number_format=INTEGER)
TIE_OUT = Look(align="center")
NOTE = Look(color=GREY, wraps=True)
SIGNATURE = Look(line=GREY)
LINK_TEXT = Look(underline="single", color=LINK, wraps=True)
VERDICT = Look(bold=True, size=13, color=ACCENT, wraps=True)
ALERT_VERDICT = Look(bold=True, size=13, color=ALERT, fill=ALERT_FILL, wraps=True)
ALERT_COUNT = Look(bold=True, color=ALERT, fill=ALERT_FILL, align="right", number_format=INTEGER)
MOMENT = Look(number_format="yyyy-mm-dd hh:mm:ss", align="left")
DAY = Look(number_format="yyyy-mm-dd", align="center")


def style_cell(sheet: Any, look: Look, value: Value = None) -> Cell:
    """A cell of this look. A text is made safe and stays a text, whatever it begins with."""
    cell: Cell = WriteOnlyCell(sheet)
    cell.font = Font(
        name="Calibri", size=look.size, bold=look.bold, italic=look.italic, color=look.color, underline=look.underline
    )
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
