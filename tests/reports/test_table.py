from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pandas as pd
import pytest

from reports.table import plain, safe_text, utc_text


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


def test_moments_are_utc_whatever_their_zone() -> None:
    moment = datetime(2026, 1, 1, 23, 30, tzinfo=timezone(timedelta(hours=-5)))

    assert utc_text(moment) == "2026-01-02T04:30:00Z"
    assert plain(moment) == datetime(2026, 1, 2, 4, 30)
    assert plain(moment, "due_on") == date(2026, 1, 2)
    assert plain(pd.Timestamp("2026-01-01T00:00:00.9", tz=UTC)) == datetime(2026, 1, 1)


@pytest.mark.parametrize("value", [None, pd.NA, pd.NaT, float("nan")])
def test_what_is_missing_is_none(value: object) -> None:
    assert plain(value) is None


def test_numbers_and_booleans_are_plain_python() -> None:
    frame = pd.DataFrame({"count": pd.array([3], "Int64"), "flag": pd.array([True], "boolean")})

    assert [type(plain(frame[name].iloc[0])) for name in frame] == [int, bool]
