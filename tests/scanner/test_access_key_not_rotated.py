"""The check: one table of rows, a slow and obvious oracle beside it, and the commands it hands to account owners."""

from __future__ import annotations

import shlex
import subprocess
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scanner.checks import CATALOGUE
from scanner.checks.access_key_not_rotated import ACCESS_KEY_NOT_ROTATED as CHECK
from scanner.credentials import FRAME_COLUMNS, SCHEMA, Credential, plain_rows
from scanner.models import Limits

AS_OF = datetime(2026, 11, 23, 12, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
OLD = "2020-02-29T23:59:59Z"
KEY_ID = "AKIAIOSFODNN7EXAMPLE"


def row(**values: Any) -> dict[str, Any]:
    """An old active key of alice; the values tell what is different."""
    defaults = {
        **dict.fromkeys(FRAME_COLUMNS),
        "account_id": "111122223333",
        "user": "alice",
        "is_root": False,
        "credential": "access_key_1",
        "key_id": None,
        "key_note": "",
        "active": True,
        "last_rotated": OLD,
        "last_used_known": False,
        "no_use_recorded": False,
        "report_generated": "2026-11-23T11:00:00Z",
    }
    assert set(values) <= set(defaults)
    return defaults | values


def frame_of(*rows: dict[str, Any]) -> pd.DataFrame:
    frame = pd.DataFrame(list(rows), columns=list(FRAME_COLUMNS))
    for name in ("user_created", "last_rotated", "last_used", "report_generated"):
        frame[name] = pd.to_datetime(frame[name], utc=True)
    return frame.astype(SCHEMA)


def only_row(**values: Any) -> Credential:
    (only,) = plain_rows(frame_of(row(**values)))
    return only


def limits(days: int = 90) -> Limits:
    return Limits(access_key_max_age=timedelta(days=days))


def verdict(values: dict[str, Any], days: int = 90, as_of: datetime = AS_OF) -> str:
    """PASS, FAIL, UNKNOWN, or an empty text where the check does not apply."""
    frame = frame_of(values)
    if not CHECK.applies(frame).iloc[0]:
        return ""
    fails = CHECK.fails(frame, limits(days), as_of).iloc[0]
    return "UNKNOWN" if pd.isna(fails) else "FAIL" if fails else "PASS"


# The table


@pytest.mark.parametrize("days", [0, 1, 90, 365])
@pytest.mark.parametrize(
    ("beyond", "wanted"),
    [
        pytest.param(timedelta(days=-1), "PASS", id="a day before"),
        pytest.param(timedelta(seconds=-1), "PASS", id="a second before"),
        pytest.param(timedelta(0), "PASS", id="exactly"),
        pytest.param(timedelta(seconds=1), "FAIL", id="a second after"),
        pytest.param(timedelta(hours=23, minutes=59, seconds=59), "FAIL", id="the rest of the day after"),
        pytest.param(timedelta(days=1), "FAIL", id="a day after"),
    ],
)
@pytest.mark.parametrize(
    "as_of",
    [
        pytest.param(AS_OF, id="UTC"),
        pytest.param(datetime(2026, 11, 24, 2, tzinfo=ZoneInfo("Pacific/Kiritimati")), id="+14"),
        pytest.param(datetime(2026, 11, 23, 0, tzinfo=ZoneInfo("Etc/GMT+12")), id="−12"),
        pytest.param(datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=0), id="before the clocks go back"),
        pytest.param(datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1), id="after the clocks went back"),
        pytest.param(datetime(2026, 3, 29, 3, 0, tzinfo=BERLIN), id="the hour the clocks went forward"),
        pytest.param(datetime(2028, 2, 29, 23, 59, 59, tzinfo=UTC), id="leap day"),
    ],
)
def test_boundary_to_the_second(days: int, beyond: timedelta, wanted: str, as_of: datetime) -> None:
    created = as_of.astimezone(UTC) - timedelta(days=days) - beyond
    if beyond < timedelta(0) and days == 0:
        wanted = "PASS" if beyond == timedelta(seconds=-1) else "UNKNOWN"  # it lies in the future
    key = row(last_rotated=created, report_generated=as_of.astimezone(UTC))
    assert verdict(key, days, as_of) == wanted


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        pytest.param({}, "FAIL", id="old active key"),
        pytest.param({"credential": "access_key_2"}, "FAIL", id="second key"),
        pytest.param({"is_root": True, "user": "<root_account>"}, "FAIL", id="root's key"),
        pytest.param({"active": False}, "", id="old inactive key"),
        pytest.param({"active": None}, "UNKNOWN", id="state not known, old"),
        pytest.param({"active": None, "last_rotated": "2026-11-20T00:00:00Z"}, "UNKNOWN", id="state not known, fresh"),
        pytest.param({"last_rotated": None}, "UNKNOWN", id="no date"),
        pytest.param({"active": None, "last_rotated": None}, "UNKNOWN", id="nothing known"),
        pytest.param({"active": False, "last_rotated": None}, "", id="inactive without a date"),
        pytest.param({"last_rotated": "2026-11-23T12:05:00Z"}, "PASS", id="5 min in the future"),
        pytest.param({"last_rotated": "2026-11-23T12:05:01Z"}, "UNKNOWN", id="5 min and 1 s in the future"),
        pytest.param({"last_rotated": "2099-01-01T00:00:00Z"}, "UNKNOWN", id="far in the future"),
        pytest.param({"report_generated": None}, "FAIL", id="report of unknown time"),
        pytest.param(
            {"report_generated": None, "last_rotated": "2026-11-23T12:05:01Z"},
            "UNKNOWN",
            id="in the future, report of unknown time",
        ),
        pytest.param({"credential": "password"}, "", id="password"),
        pytest.param({"credential": "cert_1"}, "", id="certificate"),
    ],
)
def test_row(values: dict[str, Any], wanted: str) -> None:
    assert verdict(row(**values)) == wanted


