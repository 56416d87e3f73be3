"""The credentials frame: one row per credential. Its columns, and its rows as plain Python values."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

import pandas as pd

# As text is kept where pyarrow is not installed: pyarrow refuses half a surrogate pair, and a name may hold one.
pd.set_option("mode.string_storage", "python")

ROOT_USER = "<root_account>"
MORE = "additional_credentials"
CREDENTIALS = ("password", "access_key_1", "access_key_2", "cert_1", "cert_2", MORE)
ACCESS_KEYS = ("access_key_1", "access_key_2", MORE)
"""Credentials that are, or may be, access keys. MORE stands for those that AWS says a user has and does not show."""

SCHEMA = {
    "account_id": "string",
    "account_name": "string",
    "ou_path": "string",
    "user": "string",
    "arn": "string",
    "is_root": "bool",
    "credential": "category",
    "key_id": "string",
    "key_note": "string",
    "active": "boolean",
    "user_created": "datetime64[s, UTC]",
    "last_rotated": "datetime64[s, UTC]",
    "last_used": "datetime64[s, UTC]",
    "last_used_known": "bool",
    "no_use_recorded": "bool",
    "last_used_region": "string",
    "last_used_service": "string",
    "mfa_active": "boolean",
    "report_generated": "datetime64[s, UTC]",
}
FRAME_COLUMNS = tuple(SCHEMA)
"""One row per credential: every user has a `password` row, and one for each access key or certificate slot in use.

key_note says what the look-up of key ids found that a reader must know; it is empty where nothing was looked up.
last_used_known is False where NaT in last_used does not mean "never". no_use_recorded is True where AWS says that it
saw no use since it began to record it, in 2014 (passwords) or 2015 (keys).
"""


class Credential(NamedTuple):
    """One row of the frame; None where the frame has NA or NaT, moments in UTC."""

    account_id: str
    account_name: str
    ou_path: str
    user: str
    arn: str
    is_root: bool
    credential: str
    key_id: str | None
    key_note: str
    active: bool | None
    user_created: datetime | None
    last_rotated: datetime | None
    last_used: datetime | None
    last_used_known: bool
    no_use_recorded: bool
    last_used_region: str | None
    last_used_service: str | None
    mfa_active: bool | None
    report_generated: datetime | None


def plain_rows(frame: pd.DataFrame) -> Iterator[Credential]:
    """The rows one by one, for what is said of each; to compute with them, use the frame."""
    return map(Credential, *(_plain(frame[name]) for name in FRAME_COLUMNS))


def _plain(values: pd.Series) -> list[Any]:
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        return [None if value is pd.NaT else value for value in pd.DatetimeIndex(values).to_pydatetime()]
    missing: Any = None
    plain: list[Any] = values.to_numpy(dtype=object, na_value=missing).tolist()
    return plain
