"""Dates of AWS: whole columns read at once say what reading one after the other says."""

from __future__ import annotations

import calendar
import string
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scanner.dates import AWSS_FORMS, parse_any_date, parse_dates

NAT = np.datetime64("NaT", "s")


def one(text: str) -> np.datetime64:
    (moment,) = parse_dates([text])
    return moment


def oracle(text: str) -> np.datetime64:
    """The standard library, which knows the calendar on its own."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return NAT
    return np.datetime64(moment.replace(tzinfo=None), "s") if 1900 <= moment.year < 2200 else NAT


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        pytest.param("2020-02-29T23:59:59+00:00", "2020-02-29T23:59:59", id="offset"),
        pytest.param("2020-02-29T23:59:59Z", "2020-02-29T23:59:59", id="Z"),
        pytest.param("2020-02-29T23:59:59.999Z", "2020-02-29T23:59:59", id="a fraction is cut off"),
        pytest.param("1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59", id="a fraction before 1970"),
        pytest.param("2020-03-01T05:29:59+05:30", "2020-02-29T23:59:59", id="another zone"),
        pytest.param("1900-01-01T00:00:00Z", "1900-01-01T00:00:00", id="first year"),
        pytest.param("1899-12-31T23:59:59Z", "NaT", id="before the first year"),
        pytest.param("2199-12-31T23:59:59+00:00", "2199-12-31T23:59:59", id="last year"),
        pytest.param("2200-01-01T00:00:00+00:00", "NaT", id="after the last year"),
        pytest.param("2021-02-29T00:00:00Z", "NaT", id="no leap year"),
        pytest.param("2100-02-29T00:00:00Z", "NaT", id="no leap year of the century"),
        pytest.param("2020-02-29T24:00:00Z", "NaT", id="hour 24"),
        pytest.param("2016-12-31T23:59:60Z", "NaT", id="leap second"),
        pytest.param("2020-02-29T23:59:59", "NaT", id="no zone"),
        pytest.param("2020-02-29 23:59:59Z", "NaT", id="no T"),
        pytest.param("2020-02-29T23:59:59z", "NaT", id="small z"),
        pytest.param("2020-02-29T23:59:59+00:00 ", "NaT", id="a blank after it"),
        pytest.param("२०२६-11-01T00:00:00+00:00", "NaT", id="digits of another script"),
        pytest.param("2026-11-01T00:00:00Ⓩ", "NaT", id="a letter of one character and three bytes"),
        pytest.param("2026-11-01T00:00:0\N{NULL}Z", "NaT", id="NUL"),
        pytest.param("\ud800026-11-01T00:00:00Z", "NaT", id="a lone surrogate"),
        pytest.param("N/A", "NaT", id="N/A"),
        pytest.param("", "NaT", id="empty"),
    ],
)
def test_date(text: str, wanted: str) -> None:
    assert str(one(text)) == str(parse_any_date([text])[0]) == wanted


def test_no_text_is_no_moment() -> None:
    assert parse_dates([]).dtype == parse_any_date([]).dtype == np.dtype("datetime64[s]")
    assert len(parse_dates([])) == len(parse_any_date([])) == 0


@pytest.mark.parametrize("form", AWSS_FORMS)
def test_every_day_of_the_calendar_and_no_other(form: str) -> None:
    days = [f"{year:04}-{month:02}-{day:02}" for year in range(1896, 2204) for month in range(14) for day in range(33)]
    moments = parse_dates([day + form[len(day) :] for day in days])

    found = {day: moment for day, moment in zip(days, moments, strict=True) if not np.isnat(moment)}
    assert len(found) == sum(366 if calendar.isleap(year) else 365 for year in range(1900, 2200))
    assert all(str(moment) == f"{day}T00:00:00" for day, moment in found.items())


MOMENT = st.datetimes(datetime(1880, 1, 1), datetime(2220, 1, 1)).map(lambda m: m.replace(tzinfo=UTC, microsecond=0))
CANONICAL = MOMENT.map(datetime.isoformat) | MOMENT.map(lambda m: f"{m:%Y-%m-%dT%H:%M:%SZ}")
FIELDS = st.builds(
    "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{}".format,
    *(st.integers(least, most) for least, most in ((1880, 2220), (0, 13), (0, 32), (0, 25), (0, 61), (0, 61))),
    st.sampled_from(["Z", "+00:00"]),
)
"""AWS's forms, also of moments that no calendar has."""
TYPO = st.sampled_from(string.digits + string.ascii_letters + "-:+./ \0２é")
MISTYPED = st.builds(
    lambda text, at, new, gone: text[:at] + new + text[at + gone :],
    CANONICAL,
    st.integers(0, 25),
    TYPO,
    st.integers(0, 1),
)
ANY_FORM = st.from_regex(r"\A(19|20)\d\d-[01]\d-[0-3]\dT[0-2]\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)\Z")
TEXT = CANONICAL | FIELDS | MISTYPED | ANY_FORM | st.text(max_size=27)


@settings(max_examples=200, deadline=None)
@given(st.lists(TEXT, max_size=12))
@example(["2020-02-29T23:59:59+00:00", "N/A", "2020-02-30T23:59:59+00:00", "2020-02-29T23:59:59Z"])
@example(["2020-02-29T25:59:59+00:00", "2020-02-29T23:61:59+00:00", "2020-00-10T00:00:00Z", "2020-13-10T00:00:00Z"])
def test_columns_say_what_one_text_after_the_other_says(texts: list[str]) -> None:
    together = parse_dates(texts)
    assert together.tolist() == parse_any_date(texts).tolist() == [one(text).tolist() for text in texts]


@settings(max_examples=200, deadline=None)
@given(CANONICAL | FIELDS)
def test_awss_own_forms_say_what_the_standard_library_says(text: str) -> None:
    assert str(one(text)) == str(oracle(text))


def test_a_date_is_read_alike_whatever_stands_beside_it() -> None:
    texts = [f"20{year:02}-01-01T00:00:00{zone}" for year in range(50) for zone in ("Z", "+00:00", ".5Z", "+01:00")]
    assert parse_dates(texts).tolist() == [one(text).tolist() for text in texts]
    assert one(texts[3]).tolist() == datetime(2000, 1, 1) - timedelta(hours=1)
