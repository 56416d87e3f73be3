"""The catalogue: a table of report lines for each check, and what holds for all of them.

Each line goes through the real normalize, evaluate and apply_exemptions at 2026-11-23T12:00:00Z, by the default limits.
"""

from __future__ import annotations

import functools
import re
import shlex
import subprocess
from dataclasses import dataclass, fields
from datetime import timedelta

import pandas as pd
import pytest

from scanner.checks import CATALOGUE, Check
from scanner.models import Exemption, Limits, Rules

from .report_lines import AS_OF, ROOT, Cells, Judged, ago, judge, key, password

GOVCLOUD_ROOT = {"arn": "arn:aws-us-gov:iam::111122223333:root"}
USER = password("N/A", "N/A", "false", enabled="false")
"""An IAM user who cannot sign in."""
NO_SIGN_IN = password("N/A", "N/A", enabled="false", mfa="false")
MORE = {"additional_credentials_info": "1 additional access key: aws iam list-access-keys"}


@dataclass(frozen=True)
class Row:
    """One line of a report: what it shows, whose it is, and the verdict on one of its credentials."""

    kind: str
    what: str
    cells: Cells
    wanted: str
    credential: str = "access_key_1"
    user: str = "alice"


def root(kind: str, what: str, cells: Cells, wanted: str) -> Row:
    return Row(kind, what, cells, wanted, "password", ROOT)


def user(kind: str, what: str, cells: Cells, wanted: str) -> Row:
    return Row(kind, what, cells, wanted, "password")


def certificate(number: int = 1, active: str = "true") -> Cells:
    return {f"cert_{number}_active": active, f"cert_{number}_last_rotated": ago(10)}


