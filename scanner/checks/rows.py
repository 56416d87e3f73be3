"""What checks ask of the rows of the frame: dates that are none, and what the other rows of a user say."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pandas as pd

CLOCK_TOLERANCE = timedelta(minutes=5)
"""A date may lie this far after both `as_of` and the report's own time; further, it is no date to judge by."""

LONGEST_RUN = timedelta(days=1)
"""A key may be created while the run lasts, after `as_of` and before its report."""


def is_in_future(frame: pd.DataFrame, column: str, as_of: datetime) -> pd.Series:
    """After both moments it is measured by; or a day after `as_of`, which is no date of that moment at all."""
    latest = frame["report_generated"].where(frame["report_generated"] > as_of, pd.Timestamp(as_of))
    return (frame[column] > latest + CLOCK_TOLERANCE) | (frame[column] > as_of + LONGEST_RUN)


def is_user_row(frame: pd.DataFrame) -> pd.Series:
    """The row that stands for the user: every user has a password row, with a password or without."""
    return frame["credential"].eq("password")


def any_of_user(frame: pd.DataFrame, holds: pd.Series) -> pd.Series:
    """For each row, whether it holds for any row of its user."""
    return count_of_user(frame, holds) > 0


def count_of_user(frame: pd.DataFrame, holds: pd.Series) -> pd.Series:
    """For each row, for how many rows of its user it holds. A user's rows follow its password row."""
    user = np.cumsum(is_user_row(frame).to_numpy()) - 1
    if not len(frame):
        return pd.Series(np.zeros(0, dtype=np.int64), index=frame.index)
    counts = np.bincount(user, weights=holds.to_numpy(dtype=bool), minlength=user[-1] + 1)
    return pd.Series(counts[user].astype(np.int64), index=frame.index)


def never_due(frame: pd.DataFrame, _limits: object) -> pd.Series:
    """No date by which to act: it is wrong from the first day."""
    return pd.Series(pd.array(np.full(len(frame), np.datetime64("NaT", "s")), dtype="datetime64[s, UTC]"), frame.index)


def last_use(frame: pd.DataFrame) -> pd.Series:
    """The last use of each credential; of one that AWS saw no use of, when it was made; NaT where neither is known."""
    return frame["last_used"].fillna(frame["last_rotated"].where(frame["no_use_recorded"]))
