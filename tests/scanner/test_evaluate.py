"""Golden credential reports → verdicts, and the frames of an assessment.

`tests/data/credential_reports/NAME.csv` is a report as AWS writes it; `NAME.expected.csv` beside it says what becomes
of every access key in it. Each is read at 2026-11-23T12:00:00Z with a limit of 90 days unless its name says otherwise.
"""

from __future__ import annotations

import csv
import functools
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pandas as pd
import pytest

from scanner.checks import CATALOGUE
from scanner.credentials import ACCESS_KEYS
from scanner.errors import MalformedReport
from scanner.evaluate import (
    ACCOUNT_COLUMNS,
    FINDING_COLUMNS,
    assess,
    count_outcomes,
    evaluate,
    read_frame,
    users_to_look_up,
)
from scanner.evidence import RunFolder
from scanner.key_ids import join_keys
from scanner.models import Account, Caller, LedgerEntry, Limits, Outcome, Rules, Run, Severity, Verdict
from scanner.normalize import RawReport, normalize

REPORTS = Path(__file__).parents[1] / "data" / "credential_reports"
ACCOUNT_ID = "111122223333"
AS_OF = datetime(2026, 11, 23, 12, tzinfo=UTC)
CHECK_ID = "access-key-not-rotated"
VERDICT = f"verdict:{CHECK_ID}"
REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Golden:
    """Where a row of the table is shown: a report, and in it one user, or all of them."""

    report: str
    user: str = ""
    expected: str = ""
    """The expectation's name where it is not the report's."""
    limit_days: int = 90
    account_id: str = ACCOUNT_ID


@dataclass(frozen=True)
class Refused:
    """A report that must not be read; `NAME.refused.txt` beside it holds the reason given."""

    report: str


