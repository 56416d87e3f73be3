"""The audit procedures of CIS's benchmark, written over plain CSV rows, against the verdicts of the checks.

Nothing of ours is used to read the rows. Where a value is not of the form that AWS documents, CIS says nothing, and the
verdict has to be UNKNOWN.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from itertools import product
from pathlib import Path

import pandas as pd
import pytest

from scanner.evaluate import evaluate
from scanner.models import Rules
from scanner.normalize import RawReport, normalize

from .report_lines import ACCOUNT, AS_OF, ROOT, Cells, ago, cells_of, key, password, raw, report

REPORTS = Path(__file__).parents[1] / "data" / "credential_reports"
PASS, FAIL, UNKNOWN = "PASS", "FAIL", "UNKNOWN"
Verdicts = dict[str, str]
"""Credential → verdict; the user's own stands under `password`."""


class Undecided(Exception):
    """A value that is not of a form that AWS documents."""


def boolean(text: str) -> bool:
    if text.upper() not in ("TRUE", "FALSE"):
        raise Undecided(text)
    return text.upper() == "TRUE"


def moment(text: str) -> datetime:
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise Undecided(text) from None
    if text[10:11] != "T" or when.tzinfo is None or when.year < 1900 or when > AS_OF + timedelta(minutes=5):
        raise Undecided(text)
    return when


def says_all(row: Cells) -> bool:
    """Whether the row shows every credential of its user."""
    if row.get("additional_credentials_info") not in (None, "", "N/A", "0"):
        raise Undecided(row["additional_credentials_info"])
    return True


def decided(question: Callable[[], bool]) -> str:
    """Whether it holds; UNKNOWN where a value that it looks at cannot be read."""
    try:
        return PASS if question() else FAIL
    except Undecided:
        return UNKNOWN


def keys_of(row: Cells) -> Iterator[tuple[str, str]]:
    """Each slot's name and what AWS says of its being active."""
    for name in ("access_key_1", "access_key_2"):
        yield name, row[f"{name}_active"]


def is_off(text: str) -> bool:
    return text.upper() == "FALSE"


def no_root_key(row: Cells) -> Verdicts:
    """1.4: both access_key_1_active and access_key_2_active of root are FALSE."""
    if row["user"] != ROOT:
        return {}
    states = [state for _, state in keys_of(row)]
    if "TRUE" in map(str.upper, states):
        return {"password": FAIL}
    return {"password": decided(lambda: sum(map(boolean, states)) == 0 and says_all(row))}


def root_mfa(row: Cells) -> Verdicts:
    """1.5: mfa_active of root is TRUE. Where root cannot sign in we pass, as Security Hub does; see docs/checks.md."""
    if row["user"] != ROOT:
        return {}
    if all(is_off(state) for state in (row["password_enabled"], *(state for _, state in keys_of(row)))):
        return {"password": PASS}
    verdict = decided(lambda: boolean(row["mfa_active"]))
    return {"password": UNKNOWN if verdict == FAIL and ":aws-us-gov:" in row["arn"] else verdict}


def console_mfa(row: Cells) -> Verdicts:
    """1.10: where password_enabled is TRUE, mfa_active is TRUE."""
    if row["user"] == ROOT or is_off(row["password_enabled"]):
        return {}
    if row["mfa_active"].upper() == "TRUE":
        return {"password": PASS}
    return {"password": decided(lambda: boolean(row["mfa_active"]) or not boolean(row["password_enabled"]))}


def used_lately(row: Cells) -> Verdicts:
    """1.12: used less than 45 days ago; never used, then changed (passwords) or made (keys) less than 45 days ago."""
    if row["user"] == ROOT:
        return {}

    def is_recent(state: str, used: str, made: str) -> bool:
        boolean(state)
        return AS_OF - moment(made if used in ("no_information", "N/A") else used) < timedelta(days=45)

    asked = [("password", row["password_enabled"], row["password_last_used"], row["password_last_changed"])]
    asked += [(name, state, row[f"{name}_last_used_date"], row[f"{name}_last_rotated"]) for name, state in keys_of(row)]
    return {name: decided(lambda c=cells: is_recent(*c)) for name, *cells in asked if not is_off(cells[0])}


def one_key(row: Cells) -> Verdicts:
    """1.13: not both keys are active."""
    if row["user"] == ROOT:
        return {}
    states = [state for _, state in keys_of(row)]
    if any(map(is_off, states)):
        return {"password": decided(lambda: says_all(row))}
    return {"password": decided(lambda: sum(map(boolean, states)) < 2 and says_all(row))}


def rotated(row: Cells) -> Verdicts:
    """1.14: an active key was made 90 days ago or less; of root's, too."""

    def is_young(state: str, made: str) -> bool:
        boolean(state)
        return AS_OF - moment(made) <= timedelta(days=90)

    return {
        name: decided(lambda s=state, n=name: is_young(s, row[f"{n}_last_rotated"]))
        for name, state in keys_of(row)
        if not is_off(state)
    }