def test_a_key_made_while_the_run_lasts_passes() -> None:
    key = row(last_rotated="2026-11-23T11:00:00Z", report_generated="2026-11-23T11:30:00Z")
    assert verdict(key, as_of=datetime(2026, 11, 23, 6, tzinfo=UTC)) == "PASS"


def test_a_key_made_long_after_as_of_is_unknown_when_an_older_moment_is_asked_for() -> None:
    key = row(last_rotated="2026-11-20T00:00:00Z", report_generated="2026-11-23T11:00:00Z")
    assert verdict(key, as_of=datetime(2026, 9, 30, tzinfo=UTC)) == "UNKNOWN"


def test_an_empty_frame_has_no_verdict() -> None:
    frame = frame_of()
    assert len(CHECK.fails(frame, limits(), AS_OF)) == len(CHECK.applies(frame)) == 0


# The oracle


def oracle(values: dict[str, Any], days: int, as_of: datetime) -> str:
    if values["credential"] not in ("access_key_1", "access_key_2") or values["active"] is False:
        return ""
    if values["active"] is None or values["last_rotated"] is None:
        return "UNKNOWN"
    now = as_of
    if values["report_generated"] is not None and values["report_generated"] > now:
        now = values["report_generated"]
    if values["last_rotated"] - now > timedelta(minutes=5) or values["last_rotated"] - as_of > timedelta(days=1):
        return "UNKNOWN"
    seconds_old = (as_of - values["last_rotated"]).total_seconds()
    return "FAIL" if seconds_old > days * 24 * 60 * 60 else "PASS"


MOMENT = st.datetimes(datetime(2025, 1, 1), datetime(2027, 12, 31)).map(lambda m: m.replace(tzinfo=UTC, microsecond=0))
NEAR = st.builds(
    lambda days, seconds: AS_OF - timedelta(days=days, seconds=seconds),
    st.sampled_from([0, 1, 90, 365]),
    st.integers(-400, 400),
)
ROW = st.builds(
    row,
    credential=st.sampled_from(["access_key_1", "access_key_2", "password", "cert_2"]),
    active=st.sampled_from([True, False, None]),
    last_rotated=st.none() | MOMENT | NEAR,
    report_generated=st.none() | MOMENT,
)


