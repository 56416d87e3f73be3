"""Raw credential reports → the credentials frame. Nothing else knows the report's column names.

Report format: https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_getting-report.html
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from scanner.credentials import CREDENTIALS, MORE, ROOT_USER, SCHEMA
from scanner.dates import parse_dates
from scanner.errors import MalformedReport
from scanner.models import Account, LedgerEntry


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
TRACKING_BEGAN = np.array(
    ["2014-10-20" if slot.credential == "password" else "2015-04-22" for slot in SLOTS], dtype="datetime64[s]"
)
"""Before these days AWS did not record use: `N/A` on an older credential does not prove that it was never used."""
NO_USE = ("N/A", "no_information")
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
NO_VALUE = ("N/A", "not_supported", "", ABSENT)

FALSE, TRUE, NOT_KNOWN = 0, 1, -1
Array = npt.NDArray[Any]

BATCH_USERS = 1_000
"""So many users become rows at a time: enough for numpy to pay, few enough for their texts to stay in the cache."""


@dataclass(frozen=True, slots=True)
class RawReport:
    """One account's report beside what is known of the account."""

    account: Account
    entry: LedgerEntry
    content: bytes


def count_users(content: bytes, account_id: str) -> int:
    """Rows of a report, the root row included; raises MalformedReport where it is no report of this account."""
    return len(_parse(content, account_id)[1])


def count_iam_users(content: bytes, account_id: str) -> int:
    """Rows of a report without the root row; raises MalformedReport as count_users does."""
    header, rows = _parse(content, account_id)
    user = header.index("user")
    return sum(row[user] != ROOT_USER for row in rows)


def normalize(reports: Iterable[RawReport]) -> pd.DataFrame:
    """All reports in one pass → one frame with FRAME_COLUMNS, ordered as given, then as AWS orders users.

    Raises MalformedReport; reports with outcome `scanned` have passed the same reading when they were collected.
    """
    batches = [_one_row_per_credential(users) for users in _batches(reports)]
    # Column after column, so that no more than one of them is in memory twice.
    columns = {
        name: _as_column(np.concatenate([batch.pop(name) for batch in batches]), dtype)
        for name, dtype in SCHEMA.items()
    }
    return pd.DataFrame(columns, copy=False)


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
    header, *rows = _split(text)
    missing = [name for name in REQUIRED_COLUMNS if name not in header]
    if missing:
        raise MalformedReport(f"the credential report has no column {', '.join(missing)}")
    if len(set(header)) < len(header):
        raise MalformedReport("the credential report has a column twice")
    if not rows:
        raise MalformedReport("the credential report has a header and no row, not even the root user's")
    _refuse_odd_rows(header, rows, account_id)
    return header, rows


def _split(text: str) -> list[list[str]]:
    """The fields of every line that is not blank."""
    lines = text.split("\n")
    # Without a quote a field is what stands between commas; csv needs three times as long to say the same.
    if '"' not in text and "\r" not in text and max(map(len, lines)) <= csv.field_size_limit():
        return [line.split(",") for line in lines if line]
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        read = list(reader)
    except csv.Error as error:
        raise MalformedReport(f"the credential report is not CSV: {error}") from None
    if reader.line_num != len(read):
        raise MalformedReport("a field of the credential report goes on over the end of its line")
    return [row for row in read if row]


def _refuse_odd_rows(header: list[str], rows: list[list[str]], account_id: str) -> None:
    user, arn = header.index("user"), header.index("arn")
    if set(map(len, rows)) == {len(header)}:
        names = {row[user] for row in rows}
        start = ":".join([*rows[0][arn].split(":")[:4], account_id, ""])
        if len(names) == len(rows) and "" not in names and all(row[arn].startswith(start) for row in rows):
            return
    # Something is odd, or an ARN is of another form: row by row, to tell which.
    seen = set[str]()
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


class _Users:
    """The cells of some reports, column by column, and the accounts they are of."""

    def __init__(self) -> None:
        self.cells: dict[str, list[str]] = {name: [] for name in READ_COLUMNS}
        self.accounts: list[Account] = []
        self.generated: list[datetime | None] = []
        self.counts: list[int] = []

    def __len__(self) -> int:
        return len(self.cells["user"])

    def add(self, report: RawReport) -> None:
        """Another report; raises MalformedReport."""
        header, rows = _parse(report.content, report.account.account_id)
        by_name = dict(zip(header, zip(*rows, strict=True), strict=True))
        absent = (ABSENT,) * len(rows)
        for name, values in self.cells.items():
            values.extend(by_name.get(name, absent))
        self.accounts.append(report.account)
        self.generated.append(report.entry.report_generated)
        self.counts.append(len(rows))

    def by_slot(self, kind: str) -> Array:
        """slots × users: the cells that say one thing of every credential; also where AWS has no such column."""
        absent = [ABSENT] * len(self)
        return _texts([self.cells.get(getattr(slot, kind), absent) for slot in SLOTS])


