"""Three runs over the wire, then all that can be done to them on disk: each change is named, and nothing else is."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import socket
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from reports.csv import tables, write_csv
from scanner.errors import ConfigError, EvidenceError
from scanner.evidence import MANIFEST, RunFolder, previous_run, seal, sha256_of
from scanner.history import with_history
from scanner.manifest import compare_chain, compare_files, read_manifest
from scanner.simulator import SimulatedUser, Simulator
from scanner.terminal import Terminal
from scanner.verify import MOST_SHOWN, Verification, find_run, verify

from .scanning import NOW, Scan, scanner_in
from .simulation import key, member, organization

A, B = "444455556666", "555566667777"
DAY = timedelta(days=1)
NAMES = ["=SUM(1,2)", "müller\u202e", "a,b", "plain"]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runs folder with three runs of one organization, a day apart."""
    runs_dir = tmp_path_factory.mktemp("pristine") / "runs"
    old = NOW - 200 * DAY
    users = [
        SimulatedUser(name, old, keys=(key(10 * number, created=old + number * DAY), key(10 * number + 1, created=old)))
        for number, name in enumerate(NAMES)
    ]
    with pytest.MonkeyPatch.context() as patch:
        scan: Scan = scanner_in(runs_dir, patch)
        for back in (2, 1, 0):
            simulator = Simulator(organization(member(A, users=users), member(B)))
            folder, assessment = scan(simulator, started=NOW - back * DAY)
            close(folder, with_history(folder, assessment, write=True))
    return runs_dir


def close(folder: RunFolder, assessment: Any) -> None:
    """As the command does it at the end of a scan."""
    for name, frame in tables(assessment).items():
        write_csv(frame, folder.reports / name)
    folder.write_run(assessment.run)
    reseal(folder.path)


def reseal(run: Path) -> None:
    """A manifest of the files as they are now: what somebody does who wants a change not to show."""
    folder = RunFolder(run)
    folder.write_manifest(previous_run(run.parent, run.name.partition("Z-")[2], run.name))


@pytest.fixture
def runs(pristine: Path, tmp_path: Path) -> list[Path]:
    """Copies of the runs, the earliest first."""
    shutil.copytree(pristine, tmp_path / "runs")
    return sorted(path for path in (tmp_path / "runs").iterdir() if path.is_dir())


def files_of(run: Path) -> list[str]:
    return sorted(path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file())


def said(result: Verification) -> list[str]:
    return [str(each) for each in result.differences]


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def test_runs_as_they_were_left_hold_and_are_not_touched(runs: list[Path]) -> None:
    def state() -> dict[str, Any]:
        return {str(path): path.stat()[:9] for path in runs[0].parent.rglob("*")}

    before = state()
    for run in runs:
        result = verify(run)
        assert (said(result), result.holds, result.runs) == ([], True, 3)
        assert result.sha256 == sha256_of(run / MANIFEST)
        assert result.files == len(files_of(run)) - 1 >= 9
    without_access_time = {name: value[:7] + value[8:] for name, value in state().items()}
    assert without_access_time == {name: value[:7] + value[8:] for name, value in before.items()}


# Files


