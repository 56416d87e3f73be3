"""Runs that were killed at any instant, and what `scan --resume` makes of them."""

from __future__ import annotations

import csv
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from scanner.simulator import BASE_CREDENTIALS, Faults, Simulator, demo_organization, run_in_thread

COMMAND = str(Path(sys.executable).with_name("credaudit"))
KILLS = 20
AS_OF = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
CONFIG = """
[organization]
exclude_accounts = ["111122220003"]
[scan.rates]
list_accounts = 20
list_roots = 100
organizations = 100
"""
VARYING = ("started", "finished", "attempts", "source_run")
"""Columns of accounts.csv that tell the runs apart; everything else must be the same."""

OF_THE_RUN = re.compile(
    r"(?<=listed at )20\d\d-\d\d-\d\dT[0-9:.]+Z|\d{8}T\d{6}Z(?=-o-)|(?<=the report is )\d+ h \d+ min(?= older)"
)
"""When keys were looked up, the run's id, and how old a report was when its users were counted, in words."""


@dataclass(frozen=True)
class Place:
    """A folder to run in, against a simulator."""

    folder: Path
    endpoint: str

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        key_id, secret = BASE_CREDENTIALS
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return subprocess.Popen(
            [COMMAND, "scan", "--as-of", AS_OF, "--log-format", "json", *arguments],
            cwd=self.folder,
            env=kept
            | {
                "AWS_ACCESS_KEY_ID": key_id,
                "AWS_SECRET_ACCESS_KEY": secret,
                "AWS_ENDPOINT_URL": self.endpoint,
                "AWS_DEFAULT_REGION": "us-east-1",
                "AWS_CONFIG_FILE": os.devnull,
                "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
                "NO_PROXY": "127.0.0.1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self, process: subprocess.Popen[str]) -> tuple[int, Path]:
        out, err = process.communicate(timeout=120)
        assert "Traceback" not in err, err
        return process.returncode, self.folder / out.strip()

    def scan(self, *arguments: str) -> tuple[int, Path]:
        return self.finish(self.start(*arguments))


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    organization = demo_organization(datetime.now(UTC).replace(microsecond=0))
    simulator = Simulator(organization, Faults(latency_seconds=0.02, report_delay_seconds=0.5))
    with run_in_thread(simulator):
        yield simulator


@pytest.fixture
def place(tmp_path: Path, simulator: Simulator) -> Place:
    return new_place(tmp_path / "place", simulator)


def new_place(folder: Path, simulator: Simulator) -> Place:
    folder.mkdir()
    (folder / "config.toml").write_text(CONFIG)
    return Place(folder, simulator.endpoint_url)


def rows(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / "reports" / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def comparable(folder: Path) -> dict[str, Any]:
    """All that the reports of a run say, but for what tells the runs apart."""
    assert (folder / "manifest.json").exists()
    accounts = [
        {name: OF_THE_RUN.sub("…", value) for name, value in row.items() if name not in VARYING}
        for row in rows(folder, "accounts.csv")
    ]
    tables = {name: OF_THE_RUN.sub("…", (folder / "reports" / name).read_text(encoding="utf-8")) for name in CSV}
    workbook = openpyxl.load_workbook(folder / "reports" / "workbook.xlsx")
    sheets = {
        name: [[OF_THE_RUN.sub("…", str(cell.value)) for cell in row] for row in workbook[name].iter_rows()]
        for name in ("Findings", "Access keys")
    }
    run = json.loads((folder / "run.json").read_text())
    evidence = {path.name: path.read_bytes() for path in (folder / "evidence").glob("*.csv")}
    return {"accounts": accounts, "counts": run["counts"], "evidence": evidence, **tables, **sheets}


CSV = ("findings.csv", "credentials.csv")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, simulator: Simulator) -> dict[str, Any]:
    place = new_place(tmp_path_factory.mktemp("undisturbed") / "place", simulator)
    code, folder = place.scan()
    assert code == 4
    return comparable(folder)


def kill(process: subprocess.Popen[str], lines: int, then: float) -> None:
    """SIGKILL so many seconds after so many lines of progress."""
    assert process.stderr is not None
    for _ in range(lines):
        if not process.stderr.readline():
            break
    time.sleep(then)
    process.kill()
    process.communicate()


def test_killed_at_any_instant_and_resumed_the_reports_are_those_of_an_undisturbed_run(
    tmp_path: Path, simulator: Simulator, undisturbed: dict[str, Any]
) -> None:
    generator = random.Random(20)
    # From before the first line, over each account's, to after the last one, when the reports are written.
    instants = [(number * 43 // (KILLS - 1), generator.uniform(0, 0.01)) for number in range(KILLS - 3)]
    instants += [(42, generator.uniform(0, 1.0)) for _ in range(3)]

    def kill_and_resume(number: int) -> tuple[list[Path], Path]:
        place = new_place(tmp_path / str(number), simulator)
        kill(place.start(), *instants[number])
        killed = list(place.folder.glob("runs/2*"))
        wait_for_the_next_second(killed)
        code, folder = place.scan("--resume", "latest")
        assert code == 4, instants[number]
        return killed, folder

    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(kill_and_resume, range(KILLS)))

    for (killed, folder), instant in zip(runs, instants, strict=True):
        assert comparable(folder) == undisturbed, instant
        assert_taken(folder, killed)
    assert any(not killed for killed, _ in runs), "none was killed before its folder was there"
    taken = [len({row["source_run"] for row in rows(folder, "accounts.csv")} - {""}) for _, folder in runs]
    assert taken.count(2) >= KILLS // 2, "most had read some accounts and not others"


def assert_taken(folder: Path, killed: list[Path]) -> None:
    """What the killed run had read is taken from it, and says so; the rest was read by the run that resumed it."""
    had = {entry["account_id"] for path in killed for entry in ledger(path) if entry["outcome"] == "scanned"}
    run = json.loads((folder / "run.json").read_text())
    if killed and not json.loads((killed[0] / "run.json").read_text())["complete"]:
        assert run["resumed_from"] == killed[0].name
        assert any(f"This run resumed {killed[0].name}: {len(had)} reports" in note for note in run["notes"])
    for row in rows(folder, "accounts.csv"):
        if row["outcome"] == "scanned":
            expected = killed[0].name if row["account_id"] in had and run["resumed_from"] else folder.name
            assert row["source_run"] == expected
        else:
            assert row["source_run"] in ("", folder.name)


def wait_for_the_next_second(folders: list[Path]) -> None:
    """Runs are named by the second they start in."""
    while any(path.name.startswith(f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}") for path in folders):
        time.sleep(0.05)


def ledger(folder: Path) -> list[dict[str, Any]]:
    path = folder / "ledger.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    entries = []
    for line in lines:
        try:
            entries.append(json.loads(line))
        except json.JSONDecodeError:
            assert line == lines[-1], "only the last line may be unfinished"
    return entries


def interrupted(place: Place, accounts: int = 5) -> Path:
    """A run that SIGTERM ended once some accounts were read."""
    process = place.start()
    assert process.stderr is not None
    read = 0
    while read < accounts:
        read += '"outcome": "scanned"' in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    code, folder = place.finish(process)
    assert code == 130
    return folder


def test_a_run_that_was_interrupted_is_resumed_by_its_name_and_its_path(
    place: Place, undisturbed: dict[str, Any]
) -> None:
    first = interrupted(place)
    before = {path: path.read_bytes() for path in first.rglob("*") if path.is_file()}
    wait_for_the_next_second([first])
    _, second = place.scan("--resume", first.name)
    wait_for_the_next_second([second])
    _, third = place.scan("--resume", str(first.relative_to(place.folder)))

    assert comparable(second) == comparable(third) == undisturbed
    assert {path: path.read_bytes() for path in first.rglob("*") if path.is_file()} == before, "it is not touched"


def test_a_resumed_run_that_is_killed_is_resumed_with_what_both_have(place: Place, undisturbed: dict[str, Any]) -> None:
    first = interrupted(place, 3)
    wait_for_the_next_second([first])
    kill(place.start("--resume", "latest"), 6, 0)
    second = max(place.folder.glob("runs/2*"))
    wait_for_the_next_second([second])
    _, third = place.scan("--resume", "latest")

    assert json.loads((third / "run.json").read_text())["resumed_from"] == second.name
    assert comparable(third) == undisturbed
    sources = {row["source_run"] for row in rows(third, "accounts.csv") if row["outcome"] == "scanned"}
    assert first.name in sources


def test_evidence_that_was_damaged_or_is_too_old_is_fetched_anew(
    place: Place, simulator: Simulator, undisturbed: dict[str, Any]
) -> None:
    first = interrupted(place, 12)
    scanned = [entry["account_id"] for entry in ledger(first) if entry["outcome"] == "scanned"]
    damaged, changed, lost, old, kept = scanned[:5]
    (first / "evidence" / f"{damaged}.csv").write_bytes(b"user,arn\n")
    report = first / "evidence" / f"{changed}.csv"
    report.write_bytes(report.read_bytes().replace(b"N/A", b"n/a", 1))  # a whole report still
    (first / "evidence" / f"{lost}.csv").unlink()
    lines = [
        line.replace('"report_generated":"20', '"report_generated":"19') if old in line else line
        for line in (first / "ledger.jsonl").read_text().splitlines()
    ]
    (first / "ledger.jsonl").write_text("\n".join(lines) + '\n{"account_id":"1111')
    wait_for_the_next_second([first])

    _, folder = place.scan("--resume", "latest")

    sources = {row["account_id"]: row["source_run"] for row in rows(folder, "accounts.csv")}
    assert [sources[each] for each in (damaged, changed, lost, old, kept)] == [folder.name] * 4 + [first.name]
    assert comparable(folder) == undisturbed


def test_what_earlier_runs_have_is_not_asked_for_again(
    place: Place, simulator: Simulator, undisturbed: dict[str, Any]
) -> None:
    _, first = place.scan()
    before = simulator.counts.copy()
    wait_for_the_next_second([first])

    _, second = place.scan("--resume", first.name)

    assert comparable(second) == undisturbed
    asked = simulator.counts - before
    assert asked["iam", "GetCredentialReport"] == asked["iam", "ListAccessKeys"] == 0
    assert asked["sts", "AssumeRole"] == 2, "the two accounts that deny"


def test_what_cannot_be_resumed_is_said_before_aws_is_asked(place: Place, simulator: Simulator) -> None:
    before = sum(simulator.counts.values())
    process = place.start("--resume", "20200101T000000Z-o-exampleorg1")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "--resume: runs/20200101T000000Z-o-exampleorg1 is not the folder of a run" in err
    assert sum(simulator.counts.values()) == before


def test_a_run_of_another_organization_is_not_resumed(place: Place) -> None:
    _, folder = place.scan()
    run = json.loads((folder / "run.json").read_text()) | {"organization_id": "o-another0001"}
    (folder / "run.json").write_text(json.dumps(run))
    process = place.start("--resume", folder.name)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "is of organization o-another0001, not of o-exampleorg1" in err


@pytest.mark.parametrize("is_first", [True, False])
def test_latest_begins_from_nothing_where_nothing_is_unfinished(
    place: Place, is_first: bool, undisturbed: dict[str, Any]
) -> None:
    expected = "There was no run to resume"
    if not is_first:
        _, folder = place.scan()
        run = json.loads((folder / "run.json").read_text())
        counts = {**run["counts"], "access_denied": 0, "report_denied": 0}
        (folder / "run.json").write_text(json.dumps(run | {"counts": counts, "complete": True}))
        expected = f"The latest run, {folder.name}, is complete"
        wait_for_the_next_second([folder])
    _, folder = place.scan("--resume", "latest")
    run = json.loads((folder / "run.json").read_text())
    assert run["resumed_from"] == ""
    assert any(expected in note for note in run["notes"])
    assert comparable(folder) == undisturbed
