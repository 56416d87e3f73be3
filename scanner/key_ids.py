"""Which key a row of the frame is: the ids that ListAccessKeys gave, joined by creation time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pandas as pd

from scanner.normalize import ACCESS_KEYS


def join_keys(frame: pd.DataFrame, answers: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Fill key_id and key_note from the look-ups (account id → content of ID.keys.json); `frame` itself is not changed.

    A key is joined by its creation time. Where that fits no key, or more than one, nothing is guessed.
    """
    looked_up = {
        (account_id, user): answer
        for account_id, content in answers.items()
        for user, answer in content["users"].items()
    }
    if not looked_up:
        return frame
    frame = frame.copy()
    candidates = frame[frame["account_id"].isin(list(answers)) & frame["credential"].isin(ACCESS_KEYS)]
    times = candidates.groupby(["account_id", "user", "last_rotated"])["credential"].transform("size")
    found: dict[int, tuple[Any, str]] = {}
    row: Any
    for row, slots_of_this_time in zip(candidates.itertuples(), times, strict=True):
        answer = looked_up.get((row.account_id, row.user))
        if answer is not None:
            found[row.Index] = _identify(row, answer, shared=slots_of_this_time > 1)
    for position, name in enumerate(("key_id", "key_note")):
        frame.loc[list(found), name] = pd.array([pair[position] for pair in found.values()], dtype="string")
    return frame


def _identify(row: Any, answer: Mapping[str, Any], *, shared: bool) -> tuple[Any, str]:
    """The key's id where exactly one fits, and what the reader must know."""
    at = f"when its keys were listed at {answer['looked_up']}"
    if answer["error"] == "NoSuchEntity":
        return pd.NA, f"the user no longer existed {at}"
    if answer["keys"] is None:
        return pd.NA, f"key id not known: {answer['error']}"
    keys = answer["keys"]
    if pd.isna(row.last_rotated):
        now = ", ".join(f"{key['key_id']} created {key['created']} ({key['status']})" for key in keys) or "none"
        return pd.NA, f"the report gives no date to join a key by; {at} there were: {now}"
    fitting = [key for key in keys if datetime.fromisoformat(key["created"]).replace(microsecond=0) == row.last_rotated]
    if not fitting:
        return pd.NA, f"no key of this creation time existed any more {at}: deleted since the report"
    if shared or len(fitting) > 1:
        ids = " or ".join(key["key_id"] for key in fitting)
        gone = ", or one deleted since the report" if len(fitting) == 1 else ""
        return pd.NA, f"ambiguous: keys were created in the same second; this one is {ids}{gone}"
    status = fitting[0]["status"]
    as_reported = pd.notna(row.active) and row.active == (status == "Active")
    return fitting[0]["key_id"], "" if as_reported else f"{status.lower()} {at}, after the report"