def _batches(reports: Iterable[RawReport]) -> Iterator[_Users]:
    """At least one batch, if need be without a user."""
    users = _Users()
    for report in reports:
        users.add(report)
        if len(users) >= BATCH_USERS:
            yield users
            users = _Users()
    yield users


def _one_row_per_credential(users: _Users) -> dict[str, Array]:
    """FRAME_COLUMNS as numpy has them: missing text is None, a moment is UTC without saying so."""
    active, last_rotated = users.by_slot("active"), users.by_slot("last_rotated")
    states = _translate(active, _boolean, np.int8)
    user, slot = np.nonzero(_is_in_use(active, states, last_rotated).T)  # by user, then by slot
    used = users.by_slot("last_used")[slot, user]
    rotated_at, used_at = parse_dates(last_rotated[slot, user].tolist()), parse_dates(used.tolist())
    says_never = _translate(used, NO_USE.__contains__, np.bool_)
    account = np.repeat(np.arange(len(users.accounts)), users.counts)[user]
    names = _texts(users.cells["user"])
    return {
        "account_id": _texts([each.account_id for each in users.accounts])[account],
        "account_name": _texts([each.name for each in users.accounts])[account],
        "ou_path": _texts([each.ou_path for each in users.accounts])[account],
        "user": names[user],
        "arn": _texts(users.cells["arn"])[user],
        "is_root": (names == ROOT_USER)[user],
        "credential": slot.astype(np.int8),
        "key_id": np.full(len(user), None, dtype=object),
        "key_note": np.full(len(user), "", dtype=object),
        "active": states[slot, user],
        "user_created": parse_dates(users.cells["user_creation_time"])[user],
        "last_rotated": rotated_at,
        "last_used": used_at,
        "last_used_known": ~np.isnat(used_at) | (says_never & (rotated_at >= TRACKING_BEGAN[slot])),
        "no_use_recorded": says_never,
        "last_used_region": _translate(users.by_slot("region")[slot, user], _value, np.object_),
        "last_used_service": _translate(users.by_slot("service")[slot, user], _value, np.object_),
        "mfa_active": _translate(_texts(users.cells["mfa_active"]), _boolean, np.int8)[user],
        "report_generated": _moments(users.generated)[account],
    }


def _is_in_use(active: Array, states: Array, last_rotated: Array) -> Array:
    """slots × users → whether there is a credential, or may be one."""
    is_empty = (states == FALSE) & (last_rotated == "N/A")
    in_use: Array = (active != ABSENT) & ~is_empty
    in_use[CREDENTIALS.index("password")] = True
    more = CREDENTIALS.index(MORE)
    in_use[more] = _translate(active[more], _says_more, np.bool_)
    return in_use


def _says_more(value: str) -> bool:
    return value != ABSENT and value.strip().lower() not in NO_MORE


def _boolean(value: str) -> int:
    """true and false in any case; everything else is not known."""
    return {"true": TRUE, "false": FALSE}.get(value.lower(), NOT_KNOWN)


def _value(value: str) -> str | None:
    """A plain text; what AWS marks as having no value, or does not send, is missing."""
    return None if value in NO_VALUE else value


def _translate(values: Array, meaning: Callable[[str], Any], dtype: type[np.generic]) -> Array:
    """The meaning of each cell, in a column that says few different things: each of them is looked at once."""
    cells = values.ravel().tolist()
    meanings = {cell: meaning(cell) for cell in set(cells)}
    return np.fromiter(map(meanings.__getitem__, cells), dtype=dtype, count=len(cells)).reshape(values.shape)


def _texts(values: Sequence[str] | Sequence[Sequence[str]]) -> Array:
    return np.array(values, dtype=object)


def _moments(values: Sequence[datetime | None]) -> Array:
    return pd.array(values, dtype="datetime64[s, UTC]").to_numpy(dtype="datetime64[s]")


def _as_column(values: Any, dtype: Any) -> Any:
    match dtype:
        case "bool":
            return values
        case "boolean":
            return pd.arrays.BooleanArray(values == TRUE, values == NOT_KNOWN)
        case "category":
            return pd.Categorical.from_codes(values, categories=pd.Index(CREDENTIALS))
    return pd.array(values, dtype=dtype, copy=False)