TABLES: dict[str, list[Row]] = {
    "access-key-not-rotated": [
        Row("failing", "old", key(made=ago(400)), "FAIL"),
        Row(
            "failing",
            "the second, behind an inactive first",
            key(active="false") | key(2, ago(91)),
            "FAIL",
            "access_key_2",
        ),
        Row("passing", "young", key(), "PASS"),
        Row("unknown", "no date", key(made="N/A"), "UNKNOWN"),
        Row("unknown", "state not readable", key(active="yes"), "UNKNOWN"),
        Row("unknown", "of the future", key(made=ago(-2)), "UNKNOWN"),
        Row("unknown", "more than the report shows", MORE, "UNKNOWN", "additional_credentials"),
        Row("boundary", "90 d 0 s", key(made=ago(90)), "PASS"),
        Row("boundary", "90 d 1 s", key(made=ago(90, 1)), "FAIL"),
        Row("root", "old", key(made=ago(400)), "FAIL", user=ROOT),
        Row("disabled", "old and inactive", key(made=ago(400), active="false"), ""),
    ],
    "root-access-key-exists": [
        root("failing", "first", key(), "FAIL"),
        root("failing", "second, unused", key(2, used="N/A"), "FAIL"),
        root("failing", "one active, one not readable", key(active="yes") | key(2), "FAIL"),
        root("passing", "none", {}, "PASS"),
        root("unknown", "state not readable", key(active="not_supported"), "UNKNOWN"),
        root("unknown", "one inactive, one not readable", key(active="false") | key(2, active=""), "UNKNOWN"),
        root("unknown", "more than the report shows", MORE, "UNKNOWN"),
        root("root", "password alone", password(), "PASS"),
        root("disabled", "inactive", key(active="false"), "PASS"),
        user("another's", "key of an IAM user", key(), ""),
    ],
    "root-without-mfa": [
        root("failing", "password", password(mfa="false"), "FAIL"),
        root("failing", "as AWS wrote it for long", password("N/A", "not_supported", "false", "not_supported"), "FAIL"),
        root("failing", "no password, an active key", NO_SIGN_IN | key(), "FAIL"),
        root("passing", "password and MFA", password(), "PASS"),
        root("unknown", "not readable", password(mfa="not_supported"), "UNKNOWN"),
        root("unknown", "GovCloud does not tell", GOVCLOUD_ROOT | password(mfa="false"), "UNKNOWN"),
        root("root", "GovCloud, MFA seen", GOVCLOUD_ROOT | password(), "PASS"),
        root("disabled", "no credentials at all", NO_SIGN_IN, "PASS"),
        root("disabled", "no password, an inactive key", NO_SIGN_IN | key(active="false"), "PASS"),
        root("disabled", "no credentials, MFA not readable", NO_SIGN_IN | {"mfa_active": ""}, "PASS"),
        user("another's", "IAM user without MFA", password(mfa="false"), ""),
    ],
    "root-recently-used": [
        root("failing", "signed in", password(), "FAIL"),
        root("failing", "a key was used, the password not", password(ago(400)) | key(2), "FAIL"),
        root("failing", "used, and a key not readable", password() | key(used="?"), "FAIL"),
        root("failing", "while the run lasts", password(ago(seconds=-200)), "FAIL"),
        root("failing", "by a key that is now inactive", NO_SIGN_IN | key(active="false"), "FAIL"),
        root("passing", "never", password("no_information"), "PASS"),
        root("passing", "N/A is no date, and no use", password("N/A"), "PASS"),
        root("passing", "long ago", password(ago(400)) | key(used=ago(400)), "PASS"),
        root("unknown", "not readable", password("yesterday"), "UNKNOWN"),
        root("unknown", "a key's is not readable", password("N/A") | key(used=""), "UNKNOWN"),
        root("unknown", "of the future", password(ago(-2)), "UNKNOWN"),
        root("boundary", "90 d 0 s", password(ago(90)), "FAIL"),
        root("boundary", "90 d 1 s", password(ago(90, 1)), "PASS"),
        root("root", "without credentials", NO_SIGN_IN, "PASS"),
        root("disabled", "no password, which AWS says nothing of", NO_SIGN_IN | {"password_last_used": "-"}, "PASS"),
        user("another's", "IAM user", password(), ""),
    ],
    "console-user-without-mfa": [
        user("failing", "password alone", password(mfa="false"), "FAIL"),
        user("failing", "never signed in", password("no_information", mfa="FALSE"), "FAIL"),
        user("passing", "MFA", password(), "PASS"),
        user("passing", "MFA, password not readable", password(enabled="?"), "PASS"),
        user("unknown", "MFA not readable", password(mfa="N/A"), "UNKNOWN"),
        user("unknown", "password not readable, no MFA", password(mfa="false", enabled=""), "UNKNOWN"),
        root("root", "is another check's", password(mfa="false"), ""),
        user("disabled", "no password", USER | key(), ""),
    ],
    "credential-unused": [
        user("failing", "password", password(ago(400)), "FAIL"),
        user("failing", "password never used, old", password("no_information", ago(400)), "FAIL"),
        Row("failing", "key", key(used=ago(400)), "FAIL"),
        Row("failing", "key never used, old", key(made=ago(400), used="N/A"), "FAIL"),
        Row("failing", "second key", key() | key(2, used=ago(400)), "FAIL", "access_key_2"),
        user("passing", "password", password(), "PASS"),
        user("passing", "password never used, young", password("no_information"), "PASS"),
        Row("passing", "key never used, young", key(used="N/A"), "PASS"),
        user("unknown", "password not readable", password("yesterday"), "UNKNOWN"),
        user("unknown", "never used, change not readable", password("no_information", "?"), "UNKNOWN"),
        Row("unknown", "key not readable", key(used=""), "UNKNOWN"),
        Row("unknown", "state not readable", key(active="?"), "UNKNOWN"),
        Row("unknown", "of the future", key(used=ago(-2)), "UNKNOWN"),
        Row("unknown", "more than the report shows", MORE, "UNKNOWN", "additional_credentials"),
        Row("boundary", "44 d 23:59:59", key(used=ago(45, -1)), "PASS"),
        Row("boundary", "45 d 0 s", key(used=ago(45)), "FAIL"),
        user("boundary", "never used, changed 44 d 23:59:59 ago", password("no_information", ago(45, -1)), "PASS"),
        user("boundary", "never used, changed 45 d ago", password("no_information", ago(45)), "FAIL"),
        root("root", "password", password(ago(400)), ""),
        Row("root", "key", key(used=ago(400)), "", user=ROOT),
        user("disabled", "no password", USER, ""),
        Row("disabled", "inactive key", key(used=ago(400), active="false"), ""),
    ],
    "several-active-access-keys": [
        user("failing", "two", key() | key(2), "FAIL"),
        user("failing", "two, and more", key() | key(2) | MORE, "FAIL"),
        user("passing", "one", key(), "PASS"),
        user("passing", "none", {}, "PASS"),
        user("passing", "one not readable and no other", key(active="?"), "PASS"),
        user("unknown", "one, and one not readable", key() | key(2, active="?"), "UNKNOWN"),
        user("unknown", "one, and more", key() | MORE, "UNKNOWN"),
        user("unknown", "more alone", MORE, "UNKNOWN"),
        root("root", "two", key() | key(2), ""),
        user("disabled", "two, one inactive", key() | key(2, active="false"), "PASS"),
        Row("another's", "the keys themselves", key() | key(2), ""),
    ],
    "access-key-created-with-user": [
        Row("failing", "same second", password() | key(made=ago(400)), "FAIL"),
        Row("failing", "second key", password() | key() | key(2, made=ago(400)), "FAIL", "access_key_2"),
        Row("passing", "a year later", password() | key(), "PASS"),
        Row("passing", "later, state not readable", password() | key(active="?"), "PASS"),
        Row("unknown", "user's date not readable", password(created="N/A") | key(), "UNKNOWN"),
        Row("unknown", "key's date not readable", password() | key(made=""), "UNKNOWN"),
        Row("unknown", "state not readable", password() | key(made=ago(400), active="?"), "UNKNOWN"),
        Row("unknown", "password not readable", password(enabled="?") | key(made=ago(400)), "UNKNOWN"),
        Row("unknown", "older than its user", password() | key(made=ago(401)), "UNKNOWN"),
        Row("boundary", "60 s", password() | key(made=ago(400, -60)), "FAIL"),
        Row("boundary", "61 s", password() | key(made=ago(400, -61)), "PASS"),
        Row("root", "never", password() | key(made=ago(400)), "", user=ROOT),
        Row("disabled", "no password", USER | key(made=ago(400)), ""),
        Row("disabled", "inactive key", password() | key(made=ago(400), active="false"), ""),
    ],
    "password-not-changed": [
        user("failing", "old", password(changed=ago(400)), "FAIL"),
        user("passing", "young", password(), "PASS"),
        user("unknown", "no date", password(changed="N/A"), "UNKNOWN"),
        user("unknown", "not readable whether there is one", password(enabled="?"), "UNKNOWN"),
        user("unknown", "of the future", password(changed=ago(-2)), "UNKNOWN"),
        user("boundary", "90 d 0 s", password(changed=ago(90)), "PASS"),
        user("boundary", "90 d 1 s", password(changed=ago(90, 1)), "FAIL"),
        root("root", "old", password(changed=ago(400)), ""),
        user("disabled", "no password", USER | {"password_last_changed": ago(400)}, ""),
    ],
    "signing-certificate-active": [
        Row("failing", "first", certificate(), "FAIL", "cert_1"),
        Row("failing", "second", certificate(2), "FAIL", "cert_2"),
        Row("passing", "first inactive", certificate(active="false") | certificate(2), "PASS", "cert_1"),
        Row("unknown", "state not readable", certificate(active="?"), "UNKNOWN", "cert_1"),
        Row("unknown", "more than the report shows", MORE, "UNKNOWN", "additional_credentials"),
        Row("root", "first", certificate(), "FAIL", "cert_1", ROOT),
        Row("disabled", "inactive", certificate(active="false"), "PASS", "cert_1"),
    ],
    "inactive-access-key-not-deleted": [
        Row("failing", "never used", key(made=ago(400), used="N/A", active="false"), "FAIL"),
        Row("failing", "used long ago", key(made=ago(400), used=ago(200), active="false"), "FAIL"),
        Row("passing", "made lately", key(used="N/A", active="false"), "PASS"),
        Row("passing", "used lately", key(made=ago(400), active="false"), "PASS"),
        Row("unknown", "no date", key(made="?", active="false"), "UNKNOWN"),
        Row("unknown", "use not readable", key(made=ago(400), used="?", active="false"), "UNKNOWN"),
        Row("unknown", "used in the future", key(used=ago(-2), active="false"), "UNKNOWN"),
        Row("boundary", "30 d 0 s", key(made=ago(30), used="N/A", active="false"), "PASS"),
        Row("boundary", "30 d 1 s", key(made=ago(30, 1), used="N/A", active="false"), "FAIL"),
        Row("boundary", "used 30 d ago", key(made=ago(400), used=ago(30), active="false"), "PASS"),
        Row("boundary", "used 30 d 1 s ago", key(made=ago(400), used=ago(30, 1), active="false"), "FAIL"),
        Row("root", "old", key(made=ago(400), used="N/A", active="false"), "FAIL", user=ROOT),
        Row("disabled", "active is another check's", key(made=ago(400)), ""),
    ],
}
KINDS = {"failing", "passing", "unknown", "root", "disabled"}
ROWS = [
    pytest.param(check_id, row, id=f"{check_id}: {row.kind}: {row.what}")
    for check_id, rows in TABLES.items()
    for row in rows
]
CHECKS = {check.id: check for check in CATALOGUE}