def not_at_setup(row: Cells) -> Verdicts:
    """1.11: the times at which a console user and their active key were made do not match."""
    if row["user"] == ROOT or is_off(row["password_enabled"]):
        return {}

    def is_apart(state: str, made: str) -> bool:
        apart = moment(made) - moment(row["user_creation_time"])
        if apart > timedelta(seconds=60):
            return True
        if apart < timedelta(0):
            raise Undecided(made)
        return not (boolean(state) and boolean(row["password_enabled"]))

    return {
        name: decided(lambda s=state, n=name: is_apart(s, row[f"{n}_last_rotated"]))
        for name, state in keys_of(row)
        if not is_off(state)
    }


AUDITS: dict[str, Callable[[Cells], Verdicts]] = {
    "root-access-key-exists": no_root_key,
    "root-without-mfa": root_mfa,
    "console-user-without-mfa": console_mfa,
    "credential-unused": used_lately,
    "several-active-access-keys": one_key,
    "access-key-not-rotated": rotated,
    "access-key-created-with-user": not_at_setup,
}
GOLDEN = sorted(
    path.name
    for path in REPORTS.glob("*.csv")
    if path.name.count(".") == 1 and not path.with_suffix(".refused.txt").exists()
)
OPTIONAL = {"password_enabled": "false", "password_last_used": "N/A", "password_last_changed": "N/A"}


def rows_of(content: bytes) -> list[Cells]:
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def every_combination() -> list[RawReport]:
    """Users, and root users of accounts of their own, with every combination of what a cell may say."""
    dates = (ago(44), ago(45), ago(90), ago(91), "N/A", "not a date")
    passwords = [
        *(password("N/A", "N/A", mfa, "false") for mfa in ("true", "false")),
        *(password(*each) for each in product((ago(44), ago(45), "no_information", "?"), dates[1:], ("true", "false"))),
        *(password(mfa=mfa, enabled=on) for mfa in ("TRUE", "false", "") for on in ("TRUE", "not_supported")),
    ]
    keys = [
        *({}, key(active="false"), key(active="not_supported"), key(made=ago(400)), key(made=ago(400), active="?")),
        *(key(made=made, used=used) for made in dates for used in (ago(44), ago(45), "N/A", "-")),
    ]
    seconds = ({}, key(2), key(2, ago(91), "N/A"), key(2, active="false"), key(2, active=""))
    lines = [first | one | two for first, one, two in product(passwords[::3], keys, seconds)]
    lines += [first | one for first, one in product(passwords, keys[:5])]
    users = [cells_of(f"user-{number}", cells) for number, cells in enumerate(lines)]
    root_lines = [*product(passwords[:2] + passwords[-6:], keys[:5], seconds)]
    accounts = [replace(ACCOUNT, account_id=f"{200_000_000_000 + number}") for number in range(len(root_lines))]
    roots = [
        raw(report([cells_of(ROOT, first | one | two, account.account_id)]), account)
        for account, (first, one, two) in zip(accounts, root_lines, strict=True)
    ]
    gov = cells_of(ROOT, password(mfa="false") | {"arn": f"arn:aws-us-gov:iam::{ACCOUNT.account_id}:root"})
    return [raw(report([gov, *users])), *roots]


@cache
def judged(name: str) -> tuple[list[tuple[str, Cells]], pd.DataFrame]:
    """Account and row of all rows; and all verdicts on their credentials."""
    if name == "every combination":
        reports = every_combination()
    else:
        account_id = "012345678901" if name == "account_with_leading_zero.csv" else ACCOUNT.account_id
        reports = [raw((REPORTS / name).read_bytes(), replace(ACCOUNT, account_id=account_id))]
    rows = [(each.account.account_id, OPTIONAL | row) for each in reports for row in rows_of(each.content)]
    credentials, _, _ = evaluate(normalize(reports), (), Rules(), AS_OF)
    return rows, credentials


@pytest.mark.parametrize("check_id", AUDITS)
@pytest.mark.parametrize("name", [*GOLDEN, "every combination"])
def test_verdicts_are_those_of_the_audit(check_id: str, name: str) -> None:
    rows, credentials = judged(name)
    said = credentials[f"verdict:{check_id}"]
    asked = credentials[said.ne("") & credentials["credential"].ne("additional_credentials")]
    keys = (asked["account_id"], asked["user"], asked["credential"].astype(str))
    ours = dict(zip(zip(*keys, strict=True), said[asked.index], strict=True))
    theirs = {
        (account_id, row["user"], credential): verdict
        for account_id, row in rows
        for credential, verdict in AUDITS[check_id](row).items()
    }
    different = {
        each: (ours.get(each), theirs.get(each)) for each in ours | theirs if ours.get(each) != theirs.get(each)
    }
    assert different == {}


@pytest.mark.parametrize("check_id", AUDITS)
def test_the_combinations_show_every_verdict(check_id: str) -> None:
    rows, _ = judged("every combination")
    assert {verdict for _, row in rows for verdict in AUDITS[check_id](row).values()} == {PASS, FAIL, UNKNOWN}