GOLDEN = {
    "exactly 90 d 0 s": Golden("age_boundary", "exactly-90-d-0-s"),
    "90 d + 1 s": Golden("age_boundary", "90-d-and-1-s"),
    "90 d − 1 s": Golden("age_boundary", "90-d-less-1-s"),
    "90 d 23:59:59": Golden("age_boundary", "90-d-23-59-59"),
    "91 d": Golden("age_boundary", "91-d"),
    "created 23:59 UTC": Golden("age_boundary", "created-23-59-utc"),
    "created 23:59 UTC, the next day": Golden("age_boundary", "created-23-59-utc-next-day"),
    "a date in the future": Golden("date_forms", "future"),
    "a date in the future, within the clocks' tolerance": Golden("date_forms", "future-5-min"),
    "a date in the future, past the clocks' tolerance": Golden("date_forms", "future-5-min-and-1-s"),
    "+00:00": Golden("date_forms", "utc-as-offset"),
    "Z": Golden("date_forms", "utc-as-z"),
    "fractional seconds": Golden("date_forms", "fraction-of-a-second"),
    "fractional seconds, stale": Golden("date_forms", "fraction-before-the-limit"),
    "dates in every form": Golden("date_forms"),
    "old inactive key": Golden("key_states", "inactive-old"),
    "active key with N/A date": Golden("key_states", "active-no-date"),
    "active key with blank date": Golden("key_states", "active-blank-date"),
    "root row with not_supported": Golden("root_not_supported"),
    "root row with N/A": Golden("root_n_a"),
    "root row with no_information": Golden("root_no_information"),
    "root row with true": Golden("root_true"),
    "root row with false": Golden("root_false"),
    "both keys old": Golden("key_states", "both-old"),
    "first inactive and second stale": Golden("key_states", "first-inactive-second-old"),
    "first absent and second present": Golden("key_states", "first-absent-second-old"),
    "first absent and second fresh": Golden("key_states", "first-absent-second-fresh"),
    "never-used key": Golden("key_states", "never-used-old"),
    "never-used fresh key": Golden("key_states", "never-used-fresh"),
    "two keys created in the same second": Golden("key_states", "created-in-one-second"),
    "keys in every state": Golden("key_states"),
    "more than 100 users": Golden("more_than_100_users"),
    "user names with comma": Golden("names", "alice,bob"),
    "user names with leading =": Golden("names", "=cmd@example"),
    "user names with leading +": Golden("names", "+1+1"),
    "user names with leading -": Golden("names", "-rf"),
    "user names with leading @": Golden("names", "@sum"),
    "a user called NA": Golden("names", "NA"),
    "a user called null": Golden("names", "null"),
    "a user called nan": Golden("names", "nan"),
    "names of every kind": Golden("names"),
    "account id with a leading zero": Golden("account_with_leading_zero", account_id="012345678901"),
    "another partition": Golden("other_partition"),
    "path with comma and quotes": Golden("path_with_comma_and_quotes"),
    "extra columns": Golden("columns_extra"),
    "missing columns that no check needs": Golden("columns_missing_optional"),
    "reordered columns": Golden("columns_reordered"),
    "odd booleans": Golden("odd_booleans"),
    "a byte-order mark": Golden("byte_order_mark"),
    "CRLF": Golden("crlf"),
    "blank lines at the end": Golden("trailing_newlines"),
    "zero users": Golden("zero_users"),
    "limit of 0": Golden("limits", expected="limits.0d", limit_days=0),
    "limit of 1": Golden("limits", expected="limits.1d", limit_days=1),
    "limit of 365": Golden("limits", expected="limits.365d", limit_days=365),
}
REFUSED = {
    "missing columns": Refused("columns_missing"),
    "a column twice": Refused("column_twice"),
    "empty": Refused("empty"),
    "only white space": Refused("only_white_space"),
    "header-only": Refused("header_only"),
    "truncated": Refused("truncated"),
    "truncated in the header": Refused("truncated_in_header"),
    "HTML report": Refused("html"),
    "not UTF-8": Refused("not_utf8"),
    "UTF-16": Refused("utf16"),
    "a NUL byte": Refused("nul_byte"),
    "a quote left open": Refused("quote_left_open"),
    "a field over two lines": Refused("field_over_two_lines"),
    "a comma that is not quoted": Refused("comma_not_quoted"),
    "duplicate user": Refused("duplicate_user"),
    "a user without a name": Refused("user_without_name"),
    "rows of another account": Refused("row_of_another_account"),
    "rows of another account in disguise": Refused("row_of_another_account_in_disguise"),
}
TIME_ZONES = {
    "host time zone +14": "Pacific/Kiritimati",
    "host time zone −12": "Etc/GMT+12",
    "host with a DST change between": "Europe/Berlin",
    "host with a DST change between, southern": "Australia/Lord_Howe",
}
JOINED = "key or user gone between report and look-up (NoSuchEntity)"
KEY_LOOK_UPS = "key_look_ups"
"""Golden files of the row above; test_normalize.py walks them line by line."""
SAME_NAME = "two accounts of one name"

PLACES_WHERE_TOOLS_DISAGREE = (
    *("exactly 90 d 0 s", "90 d + 1 s", "90 d 23:59:59", "91 d", "created 23:59 UTC"),
    *("host time zone +14", "host time zone −12", "host with a DST change between", "a date in the future"),
    *("+00:00", "Z", "fractional seconds", "old inactive key", "active key with N/A date"),
    *("active key with blank date", "root row with not_supported", "root row with N/A"),
    *("root row with no_information", "root row with true", "root row with false", "both keys old"),
    *("first inactive and second stale", "first absent and second present", "never-used key"),
    *("two keys created in the same second", JOINED, "user in the report and not in ListUsers"),
    *("more than 100 users", "truncated pages", "user names with comma", "user names with leading ="),
    *("user names with leading +", "user names with leading -", "user names with leading @", "extra columns"),
    *("missing columns", "reordered columns", "odd booleans", "a byte-order mark", "empty", "header-only"),
    *("truncated", "CRLF", "HTML report", "zero users", "account suspended during the run", SAME_NAME),
    *("limit of 0", "limit of 1", "limit of 365"),
)
"""The rows on which eight peers were seen to differ from each other or from AWS; each must be shown somewhere."""
SHOWN_ELSEWHERE = {
    "truncated pages": "ListAccounts and ListAccessKeys are paged in organization.py and credential_report.py",
    "account suspended during the run": "an outcome of the ledger: collect.py",
    "user in the report and not in ListUsers": "ListUsers is never called; ListAccessKeys answers NoSuchEntity: "
    + JOINED,
}


