"""Credential reports → the credentials frame: its schema, what any report may do to it, and the joining of key ids."""

from __future__ import annotations

import csv
import io
import json
import re
import string
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scanner.credentials import CREDENTIALS, FRAME_COLUMNS, Credential, plain_rows
from scanner.errors import MalformedReport
from scanner.evaluate import evaluate
from scanner.key_ids import join_keys
from scanner.models import Account, LedgerEntry, Outcome, Rules
from scanner.normalize import BATCH_USERS, READ_COLUMNS, REQUIRED_COLUMNS, RawReport, count_users, normalize

REPORTS = Path(__file__).parents[1] / "data" / "credential_reports"
ACCOUNT_ID = "111122223333"
GENERATED = datetime(2026, 11, 23, 11, tzinfo=UTC)
AS_OF = datetime(2026, 11, 23, 12, tzinfo=UTC)
VERDICT = "verdict:access-key-not-rotated"
READABLE = sorted(path.name.removesuffix(".expected.csv") for path in REPORTS.glob("*.expected.csv"))
READABLE = [name for name in READABLE if (REPORTS / f"{name}.csv").exists() and name != "account_with_leading_zero"]

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
"""As design.md declares it."""

COLUMNS = (
    *("user", "arn", "user_creation_time", "password_enabled", "password_last_used", "password_last_changed"),
    *("password_next_rotation", "mfa_active", "access_key_1_active", "access_key_1_last_rotated"),
    *("access_key_1_last_used_date", "access_key_1_last_used_region", "access_key_1_last_used_service"),
    *("access_key_2_active", "access_key_2_last_rotated", "access_key_2_last_used_date"),
    *("access_key_2_last_used_region", "access_key_2_last_used_service", "cert_1_active", "cert_1_last_rotated"),
    *("cert_2_active", "cert_2_last_rotated"),
)
ROOT = {"user": "<root_account>", "arn": f"arn:aws:iam::{ACCOUNT_ID}:root"}


def raw(content: bytes, account_id: str = ACCOUNT_ID, generated: datetime | None = GENERATED) -> RawReport:
    account = Account(account_id=account_id, name="=cmd|' /C calc'!A0", email="a@example.com", state="ACTIVE")
    return RawReport(
        account, LedgerEntry(account_id=account_id, outcome=Outcome.SCANNED, report_generated=generated), content
    )


def golden(name: str) -> bytes:
    return (REPORTS / f"{name}.csv").read_bytes()


def line(user: str = "alice", /, account_id: str = ACCOUNT_ID, **values: str) -> dict[str, str]:
    """One user's line; what is not named is as AWS writes it for a user without credentials."""
    empty = {name: "false" if name.endswith(("_active", "_enabled")) else "N/A" for name in COLUMNS}
    arn = f"arn:aws:iam::{account_id}:user/{user}"
    return {**empty, "user": user, "arn": arn, "user_creation_time": "2014-05-06T07:08:09+00:00", **values}