def test_a_changed_byte_of_any_file_is_named(runs: list[Path]) -> None:
    run, manifest = runs[1], read_manifest(runs[1])
    for name in manifest.files:
        whole = (run / name).read_bytes()
        for at in {0, len(whole) // 2, len(whole) - 1}:
            flip(run / name, at)
            assert [each.where for each in compare_files(run, manifest)] == [name]
            (run / name).write_bytes(whole)
    assert {*manifest.files, MANIFEST} == set(files_of(run))
    flip(run / "run.json", 5)
    assert verify(run).differences[0].where == "run.json"


def test_a_change_of_any_byte_of_the_manifest_shows_even_in_the_latest_run(runs: list[Path]) -> None:
    run = runs[-1]
    whole = (run / MANIFEST).read_bytes()
    for at in (*range(0, len(whole), 7), *range(len(whole) - 90, len(whole))):
        flip(run / MANIFEST, at)
        with pytest.raises(EvidenceError):
            read_manifest(run)
        (run / MANIFEST).write_bytes(whole)
    for other in (whole[:-1], whole + b"\n", whole + b"\0", b"\xef\xbb\xbf" + whole, whole.replace(b": ", b":  ", 1)):
        (run / MANIFEST).write_bytes(other)
        with pytest.raises(EvidenceError):
            read_manifest(run)


def test_a_manifest_of_other_spacing_is_told_from_one_of_other_content(runs: list[Path]) -> None:
    whole = json.loads((runs[0] / MANIFEST).read_bytes())
    (runs[0] / MANIFEST).write_text(json.dumps(whole))
    assert said(verify(runs[0]))[0].endswith("its spacing is not what its own SHA-256 was taken of")
    (runs[0] / MANIFEST).write_text(json.dumps(whole | {"previous": None, "files": {}}, indent=1) + "\n")
    assert said(verify(runs[0]))[0].endswith("its content is not what its own SHA-256 was taken of")


def test_every_missing_file_is_named(runs: list[Path]) -> None:
    run, manifest = runs[1], read_manifest(runs[1])
    for name in manifest.files:
        whole = (run / name).read_bytes()
        (run / name).unlink()
        assert [str(each) for each in compare_files(run, manifest)] == [f"{name}: is missing"]
        (run / name).write_bytes(whole)
    (run / MANIFEST).unlink()
    assert said(verify(run))[0] == f"{MANIFEST}: is missing: the run did not finish, or the file was removed"


def replace_by_link(path: Path) -> None:
    target = path.parent.parent.parent / "elsewhere"
    shutil.move(path, target)
    path.symlink_to(target)


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replace_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (replace_by_link, "a symbolic link"),
        (replace_by_folder, "a folder"),
        (replace_by_pipe, "a device, pipe or socket"),
    ],
)
@pytest.mark.parametrize("name", ["run.json", f"evidence/{A}.csv", "reports/findings.csv", "ledger.jsonl", MANIFEST])
def test_what_is_no_file_any_more_is_named_and_not_read(
    runs: list[Path], change: Callable[[Path], None], kind: str, name: str
) -> None:
    change(runs[1] / name)
    first = verify(runs[1]).differences[0]
    assert (first.where, first.what.startswith(f"is {kind}, not ")) == (name, True)


def add_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as it:
        os.chdir(path.parent)  # the path of a socket has 107 bytes at most
        it.bind(path.name)


@pytest.mark.parametrize(
    ("name", "add"),
    [
        ("notes.txt", Path.touch),
        (".hidden", Path.touch),
        ("reports/.findings.csv.partial", Path.touch),
        ("evidence/000000000000.csv", Path.touch),
        ("reports/manifest.json", Path.touch),
        ("reports/empty", Path.mkdir),
        ("evidence/link", lambda path: path.symlink_to("/etc")),
        ("evidence/dangling", lambda path: path.symlink_to("nowhere")),
        ("evidence/pipe", os.mkfifo),
        ("socket", add_socket),
        (b"reports/\xff\n\x1b[2J".decode(errors="surrogateescape"), Path.touch),
    ],
)
def test_what_was_added_is_named(
    runs: list[Path], name: str, add: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(runs[0])
    add(runs[1] / name)
    result = verify(runs[1])
    assert result.differences[0].where == name
    assert "is not in the manifest: a" in result.differences[0].what
    assert all("nothing was derived" in each.what for each in result.differences[1:])


def test_a_manifest_named_file_below_the_run_is_sealed_like_any_other(runs: list[Path]) -> None:
    (runs[-1] / "reports" / MANIFEST).write_text("{}")
    reseal(runs[-1])
    assert verify(runs[-1]).holds
    flip(runs[-1] / "reports" / MANIFEST, 0)
    assert [each.where for each in verify(runs[-1]).differences] == [f"reports/{MANIFEST}"]


def test_a_run_under_another_name_is_told(runs: list[Path]) -> None:
    renamed = runs[2].with_name("20200101T000000Z-o-exampleorg1")
    runs[2].rename(renamed)
    assert f"{MANIFEST}: is of run {runs[2].name}, not of {renamed.name}" in said(verify(renamed))


SOUND = {"sha256": "ab" * 32, "bytes": 1}
NAME = "20261123T061500Z-o-a1b2c3d4e5"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 200_000,
        b'{"sha256": ' + b"9" * 5000 + b"}",
        seal({}),
        seal({"run_id": NAME, "previous": None, "files": {}, "more": 1}),
        *(
            seal({"run_id": run_id, "previous": None, "files": {}})
            for run_id in (None, 7, "", "../x", f"{NAME}/..", [])
        ),
        *(
            seal({"run_id": NAME, "previous": previous, "files": {}})
            for previous in (
                [],
                "x",
                {},
                {"run_id": NAME},
                {"run_id": "../..", "sha256": None},
                {"run_id": NAME, "sha256": 7},
                {"run_id": NAME, "sha256": "AB" * 32},
                {"run_id": NAME, "sha256": None, "more": 1},
            )
        ),
        *(
            seal({"run_id": NAME, "previous": None, "files": {name: SOUND}})
            for name in ("", ".", "..", "../x", "/etc/passwd", "a/../b", "./a", "a//b", "a/", "a\0b")
        ),
        *(
            seal({"run_id": NAME, "previous": None, "files": {"a": entry}})
            for entry in (None, [], {}, {"sha256": "ab" * 32}, {**SOUND, "bytes": "1"}, {**SOUND, "bytes": True})
        ),
        *(
            seal({"run_id": NAME, "previous": None, "files": {"a": entry}})
            for entry in (
                {**SOUND, "bytes": -1},
                {**SOUND, "bytes": 1e300},
                {**SOUND, "sha256": None},
                {**SOUND, "x": 1},
            )
        ),
        *(seal({"run_id": NAME, "previous": None, "files": files}) for files in (None, [], "x", 7)),
    ],
)
def test_a_hostile_manifest_is_named_and_leads_nowhere(runs: list[Path], content: bytes) -> None:
    (runs[1] / MANIFEST).write_bytes(content)
    first = verify(runs[1]).differences[0]
    assert (first.where, first.what.startswith("is not as credaudit writes it")) == (MANIFEST, True)


