"""The columns of a table, and how each reads its values from a frame: whole columns at once, no value by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from reports.cells import Kind, Value

EPOCH = pd.Timestamp("1899-12-30", tz="UTC")
READABLE_SERIALS = (61.0, 2_958_466.0)
"""1900-03-01 to 9999-12-31: Excel shows days outside of these as ####."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    title: str
    width: float
    kind: Kind
    read: Callable[[pd.DataFrame], Sequence[Value]]
    wraps: bool = False
    """Whether a long value makes its row higher."""
    is_printed: bool = True
    """Columns that are not stand to the right of those that are."""
    alerts: frozenset[str] = field(default=frozenset())
    """The words that stand out."""
    help: str = ""
    """What a note at the heading says."""
    links: Callable[[], Sequence[str | None]] | None = None
    """Where each value of the whole table leads, such as `'Accounts'!A5`; None: nowhere."""


def texts(name: str) -> Callable[[pd.DataFrame], list[str]]:
    """The values of a column of the frame as text; empty where missing."""
    return lambda frame: list(map(str, frame[name].astype("string").fillna("").tolist()))


def numbers(name: str) -> Callable[[pd.DataFrame], list[Value]]:
    """Whole numbers; None where missing."""
    return lambda frame: frame[name].astype("Int64").astype(object).where(frame[name].notna(), None).tolist()


def moments(name: str) -> Callable[[pd.DataFrame], list[Value]]:
    """Moments in UTC; None where missing."""
    return lambda frame: serials(frame[name])


def days(name: str) -> Callable[[pd.DataFrame], list[Value]]:
    """Days in UTC; None where missing."""
    return lambda frame: serials(frame[name].dt.floor("D"))


def serials(values: pd.Series) -> list[Value]:
    """Moments as Excel counts them; as text where Excel could not show them."""
    counted = ((values - EPOCH) / pd.Timedelta(days=1)).to_numpy()
    first, end = READABLE_SERIALS
    shown = counted.astype(object)
    shown[np.isnan(counted)] = None
    for position in np.flatnonzero((counted < first) | (counted >= end)):
        shown[position] = values.iloc[position].isoformat()
    serial_numbers: list[Value] = shown.tolist()
    return serial_numbers