def render(lines: Sequence[dict[str, str]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue().removesuffix("\n").encode()


def frame_of(*lines: dict[str, str]) -> pd.DataFrame:
    return normalize([raw(render(lines))])


def only(frame: pd.DataFrame, credential: str) -> Any:
    """The one row of a credential."""
    (row,) = frame[frame["credential"].eq(credential)].itertuples()
    return row


# The schema


@pytest.mark.parametrize("reports", [[], ["zero_users"], ["key_states"], ["key_states", "odd_booleans", "date_forms"]])
def test_frame_has_the_declared_columns_and_types(reports: list[str]) -> None:
    accounts = dict(zip(["111122223333", "123456789012", "444455556666"], reports, strict=False))
    frame = normalize(
        [raw(golden(name).replace(ACCOUNT_ID.encode(), each.encode()), each) for each, name in accounts.items()]
    )

    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == SCHEMA
    assert tuple(frame.columns) == FRAME_COLUMNS == tuple(SCHEMA)
    assert tuple(frame["credential"].cat.categories) == CREDENTIALS
    assert frame.index.equals(pd.RangeIndex(len(frame)))
    assert frame[["account_id", "user", "arn", "credential", "key_note", "is_root"]].notna().all(axis=None)


def test_frame_of_a_report_without_its_time_keeps_its_types() -> None:
    frame = normalize([raw(golden("key_states"), generated=None)])
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == SCHEMA
    assert frame["report_generated"].isna().all()


def test_rows_stand_in_the_order_of_the_report_and_of_the_slots() -> None:
    rotated = "2020-01-01T00:00:00+00:00"
    all_slots = {
        f"{slot}_{kind}": value
        for slot in CREDENTIALS[1:5]
        for kind, value in (("active", "true"), ("last_rotated", rotated))
    }
    frame = frame_of(line("zoe", **all_slots), line("adam", **all_slots))
    assert frame["user"].tolist() == ["zoe"] * 5 + ["adam"] * 5
    assert frame["credential"].tolist() == [*CREDENTIALS[:5], *CREDENTIALS[:5]]


def test_every_value_of_a_key_arrives_in_its_own_column() -> None:
    frame = frame_of(
        line(
            mfa_active="true",
            access_key_2_active="true",
            access_key_2_last_rotated="2020-01-02T03:04:05+00:00",
            access_key_2_last_used_date="2026-11-20T09:14:00+00:00",
            access_key_2_last_used_region="eu-west-1",
            access_key_2_last_used_service="s3",
        )
    )
    key = only(frame, "access_key_2")
    assert key.active
    assert key.mfa_active
    assert key.last_rotated == datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert key.last_used == datetime(2026, 11, 20, 9, 14, tzinfo=UTC)
    assert (key.last_used_region, key.last_used_service) == ("eu-west-1", "s3")
    assert key.user_created == datetime(2014, 5, 6, 7, 8, 9, tzinfo=UTC)
    assert key.report_generated == GENERATED
    assert (key.account_id, key.account_name) == (ACCOUNT_ID, "=cmd|' /C calc'!A0")
    assert pd.isna(key.key_id)


@pytest.mark.parametrize(
    ("rotated", "used", "known"),
    [
        pytest.param("2020-01-01T00:00:00Z", "2026-11-20T09:14:00Z", True, id="used"),
        pytest.param("2020-01-01T00:00:00Z", "N/A", True, id="never used"),
        pytest.param("2015-04-22T00:00:00Z", "N/A", True, id="created the day tracking began"),
        pytest.param("2015-04-21T23:59:59Z", "N/A", False, id="older than tracking"),
        pytest.param("2010-01-01T00:00:00Z", "2015-05-01T00:00:00Z", True, id="older than tracking, used since"),
        pytest.param("2020-01-01T00:00:00Z", "", False, id="blank"),
        pytest.param("2020-01-01T00:00:00Z", "not_supported", False, id="not supported"),
        pytest.param("", "N/A", False, id="no date to compare with"),
    ],
)
def test_whether_no_use_means_never(rotated: str, used: str, known: bool) -> None:
    key = {"access_key_1_active": "true", "access_key_1_last_rotated": rotated, "access_key_1_last_used_date": used}
    assert bool(only(frame_of(line(**key)), "access_key_1").last_used_known) is known


def test_a_user_without_any_credential_has_a_password_row() -> None:
    frame = frame_of(line())
    assert frame["credential"].tolist() == ["password"]
    assert frame["active"].tolist() == [False]


def test_root_password_that_is_not_supported_is_not_known() -> None:
    password = only(frame_of(line(**ROOT, password_enabled="not_supported")), "password")
    assert password.is_root
    assert pd.isna(password.active)


@pytest.mark.parametrize("column", REQUIRED_COLUMNS)
def test_a_column_that_the_check_needs_is_missed(column: str) -> None:
    renamed = render([line()]).replace(column.encode() + b",", b"renamed,", 1)
    with pytest.raises(MalformedReport, match=f"no column .*{column}"):
        normalize([raw(renamed)])


def test_every_column_that_aws_declares_is_known_here() -> None:
    assert set(READ_COLUMNS) <= {*COLUMNS, "additional_credentials_info"}
    assert len(COLUMNS) == 22


def test_count_users_counts_root_too() -> None:
    assert count_users(golden("more_than_100_users"), ACCOUNT_ID) == 121


def test_count_users_refuses_what_normalize_refuses() -> None:
    for path in REPORTS.glob("*.refused.txt"):
        with pytest.raises(MalformedReport):
            count_users(golden(path.name.removesuffix(".refused.txt")), ACCOUNT_ID)


def test_malformed_report_never_quotes_the_report() -> None:
    """A refused report may be anything, also a page with somebody's token in it; only numbers are told."""
    content = render([line(), line("token-in-a-name") | {"arn": "arn:aws:iam::999999999999:user/token-in-an-arn"}])
    with pytest.raises(MalformedReport) as caught:
        normalize([raw(content)])
    assert "token" not in str(caught.value)


def as_quoted(content: bytes) -> bytes:
    """The same report with every field in quotes, as another writer of CSV would send it."""
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(
        csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""))
    )
    return text.getvalue().encode()


