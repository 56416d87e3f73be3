from __future__ import annotations

import pytest

from reports.table import safe_text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("payments-prod", "payments-prod"),
        ("Zürich 日本", "Zürich 日本"),
        ("", ""),
        ("a\tb\r\nc", r"a\tb\r\nc"),
        ("bell\x07", r"bell\u0007"),
        ("nul\0", r"nul\u0000"),
        ("c1\x85", r"c1\u0085"),
        ("abc\u202egnp.exe", r"abc\u202egnp.exe"),  # right-to-left override
        ("ad\u200bmin", r"ad\u200bmin"),  # zero width space
        ("ad\u00admin", r"ad\u00admin"),  # soft hyphen
        ("line\u2028separator", r"line\u2028separator"),
        ("\u3164", r"\u3164"),  # a letter that shows nothing
        ("admin\U000e0041", r"admin\U000e0041"),  # a tag character, beyond four digits
        ("\ud800", r"\ud800"),  # half a surrogate pair: cannot be encoded
        ("\ufffe\uffff", r"\ufffe\uffff"),  # not allowed in XML
    ],
)
def test_text_that_acts_or_hides_is_shown_as_escapes(text: str, shown: str) -> None:
    assert safe_text(text) == shown
