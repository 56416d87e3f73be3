"""One cell as openpyxl writes it: its text, which cannot act, its look, and the one way to a formula."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from openpyxl.cell import Cell, WriteOnlyCell
from openpyxl.styles import Alignment, Border, Font, PatternFill, Side

from reports.table import FORMULA_TRIGGERS, safe_text

MAX_TEXT = 32_767
"""Characters of a cell, as Excel counts: UTF-16 units."""
CUT = " … [cut here: Excel holds 32,767 characters]"
_DECODED_BY_EXCEL = re.compile(r"_(?=x[0-9A-Fa-f]{4}_)")
"""Excel reads `_x0041_` in a text as the letter A; `_x005F_` stands for the underscore itself."""
_NOT_PLAIN = (*FORMULA_TRIGGERS, "#")
"""A text that begins so is written as text explicitly: openpyxl takes `=` for a formula and `#N/A` for an error."""

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


class CellWriter:
    """Turns the values of one column into cells.

    A cell is written the moment its row is appended, so one object per look serves a whole column.
    """

    def __init__(self, sheet: Any, kind: Kind, *, wraps: bool, alerts: Iterable[str], is_styled: bool) -> None:
        base = Look(wraps=wraps or kind is Kind.LINES, line=PALE) if is_styled else Look(vertical=None)
        self._keeps_lines = kind is Kind.LINES
        alert = replace(base, bold=True, color=ALERT)
        self._alerts = {word: style_cell(sheet, alert, word) for word in alerts}
        self._text = style_cell(sheet, base) if is_styled else None
        self._empty = style_cell(sheet, base) if is_styled else None
        self._quoted = style_cell(sheet, base, "=")
        self._hash = style_cell(sheet, replace(base, align="left"))
        number = replace(base, align="right", indent=1, number_format=INTEGER)
        self._number = style_cell(sheet, number) if is_styled else None
        shown = DAY if kind is Kind.DAY else MOMENT
        self._date = style_cell(sheet, replace(shown, line=base.line, vertical=base.vertical))

    def cells(self, values: Iterable[Value]) -> Iterator[Cell | Value]:
        """Each value as its cell, to be appended before the next is asked for; plain where it needs no style."""
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
