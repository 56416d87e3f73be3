"""The run folder: who may read it, what survives a killed process, and what is refused."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from scanner.errors import EvidenceError
from scanner.evidence import RunFolder, lock_runs, open_for_replacement, previous_run, run_id, sha256_of
from scanner.models import (
    Account,
    Caller,
    Exemption,
    LedgerEntry,
    Limits,
    Outcome,
    Override,
    Rules,
    Run,
    Severity,
    Stop,
)

REPOSITORY = Path(__file__).parents[2]
ACCOUNT_ID = "111122223333"
STARTED = datetime(2026, 11, 23, 6, 15, tzinfo=UTC)
NAME = "20261123T061500Z-o-a1b2c3d4e5"


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "runs", NAME)


@pytest.fixture
def open_umask() -> Iterator[None]:
    """The umask of a careless host."""
    before = os.umask(0)
    yield
    os.umask(before)


@contextmanager
def refused_to_write() -> Iterator[pytest.ExceptionInfo[EvidenceError]]:
    with pytest.raises(EvidenceError) as caught:
        yield caught
    assert "cannot be written" in str(caught.value)
    assert "--runs-dir" in caught.value.advice
    assert caught.value.exit_code == 1


def a_run() -> Run:
    return Run(
        run_id=NAME,
        tool_version="0.1.0",
        python_version="3.11.9",
        organization_id="o-a1b2c3d4e5",
        management_account_id="123456789012",
        caller=Caller(account_id="123456789012", arn="arn:aws:iam::123456789012:user/auditor", partition="aws"),
        role_name="CredentialAudit",
        external_id_used=True,
        session_name="credaudit",
        session_policy={"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["iam:Get*"]}]},
        organization_role_arn="",
        endpoints={"iam": "https://iam.amazonaws.com"},
        as_of=STARTED,
        rules=Rules(checks=("access-key-not-rotated",)),
        parameters={"scan": {"concurrency": 200}, "organization": {"include_ous": ["Root/Prod"]}},
        started=STARTED,
        finished=STARTED + timedelta(minutes=3),
        resumed_from="20261122T061500Z-o-a1b2c3d4e5",
        stopped_by=None,
        notes=("The OU tree could not be read – ünïcode, \u2028 and =1+1.",),
        counts={"listed": 2, "scanned": 2},
    )


def an_entry(account_id: str = ACCOUNT_ID, **values: object) -> LedgerEntry:
    entry = LedgerEntry(
        account_id=account_id,
        outcome=Outcome.SCANNED,
        reason="line one\nline two \u2028 é",
        credentials="role",
        report_generated=STARTED,
        report_sha256="ab" * 32,
        report_bytes=1234,
        users=3,
        started=STARTED,
        finished=STARTED + timedelta(seconds=5, microseconds=250),
        attempts=4,
        throttles=1,
        request_ids=("request-1", "request-2"),
    )
    return replace(entry, **values)  # type: ignore[arg-type]


def account(account_id: str = ACCOUNT_ID) -> Account:
    return Account(
        account_id=account_id,
        name="../../=cmd\u2028",
        email="owner@example.com",
        state="ACTIVE",
        ou_path="Root/Prod",
        ou_ids=("r-ab12", "ou-ab12-cdef3456"),
        excluded_by="",
    )


# Who may read it


@pytest.mark.usefixtures("open_umask")
def test_folders_are_for_their_owner_alone_and_so_are_files(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    with lock_runs(runs):
        folder = RunFolder.create(runs, NAME)
        folder.write_run(a_run())
        folder.write_population([account()], [])
        folder.write_report(ACCOUNT_ID, b"report")
        folder.write_keys(ACCOUNT_ID, {"users": {}})
        with folder.open_ledger() as ledger:
            ledger.append(an_entry())
        with open_for_replacement(folder.reports / "findings.csv") as path:
            path.write_text("x")
        folder.write_manifest(None)

    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [runs, *runs.rglob("*")]}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}
    assert len(modes) == 4 + 8


@pytest.mark.usefixtures("open_umask")
def test_a_file_is_for_its_owner_alone_before_it_has_its_name(tmp_path: Path) -> None:
    with open_for_replacement(tmp_path / "findings.csv") as path:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.name == ".findings.csv.partial"
    assert [each.name for each in tmp_path.iterdir()] == ["findings.csv"]


def test_a_file_left_by_a_killed_process_is_replaced(tmp_path: Path) -> None:
    (tmp_path / ".findings.csv.partial").write_text("half")
    with open_for_replacement(tmp_path / "findings.csv") as path:
        assert path.read_text() == ""
        path.write_text("whole")
    assert (tmp_path / "findings.csv").read_text() == "whole"


def test_a_file_keeps_its_content_when_writing_the_new_one_fails(tmp_path: Path) -> None:
    final = tmp_path / "findings.csv"
    final.write_text("before")

    def write_half() -> None:
        with open_for_replacement(final) as path:
            path.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert [each.name for each in tmp_path.iterdir()] == ["findings.csv"]
    assert final.read_text() == "before"


# What comes back


def test_run_comes_back_as_it_was_written(folder: RunFolder) -> None:
    ruled = Rules(
        limits=Limits(access_key_max_age=timedelta(days=60, seconds=1)),
        checks=("access-key-not-rotated", "root-without-mfa"),
        severities={"root-without-mfa": Severity.LOW},
        overrides=(Override(ou="Root/Prod", limits={"root_unused": timedelta(0)}, severities={"x": Severity.HIGH}),),
        exemptions=(
            Exemption(
                id="E-1",
                checks=("access-key-not-rotated",),
                accounts=("012345678901",),
                user="ci-*",
                reason="=1+1",
                owner="o",
                approver="a",
                ticket="T-1",
                expires=datetime(2027, 1, 1, tzinfo=UTC),
            ),
        ),
        next_audit=timedelta(days=7),
    )
    for run in (
        a_run(),
        replace(a_run(), finished=None, counts=None, notes=(), stopped_by=Stop.SIGNAL),
        replace(a_run(), rules=ruled, totals={"high": 3, "EXEMPT": 1}),
    ):
        folder.write_run(run)
        assert folder.read_run() == run


def test_limits_are_written_as_durations_and_moments_in_utc(folder: RunFolder) -> None:
    folder.write_run(a_run())
    raw = json.loads((folder.path / "run.json").read_text())
    assert raw["rules"]["limits"]["access_key_max_age"] == "P90D"
    assert raw["as_of"] == "2026-11-23T06:15:00Z"


def test_population_comes_back_as_it_was_written(folder: RunFolder) -> None:
    accounts = [account(), account("012345678901")]
    folder.write_population(accounts, iter(["request-1"]))
    assert folder.read_population() == accounts


def test_report_comes_back_byte_for_byte(folder: RunFolder) -> None:
    content = bytes(range(256)) + b"\r\n\n"
    folder.write_report(ACCOUNT_ID, content)
    assert folder.read_report(ACCOUNT_ID) == content
    assert (folder.path / "evidence" / f"{ACCOUNT_ID}.csv").read_bytes() == content


def test_key_look_ups_come_back_and_are_empty_where_there_were_none(folder: RunFolder) -> None:
    assert folder.read_keys(ACCOUNT_ID) == {}
    folder.write_keys(ACCOUNT_ID, {"users": {"é=": {"looked_up": STARTED, "keys": [], "error": None}}})
    assert folder.read_keys(ACCOUNT_ID) == {
        "users": {"é=": {"looked_up": "2026-11-23T06:15:00Z", "keys": [], "error": None}}
    }


def test_what_is_no_evidence_is_not_written(folder: RunFolder) -> None:
    with pytest.raises(TypeError, match="set has no place in the evidence"):
        folder.write_keys(ACCOUNT_ID, {"users": {1, 2}})
    assert list((folder.path / "evidence").iterdir()) == []


# The ledger


def test_ledger_comes_back_and_its_last_line_of_an_account_counts(folder: RunFolder) -> None:
    assert folder.read_ledger() == {}
    with folder.open_ledger() as ledger:
        ledger.append(an_entry(outcome=Outcome.ERROR, report_generated=None))
        ledger.append(an_entry("012345678901"))
        ledger.append(an_entry())
    assert folder.read_ledger() == {ACCOUNT_ID: an_entry(), "012345678901": an_entry("012345678901")}


def test_ledger_is_on_disk_before_it_is_closed(folder: RunFolder) -> None:
    with folder.open_ledger() as ledger:
        ledger.append(an_entry())
        assert folder.read_ledger() == {ACCOUNT_ID: an_entry()}


def test_ledger_is_one_line_an_account_whatever_the_reason_says(folder: RunFolder) -> None:
    with folder.open_ledger() as ledger:
        ledger.append(an_entry())
        ledger.append(an_entry("012345678901"))
    assert (folder.path / "ledger.jsonl").read_bytes().count(b"\n") == 2
    assert (folder.path / "ledger.jsonl").read_bytes().isascii()


def test_ledger_survives_an_unfinished_last_line_wherever_it_was_cut(folder: RunFolder) -> None:
    with folder.open_ledger() as ledger:
        ledger.append(an_entry())
        ledger.append(an_entry("012345678901"))
    path = folder.path / "ledger.jsonl"
    content = path.read_bytes()
    first = content.index(b"\n") + 1
    for end in range(first, len(content) - 1):
        path.write_bytes(content[:end])
        assert list(folder.read_ledger()) == [ACCOUNT_ID]


def test_ledger_is_opened_for_adding(folder: RunFolder) -> None:
    for account_id in (ACCOUNT_ID, "012345678901"):
        with folder.open_ledger() as ledger:
            ledger.append(an_entry(account_id))
    assert list(folder.read_ledger()) == [ACCOUNT_ID, "012345678901"]


# The lock

HOLDER = """
import sys, time
from pathlib import Path
from scanner.evidence import lock_runs
with lock_runs(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the runs folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        if process.poll() is None:
            process.kill()


@pytest.mark.usefixtures("holder")
def test_a_second_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match="another run is writing to") as caught, lock_runs(tmp_path):
        pytest.fail("two runs hold one folder")
    assert "--runs-dir" in caught.value.advice