def test_a_manifest_that_is_too_large_is_not_read(runs: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scanner.manifest.MOST_BYTES", 100)
    assert "more than any manifest" in said(verify(runs[1]))[0]


# The chain


def test_a_run_deleted_in_the_middle_shows_from_both_sides(runs: list[Path]) -> None:
    shutil.rmtree(runs[1])
    for run in (runs[0], runs[2]):
        assert said(verify(run)) == [
            f"chain, {runs[2].name}: the run before it was {runs[1].name}: it is not in {runs[0].parent}"
        ]


def test_a_deleted_first_run_shows_in_all_later_ones(runs: list[Path]) -> None:
    shutil.rmtree(runs[0])
    assert [said(verify(run)) for run in runs[1:]] == 2 * [
        [f"chain, {runs[1].name}: the run before it was {runs[0].name}: it is not in {runs[0].parent}"]
    ]


def test_a_run_without_its_manifest_breaks_the_chain(runs: list[Path]) -> None:
    (runs[1] / MANIFEST).unlink()
    assert f"the run before it was {runs[1].name}: its {MANIFEST} is missing" in said(verify(runs[2]))[0]


def test_a_run_that_was_changed_and_sealed_again_shows_in_the_one_after_it(runs: list[Path]) -> None:
    (runs[1] / "reports" / "notes.txt").touch()
    reseal(runs[1])
    for run in runs:
        (difference,) = verify(run).differences
        assert difference.where == f"chain, {runs[2].name}"
        assert difference.what.startswith(f"{runs[1].name}/{MANIFEST} was changed after this run: its SHA-256 is ")


def test_a_damaged_manifest_of_another_run_is_named_by_its_run(runs: list[Path]) -> None:
    flip(runs[2] / MANIFEST, 40)
    assert [each.where for each in verify(runs[0]).differences] == [f"{runs[2].name}/{MANIFEST}"]


def test_a_run_that_was_put_in_shows(runs: list[Path]) -> None:
    started = (NOW - DAY / 2).strftime("%Y%m%dT%H%M%SZ")
    added = runs[1].with_name(runs[1].name.replace(runs[1].name[:16], started))
    shutil.copytree(runs[1], added)
    reseal(added)
    assert f"chain, {runs[2].name}: names {runs[1].name} as the run before it, but {added.name} is later" in said(
        verify(runs[0])
    )


def resealed_with(run: Path, previous: Any) -> None:
    content = json.loads((run / MANIFEST).read_bytes()) | {"previous": previous}
    del content["sha256"]
    (run / MANIFEST).write_bytes(seal(content))


def test_a_latest_run_that_denies_the_ones_before_it(runs: list[Path]) -> None:
    resealed_with(runs[2], None)
    assert said(verify(runs[2])) == [f"chain, {runs[2].name}: names no run before it, but {runs[1].name} is"]


def test_a_run_whose_predecessor_is_later_or_itself(runs: list[Path]) -> None:
    for later in (runs[0].name, runs[1].name):
        resealed_with(runs[0], {"run_id": later, "sha256": None})
        differences = compare_chain(runs[0], read_manifest(runs[0]))[1]
        assert f"names {later} as the run before it, which began later" in differences[0].what


def test_a_gap_that_was_there_when_the_run_was_closed(runs: list[Path]) -> None:
    resealed_with(runs[2], {"run_id": runs[1].name, "sha256": None})
    assert "could not be read when this run was closed" in said(verify(runs[2]))[0]


def test_runs_of_other_organizations_and_unfinished_ones_are_no_part_of_the_chain(runs: list[Path]) -> None:
    RunFolder.create(runs[0].parent, "20200101T000000Z-o-another0000").write_manifest(None)
    RunFolder.create(runs[0].parent, runs[1].name.replace(runs[1].name[:8], "20200102"))
    shutil.copytree(runs[1], f"{runs[1]}.report-20261123T061500Z")
    assert verify(runs[1]).holds


# Numbers


def change_cell(path: Path, row: int, column: str, value: str) -> str:
    """Write a value into a row, counted as a spreadsheet does, and give the one that was there."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    at = rows[0].index(column)
    before, rows[row - 1][at] = rows[row - 1][at], value
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return before


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("findings.csv", "age_days", "91"),
        ("findings.csv", "verdict", "PASS"),
        ("findings.csv", "first_seen", "2026-01-01T00:00:00Z"),
        ("findings.csv", "user", "somebody"),
        ("credentials.csv", "failed_checks", "root-without-mfa"),
        ("credentials.csv", "last_rotated", "2026-01-01T00:00:00Z"),
        ("accounts.csv", "outcome", "excluded"),
        ("accounts.csv", "failing", "77"),
    ],
)
def test_a_changed_cell_is_named_though_the_run_was_sealed_again(
    runs: list[Path], table: str, column: str, value: str
) -> None:
    before = change_cell(runs[-1] / "reports" / table, 3, column, value)
    reseal(runs[-1])
    assert said(verify(runs[-1])) == [
        f"reports/{table} row 3, {column}: {value or 'nothing'} in the file, {before or 'nothing'} from the evidence"
    ]


def test_rows_that_were_taken_out_or_put_in_are_named(runs: list[Path]) -> None:
    path = runs[-1] / "reports" / "accounts.csv"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:1] + lines[2:]))
    reseal(runs[-1])
    assert said(verify(runs[-1]))[0] == (
        f"reports/accounts.csv: {len(lines) - 1} rows in the file, {len(lines)} rows from the evidence"
    )
    (row,) = said(verify(runs[-1]))[1:]
    assert re.match(r"reports/accounts.csv row 2: \d{12}, .*… follows from the evidence, and is not in the file", row)

    path.write_bytes(b"".join([*lines, lines[1]]))
    reseal(runs[-1])
    (row,) = said(verify(runs[-1]))[1:]
    assert row.startswith(f"reports/accounts.csv row {len(lines) + 1}: ")
    assert row.endswith("is in the file, and does not follow from the evidence")


def test_a_column_that_was_renamed_and_a_file_written_otherwise(runs: list[Path]) -> None:
    path = runs[-1] / "reports" / "accounts.csv"
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"outcome", b"result", 1))
    reseal(runs[-1])
    assert any(
        each.startswith("reports/accounts.csv row 1: account_id, ")
        and each.endswith("does not follow from the evidence")
        for each in said(verify(runs[-1]))
    )
    path.write_bytes(whole.replace(b"\r\n", b"\n"))
    reseal(runs[-1])
    assert said(verify(runs[-1])) == ["reports/accounts.csv: differs in its quotes or line ends, not in a value"]
    path.unlink()
    reseal(runs[-1])
    assert said(verify(runs[-1])) == ["reports/accounts.csv: is not there to be compared"]


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\0", b'"' + b"x" * 200_000, b"a,b\r\n" * 30])
def test_a_table_that_is_none(runs: list[Path], content: bytes) -> None:
    (runs[-1] / "reports" / "findings.csv").write_bytes(content)
    reseal(runs[-1])
    result = verify(runs[-1])
    assert not result.holds
    assert all(each.where.startswith(("reports/findings.csv", "evidence")) for each in result.differences)


def edit_json(path: Path, change: Callable[[Any], object]) -> None:
    content = json.loads(path.read_bytes())
    change(content)
    path.write_text(json.dumps(content, indent=1) + "\n")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda run: run["counts"].update(scanned=7), "run.json, counts.scanned: 7 in the file, 4 from the evidence"),
        (lambda run: run["counts"].update(lost=1), "run.json, counts.lost: 1 in the file, nothing from the evidence"),
        (
            lambda run: run["totals"].pop("UNKNOWN"),
            "run.json, totals.UNKNOWN: nothing in the file, 0 from the evidence",
        ),
        (lambda run: run.update(complete=False), "run.json, complete: False in the file, True from the evidence"),
        (lambda run: run.update(finished=None), "run.json: says that the run did not finish"),
        (lambda run: run.update(rules=7), "run.json: is not as credaudit writes it: ValidationError"),
        (lambda run: run.update(as_of="yesterday"), "run.json: is not as credaudit writes it: ValueError"),
        (lambda run: run.clear(), "run.json: is not as credaudit writes it: KeyError"),
        (lambda run: run.update(counts=[]), "run.json, counts.listed: nothing in the file, 4 from the evidence"),
        (lambda run: run.update(counts=[1]), "evidence: the findings cannot be derived from it: AttributeError"),
        (lambda run: run.update(parameters=[]), "evidence: the findings cannot be derived from it: AttributeError"),
    ],
)
def test_a_changed_run_json_is_named(runs: list[Path], change: Callable[[Any], object], expected: str) -> None:
    edit_json(runs[-1] / "run.json", change)
    reseal(runs[-1])
    assert said(verify(runs[-1]))[0].startswith(expected)


def test_other_rules_than_those_it_was_decided_by_give_other_findings(runs: list[Path]) -> None:
    edit_json(runs[-1] / "run.json", lambda run: run["rules"]["limits"].update(access_key_max_age="P3650D"))
    reseal(runs[-1])
    places = [each.where for each in verify(runs[-1]).differences]
    assert any(place.startswith("run.json, totals.") for place in places)
    assert any(place.startswith("reports/findings.csv") for place in places)


def edit_ledger(run: Path, of: str, /, **values: Any) -> None:
    lines = [json.loads(line) for line in (run / "ledger.jsonl").read_text().splitlines()]
    lines = [line | values if line["account_id"] == of else line for line in lines]
    (run / "ledger.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def test_a_report_that_is_not_the_one_of_the_ledger(runs: list[Path]) -> None:
    path = runs[-1] / "evidence" / f"{A}.csv"
    before, size = sha256_of(path), path.stat().st_size
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))
    reseal(runs[-1])
    shown = said(verify(runs[-1]))
    where = f"ledger.jsonl, account {A}"
    assert shown[0] == f"{where}, report_sha256: {before} in the file, {sha256_of(path)} from the evidence"
    assert shown[1] == f"{where}, report_bytes: {size} in the file, {path.stat().st_size} from the evidence"
    assert shown[2] == f"{where}, users: {len(lines) - 1} in the file, {len(lines) - 2} from the evidence"


def test_a_report_that_is_none_or_gone(runs: list[Path]) -> None:
    path = runs[-1] / "evidence" / f"{A}.csv"
    path.write_bytes(b"no report")
    reseal(runs[-1])
    assert said(verify(runs[-1]))[0].startswith(f"evidence/{A}.csv: is not the report of a scanned account: ")
    path.unlink()
    reseal(runs[-1])
    assert said(verify(runs[-1]))[0].startswith(f"evidence/{A}.csv: is not the report of a scanned account: ")


def test_an_account_that_vanished_from_the_ledger_or_the_listing(runs: list[Path]) -> None:
    whole = (runs[-1] / "ledger.jsonl").read_text()
    edit_ledger(runs[-1], B, account_id="999988887777")
    reseal(runs[-1])
    shown = said(verify(runs[-1]))
    assert f"ledger.jsonl: account {B} has no line" in shown
    assert "ledger.jsonl: account 999988887777 has a line, but was not listed" in shown

    (runs[-1] / "ledger.jsonl").write_text(whole)
    path = runs[-1] / "evidence" / "organization.json"
    edit_json(path, lambda it: it.update(accounts=[each for each in it["accounts"] if each["account_id"] != B]))
    reseal(runs[-1])
    assert f"ledger.jsonl: account {B} has a line, but was not listed" in said(verify(runs[-1]))
    path.write_text("[]")
    reseal(runs[-1])
    assert "organization.json is not as credaudit writes it" in said(verify(runs[-1]))[0]


def test_an_account_that_was_declared_excluded(runs: list[Path]) -> None:
    edit_ledger(runs[-1], A, outcome="excluded")
    reseal(runs[-1])
    shown = said(verify(runs[-1]))
    assert "run.json, counts.scanned: 4 in the file, 3 from the evidence" in shown
    assert "run.json, counts.excluded: 0 in the file, 1 from the evidence" in shown


def test_first_seen_of_a_run_whose_predecessors_are_gone_is_what_it_noted(runs: list[Path]) -> None:
    shutil.rmtree(runs[0])
    shutil.rmtree(runs[1])
    assert len(verify(runs[2]).differences) == 1  # the chain
    change_cell(runs[2] / "reports" / "findings.csv", 2, "first_seen", "2026-01-01T00:00:00Z")
    reseal(runs[2])
    assert "reports/findings.csv row 2, first_seen: 2026-01-01T00:00:00Z in the file" in said(verify(runs[2]))[-1]


def test_many_differences_are_counted_and_the_first_are_shown(runs: list[Path]) -> None:
    path = runs[-1] / "reports" / "credentials.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = len(list(csv.reader(file)))
    for row in range(2, rows + 1):
        for column in ("age_days", "arn", "user"):
            change_cell(path, row, column, "x" * 100)
    reseal(runs[-1])
    result = verify(runs[-1])
    assert len(result.differences) == MOST_SHOWN
    assert result.count == 3 * (rows - 1) > MOST_SHOWN
    assert "x" * 80 + "… in the file" in said(result)[0]


def test_another_version_is_told_where_it_may_be_the_reason(runs: list[Path]) -> None:
    edit_json(runs[-1] / "run.json", lambda run: run.update(tool_version="0.0.1"))
    reseal(runs[-1])
    assert verify(runs[-1]).note == ""
    change_cell(runs[-1] / "reports" / "findings.csv", 2, "age_days", "1")
    reseal(runs[-1])
    assert "made by credaudit 0.0.1" in verify(runs[-1]).note


# What is shown


def test_names_of_files_and_cells_do_nothing_to_a_terminal(
    runs: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (runs[-1] / "reports" / "\x1b[2J\nVERIFIED [red]x\u202e").touch()
    change_cell(runs[-1] / "reports" / "findings.csv", 2, "user", "\x1b[2J\x07\nCOMPLETE\u2028")
    Terminal().verified(verify(runs[-1]))
    shown = capsys.readouterr().err
    assert [line[:9] for line in shown.splitlines()] == [f"DIFFERS {runs[-1].name[0]}", *3 * ["  reports"]]
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e]", shown)
    assert r"\x1b" in shown or r"\u001b[2J\nVERIFIED [red]x\u202e" in shown

    Terminal(as_json=True).verified(verify(runs[-1]))
    (line,) = capsys.readouterr().err.splitlines()
    assert r"\u001b[2J\nVERIFIED" in json.loads(line)["differences"][1]["where"]


def test_only_a_run_can_be_named(runs: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_run(runs[0].parent, runs[0].name) == runs[0]
    assert find_run(Path("nowhere"), str(runs[0])) == runs[0]
    monkeypatch.chdir(runs[0])
    assert find_run(Path("nowhere"), ".") == runs[0]
    for wanted in ("", "nobody", str(runs[0].parent), str(runs[0] / "run.json"), "\0", "x" * 5000):
        with pytest.raises(ConfigError):
            find_run(runs[0].parent, wanted)


def test_an_unreadable_folder_is_named(runs: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read everything, so the system's answer is made up."""
    real = os.scandir

    def refuse(path: Path) -> Any:
        if Path(path).name == "evidence":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr("scanner.manifest.os.scandir", refuse)
    shown = [str(each) for each in compare_files(runs[0], read_manifest(runs[0]))]
    assert shown[0] == "evidence: cannot be read: Permission denied"
    assert f"evidence/{A}.csv: is missing" in shown
