"""What may be taken from earlier runs, and how far back they are followed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from scanner.errors import ConfigError
from scanner.evidence import RunFolder, run_id
from scanner.models import Assessment, Run
from scanner.resume import MOST_RUNS, Earlier, check_resume, find_earlier
from scanner.simulator import Simulator, benchmark_organization

from .scanning import NOW, Scan

ORGANIZATION = "o-benchmark01"
OLDEST = NOW - timedelta(hours=24)


@pytest.fixture
def scanned_once(scanned: Scan, tmp_path: Path) -> tuple[RunFolder, Assessment]:
    return scanned(Simulator(benchmark_organization(3, 2, NOW, failing_share=0.5)))


@pytest.fixture
def earlier(tmp_path: Path, scanned_once: tuple[RunFolder, Assessment]) -> Callable[..., Earlier]:
    """What there is to go on from after the one run, or after later ones."""

    def find(wanted: str = "", oldest: datetime = OLDEST) -> Earlier:
        name = wanted or scanned_once[0].path.name
        return find_earlier(
            tmp_path, name, ORGANIZATION, oldest=oldest, newest=datetime.now(UTC) + timedelta(minutes=5)
        )

    return find


def taken(earlier: Earlier) -> list[str]:
    return sorted(account_id for account_id in earlier.reports if earlier.report_of(account_id))


def resuming(folder: RunFolder, later: timedelta) -> RunFolder:
    """A run that resumed the one in `folder`, and read nothing itself."""
    before = folder.read_run()
    started = before.started + later
    run: Run = replace(
        before, run_id=run_id(started, ORGANIZATION), started=started, finished=None, resumed_from=before.run_id
    )
    new = RunFolder.create(folder.path.parent, run.run_id)
    new.write_run(run)
    return new


def test_a_chain_is_followed_and_not_without_end(earlier: Any, scanned_once: tuple[RunFolder, Assessment]) -> None:
    folder, _ = scanned_once
    for _ in range(MOST_RUNS - 1):
        folder = resuming(folder, timedelta(minutes=1))
    assert len(taken(earlier("latest"))) == 3
    folder = resuming(folder, timedelta(minutes=1))
    assert taken(earlier("latest")) == []


def test_runs_before_any_report_that_may_be_taken_are_not_read(
    earlier: Any, scanned_once: tuple[RunFolder, Assessment]
) -> None:
    folder, _ = scanned_once
    later = resuming(folder, timedelta(days=10))
    (folder.path / "ledger.jsonl").chmod(0)
    (folder.path / "ledger.jsonl").write_bytes(b"\xff" * 100)
    assert taken(earlier(later.path.name, NOW + timedelta(days=9))) == []


def test_runs_that_name_each_other_end(earlier: Any, scanned_once: tuple[RunFolder, Assessment]) -> None:
    folder, _ = scanned_once
    second = resuming(folder, timedelta(minutes=1))
    run = json.loads((folder.path / "run.json").read_text())
    (folder.path / "run.json").write_text(json.dumps(run | {"resumed_from": second.path.name}))
    assert len(taken(earlier(second.path.name))) == 3


@pytest.mark.parametrize(
    "line",
    [
        b"\xff\xfe",
        b"null",
        b"[]",
        b"{}",
        b'{"account_id": "100000000001", "outcome": "gone"}',
        b'{"account_id": "100000000001", "outcome": "scanned", "report_generated": "soon"}',
        b'{"account_id": "100000000001", "outcome": "scanned", "of another version": 1}',
        b"[" * 100_000,
    ],
)
def test_a_line_that_is_not_ours_is_no_line(
    earlier: Any, scanned_once: tuple[RunFolder, Assessment], line: bytes
) -> None:
    folder, _ = scanned_once
    ledger = folder.path / "ledger.jsonl"
    ledger.write_bytes(ledger.read_bytes() + line + b"\n")
    assert len(taken(earlier())) == 3


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{",
        '{"users": []}',
        '{"users": {"user-00001": {}}}',
        '{"users": {"user-00001": {"looked_up": "soon", "keys": [], "error": null}}}',
        '{"users": {"user-00001": {"looked_up": "2026-11-23T06:15:00Z", "keys": [{}], "error": null}}}',
        '{"users": {"user-00001": {"looked_up": "2026-11-23T06:15:00Z", "keys": [], "error": 5}}}',
        '{"users": {}, "request_ids": "x"}',
        "[" * 100_000,
    ],
)
def test_look_ups_that_are_not_ours_are_made_again(
    earlier: Any, scanned_once: tuple[RunFolder, Assessment], content: str
) -> None:
    folder, _ = scanned_once
    account_id = next(path.name[:12] for path in folder.path.glob("evidence/*.keys.json"))
    assert earlier().report_of(account_id).keys["users"]
    (folder.path / "evidence" / f"{account_id}.keys.json").write_text(content)
    report = earlier().report_of(account_id)
    assert report is not None
    assert report.keys == {}


def test_evidence_that_cannot_be_read_is_not_taken(earlier: Any, scanned_once: tuple[RunFolder, Assessment]) -> None:
    folder, _ = scanned_once
    lost = folder.path / "evidence" / "100000000001.csv"
    lost.unlink()
    lost.mkdir()
    assert taken(earlier()) == ["100000000000", "100000000002"]


def test_a_later_run_that_cannot_be_read_is_named(earlier: Any, scanned_once: tuple[RunFolder, Assessment]) -> None:
    folder, _ = scanned_once
    run = json.loads((folder.path / "run.json").read_text())
    (folder.path / "run.json").write_text(json.dumps(run | {"finished": None, "complete": False}))
    broken = resuming(folder, timedelta(minutes=1))
    (broken.path / "run.json").write_text('{"run_id": "of another version"}')
    found = earlier("latest")
    assert found.run_id == folder.path.name
    assert broken.path.name in found.note


@pytest.mark.parametrize("moment", ["2099-01-01T00:00:00Z", "2026-11-23T06:15:00", "1999-01-01T00:00:00Z"])
def test_a_report_of_a_moment_that_cannot_be_is_not_taken(
    earlier: Any, scanned_once: tuple[RunFolder, Assessment], moment: str
) -> None:
    folder, _ = scanned_once
    ledger = folder.path / "ledger.jsonl"
    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    changed = [line | {"report_generated": moment} if line["account_id"].endswith("1") else line for line in lines]
    ledger.write_text("".join(json.dumps(line) + "\n" for line in changed))
    assert taken(earlier()) == ["100000000000", "100000000002"]


@pytest.mark.parametrize(
    "change",
    [
        {"limits": []},
        {"limits": {"access_key_max_age": 1e300}},
        {"resumed_from": 5},
        {"counts": {"error": "x"}},
        {"counts": [1]},
        {"organization_id": "o-another0001"},
    ],
)
def test_a_run_that_is_not_as_we_write_it_is_no_run(
    earlier: Any, scanned_once: tuple[RunFolder, Assessment], change: dict[str, Any]
) -> None:
    folder, _ = scanned_once
    run = json.loads((folder.path / "run.json").read_text())
    (folder.path / "run.json").write_text(json.dumps(run | change))
    found = earlier("latest")
    assert (found.run_id, taken(found)) == ("", [])
    assert folder.path.name in found.note
    with pytest.raises(ConfigError, match="--resume"):
        earlier()


def test_a_ledger_that_cannot_be_read_is_none(earlier: Any, scanned_once: tuple[RunFolder, Assessment]) -> None:
    folder, _ = scanned_once
    (folder.path / "ledger.jsonl").unlink()
    (folder.path / "ledger.jsonl").mkdir()
    assert taken(earlier()) == []


@pytest.mark.parametrize("wanted", ["x" * 5000, "a\0b", "..", "/dev/null"])
def test_what_is_no_run_is_said(tmp_path: Path, wanted: str) -> None:
    with pytest.raises(ConfigError, match="--resume"):
        check_resume(tmp_path, wanted)


def test_a_run_is_named_by_its_folder_however_it_is_reached(
    scanned_once: tuple[RunFolder, Assessment], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = scanned_once
    monkeypatch.chdir(folder.path)
    assert find_earlier(Path(), ".", ORGANIZATION, oldest=OLDEST, newest=NOW).run_id == folder.path.name