@settings(max_examples=120, deadline=None)
@given(rows=st.lists(ROW, max_size=12), days=st.sampled_from([0, 1, 90, 365]), as_of=st.just(AS_OF) | MOMENT)
@example(rows=[row(last_rotated=None), row(active=None)], days=0, as_of=AS_OF)
def test_agrees_with_the_oracle(rows: list[dict[str, Any]], days: int, as_of: datetime) -> None:
    rows = [each | {"last_rotated": _as_moment(each["last_rotated"])} for each in rows]
    rows = [each | {"report_generated": _as_moment(each["report_generated"])} for each in rows]
    frame = frame_of(*rows)

    applies, fails = CHECK.applies(frame), CHECK.fails(frame, limits(days), as_of)

    assert str(fails.dtype) == "boolean"
    verdicts = [
        "" if not a else "UNKNOWN" if pd.isna(f) else "FAIL" if f else "PASS"
        for a, f in zip(applies, fails, strict=True)
    ]
    assert verdicts == [oracle(each, days, as_of) for each in rows]


def _as_moment(value: str | datetime | None) -> datetime | None:
    return datetime.fromisoformat(value) if isinstance(value, str) else value


@settings(max_examples=40, deadline=None)
@given(created=MOMENT, days=st.sampled_from([0, 1, 90, 365]))
def test_a_key_passes_until_it_is_due_and_fails_a_second_later(created: datetime, days: int) -> None:
    key = row(last_rotated=created, report_generated=created)
    due = CHECK.due(frame_of(key), limits(days))
    assert str(due.dtype) == "datetime64[s, UTC]"
    assert due.iloc[0] == created + timedelta(days=days)
    assert verdict(key, days, due.iloc[0].to_pydatetime()) == "PASS"
    assert verdict(key, days, due.iloc[0].to_pydatetime() + timedelta(seconds=1)) == "FAIL"


def test_a_key_without_a_date_is_never_due() -> None:
    assert CHECK.due(frame_of(row(last_rotated=None)), limits()).isna().all()


# What the reader is told


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        pytest.param(
            {"last_rotated": "2026-08-25T11:59:59Z"},
            "active and not rotated for 90 d 00:00:01; the limit is 90 days",
            id="a second too old",
        ),
        pytest.param(
            {"last_rotated": "2026-08-24T12:00:01Z"},
            "active and not rotated for 90 d 23:59:59; the limit is 90 days",
            id="the rest of the day",
        ),
        pytest.param(
            {"last_rotated": None}, "the key is active and the report gives no readable date for it", id="date"
        ),
        pytest.param({"active": None}, "the report does not say whether the key is active", id="state"),
        pytest.param(
            {"last_rotated": "2027-01-01T00:00:00Z"},
            "the report dates the key in the future: 2027-01-01T00:00:00Z",
            id="future",
        ),
        pytest.param(
            {"last_rotated": "2026-08-24T12:00:00Z", "key_note": "inactive when asked"},
            "active and not rotated for 91 d 00:00:00; the limit is 90 days; inactive when asked",
            id="note of the look-up",
        ),
    ],
)
def test_reason(values: dict[str, Any], wanted: str) -> None:
    assert CHECK.reason(only_row(**values), limits(), AS_OF) == wanted