def exemption(check_id: str, name: str) -> Exemption:
    return Exemption(
        id="EX-1",
        checks=(check_id,),
        user=name,
        reason="r",
        owner="o",
        approver="a",
        ticket="t",
        expires=AS_OF + timedelta(days=1),
    )


@functools.cache
def judged_table(check_id: str, rules: Rules | None = None) -> list[Judged]:
    """Each row of the table as an account of its own."""
    return judge([{row.user: row.cells} for row in TABLES[check_id]], rules or Rules(checks=(check_id,)))


@pytest.mark.parametrize(("check_id", "row"), ROWS)
def test_row(check_id: str, row: Row) -> None:
    judged = judged_table(check_id)[TABLES[check_id].index(row)]

    assert judged.verdicts[row.user, row.credential] == row.wanted
    found = judged.findings[judged.findings["credential"].astype(str).eq(row.credential)]
    assert found["verdict"].tolist() == ([row.wanted] if row.wanted in ("FAIL", "UNKNOWN") else [])
    for text in (name for each in found.itertuples() for name in (each.reason, each.fix, each.undo)):
        assert text.strip()
        assert "None" not in text
        assert "NaT" not in text


SAYS_SO = ("does not say", "do not tell", "no readable date", "in the future", "says that", "may be")


@pytest.mark.parametrize(("check_id", "row"), [each for each in ROWS if each.values[1].wanted in ("FAIL", "UNKNOWN")])
def test_a_reason_says_what_is_wrong_or_what_is_not_known(check_id: str, row: Row) -> None:
    findings = judged_table(check_id)[TABLES[check_id].index(row)].findings
    (reason,) = findings.loc[findings["credential"].astype(str).eq(row.credential), "reason"]
    is_unknown = any(words in reason for words in SAYS_SO)
    assert is_unknown == (row.wanted == "UNKNOWN"), reason


