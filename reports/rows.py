"""The data rows of a sheet as SpreadsheetML: whole columns at once, and each distinct value of a column once.

openpyxl makes an object of each cell and writes it by itself, which takes it minutes for half a million rows. The looks
are still openpyxl's: it knows them by the id that a cell here names.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any

import pandas as pd

from reports.cells import ALERT, DAY, INTEGER, LINK, MOMENT, PALE, Kind, Look, Value, cell_text, style_cell
from reports.columns import Column
from reports.table import FORMULA_TRIGGERS

LINE_HEIGHT = 15.0
"""Points; also openpyxl's default row height."""
MAX_LINES = 6
"""Lines that a wrapped row may take; the rest of a longer text is in the cell, and not shown."""
_ROW = "\0"
"""Stands for the row's number until its cells are joined; no text of a cell can hold it."""


class RowRenderer:
    """Renders rows of a frame for one sheet, column letter by column letter.

    `is_styled` is False for a table of plain single lines: its cells have a style only where it tells something.
    """

    def __init__(self, sheet: Any, columns: Mapping[str, Column], *, is_styled: bool) -> None:
        self._columns = list(columns.values())
        self._is_styled = is_styled
        self._cells = [_CellRenderer(sheet, letter, column, is_styled=is_styled) for letter, column in columns.items()]

    def render(self, frame: pd.DataFrame, first: int) -> bytes:
        """The rows of the frame, numbered from `first`."""
        values = [column.read(frame) for column in self._columns]
        starts = self._starts(values, len(frame))
        cells = (renderer.render(each) for renderer, each in zip(self._cells, values, strict=True))
        return "".join(
            "".join(row).replace(_ROW, str(number))
            for number, row in enumerate(zip(starts, *cells, ["</row>"] * len(frame), strict=True), start=first)
        ).encode()

    def _starts(self, values: list[Sequence[Value]], rows: int) -> list[str]:
        """Where each row begins, with the height that its wrapped texts need."""
        if not self._is_styled:
            return [f'<row r="{_ROW}">'] * rows
        lines = [
            map(cache(partial(count_lines, width=column.width)), (str(value or "") for value in each))
            for column, each in zip(self._columns, values, strict=True)
            if column.wraps
        ]
        highest = (min(max(each), MAX_LINES) for each in zip([1] * rows, *lines, strict=True))
        return [f'<row r="{_ROW}" ht="{LINE_HEIGHT * each:g}" customHeight="1">' for each in highest]


class _CellRenderer:
    """Turns the values of one column into cells; an empty one without a style is no cell."""

    def __init__(self, sheet: Any, letter: str, column: Column, *, is_styled: bool) -> None:
        plain = Look(wraps=column.wraps or column.kind is Kind.LINES, line=PALE) if is_styled else Look(vertical=None)
        base = replace(plain, color=LINK, underline="single") if column.links else plain
        number = replace(base, align="right", indent=1, number_format=INTEGER)
        date = replace(DAY if column.kind is Kind.DAY else MOMENT, line=base.line, vertical=base.vertical)
        alert = replace(base, bold=True, color=ALERT)

        def start(look: Look, value: Value = None) -> str:
            """A cell as far as its style; `value` is one that a style may depend on."""
            return f'<c r="{letter}{_ROW}" s="{style_cell(sheet, look, value).style_id}"'

        unstyled = f'<c r="{letter}{_ROW}"'
        self._keeps_lines = column.kind is Kind.LINES
        has_style = is_styled or column.links is not None
        self._text = start(base) if has_style else unstyled
        self._empty = f"{start(plain)}/>" if is_styled else ""
        self._number = start(number) if has_style else unstyled
        self._date = start(date)
        self._quoted = start(base, "=")
        self._hash = start(replace(base, align="left"))
        self._alerts = {word: start(alert, word) for word in column.alerts}

    def render(self, values: Iterable[Value]) -> list[str]:
        """Each value as its cell."""
        return list(map(cache(self._cell), values))

    def _cell(self, value: Value) -> str:
        if value is None or value == "":
            return self._empty
        if isinstance(value, str):
            return self._text_cell(value)
        start = self._date if isinstance(value, float) else self._number
        return f"{start}><v>{value:.16g}</v></c>"

    def _text_cell(self, value: str) -> str:
        text = cell_text(value, keeps_lines=self._keeps_lines)
        start = self._alerts.get(value) or self._text_start(text)
        space = ' xml:space="preserve"' if text != text.strip() else ""
        return f'{start} t="inlineStr"><is><t{space}>{html.escape(text, quote=False)}</t></is></c>'

    def _text_start(self, text: str) -> str:
        if text.startswith("#"):  # aligned as text, since it may look like an error
            return self._hash
        return self._quoted if text.startswith(FORMULA_TRIGGERS) else self._text


def count_lines(text: str, width: float) -> int:
    """How many lines a text takes in a column so wide; a guess on the safe side, as fonts differ."""
    per_line = max(int(width * 1.1) - 6, 1)  # a proportional font holds more, whole words less
    return sum(max(math.ceil(len(line) / per_line), 1) for line in text.split("\n"))
