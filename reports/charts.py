"""Native Excel charts over small tables on Summary. Colours differ in lightness, so that they print in grey."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from openpyxl.chart import BarChart, LineChart, Reference
from openpyxl.chart.layout import Layout, ManualLayout
from openpyxl.chart.shapes import GraphicalProperties
from openpyxl.drawing.line import LineProperties

SHADES = {"critical": "4A0D0A", "high": "9C2B20", "medium": "D08A4E", "low": "F0D9B5"}
WITHIN, BEYOND = "9DB4CC", "8C1C13"
WIDTH_CM, HEIGHT_CM = 33.0, 8.0
ROWS = 17
"""Rows of Summary that a chart covers."""


def severities_by_ou(sheet: Any, first: int, last: int, columns: Sequence[str]) -> BarChart:
    """Failing findings per OU, stacked by severity; the table's heading is in the row before `first`."""
    chart = BarChart()
    chart.type, chart.grouping, chart.overlap = "bar", "stacked", 100
    chart.gapWidth = 45
    chart.title = "Failing findings by OU and severity"
    _fill(chart, sheet, first, last, columns, [SHADES[name] for name in columns])
    chart.y_axis.majorGridlines = None
    chart.x_axis.scaling.orientation = "maxMin"  # the first row on top
    chart.height = max(HEIGHT_CM, 2.5 + 0.55 * (last - first + 1))
    return chart


def key_ages(sheet: Any, first: int, last: int, limit: str) -> BarChart:
    """Active access keys by age; those within the limit and those beyond it in two shades."""
    chart = BarChart()
    chart.type, chart.grouping, chart.overlap = "col", "stacked", 100
    chart.gapWidth = 25
    chart.title = f"Ages of active access keys; the limit is {limit}"
    _fill(chart, sheet, first, last, ("within", "beyond"), (WITHIN, BEYOND))
    return chart


def trend(sheet: Any, first: int, last: int, columns: Sequence[str]) -> LineChart:
    """Failing findings per run, by severity."""
    chart = LineChart()
    chart.title = "Failing findings over the runs"
    _fill(chart, sheet, first, last, columns, [SHADES[name] for name in columns])
    for series, dash in zip(chart.series, ("solid", "dash", "sysDash", "sysDot"), strict=False):
        series.graphicalProperties.line.dashStyle = dash
        series.graphicalProperties.line.width = 24_000
        series.smooth = False
    return chart


def _fill(chart: Any, sheet: Any, first: int, last: int, names: Sequence[str], colors: Sequence[str]) -> None:
    """Columns B on hold the series, with their names above them; column A the categories."""
    data = Reference(sheet, min_col=2, max_col=1 + len(names), min_row=first - 1, max_row=last)
    chart.add_data(data, titles_from_data=True)
    chart.set_categories(Reference(sheet, min_col=1, min_row=first, max_row=last))
    for series, color in zip(chart.series, colors, strict=True):
        series.graphicalProperties = GraphicalProperties(solidFill=color)
        series.graphicalProperties.line.solidFill = color
    chart.legend.position = "b"
    if chart.y_axis.majorGridlines is not None:
        chart.y_axis.majorGridlines.spPr = GraphicalProperties(ln=LineProperties(solidFill="D9D9D9"))
    chart.x_axis.delete = chart.y_axis.delete = False
    chart.y_axis.number_format = "#,##0"
    chart.width, chart.height = WIDTH_CM, HEIGHT_CM
    chart.layout = Layout(manualLayout=ManualLayout(x=0.12, y=0.14, w=0.84, h=0.62))