UNUSED, AT_SETUP = "credential-unused", "access-key-created-with-user"


@pytest.mark.parametrize(
    ("check_id", "what", "reason"),
    [
        ("root-access-key-exists", "first", "an access key of the root user is active"),
        (
            "root-recently-used",
            "signed in",
            "signed in at 2026-11-22T12:00:00Z, 1 d 00:00:00 before; the limit is 90 days",
        ),
        ("root-recently-used", "while the run lasts", "after the moment ages are measured at: 2026-11-23T12:03:20Z"),
        (
            "root-recently-used",
            "a key was used, the password not",
            "an access key of the root user was used within 90 days",
        ),
        ("root-without-mfa", "GovCloud does not tell", "AWS GovCloud (US) do not tell"),
        ("console-user-without-mfa", "password not readable, no MFA", "does not say whether there is a password"),
        (UNUSED, "45 d 0 s", "not used for 45 d 00:00:00; the limit is 45 days"),
        (UNUSED, "key never used, old", "never used since it was created 400 d 00:00:00 ago"),
        (UNUSED, "password never used, old", "never used since it was changed 400 d 00:00:00 ago"),
        (UNUSED, "key not readable", "does not say when the key was last used"),
        (AT_SETUP, "60 s", "created 60 s after its user, who has a console password; the limit is 60 s"),
        (AT_SETUP, "older than its user", "the key is older than its user"),
        (AT_SETUP, "state not readable", "does not say whether it is active"),
        (AT_SETUP, "password not readable", "does not say whether there is a console password"),
        ("password-not-changed", "90 d 1 s", "not changed for 90 d 00:00:01; the limit is 90 days"),
        ("signing-certificate-active", "more than the report shows", "and they may be certificates"),
        ("inactive-access-key-not-deleted", "30 d 1 s", "neither created nor used for 30 d 00:00:01; the limit is 30"),
        ("inactive-access-key-not-deleted", "used in the future", "in the future: 2026-11-25T12:00:00Z"),
    ],
)
def test_reason(check_id: str, what: str, reason: str) -> None:
    (at,) = (at for at, row in enumerate(TABLES[check_id]) if row.what == what)
    findings = judged_table(check_id)[at].findings
    found = findings[findings["credential"].astype(str).eq(TABLES[check_id][at].credential)]
    assert reason in found["reason"].item()


