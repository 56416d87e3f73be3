"""`credaudit verify` on the demo's run, whole and after somebody has been at it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = str(Path(sys.executable).with_name("credaudit"))


def credaudit(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(
        [COMMAND, *arguments],
        cwd=folder,
        env=os.environ | {"TZ": "<+14>-14", "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in result.stderr, result.stderr
    return result


@pytest.fixture(scope="module")
def demo_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The run folder, and what was said of it."""
    folder = tmp_path_factory.mktemp("demo")
    result = credaudit(folder, "demo", "--runs-dir", "runs")
    return folder / result.stdout.strip(), result.stderr


@pytest.fixture
def run(demo_run: tuple[Path, str], tmp_path: Path) -> Path:
    copy = tmp_path / "runs" / demo_run[0].name
    shutil.copytree(demo_run[0], copy)
    return copy


def test_a_run_holds_and_its_hash_is_the_one_that_the_scan_told(run: Path, demo_run: tuple[Path, str]) -> None:
    result = credaudit(run.parent.parent, "verify", run.name)
    assert result.returncode == 0, result.stderr
    assert result.stderr.startswith(f"VERIFIED {run.name}: ")
    told = result.stdout.split()[0]
    assert f"SHA-256 of manifest.json: {told}" in demo_run[1]
    check = subprocess.run(["sha256sum", "--check"], input=result.stdout, text=True, cwd=run.parent, check=False)
    assert check.returncode == 0


def test_quiet_says_nothing_while_all_holds(run: Path) -> None:
    result = credaudit(run.parent, "verify", "--quiet", str(run))
    assert (result.returncode, result.stderr) == (0, "")


def test_what_differs_is_named_and_nothing_goes_to_stdout(run: Path) -> None:
    path = run / "reports" / "workbook.xlsx"
    path.write_bytes(path.read_bytes() + b"\0")
    result = credaudit(run.parent.parent, "verify", "--quiet", run.name)
    assert (result.returncode, result.stdout) == (1, "")
    head, line = result.stderr.splitlines()
    assert head == f"DIFFERS {run.name}: 1 difference"
    assert line.startswith("  reports/workbook.xlsx: was changed: ")

    as_json = credaudit(run.parent.parent, "verify", "--log-format", "json", run.name)
    event = json.loads(as_json.stderr)
    assert (event["event"], event["holds"], event["more"]) == ("verified", False, 0)
    assert event["differences"][0]["where"] == "reports/workbook.xlsx"


def test_another_run_than_there_is(tmp_path: Path) -> None:
    result = credaudit(tmp_path, "verify", "20261123T061500Z-o-a1b2c3d4e5")
    assert result.returncode == 2
    assert "is not the folder of a run" in result.stderr
