"""Raw credential reports → the credentials frame. Nothing else knows the report's column names.

Report format: https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_getting-report.html
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from scanner.errors import MalformedReport
from scanner.models import Account, LedgerEntry

ROOT_USER = "<root_account>"
MORE = "additional_credentials"
CREDENTIALS = ("password", "access_key_1", "access_key_2", "cert_1", "cert_2", MORE)
ACCESS_KEYS = ("access_key_1", "access_key_2", MORE)
"""Credentials that are, or may be, access keys. MORE stands for those that AWS says a user has and does not show."""

FRAME_COLUMNS = (
    "account_id",
    "account_name",
    "ou_path",
    "user",
    "arn",
    "is_root",
    "credential",
    "key_id",
    "key_note",
    "active",
    "user_created",
    "last_rotated",
    "last_used",
    "last_used_known",
    "last_used_region",
    "last_used_service",
    "mfa_active",
    "report_generated",
)
"""One row per credential: every user has a `password` row, and one for each access key or certificate slot in use.

key_note says what the look-up of key ids found that a reader must know; it is empty where nothing was looked up.
last_used_known is False where NaT in last_used does not mean "never".
"""

DATE = re.compile(r"(19|2[01])\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)
"""AWS writes `+00:00` or `Z`. A date without a zone is not read: it could be any moment of two days.

Nor is a year outside 1900 to 2199: no credential is of that age, and near the years 0 and 9999 Python's dates end.
"""

KEY_TRACKING_BEGAN = datetime(2015, 4, 22, tzinfo=UTC)
PASSWORD_TRACKING_BEGAN = datetime(2014, 10, 20, tzinfo=UTC)
"""Before these days AWS did not record use: `N/A` on an older credential does not prove that it was never used."""


@dataclass(frozen=True, slots=True)
class Slot:
    """Where one credential of a user stands in the report; an empty name is a thing AWS does not report."""

    credential: str
    active: str
    last_rotated: str
    last_used: str = ""
    region: str = ""
    service: str = ""


def _key_slot(number: int) -> Slot:
    name = f"access_key_{number}"
    used = f"{name}_last_used"
    return Slot(name, f"{name}_active", f"{name}_last_rotated", f"{used}_date", f"{used}_region", f"{used}_service")


SLOTS = (
    Slot("password", "password_enabled", "password_last_changed", "password_last_used"),
    _key_slot(1),
    _key_slot(2),
    Slot("cert_1", "cert_1_active", "cert_1_last_rotated"),
    Slot("cert_2", "cert_2_active", "cert_2_last_rotated"),
    Slot(MORE, "additional_credentials_info", "additional_credentials_info"),
)
NO_MORE = ("", "n/a", "0", "false", "no_information", "not_supported")
"""What additional_credentials_info may say of a user who has none; AWS documents the column, not these words."""
USER_COLUMNS = ("user", "arn", "user_creation_time", "mfa_active")
READ_COLUMNS = USER_COLUMNS + tuple(
    column
    for slot in SLOTS
    for column in (slot.active, slot.last_rotated, slot.last_used, slot.region, slot.service)
    if column
)
REQUIRED_COLUMNS = (
    "user",
    "arn",
    *(column for slot in SLOTS[1:3] for column in (slot.active, slot.last_rotated)),
)
ABSENT = "\0absent"
"""Stands for a value of a column that this report does not have; a report with a NUL in it is refused."""


@dataclass(frozen=True, slots=True)
class RawReport:
    """One account's report beside what is known of the account."""

    account: Account
    entry: LedgerEntry
    content: bytes


def count_users(content: bytes, account_id: str) -> int:
    """Rows of a report, the root row included; raises MalformedReport where it is no report of this account."""
    return len(_parse(content, account_id)[1])


def normalize(reports: Iterable[RawReport]) -> pd.DataFrame:
    """All reports in one pass → one frame with FRAME_COLUMNS, ordered as given, then as AWS orders users.

    Raises MalformedReport; reports with outcome `scanned` have passed the same reading when they were collected.
    """
    columns: dict[str, list[str]] = {name: [] for name in READ_COLUMNS}
    accounts: list[tuple[str, str, str]] = []
    generated: list[datetime | None] = []
    counts: list[int] = []
    for report in reports:
        header, rows = _parse(report.content, report.account.account_id)
        by_name = dict(zip(header, zip(*rows, strict=True), strict=True))
        absent = (ABSENT,) * len(rows)
        for name, values in columns.items():
            values.extend(by_name.get(name, absent))
        accounts.append((report.account.account_id, report.account.name, report.account.ou_path))
        generated.append(report.entry.report_generated)
        counts.append(len(rows))
    users = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})
    for position, name in enumerate(("account_id", "account_name", "ou_path")):
        users[name] = np.repeat(np.array([account[position] for account in accounts], dtype=object), counts)
    moments = pd.Series(pd.to_datetime(pd.Series(generated, dtype="datetime64[s, UTC]"), utc=True))
    users["report_generated"] = moments.repeat(counts).reset_index(drop=True)
    return _one_row_per_credential(users)


