"""AWS's dates as text → moments: whole columns at a time, and nothing guessed."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

Moments = npt.NDArray[np.datetime64]
"""datetime64[s], UTC."""

DATE = re.compile(r"(19|2[01])\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)
"""AWS writes `+00:00` or `Z`. A date without a zone is not read: it could be any moment of two days.

Nor is a year outside 1900 to 2199: no credential is of that age, and near the years 0 and 9999 Python's dates end.
"""

AWSS_FORMS = ("0000-00-00T00:00:00+00:00", "0000-00-00T00:00:00Z")
"""The two that AWS writes, where each 0 before the zone is any digit; they differ in length."""

_YEAR, _MONTH, _DAY, _HOUR, _MINUTE, _SECOND = (slice(0, 4), *(slice(at, at + 2) for at in range(5, 18, 3)))
_DIGITS = [at for field in (_YEAR, _MONTH, _DAY, _HOUR, _MINUTE, _SECOND) for at in range(field.start, field.stop)]


def parse_dates(texts: Sequence[str]) -> Moments:
    """ISO 8601 with a zone → its second; everything else, also an impossible day, → NaT."""
    moments = np.full(len(texts), np.datetime64("NaT", "s"))
    lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    for form in AWSS_FORMS:
        where = np.flatnonzero(lengths == len(form))
        moments[where] = _parse_form([texts[at] for at in where.tolist()], form)
    # What is left is mostly N/A, and every other form of a date is longer than the shorter one of AWS's.
    rest = np.flatnonzero(np.isnat(moments) & (lengths > min(map(len, AWSS_FORMS))))
    moments[rest] = parse_any_date([texts[at] for at in rest.tolist()])
    return moments


def parse_any_date(texts: Sequence[str]) -> Moments:
    """The same for every form that DATE allows, one text after the other."""
    moments = np.full(len(texts), np.datetime64("NaT", "s"))
    readable = [at for at, text in enumerate(texts) if DATE.fullmatch(text)]
    if readable:
        dates = pd.to_datetime([str(texts[at]) for at in readable], format="ISO8601", utc=True, errors="coerce")
        moments[readable] = dates.tz_localize(None).as_unit("s").to_numpy()
    return moments


def _parse_form(texts: Sequence[str], form: str) -> Moments:
    """All texts are as long as the form. NaT where one is not of it, or is no moment of the calendar."""
    # One byte for each character: what is not ASCII becomes a question mark, which is no part of a date.
    letters = np.frombuffer("".join(texts).encode("ascii", "replace"), dtype=np.uint8).reshape(-1, len(form)).T
    digits = letters - ord("0")

    def number(field: slice) -> npt.NDArray[np.int64]:
        value = np.zeros(len(texts), dtype=np.int64)
        for digit in digits[field]:
            value = value * 10 + digit
        return value

    fixed = [at for at in range(len(form)) if at not in _DIGITS]
    is_of_form = (digits[_DIGITS] <= 9).all(axis=0)
    is_of_form &= (letters[fixed] == np.frombuffer(form.encode(), dtype=np.uint8)[fixed, None]).all(axis=0)
    year, month, day = number(_YEAR), number(_MONTH), number(_DAY)
    hour, minute, second = number(_HOUR), number(_MINUTE), number(_SECOND)
    is_moment = is_of_form & (year >= 1900) & (year < 2200) & (month >= 1) & (month <= 12)
    is_moment &= (day >= 1) & (hour < 24) & (minute < 60) & (second < 60)
    months = np.where(is_moment, (year - 1970) * 12 + month - 1, 0).astype("datetime64[M]")
    days = months.astype("datetime64[D]") + (day - 1)
    is_moment &= days.astype("datetime64[M]") == months
    seconds = (hour * 60 + minute) * 60 + second
    return np.where(is_moment, days.astype("datetime64[s]") + seconds, np.datetime64("NaT", "s"))