@pytest.mark.parametrize("check_id", TABLES)
def test_an_exemption_takes_what_fails_and_nothing_else(check_id: str) -> None:
    """alice's is exempt, and bob's, who has the same credentials, is not."""
    rules = Rules(checks=(check_id,), exemptions=(exemption(check_id, "alice"), exemption(check_id, ROOT)))
    accounts = [{row.user: row.cells, "bob": row.cells} for row in TABLES[check_id]]
    for row, each in zip(TABLES[check_id], judge(accounts, rules), strict=True):
        exempt = {"FAIL": "EXEMPT"}.get(row.wanted, row.wanted)
        assert each.verdicts[row.user, row.credential] == exempt
        if row.user != ROOT:
            assert each.verdicts["bob", row.credential] == row.wanted
        for found in each.findings.itertuples():
            is_exempt = found.user != "bob" and found.verdict == "EXEMPT"
            assert found.exemption == ("EX-1" if is_exempt else "")
            assert (found.verdict == "EXEMPT") == is_exempt


@pytest.mark.parametrize("check", CATALOGUE, ids=lambda check: check.id)
def test_each_check_has_its_table(check: Check) -> None:
    rows = TABLES[check.id]
    kinds = KINDS | ({"boundary"} if check.limits else set())
    assert kinds <= {row.kind for row in rows}
    assert len({(row.kind, row.what) for row in rows}) == len(rows)
    wanted = {"failing": {"FAIL"}, "passing": {"PASS"}, "unknown": {"UNKNOWN"}, "boundary": {"PASS", "FAIL"}}
    for kind, verdicts in wanted.items():
        assert {row.wanted for row in rows if row.kind == kind} == (verdicts if kind in kinds else set())


@pytest.mark.parametrize("check", CATALOGUE, ids=lambda check: check.id)
def test_each_record_is_whole(check: Check) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", check.id)
    assert all(text.strip() == text and text for text in (check.title, check.population, check.why))
    assert set(check.limits) <= {each.name for each in fields(Limits)}
    controls = [str(control) for control in check.controls]
    assert len(set(controls)) == len(controls)
    assert ";" not in "".join(controls), "findings.csv joins them with it"


def test_no_check_is_there_twice_and_no_table_without_one() -> None:
    assert [check.id for check in CATALOGUE] == list(TABLES)


def test_every_limit_is_some_check_s() -> None:
    assert {name for check in CATALOGUE for name in check.limits} == {each.name for each in fields(Limits)}


@pytest.mark.parametrize("check", [each for each in CATALOGUE if each.limits], ids=lambda check: check.id)
def test_a_check_decides_by_the_limits_that_it_names(check: Check) -> None:
    """With each of them at 0 or very long its failing and boundary rows change; without them none does."""
    rows = [row for row in TABLES[check.id] if row.wanted in ("PASS", "FAIL")]

    def verdicts(names: tuple[str, ...], length: timedelta) -> list[str]:
        limits = Limits(**dict.fromkeys(names, length))
        judged = judge([{row.user: row.cells} for row in rows], Rules(limits=limits, checks=(check.id,)))
        return [each.verdicts[row.user, row.credential] for row, each in zip(rows, judged, strict=True)]

    others = tuple(each.name for each in fields(Limits) if each.name not in check.limits)
    wanted = [row.wanted for row in rows]
    assert verdicts(others, timedelta(0)) == wanted == verdicts(others, timedelta(days=3000))
    assert verdicts(check.limits, timedelta(0)) != verdicts(check.limits, timedelta(days=3000))