@pytest.mark.parametrize("name", READABLE)
def test_quotes_change_nothing(name: str) -> None:
    plain, quoted = golden(name), as_quoted(golden(name))
    assert count_users(plain, ACCOUNT_ID) == count_users(quoted, ACCOUNT_ID)
    pd.testing.assert_frame_equal(normalize([raw(plain)]), normalize([raw(quoted)]))


@pytest.mark.parametrize("size", [csv.field_size_limit(), csv.field_size_limit() + 1])
def test_a_field_of_any_length_is_read_or_refused_with_and_without_quotes(size: int) -> None:
    content = render([line(access_key_1_last_used_region="x" * size, access_key_1_active="true")])
    for each in (content, content.replace(b"user,", b'"user",', 1)):
        if size > csv.field_size_limit():
            with pytest.raises(MalformedReport, match="field larger than field limit"):
                normalize([raw(each)])
        else:
            assert only(normalize([raw(each)]), "access_key_1").last_used_region == "x" * size


@pytest.mark.parametrize("position", [0, 1])
def test_an_arn_that_ends_with_the_account_is_read(position: int) -> None:
    lines = [line("alice"), line("bob")]
    lines[position]["arn"] = f"arn:aws:iam::{ACCOUNT_ID}"
    assert frame_of(*lines)["user"].tolist() == ["alice", "bob"]


@pytest.mark.parametrize(
    "arn", ["", ACCOUNT_ID, f"arn:aws:iam:{ACCOUNT_ID}:user/a", f"arn:aws:iam::{ACCOUNT_ID}1:user/a"]
)
@pytest.mark.parametrize("positions", [[0], [1], [0, 1]])
def test_an_arn_that_is_not_plainly_of_the_account_is_refused(arn: str, positions: list[int]) -> None:
    lines = [line("alice"), line("bob")]
    for position in positions:
        lines[position]["arn"] = arn
    with pytest.raises(
        MalformedReport, match=f"row {positions[0] + 2} of the credential report is not of this account"
    ):
        frame_of(*lines)