def _parse(content: bytes, account_id: str) -> tuple[list[str], list[list[str]]]:
    """Header and rows, or MalformedReport with the reason: anything that is not plainly this account's whole report."""
    if not content.removeprefix(codecs.BOM_UTF8).strip():
        raise MalformedReport("the credential report is empty")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MalformedReport(f"the credential report is not UTF-8 (byte {error.start})") from None
    if "\0" in text:
        raise MalformedReport("the credential report has a NUL character in it")
    if text.lstrip().startswith("<"):
        raise MalformedReport("the credential report is HTML or XML, not CSV; a proxy may have answered instead of AWS")
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        read = list(lines)
    except csv.Error as error:
        raise MalformedReport(f"the credential report is not CSV: {error}") from None
    if lines.line_num != len(read):
        raise MalformedReport("a field of the credential report goes on over the end of its line")
    header, *rows = [row for row in read if row]
    missing = [name for name in REQUIRED_COLUMNS if name not in header]
    if missing:
        raise MalformedReport(f"the credential report has no column {', '.join(missing)}")
    if len(set(header)) < len(header):
        raise MalformedReport("the credential report has a column twice")
    if not rows:
        raise MalformedReport("the credential report has a header and no row, not even the root user's")
    user, arn, seen = header.index("user"), header.index("arn"), set[str]()
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise MalformedReport(
                f"row {number} of the credential report has {len(row)} fields instead of {len(header)}"
            )
        if row[arn].split(":", 5)[4:5] != [account_id]:
            raise MalformedReport(f"row {number} of the credential report is not of this account")
        if not row[user]:
            raise MalformedReport(f"row {number} of the credential report names no user")
        if row[user] in seen:
            raise MalformedReport(f"row {number} of the credential report names a user for the second time")
        seen.add(row[user])
    return header, rows


def _one_row_per_credential(users: pd.DataFrame) -> pd.DataFrame:
    created = _dates(users["user_creation_time"])
    mfa = _booleans(users["mfa_active"])
    blocks = [_credential_rows(users, slot, created, mfa) for slot in SLOTS]
    frame = pd.concat(blocks)
    frame["credential"] = pd.Categorical(frame["credential"], categories=CREDENTIALS)
    order = np.lexsort((frame["credential"].cat.codes.to_numpy(), frame.index.to_numpy()))
    return frame.iloc[order].reset_index(drop=True)[list(FRAME_COLUMNS)]


def _credential_rows(users: pd.DataFrame, slot: Slot, created: pd.Series, mfa: pd.Series) -> pd.DataFrame:
    active, rotated = users[slot.active], users[slot.last_rotated]
    if slot.credential == "password":
        in_use = pd.Series(True, index=users.index)
    elif slot.credential == MORE:
        in_use = active.ne(ABSENT) & ~active.str.strip().str.lower().isin(NO_MORE)
    else:
        empty = active.str.lower().eq("false") & rotated.eq("N/A")
        in_use = ~empty & active.ne(ABSENT)
    rows = users[in_use]
    last_rotated = _dates(rotated[in_use])
    last_used = _dates(rows[slot.last_used]) if slot.last_used else _no_dates(rows.index)
    return pd.DataFrame(
        {
            "account_id": _text(rows["account_id"]),
            "account_name": _text(rows["account_name"]),
            "ou_path": _text(rows["ou_path"]),
            "user": _text(rows["user"]),
            "arn": _text(rows["arn"]),
            "is_root": rows["user"].eq(ROOT_USER),
            "credential": slot.credential,
            "key_id": pd.Series(pd.NA, index=rows.index, dtype="string"),
            "key_note": pd.Series("", index=rows.index, dtype="string"),
            "active": _booleans(active[in_use]),
            "user_created": created[in_use],
            "last_rotated": last_rotated,
            "last_used": last_used,
            "last_used_known": _is_use_known(rows, slot, last_rotated, last_used),
            "last_used_region": _value(rows, slot.region),
            "last_used_service": _value(rows, slot.service),
            "mfa_active": mfa[in_use],
            "report_generated": rows["report_generated"],
        },
        index=rows.index,
    )


def _is_use_known(rows: pd.DataFrame, slot: Slot, last_rotated: pd.Series, last_used: pd.Series) -> pd.Series:
    """True with a date, and where AWS's "no use" covers the credential's whole life."""
    if not slot.last_used:
        return pd.Series(False, index=rows.index)
    began = PASSWORD_TRACKING_BEGAN if slot.credential == "password" else KEY_TRACKING_BEGAN
    says_never = rows[slot.last_used].isin(["N/A", "no_information"])
    return last_used.notna() | (says_never & (last_rotated >= began))


def _dates(values: pd.Series) -> pd.Series:
    """ISO 8601 with a zone → datetime64[s, UTC]; everything else, also an impossible day, → NaT."""
    readable = np.fromiter((DATE.fullmatch(value) is not None for value in values), dtype=bool, count=len(values))
    dates = _no_dates(values.index)
    parsed = pd.to_datetime(values[readable].astype(str), format="ISO8601", utc=True, errors="coerce")
    dates[readable] = parsed.astype("datetime64[s, UTC]")
    return dates


def _no_dates(index: pd.Index) -> pd.Series:
    return pd.Series(pd.NaT, index=index, dtype="datetime64[s, UTC]")


def _booleans(values: pd.Series) -> pd.Series:
    """true and false in any case → nullable boolean; everything else → NA."""
    return values.str.lower().map({"true": True, "false": False}).astype("boolean")


def _text(values: pd.Series) -> pd.Series:
    return values.astype("string")


def _value(rows: pd.DataFrame, column: str) -> pd.Series:
    """A plain text column; what AWS marks as having no value, or does not send, is NA."""
    if not column:
        return pd.Series(pd.NA, index=rows.index, dtype="string")
    return _text(rows[column].where(~rows[column].isin(["N/A", "not_supported", "", ABSENT]), None))


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
