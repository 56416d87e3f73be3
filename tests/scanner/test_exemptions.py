"""Accepted findings: the file, read or refused; and what each exemption covers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from scanner.errors import ConfigError
from scanner.evaluate import evaluate
from scanner.exemption_file import load_exemptions
from scanner.exemptions import Exempted, apply_exemptions, fits
from scanner.models import EXEMPTION_COLUMNS, Account, Exemption, Rules, Verdict
from scanner.normalize import normalize

from .report_lines import ACCOUNT, AS_OF, ROOT, ago, cells_of, key, raw, report

CHECK = "access-key-not-rotated"
DOCS = (Path(__file__).parents[2] / "docs" / "exemptions.md").read_text(encoding="utf-8")
COMMAND = str(Path(sys.executable).with_name("credaudit"))
GOOD = {
    "id": '"EX-1"',
    "checks": f'["{CHECK}"]',
    "user": '"alice"',
    "reason": '"r"',
    "owner": '"o"',
    "approver": '"a"',
    "ticket": '"T-1"',
    "expires": "2027-03-31",
}


def entry(**values: str | None) -> str:
    """One [[exemption]] of the file; None leaves a key out."""
    lines = {**GOOD, **values}
    return "\n".join(["[[exemption]]", *(f"{name} = {value}" for name, value in lines.items() if value is not None)])


def load(path: Path, text: str, max_days: int = 365) -> tuple[Exemption, ...]:
    file = path / "exemptions.toml"
    file.write_text(text, encoding="utf-8")
    return load_exemptions(file, now=AS_OF, max_days=max_days)


# The file


def test_the_example_of_the_document_is_read_as_it_says(tmp_path: Path) -> None:
    block = re.search(r"<!-- example -->\n```toml\n(.*?)```", DOCS, re.DOTALL)
    assert block
    (read,) = load(tmp_path, block.group(1))
    assert read == Exemption(
        id="EX-2026-014",
        checks=(CHECK,),
        accounts=("111122223333",),
        ous=("Root/Prod/Payments",),
        user="svc-gateway-*",
        arn="arn:aws:iam::*:user/vendor/*",
        reason="The appliance takes a new key only with firmware 9, due in February.",
        owner="payments-platform@example.com",
        approver="ciso@example.com",
        ticket="RISK-482",
        starts=datetime(2026, 12, 1, tzinfo=UTC),
        expires=datetime(2027, 4, 1, tzinfo=UTC),
    )


def test_a_day_is_included_and_a_moment_is_the_first_that_is_not(tmp_path: Path) -> None:
    day, moment = load(tmp_path, entry() + "\n" + entry(id='"EX-2"', expires="2027-03-31T20:00:00+02:00"))
    assert day.expires == datetime(2027, 4, 1, tzinfo=UTC)
    assert moment.expires == datetime(2027, 3, 31, 18, tzinfo=UTC)
    assert (day.starts, day.accounts, day.ous, day.arn) == (None, (), (), "")


def test_an_empty_file_has_no_exemptions_and_an_expired_one_is_read(tmp_path: Path) -> None:
    assert load(tmp_path, "# none yet\n") == ()
    assert load(tmp_path, entry(expires="2020-01-01"))[0].id == "EX-1"
    assert load(tmp_path, "\ufeff" + entry())[0].id == "EX-1"


def test_how_far_ahead_one_may_end(tmp_path: Path) -> None:
    assert load(tmp_path, entry(expires="2027-11-23"))
    with pytest.raises(ConfigError, match=r"exemption\[1\] \(EX-1\): expires more than 365 days ahead"):
        load(tmp_path, entry(expires="2027-11-24"))
    assert load(tmp_path, entry(expires="2026-11-30"), max_days=7)
    with pytest.raises(ConfigError, match="more than 7 days ahead"):
        load(tmp_path, entry(expires="2026-12-01"), max_days=7)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(entry(owner=None), "exemption[1].owner is missing", id="no owner"),
        pytest.param(entry(approver=None), "exemption[1].approver is missing", id="no approver"),
        pytest.param(entry(ticket=None), "exemption[1].ticket is missing", id="no ticket"),
        pytest.param(entry(reason=None), "exemption[1].reason is missing", id="no reason"),
        pytest.param(entry(expires=None), "exemption[1].expires is missing", id="no end"),
        pytest.param(entry(owner='"  "'), "exemption[1].owner:", id="blank owner"),
        pytest.param(entry(ownr='"o"'), "unknown key exemption[1].ownr; did you mean owner?", id="unknown key"),
        pytest.param("[[exemptions]]\n", "unknown key exemptions; did you mean exemption?", id="unknown table"),
        pytest.param(entry() + "\n" + entry(), "exemption[2] (EX-1): its id is not unique", id="duplicate id"),
        pytest.param(entry(id='"EX 1"'), "exemption[1].id:", id="id with a space"),
        pytest.param(entry(id='"EX-1\\n"'), "exemption[1].id:", id="id with a line end"),
        pytest.param(entry(checks='["access-key-not-rotate"]'), "did you mean access-key-not-rotated?", id="check"),
        pytest.param(entry(checks='["*"]'), "must be a check, such as", id="pattern of checks"),
        pytest.param(entry(checks="[]"), "exemption[1].checks:", id="no check"),
        pytest.param(entry(user='""'), "exemption[1].user:", id="empty pattern"),
        pytest.param(entry(arn='""', user=None), "exemption[1].arn:", id="empty pattern of ARNs"),
        pytest.param(entry(user='"*"'), "a pattern of * alone stands for all", id="pattern *"),
        pytest.param(entry(arn='"**"'), "a pattern of * alone stands for all", id="pattern **"),
        pytest.param(entry(user=None), "must name accounts, ous, a user or an arn", id="names nobody"),
        pytest.param(entry(user=None, accounts="[]"), "must name accounts, ous, a user or an arn", id="empty list"),
        pytest.param(entry(accounts="[111122223333]"), "must be text in quotes", id="account as a number"),
        pytest.param(entry(accounts='["11112222333"]'), "must be an account id: 12 digits", id="11 digits"),
        pytest.param(entry(ous='["Prod"]'), "must be an OU id", id="path without its root"),
        pytest.param(entry(ous='["Root/Prod/"]'), "without a slash at its end", id="slash at the end"),
        pytest.param(entry(expires='"2027-03-31"'), "must be a day without quotes", id="date in quotes"),
        pytest.param(entry(expires="18:00:00"), "must be a day without quotes", id="time alone"),
        pytest.param(entry(expires="2027-03-31T18:00:00"), "must say its zone", id="no zone"),
        pytest.param(entry(starts="2027-03-31 18:00:00"), "must say its zone", id="start without a zone"),
        pytest.param(entry(expires="9999-12-31"), "must be of the years 2000 to 2199", id="end of time"),
        pytest.param(entry(starts="0001-01-01T00:00:00+14:00"), "must be of the years", id="beginning of time"),
        pytest.param(entry(starts="2027-04-01"), "starts after it expires", id="starts when it ends"),
        pytest.param("[[exemption]\n", "not valid TOML", id="not TOML"),
        pytest.param("exemption = 1\n", "exemption: must be a", id="no table"),
        pytest.param("a = " + "[" * 5000, "not valid TOML", id="nested without end"),
    ],
)
def test_what_is_not_understood_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert said in str(caught.value)
    assert all(line.startswith(f"{tmp_path}") for line in str(caught.value).splitlines())
    assert "docs/exemptions.md" in caught.value.advice
    assert caught.value.exit_code == 2


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    text = entry(user=None, expires="2030-01-01") + "\n" + entry(checks='["no-such"]')
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert len(str(caught.value).splitlines()) == 4


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_exemptions(tmp_path / "absent.toml", now=AS_OF, max_days=365)
    with pytest.raises(ConfigError, match="cannot be read: IsADirectoryError"):
        load_exemptions(tmp_path, now=AS_OF, max_days=365)
    (tmp_path / "latin.toml").write_bytes(b"# caf\xe9\n")
    with pytest.raises(ConfigError, match="cannot be read: UnicodeDecodeError"):
        load_exemptions(tmp_path / "latin.toml", now=AS_OF, max_days=365)


@pytest.mark.parametrize(("expires", "code"), [("31/03/2027", 2), ("2027-03-31T18:00:00", 2), (None, 1)])
def test_a_bad_file_stops_the_command_before_it_calls_aws(tmp_path: Path, expires: str | None, code: int) -> None:
    """Nobody listens on port 9: a run that calls AWS ends with 1."""
    soon = f"{datetime.now(UTC) + timedelta(days=30):%Y-%m-%d}"
    (tmp_path / "exemptions.toml").write_text(entry(expires=expires or soon))
    (tmp_path / "config.toml").write_text('[exemptions]\nfile = "exemptions.toml"\n')
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | {
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    done = subprocess.run([COMMAND, "scan"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert ("exemptions.toml" in done.stderr) == (code == 2)
    assert ("AWS STS cannot be reached" in done.stderr) == (code == 1)
    assert not list(tmp_path.glob("runs/*-o-*"))


# Patterns


@pytest.mark.parametrize(
    ("pattern", "text", "wanted"),
    [
        ("alice", "alice", True),
        ("alice", "Alice", False),
        ("alice", "malice", False),
        ("alice", "alice2", False),
        ("alice", "alice\n", False),
        ("svc-*", "svc-", True),
        ("svc-*", "svc-a", True),
        ("svc-*", "xsvc-a", False),
        ("*-prod", "a-prod", True),
        ("*-prod", "a-prod-2", False),
        ("a*c", "abc", True),
        ("a*c", "ac", True),
        ("a*a", "a", False),
        ("ab*ba", "aba", False),
        ("a**c", "abc", True),
        ("*b*", "abc", True),
        ("*b*b*", "abc", False),
        ("a*b*c", "a-c-b", False),
        ("a*bc", "abcbc", True),
        ("s.c", "s.c", True),
        ("s.c", "sxc", False),
        ("s[ab]c", "sac", False),
        ("s[ab]c", "s[ab]c", True),
        ("s?c", "sac", False),
        ("a+", "aa", False),
        ("a+b@x,y=z", "a+b@x,y=z", True),
        (".*", "alice", False),
        ("^alice$", "alice", False),
        ("a|b", "a", False),
        ("a\\*", "a\\b", True),
        ("a*", "a\nb", True),
    ],
)
def test_pattern(pattern: str, text: str, wanted: bool) -> None:
    assert fits(pattern, text) is wanted


def test_a_pattern_of_many_stars_takes_no_time() -> None:
    started = time.process_time()
    assert not fits("*a" * 500 + "*b", "a" * 2048)
    assert time.process_time() - started < 1


# What it covers

PROD = ACCOUNT
PAYMENTS = replace(
    ACCOUNT, account_id="123456789012", ou_path="Root/Prod/Payments", ou_ids=("r-ab12", "ou-ab12-11111111")
)
PRODUCTION = replace(ACCOUNT, account_id="444455556666", ou_path="Root/Production")
UNPLACED = replace(ACCOUNT, account_id="777788889999", ou_path="")
POPULATION = (PROD, PAYMENTS, PRODUCTION, UNPLACED)
LINES = {"alice": key(made=ago(400)), "Alice.b": key(made=ago(400)), ROOT: key(made=ago(400)), "young": key(),
         "odd": key(made="N/A")}  # fmt: skip


def exemption(**values: Any) -> Exemption:
    words = dict.fromkeys(("reason", "owner", "approver", "ticket"), "w")
    return Exemption(**{"id": "EX-1", "checks": (CHECK,), **words, "expires": AS_OF + timedelta(days=200), **values})


def apply(*exemptions: Exemption, population: tuple[Account, ...] = POPULATION) -> Exempted:
    rules = Rules(checks=(CHECK,), exemptions=exemptions)
    frame = normalize(
        raw(report(cells_of(user, cells, each.account_id) for user, cells in LINES.items()), each)
        for each in population
    )
    credentials, findings, checks = evaluate(frame, population, rules, AS_OF)
    return apply_exemptions(credentials, findings, checks, population, rules, AS_OF)


def exempt(*exemptions: Exemption) -> set[tuple[str, str]]:
    """Account and user of what is EXEMPT."""
    found = apply(*exemptions).findings
    found = found[found["verdict"].eq("EXEMPT")]
    return set(zip(found["account_id"], found["user"], strict=True))


ALL_USERS = ("alice", "Alice.b", ROOT)


@pytest.mark.parametrize(
    ("values", "accounts", "users"),
    [
        pytest.param({"accounts": ("111122223333",)}, {PROD}, ALL_USERS, id="account"),
        pytest.param({"accounts": ("000000000000",)}, set(), ALL_USERS, id="account that there is not"),
        pytest.param({"ous": ("Root/Prod",)}, {PROD, PAYMENTS}, ALL_USERS, id="OU, and all below"),
        pytest.param({"ous": ("Root/Prod/Payments",)}, {PAYMENTS}, ALL_USERS, id="OU by path"),
        pytest.param({"ous": ("ou-ab12-11111111",)}, {PAYMENTS}, ALL_USERS, id="OU by id"),
        pytest.param({"ous": ("Root",)}, {PROD, PAYMENTS, PRODUCTION}, ALL_USERS, id="not the unplaced"),
        pytest.param(
            {"ous": ("Root/Production",), "accounts": ("777788889999",)}, {PRODUCTION, UNPLACED}, ALL_USERS, id="either"
        ),
        pytest.param({"user": "alice"}, set(POPULATION), ("alice",), id="user everywhere"),
        pytest.param({"user": "*lice*"}, set(POPULATION), ("alice", "Alice.b"), id="pattern"),
        pytest.param({"user": ROOT}, set(POPULATION), (ROOT,), id="root"),
        pytest.param({"arn": "arn:aws:iam::123456789012:*"}, {PAYMENTS}, ALL_USERS, id="ARN"),
        pytest.param(
            {"arn": "arn:aws:iam::*:user/*", "user": "a*", "ous": ("Root/Prod",)},
            {PROD, PAYMENTS},
            ("alice",),
            id="all",
        ),
        pytest.param({"user": "nobody"}, set(), (), id="nobody"),
        pytest.param({"checks": ("credential-unused",), "user": "alice"}, set(), (), id="another check"),
    ],
)
def test_it_covers(values: dict[str, Any], accounts: set[Account], users: tuple[str, ...]) -> None:
    assert exempt(exemption(**values)) == {(each.account_id, user) for each in accounts for user in users}
    covers = apply(exemption(**values)).exemptions.iloc[0]
    assert covers["covers"] == len(accounts) * len(users)
    assert ("matches nothing" in covers["note"]) == (not accounts or not users)


def test_unknown_is_never_exempt_and_nothing_is_lost() -> None:
    before, after = apply(), apply(exemption(user="*d*"), exemption(id="EX-2", user="alice"))
    assert len(after.findings) == len(before.findings)
    assert set(after.findings.loc[after.findings["user"].eq("odd"), "verdict"]) == {"UNKNOWN"}
    (check,) = after.checks
    (as_before,) = before.checks
    assert sum(check.verdicts.values()) == sum(as_before.verdicts.values())
    assert check.verdicts[Verdict.EXEMPT] == 4 == as_before.verdicts[Verdict.FAIL] - check.verdicts[Verdict.FAIL]
    column = f"verdict:{CHECK}"
    assert after.credentials[column].value_counts()["EXEMPT"] == 4
    assert after.credentials[column].ne(before.credentials[column]).sum() == 4


SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("values", "state", "verdict", "note"),
    [
        pytest.param({}, "live", "EXEMPT", "", id="live"),
        pytest.param({"expires": AS_OF + SECOND}, "live", "EXEMPT", "ends before the next audit", id="its last second"),
        pytest.param({"expires": AS_OF}, "expired", "FAIL", "expired: what it covered fails again", id="expired now"),
        pytest.param({"starts": AS_OF}, "live", "EXEMPT", "", id="starts now"),
        pytest.param({"starts": AS_OF + SECOND}, "not yet in force", "FAIL", "not yet in force", id="starts later"),
        pytest.param(
            {"expires": AS_OF + timedelta(days=90)}, "live", "EXEMPT", "ends before the next audit", id="90 days"
        ),
        pytest.param({"expires": AS_OF + timedelta(days=90, seconds=1)}, "live", "EXEMPT", "", id="90 days, 1 s"),
    ],
)
def test_when_it_holds(values: dict[str, Any], state: str, verdict: str, note: str) -> None:
    result = apply(exemption(user="alice", **values), population=(PROD,))
    row = result.exemptions.iloc[0]
    found = result.findings.set_index("user").loc["alice"]
    assert (row["state"], row["note"], row["covers"]) == (state, note, 1)
    assert found["verdict"] == verdict
    assert found["exemption"] == ("EX-1" if verdict == "EXEMPT" else "")
    assert ("exemption EX-1 expired on 2026-11-23" in found["reason"]) == (state == "expired")


def test_of_several_all_are_named_and_one_that_is_live_is_enough() -> None:
    over = exemption(id="OLD", user="alice", expires=AS_OF)
    result = apply(exemption(user="a*"), over, exemption(id="EX-2", accounts=(PROD.account_id,)), population=(PROD,))
    found = result.findings.set_index("user").loc["alice"]
    assert (found["verdict"], found["exemption"]) == ("EXEMPT", "EX-1 EX-2")
    assert result.exemptions["covers"].tolist() == [1, 1, 3]
    assert result.exemptions["id"].tolist() == ["EX-1", "OLD", "EX-2"]


def test_frames_keep_their_types_whatever_is_exempt() -> None:
    bare, all_exempt = apply(), apply(exemption(accounts=tuple(each.account_id for each in POPULATION)))
    for name in ("findings", "credentials", "exemptions"):
        assert getattr(bare, name).dtypes.equals(getattr(all_exempt, name).dtypes)
    assert tuple(bare.exemptions.columns) == EXEMPTION_COLUMNS
    nobody = apply(exemption(user="alice"), population=())
    assert (len(nobody.findings), nobody.exemptions["note"].tolist()) == (0, ["matches nothing"])


@pytest.mark.parametrize(
    ("arn", "is_accepted"),
    [
        ("arn:*", False),
        ("arn:aws:iam::*", False),
        ("arn:aws:iam::*:user/*", False),
        ("arn:aws:iam::111122223333:*", True),
        ("arn:aws:iam::*:user/ci-*", True),
        ("arn:aws:iam::*:root", True),
    ],
)
def test_an_arn_that_names_nobody_is_refused(tmp_path: Path, arn: str, is_accepted: bool) -> None:
    text = (
        '[[exemption]]\nid = "E-1"\nchecks = ["access-key-not-rotated"]\nreason = "r"\nowner = "o"\napprover = "a"\n'
        f'ticket = "t"\nexpires = 2026-12-31\narn = "{arn}"\n'
    )
    (tmp_path / "x.toml").write_text(text)
    now = datetime(2026, 11, 23, tzinfo=UTC)
    if is_accepted:
        assert load_exemptions(tmp_path / "x.toml", now=now, max_days=365)[0].arn == arn
    else:
        with pytest.raises(ConfigError, match="arn must name an account or a user"):
            load_exemptions(tmp_path / "x.toml", now=now, max_days=365)