def account(account_id: str = ACCOUNT_ID, name: str = "payments") -> Account:
    return Account(account_id=account_id, name=name, email="owner@example.com", state="ACTIVE", ou_path="Root/Prod")


def raw_report(content: bytes, of: Account) -> RawReport:
    generated = AS_OF - timedelta(hours=1)
    entry = LedgerEntry(account_id=of.account_id, outcome=Outcome.SCANNED, report_generated=generated)
    return RawReport(of, entry, content)


def read_report(name: str, account_id: str = ACCOUNT_ID) -> pd.DataFrame:
    return normalize([raw_report((REPORTS / f"{name}.csv").read_bytes(), account(account_id))])


def rules(days: int = 90) -> Rules:
    """Those of the check that this file's tables are about."""
    return Rules(limits=Limits(access_key_max_age=timedelta(days=days)), checks=(CHECK_ID,))


def verdict_lines(credentials: pd.DataFrame) -> list[dict[str, str]]:
    """The access keys of a frame as NAME.expected.csv writes them."""
    keys = credentials[credentials["credential"].isin(ACCESS_KEYS)]
    return [
        {
            "user": row["user"],
            "credential": row["credential"],
            "active": "" if pd.isna(row["active"]) else str(row["active"]).lower(),
            "last_rotated": _moment(row["last_rotated"]),
            "verdict": str(row[VERDICT]),
            "age_days": "" if pd.isna(row["age_days"]) else str(row["age_days"]),
            "due_on": _moment(row["due_on"]),
        }
        for row in keys.to_dict("records")
    ]


def _moment(value: datetime) -> str:
    return "" if pd.isna(value) else f"{value:%Y-%m-%dT%H:%M:%SZ}"


def expected_lines(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((REPORTS / f"{name}.expected.csv").read_text(encoding="utf-8"))))


@functools.cache
def evaluated(report: str, account_id: str, limit_days: int) -> tuple[list[dict[str, str]], dict[tuple[str, str], str]]:
    """The lines of a golden report, and the verdict of each of its findings; many rows of the table share a report."""
    frame = read_report(report, account_id)
    credentials, findings, _ = evaluate(frame, (), rules(limit_days), AS_OF)
    found = {(each.user, each.credential): str(each.verdict) for each in findings.itertuples()}
    return verdict_lines(credentials), found


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in GOLDEN.items()])
def test_golden_report(row: Golden) -> None:
    actual, found = evaluated(row.report, row.account_id, row.limit_days)
    wanted = expected_lines(row.expected or row.report)
    if row.user:
        actual = [line for line in actual if line["user"] == row.user]
        wanted = [line for line in wanted if line["user"] == row.user]
        assert wanted, "the expectation has no line for this user"
    assert actual == wanted
    for line in wanted:
        not_passed = line["verdict"] if line["verdict"] in ("FAIL", "UNKNOWN") else None
        assert found.get((line["user"], line["credential"])) == not_passed


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in GOLDEN.items() if not row.user])
def test_every_user_of_a_golden_report_is_in_the_frame_once(row: Golden) -> None:
    text = (REPORTS / f"{row.report}.csv").read_text(encoding="utf-8-sig")
    users = [line["user"] for line in csv.DictReader(io.StringIO(text))]

    frame = read_report(row.report, row.account_id)

    passwords = frame[frame["credential"].eq("password")]
    assert passwords["user"].tolist() == users
    assert frame["account_id"].eq(row.account_id).all()
    assert passwords.loc[passwords["is_root"], "user"].tolist() == ["<root_account>"]


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in REFUSED.items()])
def test_golden_report_is_refused(row: Refused) -> None:
    with pytest.raises(MalformedReport) as caught:
        read_report(row.report)
    assert str(caught.value) == (REPORTS / f"{row.report}.refused.txt").read_text(encoding="utf-8").rstrip("\n")


