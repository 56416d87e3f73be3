"""Links from cells of one sheet to rows of another. They hold our sheet titles and row numbers, no text of others."""

from __future__ import annotations

from collections.abc import Iterable

MAX_LINKS = 60_000
"""Links of one sheet; Excel repairs a file with more than 65,530."""


def render_links(links: Iterable[tuple[str, str]]) -> bytes:
    """Cell and place of each link → the element that stands below a sheet's rows; nothing where there are none."""
    elements = "".join(f'<hyperlink ref="{cell}" location="{place}"/>' for cell, place in links)
    return f"<hyperlinks>{elements}</hyperlinks>".encode() if elements else b""