FIX = """\
# In account 111122223333: replace key AKIAIOSFODNN7EXAMPLE
aws iam list-access-keys --user-name alice
# Two keys? AWS allows no third, so step 1 would be refused. If the other is to replace this one, go on
# at step 3. If it is not used, first take steps 5 and 6 for it. If both are in use, first move the
# systems of one key to the other: steps 3 to 6.
# 1 create the new key, in this account only, without showing its secret or overwriting an earlier one
(test "$(aws sts get-caller-identity --query Account --output text)" = 111122223333 && umask 077 && set -C && \
aws iam create-access-key --user-name alice > new-key-111122223333-alice.json) || \
test -s new-key-111122223333-alice.json || rm -f new-key-111122223333-alice.json
# 2 save it. Where this secret exists: put-secret-value --secret-id in place of create-secret --name
aws secretsmanager create-secret --name iam/111122223333/alice --secret-string \
file://new-key-111122223333-alice.json && rm new-key-111122223333-alice.json
# 3 update every system that uses the old key
# 4 validate: the new key works, and the old one is used no more
aws sts get-caller-identity --profile PROFILE-OF-THE-NEW-KEY
aws iam get-access-key-last-used --access-key-id AKIAIOSFODNN7EXAMPLE
# 5 deactivate the old key when step 4 holds, and wait a week. Undo is in the next column
#   aws iam update-access-key --user-name alice --access-key-id AKIAIOSFODNN7EXAMPLE --status Inactive
# 6 delete it after that week. From here on there is no way back
#   aws iam delete-access-key --user-name alice --access-key-id AKIAIOSFODNN7EXAMPLE"""

UNDO = """\
# Until the old key is deleted: re-enable it, then point the systems back to it
aws iam update-access-key --user-name alice --access-key-id AKIAIOSFODNN7EXAMPLE --status Active"""


def test_fix_and_undo_of_a_plain_user_whose_key_is_known() -> None:
    key = only_row(key_id=KEY_ID)
    assert CHECK.fix(key) == FIX
    assert CHECK.undo(key) == UNDO


def test_fix_and_undo_of_a_key_whose_id_is_not_known_tell_how_to_know_it() -> None:
    key = only_row()
    first = "# In account 111122223333: replace the key created at 2020-02-29T23:59:59Z, here OLD-ACCESS-KEY-ID"
    assert CHECK.fix(key).splitlines() == [first, *FIX.replace(KEY_ID, "OLD-ACCESS-KEY-ID").splitlines()[1:]]
    assert CHECK.undo(key) == UNDO.replace(KEY_ID, "OLD-ACCESS-KEY-ID")
    dateless = CHECK.fix(only_row(last_rotated=None)).splitlines()[0]
    assert dateless.endswith("replace the key that the report gives no date for, here OLD-ACCESS-KEY-ID")


def test_fix_takes_the_steps_in_their_order() -> None:
    steps = [command[2] for command in commands(CHECK.fix(only_row(key_id=KEY_ID)))]
    assert steps == [
        *("list-access-keys", "create-access-key", "create-secret", "get-caller-identity"),
        *("get-access-key-last-used", "update-access-key", "delete-access-key"),
    ]


def test_root_is_never_given_a_command() -> None:
    key = only_row(is_root=True, user="<root_account>", key_id=KEY_ID)
    for text in (CHECK.fix(key), CHECK.undo(key)):
        assert "aws " not in text
        assert "root user" in text
    assert "Create no new one" in CHECK.fix(key)


def commands(text: str) -> list[list[str]]:
    """The words of each AWS command, as a shell reads them."""
    found = []
    for each in text.splitlines():
        if each.startswith("#") and not each.startswith("#   aws "):
            continue
        words = shlex.split(each.removeprefix("#   ").strip("("))
        found.append(words[words.index("aws") :])
    return found