@pytest.fixture
def host_time_zone(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[str]:
    """Put this process into a time zone; POSIX keeps it in TZ until tzset is called."""
    name: str = request.param
    monkeypatch.setenv("TZ", name)
    time.tzset()
    yield name
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    "host_time_zone", [pytest.param(zone, id=name) for name, zone in TIME_ZONES.items()], indirect=True
)
@pytest.mark.parametrize("report", ["age_boundary", "date_forms"])
def test_host_time_zone_moves_nothing(host_time_zone: str, report: str) -> None:
    assert AS_OF.astimezone().utcoffset() == AS_OF.astimezone(ZoneInfo(host_time_zone)).utcoffset()
    credentials, _, _ = evaluate(read_report(report), (), rules(), AS_OF)
    assert verdict_lines(credentials) == expected_lines(report)


def test_a_process_started_in_another_time_zone_says_the_same() -> None:
    program = (
        "import sys, csv\n"
        "from datetime import UTC, datetime, timedelta\n"
        "from pathlib import Path\n"
        "from scanner.checks import CATALOGUE\n"
        "from scanner.evaluate import evaluate\n"
        "from scanner.models import Account, LedgerEntry, Outcome, Rules\n"
        "from scanner.normalize import RawReport, normalize\n"
        "a = Account(account_id='111122223333', name='n', email='e', state='ACTIVE')\n"
        "e = LedgerEntry(account_id='111122223333', outcome=Outcome.SCANNED)\n"
        "frame = normalize([RawReport(a, e, Path(sys.argv[1]).read_bytes())])\n"
        "rules = Rules(checks=('access-key-not-rotated',))\n"
        "credentials, _, _ = evaluate(frame, (), rules, datetime(2026, 11, 23, 12, tzinfo=UTC))\n"
        "print(credentials.to_csv(index=False), datetime.now().astimezone().utcoffset())\n"
    )

    def run(zone: str) -> tuple[str, str]:
        done = subprocess.run(
            [sys.executable, "-c", program, str(REPORTS / "age_boundary.csv")],
            env={**os.environ, "TZ": zone},
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=True,
        )
        frame, _, offset = done.stdout.rpartition("\n ")
        return frame, offset.strip()

    east, west = run("Pacific/Kiritimati"), run("Etc/GMT+12")
    assert (east[1], west[1]) == ("14:00:00", "-1 day, 12:00:00")
    assert east[0] == west[0]
    assert "FAIL" in east[0]


def test_every_place_where_tools_disagree_is_shown() -> None:
    shown = {*GOLDEN, *REFUSED, *TIME_ZONES, JOINED, SAME_NAME, *SHOWN_ELSEWHERE}
    assert [place for place in PLACES_WHERE_TOOLS_DISAGREE if place not in shown] == []


def test_no_golden_file_lies_unused() -> None:
    used = {".gitattributes"}
    for row in GOLDEN.values():
        used |= {f"{row.report}.csv", f"{row.expected or row.report}.expected.csv"}
    for refused in REFUSED.values():
        used |= {f"{refused.report}.csv", f"{refused.report}.refused.txt"}
    used |= {f"{KEY_LOOK_UPS}.csv", f"{KEY_LOOK_UPS}.keys.json", f"{KEY_LOOK_UPS}.joined.csv"}
    assert {path.name for path in REPORTS.iterdir()} == used


def test_golden_reports_hold_only_the_accounts_of_awss_own_examples() -> None:
    allowed = {"111122223333", "012345678901", "999999999999"}
    for path in REPORTS.glob("*.csv"):
        for word in path.read_bytes().split(b":iam::")[1:]:
            assert word[:12].decode() in allowed