def test_reports_are_read_one_at_a_time_and_let_go() -> None:
    alive = 0

    class Content(bytes):
        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def reports() -> Iterator[RawReport]:
        nonlocal alive
        for _ in range(BATCH_USERS // 100):
            assert alive <= 1, "an earlier report is still in memory"
            alive += 1
            yield raw(Content(golden("more_than_100_users")))

    frame = normalize(reports())
    assert frame["credential"].eq("password").sum() == BATCH_USERS // 100 * 121


def test_batches_leave_no_seam() -> None:
    """Reports that together make several batches, of which one is full exactly at a report's end."""
    ids = [f"{number:012}" for number in range(5)]
    sizes = [BATCH_USERS - 1, 1, BATCH_USERS + 1, 1, 2]
    reports = [
        raw(render([line(f"u{number}", each) for number in range(size)]), each, GENERATED + timedelta(minutes=size))
        for each, size in zip(ids, sizes, strict=True)
    ]

    frame = normalize(reports)

    pd.testing.assert_frame_equal(frame, pd.concat([normalize([each]) for each in reports], ignore_index=True))
    assert frame["account_id"].value_counts(sort=False).to_dict() == dict(zip(ids, sizes, strict=True))


def test_a_row_in_plain_values_has_nothing_of_pandas_in_it() -> None:
    frame = frame_of(
        line(password_enabled="not_supported", user_creation_time="N/A"),
        line("bob", access_key_1_active="true", access_key_1_last_rotated="2020-01-01T00:00:00Z"),
    )
    first, _, key = plain_rows(frame)
    assert Credential._fields == FRAME_COLUMNS
    assert (first.user, first.credential, first.key_note) == ("alice", "password", "")
    assert first.active is first.user_created is first.key_id is None
    assert (key.user, key.credential, key.active, key.is_root) == ("bob", "access_key_1", True, False)
    assert (key.last_rotated, key.report_generated) == (datetime(2020, 1, 1, tzinfo=UTC), GENERATED)
    assert {type(value) for row in plain_rows(frame) for value in row} == {str, bool, datetime, type(None)}


# Any report

NAME = st.text(string.ascii_letters + string.digits + "+=,.@_-", min_size=1, max_size=20)
MOMENT = st.datetimes(datetime(2006, 1, 1), datetime(2030, 1, 1)).map(
    lambda naive: naive.replace(tzinfo=UTC, microsecond=0)
)
KEY = st.none() | st.tuples(st.booleans(), MOMENT)
USER = st.tuples(NAME, KEY, KEY)
USERS = st.lists(USER, max_size=8, unique_by=lambda user: user[0])


def user_line(user: tuple[str, Any, Any], account_id: str = ACCOUNT_ID) -> dict[str, str]:
    name, *keys = user
    values: dict[str, str] = {}
    for number, key in enumerate(keys, start=1):
        if key is not None:
            active, created = key
            values[f"access_key_{number}_active"] = str(active).lower()
            values[f"access_key_{number}_last_rotated"] = created.isoformat()
    return line(name, account_id, **values)


def keys_of(frame: pd.DataFrame) -> list[tuple[str, str, bool, datetime]]:
    keys = frame[frame["credential"].isin(["access_key_1", "access_key_2"])]
    return [(row.user, row.credential, row.active, row.last_rotated) for row in keys.itertuples()]


@settings(max_examples=30, deadline=None)
@given(USERS)
@example([("NA", None, None), ("null", None, None), ("=1,2", None, (True, datetime(2020, 2, 29, tzinfo=UTC)))])
def test_any_users_come_back_with_their_names_and_dates(users: list[tuple[str, Any, Any]]) -> None:
    frame = frame_of(line(**ROOT), *map(user_line, users))

    assert frame.loc[frame["credential"].eq("password"), "user"].tolist() == ["<root_account>", *(u[0] for u in users)]
    assert keys_of(frame) == [
        (name, f"access_key_{number}", *key)
        for name, *keys in users
        for number, key in enumerate(keys, start=1)
        if key is not None
    ]


@settings(max_examples=8, deadline=None)
@given(st.lists(USERS, max_size=4))
def test_all_reports_in_one_pass_equal_the_single_ones_in_a_row(organization: list[list[tuple[str, Any, Any]]]) -> None:
    reports = []
    for number, users in enumerate(organization):
        account_id = f"{number:012}"
        root = {"user": "<root_account>", "arn": f"arn:aws:iam::{account_id}:root"}
        lines = [line(account_id=account_id, **root), *(user_line(user, account_id) for user in users)]
        reports.append(raw(render(lines), account_id, GENERATED + timedelta(minutes=number)))

    together = normalize(reports)

    singles = pd.concat([normalize([report]) for report in reports] or [normalize([])], ignore_index=True)
    pd.testing.assert_frame_equal(together, singles)


def test_one_account_cannot_change_how_dates_of_another_are_read() -> None:
    fine = line(access_key_1_active="true", access_key_1_last_rotated="2020-01-01T00:00:00.123456789Z")
    far = line(access_key_1_active="true", access_key_1_last_rotated="2199-12-31T23:59:59Z")
    theirs = raw(render([far]).replace(ACCOUNT_ID.encode(), b"123456789012"), "123456789012")

    together = normalize([raw(render([fine])), theirs])

    pd.testing.assert_frame_equal(
        together, pd.concat([normalize([raw(render([fine]))]), normalize([theirs])], ignore_index=True)
    )
    assert together["last_rotated"].notna().sum() == 2


PLAIN_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})T[0-9:.]{8,18}(Z|[+-][0-9]{2}:[0-9]{2})")
PIECE = st.sampled_from([b",", b"\n", b'"', b"\r", b"\0", b"0", b"9", b"-", b"+", b"N/A", b"true", b"false"])
PIECE |= st.binary(min_size=1, max_size=3)
TYPO = st.sampled_from(string.digits + string.ascii_letters + "-:+./ <_").map(str.encode)
POSITION = st.integers(0, 5000)
EDITS = st.lists(st.tuples(POSITION, st.just("change"), TYPO), min_size=1, max_size=8) | st.lists(
    st.tuples(POSITION, st.sampled_from(["cut", "change", "delete", "insert", "swap"]), PIECE), min_size=1, max_size=3
)
"""Typing errors, which leave the table whole, or damage of every other kind."""


