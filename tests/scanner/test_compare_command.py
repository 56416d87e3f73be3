"""`credaudit compare`: what it says, writes and exits with."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from scanner.cli import app
from scanner.evidence import BEFORE, RunFolder
from scanner.models import Assessment, Outcome

from .simulation import member
from .stored_runs import OLD, A, B, Runs, aged, of_user, user

HOSTILE = "=1+1\x1b[31m\u202e"
Made = list[tuple[RunFolder, Assessment]]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Three runs: a key that fails; then another one too, of an account that joined; then both are gone."""
    runs = Runs(tmp_path / "runs")
    joined = replace(member(B, users=[user("=cmd", aged(2, OLD))]), name=HOSTILE)
    return [
        runs.add(of_user(aged(1, OLD))),
        runs.add(of_user(aged(1, OLD)), joined),
        runs.add(of_user(), member(B)),
        runs.add(of_user(), member(B), outcomes={A: Outcome.ACCESS_DENIED}),
    ]


def compare(made: Made, old: int, new: int, *options: str) -> Result:
    names = [made[number - 1][0].path.name for number in (old, new)]
    return CliRunner().invoke(app, ["compare", *names, "--runs-dir", str(made[0][0].path.parent), *options])


def test_it_says_what_is_new_and_nothing_in_a_name_acts(made: Made) -> None:
    result = compare(made, 1, 2)

    assert result.exit_code == 3
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        f"Findings since {made[0][0].path.name} (2026-01-02 00:00:00 UTC): 1 new, 0 reappeared, 1 still open,"
        " 0 not checked again, 0 resolved",
        "  1 account joined:",
        f"    {B} =1+1\\u001b[31m\\u202e: is scanned",
        "  New:",
        f"    FAIL medium access-key-not-rotated: {B} =1+1\\u001b[31m\\u202e, =cmd, access_key_1",
    ]


def test_it_writes_every_change_as_csv_and_as_json(made: Made, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = compare(made, 1, 2, "--format", "json", "--out", str(out))

    told = json.loads(result.stdout)
    assert result.stdout.isascii()
    assert told["old"] == {"run_id": made[0][0].path.name, "as_of": "2026-01-02T00:00:00Z"}
    assert told["new"] == {"run_id": made[1][0].path.name, "as_of": "2026-01-03T00:00:00Z", "complete": True}
    assert told["counts"] == {"new": 1, "reappeared": 0, "open": 1, "not_rechecked": 0, "resolved": 0}
    assert [(row["change"], row["account_name"], row["first_seen"]) for row in told["findings"]] == [
        ("new", HOSTILE, "2026-01-03T00:00:00Z"),
        ("open", "member", "2026-01-02T00:00:00Z"),
    ]
    with (out / "changes.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["change"], row["user"], row["open_days"]) for row in rows] == [
        ("new", "'=cmd", "0"),
        ("open", "ann", "1"),
    ]
    assert (
        (out / "account_changes.csv").read_text(encoding="utf-8").splitlines()[1].startswith(f"joined,{B},'=1+1\\u001b")
    )


@pytest.mark.parametrize(
    ("old", "new", "options", "code"),
    [
        (1, 2, (), 3),
        (1, 2, ("--fail-on", "high"), 0),
        (1, 2, ("--fail-on", "never"), 0),
        (2, 3, (), 0),
        (3, 4, (), 4),
        (2, 1, (), 2),
        (1, 1, (), 2),
    ],
)
def test_exit_codes(old: int, new: int, options: tuple[str, ...], code: int, made: Made) -> None:
    assert compare(made, old, new, *options).exit_code == code


def test_what_is_no_run_or_of_another_organization_is_refused(made: Made) -> None:
    other = made[1][0].path
    content = (other / "run.json").read_text().replace('"o-exampleorg1"', '"o-exampleorg2"')
    (other / "run.json").write_text(content)
    result = compare(made, 1, 2)
    assert (result.exit_code, "different organizations" in result.stderr) == (2, True)
    shutil.rmtree(other)
    result = compare(made, 1, 2)
    assert (result.exit_code, "is not the folder of a run" in result.stderr) == (2, True)


def test_changed_evidence_is_refused(made: Made) -> None:
    (made[1][0].path / "evidence" / f"{A}.csv").write_text("user,arn\n")
    assert compare(made, 1, 2).exit_code == 1
    (made[2][0].path / BEFORE).write_bytes(b"")
    assert compare(made, 1, 3).exit_code == 1