def test_keys_and_users_gone_since_the_report_still_fail_and_say_so() -> None:
    answers = {ACCOUNT_ID: json.loads((REPORTS / f"{KEY_LOOK_UPS}.keys.json").read_text(encoding="utf-8"))}
    _, findings, _ = evaluate(join_keys(read_report(KEY_LOOK_UPS), answers), (), rules(), AS_OF)

    reasons = {each.user: (each.verdict, each.reason) for each in findings.itertuples()}
    assert reasons["key-gone"][0] == Verdict.FAIL
    assert reasons["key-gone"][1].endswith("deleted since the report")
    assert reasons["user-gone"][0] == Verdict.FAIL
    assert "the user no longer existed" in reasons["user-gone"][1]
    assert reasons["odd-boolean"] == (
        Verdict.UNKNOWN,
        "the report does not say whether the key is active; "
        "inactive when its keys were listed at 2026-11-23T12:04:05Z, after the report",
    )


def test_two_accounts_of_one_name_stay_two() -> None:
    content = (REPORTS / "crlf.csv").read_bytes()
    twin = content.replace(b"111122223333", b"123456789012")

    frame = normalize([raw_report(content, account()), raw_report(twin, account("123456789012"))])
    _, findings, _ = evaluate(frame, (), rules(), AS_OF)

    assert findings[["account_id", "account_name", "user"]].to_numpy().tolist() == [
        ["111122223333", "payments", "alice"],
        ["123456789012", "payments", "alice"],
    ]


def test_findings_are_ordered_failures_first_and_oldest_first() -> None:
    _, findings, _ = evaluate(read_report("key_states"), (), rules(), AS_OF)
    verdicts = findings["verdict"].tolist()
    assert verdicts == sorted(verdicts, key=["FAIL", "UNKNOWN"].index)
    failing = findings[findings["verdict"].eq("FAIL")]
    assert failing["last_rotated"].is_monotonic_increasing
    same_age = failing[failing["user"].eq("created-in-one-second")]
    assert same_age["credential"].tolist() == ["access_key_1", "access_key_2"]


def test_summary_counts_every_key_the_check_applies_to() -> None:
    credentials, findings, (summary,) = evaluate(read_report("key_states"), (), rules(), AS_OF)
    assert summary.verdicts == {Verdict.PASS: 3, Verdict.FAIL: 8, Verdict.EXEMPT: 0, Verdict.UNKNOWN: 2}
    assert sum(summary.verdicts.values()) == credentials[VERDICT].ne("").sum()
    assert len(findings) == 10
    assert credentials.loc[credentials[VERDICT].eq("FAIL"), "failed_checks"].eq("access-key-not-rotated").all()
    assert credentials.loc[credentials[VERDICT].ne("FAIL"), "failed_checks"].eq("").all()


def test_each_check_judges_for_itself_and_the_row_says_what_all_of_them_found() -> None:
    check = CATALOGUE[0]
    severe = replace(
        check,
        id="severe",
        severity=Severity.HIGH,
        applies=lambda frame: frame["credential"].eq("access_key_1"),
        fails=lambda frame, limits, as_of: frame["user"].eq("both-old").astype("boolean"),
        due=lambda frame, limits: frame["last_rotated"].where(frame["user"].eq("both-old")),
        reason=lambda row, limits, as_of: f"{row.user} is severe",
    )
    frame = read_report("key_states")
    alone, _, _ = evaluate(frame, (), Rules(), AS_OF, (check,))

    credentials, findings, summaries = evaluate(frame, (), Rules(), AS_OF, (check, severe))

    assert [each.check_id for each in summaries] == ["access-key-not-rotated", "severe"]
    assert summaries[1].verdicts[Verdict.FAIL] == 1
    assert findings["check"].tolist() == ["severe", *["access-key-not-rotated"] * 10], "the more severe one first"
    assert findings["reason"].iloc[0] == "both-old is severe"
    assert credentials["verdict:access-key-not-rotated"].equals(alone["verdict:access-key-not-rotated"])
    first, second = (
        credentials[credentials["user"].eq("both-old") & credentials["credential"].eq(key)].iloc[0]
        for key in ("access_key_1", "access_key_2")
    )
    assert first["failed_checks"] == "access-key-not-rotated severe"
    assert second["failed_checks"] == "access-key-not-rotated"
    assert first["due_on"] == first["last_rotated"], "the earlier of the two"
    assert second["due_on"] == second["last_rotated"] + timedelta(days=90)
    others = credentials["user"].ne("both-old")
    assert credentials.loc[others, "due_on"].equals(alone.loc[others, "due_on"]), "never due is not earlier"