def mutate(content: bytes, edits: list[tuple[int, str, bytes]]) -> bytes:
    """Typing errors go into the rows, for a header that is wrong is soon refused; a cut goes anywhere."""
    header = content.index(b"\n")
    for position, kind, new in edits:
        start = 0 if kind == "cut" else min(header, len(content))
        at = start + position % (len(content) - start + 1)
        match kind:
            case "cut":
                content = content[:at]
            case "change":
                content = content[:at] + new + content[at + len(new) :]
            case "delete":
                content = content[:at] + content[at + len(new) :]
            case "insert":
                content = content[:at] + new + content[at:]
            case "swap":
                content = content[at:] + content[:at]
    return content


def is_plain_date(text: str) -> bool:
    """Read by the standard library alone, and strictly."""
    if not PLAIN_DATE.fullmatch(text):
        return False
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def assert_refused_or_honest(content: bytes) -> None:
    """MalformedReport, or rows of this account alone, where no key passes whose date or state cannot be read."""
    try:
        frame = normalize([raw(content)])
    except MalformedReport:
        return
    credentials, findings, _ = evaluate(frame, (), Rules(checks=("access-key-not-rotated",)), AS_OF)

    assert credentials["arn"].str.split(":").str[4].eq(ACCOUNT_ID).all()
    passed = credentials[credentials[VERDICT].eq("PASS")]
    assert passed["last_rotated"].notna().all()
    cells = {row["user"]: row for row in csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""))}
    assert set(credentials["user"]) == set(cells)
    for row in credentials[credentials["credential"].isin(["access_key_1", "access_key_2"])].itertuples():
        cell, verdict = cells[row.user], getattr(row, f"_{len(credentials.columns)}")
        active, rotated = cell[f"{row.credential}_active"].lower(), cell[f"{row.credential}_last_rotated"]
        if verdict == "PASS":
            assert active == "true"
            assert is_plain_date(rotated)
        if active == "true" and not is_plain_date(rotated):
            assert verdict == "UNKNOWN"
        if active not in ("true", "false"):
            assert verdict == "UNKNOWN"
    # Every key of the report is in the frame: none is lost on the way.
    for user, cell in cells.items():
        for credential in ("access_key_1", "access_key_2"):
            if cell[f"{credential}_active"].lower() != "false" or cell[f"{credential}_last_rotated"] != "N/A":
                assert ((credentials["user"] == user) & (credentials["credential"] == credential)).sum() == 1
    assert findings["reason"].str.len().gt(0).all()


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(["key_states", "names", "columns_reordered", "odd_booleans"]), EDITS)
def test_any_damage_is_refused_or_unknown_but_never_passes(name: str, edits: list[tuple[int, str, bytes]]) -> None:
    assert_refused_or_honest(mutate(golden(name), edits))


def test_any_cut_is_refused_or_unknown_but_never_passes() -> None:
    """Every place of a small report. A cut between two rows cannot be seen in a CSV: AWS sends no count."""
    content = golden("columns_reordered")
    cut_off = set()
    for end in range(len(content)):
        assert_refused_or_honest(content[:end])
        try:
            cut_off.add(count_users(content[:end], ACCOUNT_ID))
        except MalformedReport:
            cut_off.add(0)
    assert cut_off == {0, 1, 2, 3}


@settings(max_examples=35, deadline=None)
@given(
    active=st.text(max_size=6) | st.sampled_from(["true", "false", "TRUE"]),
    rotated=st.text(max_size=30) | st.from_regex(r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)\Z"),
)
@example(active="true", rotated="9999-12-31T23:59:59-23:59")
@example(active="true", rotated="0001-01-01T00:00:00+14:00")
@example(active="true", rotated="२०२६-11-01T00:00:00+00:00")
@example(active="\0absent", rotated="2020-01-01T00:00:00Z")
@example(active="true", rotated="NaT")
@example(active="true", rotated="now")
@example(active="true", rotated="today")
def test_any_text_in_a_keys_cells_is_refused_or_unknown_but_never_passes(active: str, rotated: str) -> None:
    try:
        content = render([line(access_key_1_active=active, access_key_1_last_rotated=rotated)])
    except UnicodeEncodeError:
        return
    assert_refused_or_honest(content)


