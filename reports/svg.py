"""Charts as inline SVG: shapes and classes, no style and no script, so that the page's policy needs no exception."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH = 720
LABEL = 210
ROW = 24
HEAD = 34
PLOT = 180


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of parts that are laid end to end."""

    label: str
    values: Sequence[int]


@dataclass(frozen=True, slots=True)
class Line:
    """One line over the runs."""

    label: str
    values: Sequence[int]


def bars(title: str, each: Sequence[Bar], names: Sequence[str]) -> Markup:
    """Horizontal bars, each with its sum at its end."""
    most = max((sum(bar.values) for bar in each), default=0) or 1
    scale = (WIDTH - LABEL - 60) / most
    parts: list[Markup] = list(_legend(names))
    for row, bar in enumerate(each):
        top = HEAD + row * ROW
        parts.append(_text(LABEL - 8, top + 15, _short(bar.label), "label"))
        left = float(LABEL)
        for number, value in enumerate(bar.values):
            width = value * scale
            if value:
                hint = f"{bar.label}: {value:,} {names[number]}"
                parts.append(
                    Markup(
                        '<rect class="s{} n{}" x="{:.1f}" y="{}" width="{:.1f}" height="{}"><title>{}</title></rect>'
                    ).format(number, len(names), left, top + 3, width, ROW - 7, hint)
                )
            left += width
        parts.append(_text(left + 6, top + 15, f"{sum(bar.values):,}", "value"))
    return _picture(title, HEAD + len(each) * ROW + 6, parts)


def lines(title: str, marks: Sequence[str], each: Sequence[Line]) -> Markup:
    """Lines over evenly spaced marks, with the last value of each."""
    most = max((value for line in each for value in line.values), default=0) or 1
    left, right = 60, WIDTH - 60
    step = (right - left) / max(len(marks) - 1, 1)
    parts: list[Markup] = list(_legend([line.label for line in each]))
    for part in range(5):
        y = HEAD + PLOT - PLOT * part / 4
        parts.append(Markup('<line class="grid" x1="{}" y1="{:.1f}" x2="{}" y2="{:.1f}"/>').format(left, y, right, y))
        parts.append(_text(left - 8, y + 4, f"{most * part / 4:,.0f}", "label"))
    for number, line in enumerate(each):
        points = [(left + at * step, HEAD + PLOT - PLOT * value / most) for at, value in enumerate(line.values)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(
            Markup('<polyline class="l{}" points="{}"><title>{}</title></polyline>').format(number, path, line.label)
        )
        parts += [
            Markup('<circle class="s{} n4" cx="{:.1f}" cy="{:.1f}" r="3"><title>{}: {:,}</title></circle>').format(
                number, x, y, f"{line.label}, {mark}", value
            )
            for (x, y), mark, value in zip(points, marks, line.values, strict=True)
        ]
    for at, mark in enumerate(marks):
        parts.append(_text(left + at * step, HEAD + PLOT + 18, mark, "mark"))
    return _picture(title, HEAD + PLOT + 28, parts)


def _legend(names: Sequence[str]) -> Iterator[Markup]:
    left = LABEL
    for number, name in enumerate(names):
        yield Markup('<rect class="s{} n{}" x="{}" y="8" width="12" height="12"/>').format(number, len(names), left)
        yield _text(left + 18, 18, name, "legend")
        left += 36 + 8 * len(name)


def _text(x: float, y: float, text: str, kind: str) -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}">{}</text>').format(kind, x, y, text)


def _short(text: str) -> str:
    return text if len(text) <= 30 else f"…{text[-29:]}"


def _picture(title: str, height: float, parts: Sequence[Markup]) -> Markup:
    start = Markup('<svg viewBox="0 0 {} {:.0f}" role="img" aria-label="{}"><title>{}</title>').format(
        WIDTH, height, title, escape(title)
    )
    return start + Markup("").join(parts) + Markup("</svg>")