# What account owners paste

NAMES = ("alice,bob", "=cmd@example", "+1+1", "-rf", "--cli-input-json", "@sum", "a b", "$(reboot)", "`reboot`",
         "a;reboot", "a'b", 'a"b', "a&&b", "a>b", "~root", "*", "#", "\\", "!x", "é", "NA")  # fmt: skip
LOOKS = {
    *("list-access-keys", "get-access-key-last-used", "list-mfa-devices", "get-login-profile"),
    *("list-signing-certificates", "lookup-events", "get-caller-identity"),
}
MENDS = {
    "access-key-not-rotated": {"create-access-key", "create-secret"},  # the new key, before the old one goes
    "password-not-changed": {"update-login-profile"},  # the user is asked for a new password
}
IN_UNDO = {"update-access-key", "update-signing-certificate", "create-login-profile", "update-login-profile"}
STAND_IN = """\
aws() { printf '%s\\0' "$@" >&3; printf '\\n' >&3; [ "$1" = sts ] && echo 111122223333; return 0; }
"""


@functools.cache
def texts(check_id: str) -> list[tuple[str, str, str]]:
    """User, fix and undo of every row of the check that is an IAM user's and not passed, for a user of every name."""
    rows = [row for row in TABLES[check_id] if row.user != ROOT and row.wanted in ("FAIL", "UNKNOWN")]
    judged = judge([dict.fromkeys(NAMES, row.cells) for row in rows], Rules(checks=(check_id,)))
    findings = pd.concat([each.findings for each in judged])
    rows = findings.loc[:, ["user", "fix", "undo"]].replace(r"1111222233\d\d", "111122223333", regex=True)
    return list(rows.drop_duplicates().itertuples(index=False, name=None))


def run(script: str, cwd: object) -> list[list[str]]:
    """The words of every command that bash makes of the text."""
    done = subprocess.run(
        ["bash"],
        input=f"exec 3>&1 1>/dev/null\n{STAND_IN}{script}\n",
        cwd=str(cwd),
        env={"PATH": "/bin:/usr/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return [line.split("\0")[:-1] for line in done.stdout.splitlines()]


USER_CHECKS = [check_id for check_id in TABLES if not check_id.startswith("root-")]


@pytest.mark.parametrize("check_id", USER_CHECKS)
def test_pasted_as_a_whole_a_fix_takes_nothing_away_whatever_the_user_is_called(
    check_id: str, tmp_path: object
) -> None:
    for at, allowed in ((1, LOOKS | MENDS.get(check_id, set())), (2, IN_UNDO)):
        script = "\n".join(dict.fromkeys(each[at] for each in texts(check_id)))
        if at == 2 and check_id == "inactive-access-key-not-deleted":
            assert "aws " not in script, "nothing takes it back"
            continue
        calls = run(script, tmp_path)
        assert calls
        assert {call[1] for call in calls} <= allowed
        named = {_user_named(call) for call in calls}
        assert named - {None} == set(NAMES)


@pytest.mark.parametrize("check_id", USER_CHECKS)
def test_what_cannot_be_undone_is_a_comment_that_names_the_user_as_one_word(check_id: str) -> None:
    for name, fix, _ in texts(check_id):
        for line in fix.splitlines():
            assert line.startswith(("#", "aws ", "(test ")), line
            if " delete-" in line or "Inactive" in line:
                assert line.startswith("#   aws iam ")
                assert _user_named(shlex.split(line.removeprefix("#   aws "))) == name


@pytest.mark.parametrize("check", CATALOGUE, ids=lambda check: check.id)
def test_root_is_given_no_command_that_only_root_may_run(check: Check) -> None:
    for row, judged in zip(TABLES[check.id], judged_table(check.id), strict=True):
        for found in judged.findings.itertuples() if row.user == ROOT else ():
            assert "aws iam" not in found.fix + found.undo
            assert ROOT not in found.fix + found.undo
            assert found.account_id in found.fix or "root user" in found.fix


def _user_named(call: list[str]) -> str | None:
    for at, word in enumerate(call):
        if word == "--user-name":
            assert not call[at + 1].startswith("-"), "the AWS CLI would read the name as an option"
            return call[at + 1]
        if word.startswith("--user-name="):
            return word.removeprefix("--user-name=")
    return None