def test_the_lock_dies_with_its_process(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with lock_runs(tmp_path):
        pass


def test_the_lock_is_given_back_also_after_a_failure(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), lock_runs(tmp_path):
        raise ZeroDivisionError
    with lock_runs(tmp_path), pytest.raises(EvidenceError), lock_runs(tmp_path):
        pytest.fail("one process holds the folder twice")


# The manifest


def test_manifest_lists_every_other_file_with_its_hash_and_size(folder: RunFolder) -> None:
    folder.write_run(a_run())
    folder.write_report(ACCOUNT_ID, b"report")
    (folder.reports / "findings.csv").write_bytes(b"")
    folder.write_manifest(None)

    manifest = json.loads((folder.path / "manifest.json").read_text())

    assert manifest["run_id"] == NAME
    assert manifest["previous"] is None
    assert list(manifest["files"]) == [f"evidence/{ACCOUNT_ID}.csv", "reports/findings.csv", "run.json"]
    report = manifest["files"][f"evidence/{ACCOUNT_ID}.csv"]
    assert report == {"sha256": hashlib.sha256(b"report").hexdigest(), "bytes": 6}
    for name, entry in manifest["files"].items():
        content = (folder.path / name).read_bytes()
        assert entry == {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def test_manifest_is_chained_to_that_of_the_previous_run(tmp_path: Path, folder: RunFolder) -> None:
    folder.write_manifest(None)
    later = RunFolder.create(tmp_path / "runs", "20261124T061500Z-o-a1b2c3d4e5")
    later.write_manifest(previous_run(tmp_path / "runs", "o-a1b2c3d4e5", later.path.name))

    previous = json.loads((later.path / "manifest.json").read_text())["previous"]
    assert previous == {"run_id": NAME, "sha256": sha256_of(folder.path / "manifest.json")}


def test_previous_run_is_the_newest_finished_one_of_the_same_organization(tmp_path: Path) -> None:
    def run_of(name: str, *, finished: bool = True) -> Path:
        folder = RunFolder.create(tmp_path, name)
        if finished:
            folder.write_manifest(None)
        return folder.path

    run_of("20261101T000000Z-o-a1b2c3d4e5")
    newest = run_of("20261102T000000Z-o-a1b2c3d4e5")
    run_of("20261103T000000Z-o-a1b2c3d4e5", finished=False)
    run_of("20261104T000000Z-o-another0000")
    run_of("20261106T000000Z-o-a1b2c3d4e5")

    assert previous_run(tmp_path, "o-a1b2c3d4e5", "20261105T000000Z-o-a1b2c3d4e5") == newest
    assert previous_run(tmp_path, "o-a1b2c3d4e5", "20261101T000000Z-o-a1b2c3d4e5") is None
    assert previous_run(tmp_path / "none", "o-a1b2c3d4e5", "20261101T000000Z-o-a1b2c3d4e5") is None


# What is refused


@pytest.mark.parametrize(
    "account_id",
    ["", "11112222333", "1111222233334", "../../etc/pwd", "11112222333a", "111122223333\n", "12345678901/"],
)
def test_an_account_id_that_is_not_12_digits_never_names_a_file(folder: RunFolder, account_id: str) -> None:
    for act in (
        lambda: folder.write_report(account_id, b""),
        lambda: folder.write_keys(account_id, {}),
        lambda: folder.read_report(account_id),
        lambda: folder.read_keys(account_id),
    ):
        with pytest.raises(EvidenceError, match="not 12 digits"):
            act()
    assert list((folder.path / "evidence").iterdir()) == []


@pytest.mark.parametrize(
    "name", ["", "../x", "20261123T061500Z-o-../x", "20261123T061500Z-o-A", "20261123T061500Z-x-a1", f"{NAME}\n"]
)
def test_an_organization_id_that_is_none_never_names_a_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(EvidenceError, match="cannot name a folder"):
        RunFolder.create(tmp_path, name)
    assert list(tmp_path.iterdir()) == []


def test_a_run_never_writes_into_the_folder_of_another(tmp_path: Path, folder: RunFolder) -> None:
    with pytest.raises(EvidenceError, match="exists already") as caught:
        RunFolder.create(tmp_path / "runs", NAME)
    assert caught.value.advice == "Start again in a second."


def test_run_id_is_the_start_and_the_organization() -> None:
    assert run_id(STARTED, "o-a1b2c3d4e5") == NAME


# What cannot be written. Tests may run as root, whom permissions do not stop: a file stands where a folder should.


def test_runs_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with refused_to_write(), lock_runs(tmp_path / "runs"):
        pytest.fail("locked a file")
    with refused_to_write():
        RunFolder.create(tmp_path / "runs", NAME)


def test_lock_that_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / ".lock").mkdir()
    with refused_to_write(), lock_runs(tmp_path):
        pytest.fail("locked a folder")


def test_ledger_that_is_a_folder(folder: RunFolder) -> None:
    (folder.path / "ledger.jsonl").mkdir()
    with refused_to_write(), folder.open_ledger():
        pytest.fail("opened a folder")


def test_evidence_folder_that_has_gone(folder: RunFolder) -> None:
    (folder.path / "evidence").rmdir()
    with refused_to_write() as caught:
        folder.write_report(ACCOUNT_ID, b"report")
    assert f"{ACCOUNT_ID}.csv" in str(caught.value)


def test_file_whose_name_is_taken_by_a_folder(folder: RunFolder) -> None:
    (folder.path / "run.json").mkdir()
    with refused_to_write():
        folder.write_run(a_run())
    assert not (folder.path / ".run.json.partial").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_disk_full(folder: RunFolder) -> None:
    (folder.path / "ledger.jsonl").symlink_to("/dev/full")
    with folder.open_ledger() as ledger, refused_to_write() as caught:
        ledger.append(an_entry())
    assert "No space left" in str(caught.value)
    with (
        refused_to_write(),
        open_for_replacement(folder.reports / "findings.csv"),
        Path("/dev/full").open("wb", 0) as full,
    ):
        full.write(b"x")
    assert list(folder.reports.iterdir()) == []