# Joining key ids


def joined(frame: pd.DataFrame) -> pd.DataFrame:
    return join_keys(frame, {ACCOUNT_ID: json.loads((REPORTS / "key_look_ups.keys.json").read_text(encoding="utf-8"))})


JOINED = list(csv.DictReader(io.StringIO((REPORTS / "key_look_ups.joined.csv").read_text(encoding="utf-8"))))


@pytest.mark.parametrize("wanted", [pytest.param(row, id=f"{row['user']} {row['credential']}") for row in JOINED])
def test_golden_key_look_up(wanted: dict[str, str]) -> None:
    frame = joined(normalize([raw(golden("key_look_ups"))]))
    row = only(frame[frame["user"].eq(wanted["user"])], wanted["credential"])
    assert ("" if pd.isna(row.key_id) else row.key_id) == wanted["key_id"]
    assert row.key_note == wanted["key_note"]


def test_every_key_of_the_golden_look_up_is_expected() -> None:
    frame = normalize([raw(golden("key_look_ups"))])
    assert [(row["user"], row["credential"]) for row in JOINED] == [key[:2] for key in keys_of(frame)]


def test_joining_leaves_its_input_and_all_other_columns_as_they_were() -> None:
    frame = normalize([raw(golden("key_look_ups"))])
    before = frame.copy(deep=True)

    after = joined(frame)

    pd.testing.assert_frame_equal(frame, before)
    pd.testing.assert_frame_equal(
        after.drop(columns=["key_id", "key_note"]), before.drop(columns=["key_id", "key_note"])
    )
    assert {name: str(dtype) for name, dtype in after.dtypes.items()} == SCHEMA


@pytest.mark.parametrize("answers", [{}, {ACCOUNT_ID: {"users": {}}}, {"123456789012": {"users": {"unique": {}}}}])
def test_joining_nothing_changes_nothing(answers: dict[str, Any]) -> None:
    frame = normalize([raw(golden("key_look_ups"))])
    pd.testing.assert_frame_equal(join_keys(frame, answers), frame)


def test_a_look_up_serves_its_own_account_only() -> None:
    content = golden("key_look_ups")
    twin = raw(content.replace(ACCOUNT_ID.encode(), b"123456789012"), "123456789012")
    frame = joined(normalize([raw(content), twin]))
    assert frame.loc[frame["account_id"].eq("123456789012"), "key_id"].isna().all()
    assert frame.loc[frame["account_id"].eq(ACCOUNT_ID), "key_id"].notna().any()


@settings(max_examples=25, deadline=None)
@given(
    slots=st.lists(st.integers(0, 3), min_size=2, max_size=2),
    listed=st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["Active", "Inactive", "Expired"])), max_size=4),
)
def test_a_key_id_is_joined_only_where_one_key_and_one_slot_share_the_second(
    slots: list[int], listed: list[tuple[int, str]]
) -> None:
    def moment(second: int) -> str:
        return f"2020-01-01T00:00:0{second}Z"

    values = {f"access_key_{n}_last_rotated": moment(second) for n, second in enumerate(slots, start=1)}
    frame = frame_of(line(access_key_1_active="true", access_key_2_active="true", **values))
    keys = [{"key_id": f"AKIA{n}", "status": s, "created": moment(second)} for n, (second, s) in enumerate(listed)]
    answer = {"looked_up": "2026-11-23T12:00:00Z", "keys": keys, "error": None}

    frame = join_keys(frame, {ACCOUNT_ID: {"users": {"alice": answer}}})

    for number, second in enumerate(slots, start=1):
        row = only(frame, f"access_key_{number}")
        fitting = [key["key_id"] for key in keys if key["created"] == moment(second)]
        if len(fitting) == 1 and slots.count(second) == 1:
            assert row.key_id == fitting[0]
        else:
            assert pd.isna(row.key_id)
            assert row.key_note