@pytest.mark.parametrize("report", ["key_states", "zero_users", "age_boundary", None])
def test_frames_have_their_declared_columns_and_types_whatever_is_in_them(report: str | None) -> None:
    frame = read_report(report) if report else normalize([])
    credentials, findings, _ = evaluate(frame, (), rules(), AS_OF)

    assert findings.columns.tolist() == list(FINDING_COLUMNS)
    assert credentials.columns.tolist() == [*frame.columns, "age_days", "due_on", "failed_checks", VERDICT]
    for each in (credentials, findings):
        for name in {"last_rotated", "due_on", "last_used", "first_seen"} & {*each.columns}:
            assert str(each[name].dtype) == "datetime64[s, UTC]", name
        assert str(each["age_days"].dtype) == "Int64"
    for name in ("reason", "fix", "undo", "verdict", "key_id", "user"):
        assert str(findings[name].dtype) == "string", name


def test_evaluate_does_not_change_its_input() -> None:
    frame = read_report("key_states")
    before = frame.copy(deep=True)
    evaluate(frame, (), rules(), AS_OF)
    pd.testing.assert_frame_equal(frame, before)


def test_no_key_is_looked_up_for_root_nor_twice_for_a_user() -> None:
    content = (REPORTS / "root_true.csv").read_bytes()
    both = (REPORTS / "key_states.csv").read_bytes().replace(b"111122223333", b"123456789012")
    frame = normalize([raw_report(content, account()), raw_report(both, account("123456789012"))])
    _, findings, _ = evaluate(frame, (), rules(), AS_OF)

    users = users_to_look_up(frame, (), rules(), AS_OF)

    assert findings["user"].eq("<root_account>").any()
    assert set(users) == {"123456789012"}
    assert users["123456789012"] == sorted(set(users["123456789012"]))
    assert "both-old" in users["123456789012"]
    assert "active-no-date" in users["123456789012"]
    assert "never-used-fresh" not in users["123456789012"]


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A run over four accounts: read, denied, excluded, and one that the run never came to."""
    folder = RunFolder.create(tmp_path, "20261123T120000Z-o-a1b2c3d4e5")
    ids = ("111122223333", "123456789012", "444455556666", "777788889999")
    folder.write_population([account(account_id, f"n{account_id}") for account_id in ids], ["request-1"])
    content = (REPORTS / "key_states.csv").read_bytes()
    folder.write_report(ids[0], content)
    read = LedgerEntry(
        account_id=ids[0], outcome=Outcome.SCANNED, users=14, report_generated=AS_OF, report_sha256="ab", attempts=3
    )
    with folder.open_ledger() as ledger:
        ledger.append(read)
        ledger.append(LedgerEntry(account_id=ids[1], outcome=Outcome.ACCESS_DENIED, reason="no"))
        ledger.append(LedgerEntry(account_id=ids[2], outcome=Outcome.EXCLUDED, reason="exclude_accounts"))
    return folder


def a_run() -> Run:
    return Run(
        run_id="20261123T120000Z-o-a1b2c3d4e5",
        tool_version="0",
        python_version="3",
        organization_id="o-a1b2c3d4e5",
        management_account_id="123456789012",
        caller=Caller(account_id="123456789012", arn="arn:aws:iam::123456789012:user/auditor", partition="aws"),
        role_name="CredentialAudit",
        external_id_used=False,
        session_name="credaudit",
        session_policy={},
        organization_role_arn="",
        endpoints={},
        as_of=AS_OF,
        rules=rules(),
        parameters={},
        started=AS_OF,
        finished=AS_OF,
    )


def test_assessment_accounts_for_every_account(folder: RunFolder) -> None:
    result = assess(folder, a_run(), read_frame(folder))

    assert result.accounts.columns.tolist() == list(ACCOUNT_COLUMNS)
    lines = result.accounts.set_index("account_id")
    assert lines["outcome"].tolist() == ["scanned", "access_denied", "excluded", "interrupted"]
    assert lines.loc["111122223333", ["users", "credentials", "failing", "unknown"]].tolist() == [14, 30, 8, 2]
    assert lines.loc["111122223333", "users"] == result.credentials["user"].nunique()
    assert lines.drop("111122223333")[["users", "credentials", "failing", "unknown"]].isna().all(axis=None)
    assert lines.loc["777788889999", "reason"] == "the run ended before this account"
    assert str(lines["report_generated"].dtype) == "datetime64[s, UTC]"
    counts = result.run.counts
    assert counts is not None
    assert counts["listed"] == 4 == sum(counts[outcome] for outcome in Outcome)
    assert not result.run.is_complete


def test_assessment_of_a_run_that_read_nothing(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "20261123T120000Z-o-a1b2c3d4e5")
    folder.write_population([], [])
    result = assess(folder, a_run(), read_frame(folder))
    assert (len(result.accounts), len(result.credentials), len(result.findings)) == (0, 0, 0)
    assert result.run.is_complete


def test_assessment_joins_the_keys_that_were_looked_up(folder: RunFolder) -> None:
    key = {
        "key_id": "AKIAIOSFODNN7EXAMPLE",
        "status": "Active",
        "created": datetime(2020, 2, 29, 23, 59, 59, tzinfo=UTC),
    }
    answer = {"looked_up": AS_OF, "keys": [key], "error": None}
    folder.write_keys(ACCOUNT_ID, {"attempts": 1, "request_ids": ["r"], "users": {"never-used-old": answer}})

    findings = assess(folder, a_run(), read_frame(folder)).findings.set_index("user")

    assert findings.loc["never-used-old", "key_id"] == "AKIAIOSFODNN7EXAMPLE"
    assert "--access-key-id AKIAIOSFODNN7EXAMPLE" in findings.loc["never-used-old", "fix"]
    assert pd.isna(findings.loc["active-no-date", "key_id"])


def test_other_limits_and_another_day_give_other_verdicts_from_the_same_evidence(folder: RunFolder) -> None:
    frame = read_frame(folder)
    generous = replace(a_run(), rules=rules(3650))
    earlier = replace(a_run(), as_of=datetime(2020, 3, 1, tzinfo=UTC))

    assert assess(folder, generous, frame).checks[0].verdicts[Verdict.FAIL] == 0
    assert assess(folder, earlier, frame).checks[0].verdicts[Verdict.FAIL] == 0
    assert assess(folder, a_run(), frame).checks[0].verdicts[Verdict.FAIL] == 8


def test_a_check_that_fails_is_written_with_its_severity_and_controls() -> None:
    _, findings, _ = evaluate(read_report("age_boundary"), (), rules(), AS_OF)
    first = findings.iloc[0]
    assert first["severity"] == Severity.MEDIUM
    assert "CIS AWS Foundations Benchmark 7.0 2.12" in first["controls"].split("; ")
    assert "AWS Security Hub IAM.3" in first["controls"].split("; ")


def test_outcomes_are_counted_for_every_account() -> None:
    population = [account("111122223333"), account("123456789012")]
    ledger = {each.account_id: LedgerEntry(account_id=each.account_id, outcome=Outcome.ERROR) for each in population}
    counts = count_outcomes(population, ledger)
    assert counts["error"] == counts["listed"] == 2
    assert set(counts) == {"listed", *Outcome}
