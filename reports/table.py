"""What all reports share: the columns of each table, and values made safe to show."""

from __future__ import annotations

import re
import unicodedata

DATE_COLUMNS = frozenset({"due_on"})
"""Columns that show a day; every other moment is shown to the second."""

FORMULA_TRIGGERS = ("=", "+", "-", "@", "\t", "\r", "\n", "\0", "＝", "＋", "－", "＠")
"""A text cell that begins so may run as a formula in a spreadsheet (OWASP: CSV injection); wide forms in some."""

_INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
"""Letters and marks that show nothing, beside those of the categories below (Unicode: Default_Ignorable_Code_Point)."""

_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"})
"""Control, format (direction among them), surrogate, unassigned; line and paragraph separator."""

_SHORT_ESCAPES = {"\t": r"\t", "\n": r"\n", "\r": r"\r"}


def safe_text(text: str) -> str:
    """Other people's text with nothing in it that acts: control and invisible characters become visible escapes.

    Line feeds and tabs become escapes too, so that one value stays on one line.
    """
    if text.isprintable() and (text.isascii() or not _INVISIBLE.search(text)):
        return text
    return "".join(_escape(c) if _is_unsafe(c) else c for c in text)


def _is_unsafe(character: str) -> bool:
    return unicodedata.category(character) in _UNSAFE_CATEGORIES or _INVISIBLE.match(character) is not None


def _escape(character: str) -> str:
    point = ord(character)
    return _SHORT_ESCAPES.get(character) or (f"\\u{point:04x}" if point <= 0xFFFF else f"\\U{point:08x}")