HOSTILE = [
    *("alice,bob", "=cmd@example", "+1+1", "-rf", "--cli-input-json", "@sum", "a b", "$(reboot)", "`reboot`"),
    *("a;reboot", "a'b", 'a"b', "a&&b", "a|b", "a>b", "~root", "*", "#", "\\", "!x", "é", "NA"),
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_user_name_stays_one_word(name: str) -> None:
    key = only_row(user=name, key_id=KEY_ID)
    for words in commands(CHECK.fix(key)) + commands(CHECK.undo(key)):
        if words[2] in ("list-access-keys", "create-access-key", "update-access-key", "delete-access-key"):
            option = words.index("--user-name") if "--user-name" in words else None
            shown = words[option + 1] if option is not None else next(w for w in words if w.startswith("--user-name="))
            assert shown.removeprefix("--user-name=") == name
            if option is not None:
                assert not name.startswith("-"), "the AWS CLI would read the name as an option"
        if words[2] == "create-secret":
            assert words[words.index("--name") + 1] == f"iam/111122223333/{name.replace(',', '/')}"


@pytest.mark.parametrize("name", HOSTILE)
def test_a_shell_runs_the_fix_and_nothing_else(name: str, tmp_path: Any) -> None:
    """A stand-in `aws` writes its words down; the list of calls is all that a real shell makes of the text."""
    log = tmp_path / "calls"
    aws = tmp_path / "aws"
    aws.write_text(
        f'#!/bin/sh\n[ "$4" = Account ] && exec echo 111122223333\n'
        f'printf "%s\\\\0" "$@" >> {log}; printf "\\\\n" >> {log}\n'
    )
    aws.chmod(0o700)
    fix = CHECK.fix(only_row(user=name, key_id=KEY_ID))

    done = subprocess.run(
        ["/bin/sh", "-c", fix],
        cwd=tmp_path,
        env={"PATH": f"{tmp_path}:/bin:/usr/bin"},
        capture_output=True,
        text=True,
        check=True,
    )

    calls = [line.split("\0")[:-1] for line in log.read_text(encoding="utf-8").splitlines()]
    assert done.stdout == done.stderr == ""
    # Pasted as a whole it ends with the validation: what takes the old key away is to be run later, on its own.
    assert [call[1] for call in calls] == [words[2] for words in commands(fix)][:-2]
    assert "delete-access-key" not in str(calls)
    created = calls[1]
    assert created[2:] == ([f"--user-name={name}"] if name.startswith("-") else ["--user-name", name])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["aws", "calls"]


def test_an_earlier_new_key_is_not_overwritten(tmp_path: Any) -> None:
    secret = tmp_path / "new-key-111122223333-alice.json"
    secret.write_text("the only copy of a secret")
    create = next(each for each in CHECK.fix(only_row(key_id=KEY_ID)).splitlines() if each.startswith("(test"))
    aws = tmp_path / "aws"
    aws.write_text("#!/bin/sh\necho 111122223333\n")
    aws.chmod(0o700)
    environment = {"PATH": f"{tmp_path}:/bin:/usr/bin"}
    done = subprocess.run(["/bin/sh", "-c", create], cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert secret.name in done.stderr.decode()
    assert secret.read_text() == "the only copy of a secret"


# The record


def test_the_catalogue_has_the_check_once_and_complete() -> None:
    assert [check.id for check in CATALOGUE].count("access-key-not-rotated") == 1
    assert all((CHECK.title, CHECK.why, CHECK.severity, CHECK.controls))


@pytest.mark.parametrize(
    "control",
    [
        "CIS AWS Foundations Benchmark 7.0 2.12",
        "CIS AWS Foundations Benchmark 6.0 2.13",
        "CIS AWS Foundations Benchmark 5.0 1.13",
        "CIS AWS Foundations Benchmark 4.0.1 1.14",
        "CIS AWS Foundations Benchmark 3.0 1.14",
        "CIS AWS Foundations Benchmark 1.4 1.14",
        "CIS AWS Database Services Benchmark 1.0.0 2.8",
        "AWS Security Hub IAM.3",
        "PCI DSS 4.0.1 8.3.9",
        "PCI DSS 4.0.1 8.6.3",
        "NIST SP 800-53 r5 AC-2(1)",
        "NIST SP 800-53 r5 AC-2(3)",
        "NIST SP 800-53 r5 AC-3(15)",
    ],
)
def test_control_is_served(control: str) -> None:
    assert control in [str(each) for each in CHECK.controls]
