"""Which key a row of the frame is: the ids that ListAccessKeys gave, joined by creation time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from scanner.credentials import ACCESS_KEYS, Credential, plain_rows


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
    is_key = np.flatnonzero(frame["credential"].isin(ACCESS_KEYS))
    users = zip(*(frame[name].iloc[is_key].tolist() for name in ("account_id", "user")), strict=True)
    found = is_key[[user in looked_up for user in users]]
    keys = frame.iloc[found]
    is_shared = keys.duplicated(["account_id", "user", "last_rotated"], keep=False)
    identities = [
        _identify(key, looked_up[key.account_id, key.user], shared=shared)
        for key, shared in zip(plain_rows(keys), is_shared.tolist(), strict=True)
    ]
    columns = {}
    for name, values in zip(("key_id", "key_note"), zip(*identities, strict=True), strict=False):
        columns[name] = frame[name].copy()
        columns[name].iloc[found] = pd.array(values, dtype="string")
    return frame.assign(**columns)


def _identify(key: Credential, answer: Mapping[str, Any], *, shared: bool) -> tuple[str | None, str]:
    """The key's id where exactly one fits, and what the reader must know."""
    at = f"when its keys were listed at {answer['looked_up']}"
    if answer["error"] == "NoSuchEntity":
        return None, f"the user no longer existed {at}"
    if answer["keys"] is None:
        return None, f"key id not known: {answer['error']}"
    listed = answer["keys"]
    if key.last_rotated is None:
        now = ", ".join(f"{each['key_id']} created {each['created']} ({each['status']})" for each in listed) or "none"
        return None, f"the report gives no date to join a key by; {at} there were: {now}"
    fitting = [
        each for each in listed if datetime.fromisoformat(each["created"]).replace(microsecond=0) == key.last_rotated
    ]
    if not fitting:
        return None, f"no key of this creation time existed any more {at}: deleted since the report"
    if shared or len(fitting) > 1:
        ids = " or ".join(each["key_id"] for each in fitting)
        gone = ", or one deleted since the report" if len(fitting) == 1 else ""
        return None, f"ambiguous: keys were created in the same second; this one is {ids}{gone}"
    status = fitting[0]["status"]
    as_reported = key.active is not None and key.active == (status == "Active")
    return fitting[0]["key_id"], "" if as_reported else f"{status.lower()} {at}, after the report"
