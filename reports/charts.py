"""The charts of Summary, of numbers that stand on it; their colours differ in lightness, so that they print in grey."""

from __future__ import annotations

from typing import Any

from openpyxl.chart import BarChart, LineChart, Reference
from openpyxl.chart.shapes import GraphicalProperties
from openpyxl.chart.text import RichText
from openpyxl.drawing.line import LineProperties
from openpyxl.drawing.spreadsheet_drawing import AnchorMarker, TwoCellAnchor
from openpyxl.drawing.text import CharacterProperties, Paragraph, ParagraphProperties

from reports.breakdown import Block
from reports.figures import SEVERITIES

COLOURS = dict(zip(SEVERITIES, ("6B1410", "C05746", "7F97B2", "CBD5E1"), strict=True))
AGE_COLOURS = ("9DB4CC", "6B1410")
FIRST_SERIES = 5
"""Column E: the numbers after Tie-out."""


def place(sheet: Any, chart: Any, columns: tuple[int, int], rows: tuple[int, int]) -> None:
    """Lay a chart over these columns and rows, counted from 0, the second of each excluded: whatever the font makes of
    their width."""
    start, end = (AnchorMarker(col=col, row=row) for col, row in zip(columns, rows, strict=True))
    chart.anchor = TwoCellAnchor(_from=start, to=end)
    sheet.add_chart(chart)


def chart_of_ous(sheet: Any, block: Block) -> BarChart:
    """Failing findings of each OU, stacked by severity."""
    chart = BarChart(barDir="bar", grouping="stacked", overlap=100, gapWidth=45)
    chart.x_axis.scaling.orientation = "maxMin"  # the first row on top
    _fill(chart, sheet, block, "Findings that fail, by OU and severity", list(COLOURS.values()))
    chart.y_axis.crosses = "max"  # with the rows upside down: below
    chart.x_axis.tickLblSkip = 1
    return chart


def chart_of_ages(sheet: Any, block: Block, limit: str) -> BarChart:
    """Active access keys by age; those beyond the limit in another colour."""
    chart = BarChart(barDir="col", grouping="stacked", overlap=100, gapWidth=12)
    _fill(chart, sheet, block, f"Active access keys by age; the limit is {limit}", list(AGE_COLOURS))
    return chart


def chart_of_trend(sheet: Any, block: Block) -> Any:
    """Failing findings of the last runs, a line for each severity."""
    chart: Any = LineChart()
    _fill(chart, sheet, block, "Findings that fail, over the runs", list(COLOURS.values()), labels=4)
    for line, colour in zip(chart.series, COLOURS.values(), strict=True):
        line.graphicalProperties.line = LineProperties(solidFill=colour, w=28_000)
        line.smooth = False
        line.marker.symbol = "circle"
        line.marker.size = 6
        line.marker.graphicalProperties = GraphicalProperties(solidFill=colour)
    return chart


def _fill(chart: Any, sheet: Any, block: Block, title: str, colours: list[str], labels: int = 1) -> None:
    last_column = FIRST_SERIES + len(colours) - 1
    data = Reference(
        sheet, min_col=FIRST_SERIES, max_col=last_column, min_row=block.heading, max_row=max(block.last, block.first)
    )
    chart.add_data(data, titles_from_data=True)
    chart.set_categories(Reference(sheet, min_col=labels, min_row=block.first, max_row=max(block.last, block.first)))
    for series, colour in zip(chart.series, colours, strict=True):
        series.graphicalProperties = GraphicalProperties(solidFill=colour)
        series.graphicalProperties.line.solidFill = "595959"
        series.graphicalProperties.line.width = 3_000
    chart.title = title
    chart.title.tx.rich.p[0].pPr = ParagraphProperties(defRPr=CharacterProperties(sz=1100, b=True))
    chart.title.overlay = False
    chart.legend.position = "b"
    small = CharacterProperties(sz=700)
    for axis in (chart.x_axis, chart.y_axis):
        axis.delete = False
        axis.txPr = RichText(p=[Paragraph(pPr=ParagraphProperties(defRPr=small), endParaRPr=small)])
    chart.y_axis.number_format = "#,##0"
    chart.y_axis.majorGridlines.spPr = GraphicalProperties(ln=LineProperties(solidFill="D9D9D9"))
    chart.graphical_properties = GraphicalProperties(ln=LineProperties(solidFill="BFBFBF"))
