"""`credaudit demo`: what a newcomer runs first, on a machine with settings of its own."""

from __future__ import annotations

import csv
import json
import os
import pty
import subprocess
import sys
from collections import Counter
from pathlib import Path

import openpyxl
import pytest

COMMAND = str(Path(sys.executable).with_name("credaudit"))


def hostile_surroundings(folder: Path) -> dict[str, str]:
    """AWS settings that would break or redirect any call that heeds them, and a config.toml that is none."""
    (folder / "config.toml").write_text("this is not TOML")
    (folder / "aws-config").write_text("[profile broken\n")
    return {
        **os.environ,
        "AWS_PROFILE": "nobody",
        "AWS_CONFIG_FILE": str(folder / "aws-config"),
        "AWS_ACCESS_KEY_ID": "AKIAI44QH8DHBEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "the-users-own",
        "AWS_SESSION_TOKEN": "the-users-own",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_DEFAULT_REGION": "cn-north-1",
        "AWS_USE_FIPS_ENDPOINT": "true",
        "AWS_CA_BUNDLE": "/nowhere",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
    }


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    folder = tmp_path_factory.mktemp("demo")
    environment = hostile_surroundings(folder)
    result = subprocess.run(
        [COMMAND, "demo"], cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    return result, folder / result.stdout.strip()


def test_it_ends_incomplete_and_says_which_accounts_and_why(
    demo: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    result, _ = demo
    assert result.returncode == 4, result.stderr
    lines = result.stderr.splitlines()
    assert "INCOMPLETE: 2 of 36 accounts in scope could not be assessed" in lines
    assert "  40 accounts listed = 34 scanned + 4 not active + 1 access denied + 1 report denied" in lines
    assert any("333344440003 support-eu: sts:AssumeRole: AccessDenied" in line for line in lines)
    assert any("222233330003 payments-cards-prod: refused by a service control policy" in line for line in lines)


def test_it_leaves_a_complete_set_of_reports(demo: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    _, folder = demo
    reports = {path.name for path in (folder / "reports").iterdir()}
    tables = {"findings.csv", "credentials.csv", "accounts.csv"}
    assert reports == {"workbook.xlsx", "report.html", "findings.json", "findings.ocsf.jsonl", *tables}
    workbook = openpyxl.load_workbook(folder / "reports" / "workbook.xlsx")
    assert workbook.sheetnames[:2] == ["Summary", "Findings"]
    assert workbook.sheetnames[-2:] == ["Controls", "Method"]
    with (folder / "reports" / "accounts.csv").open(newline="", encoding="utf-8") as file:
        outcomes = Counter(row["outcome"] for row in csv.DictReader(file))
    assert outcomes == {"scanned": 34, "not_active": 4, "access_denied": 1, "report_denied": 1}
    assert len((folder / "ledger.jsonl").read_text().splitlines()) == 40


def test_it_uses_nothing_of_the_users_own(demo: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    _, folder = demo
    run = json.loads((folder / "run.json").read_text())
    assert run["caller"]["arn"] == "arn:aws:iam::012345678901:user/auditor"
    assert set(run["endpoints"].values()) != {"http://127.0.0.1:9"}
    for path in folder.rglob("*"):
        assert path.is_dir() or b"the-users-own" not in path.read_bytes()


def test_names_that_attack_spreadsheets_are_in_the_demo_and_are_text(
    demo: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    _, folder = demo
    sheet = openpyxl.load_workbook(folder / "reports" / "workbook.xlsx")["Accounts"]
    names = [cell for row in sheet.iter_rows() for cell in row if str(cell.value).startswith(("=", "@", "+", "-"))]
    assert {'=HYPERLINK("http://example.com","click")', "@SUM(1+1)"} <= {cell.value for cell in names}
    assert all(cell.data_type == "s" for cell in names)
    content = (folder / "reports" / "accounts.csv").read_text(encoding="utf-8")
    with (folder / "reports" / "accounts.csv").open(newline="", encoding="utf-8") as file:
        cells = [value for row in csv.reader(file) for value in row]
    assert '\'=HYPERLINK("http://example.com","click")' in cells
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert "\x07" not in content


def test_a_terminal_is_shown_progress_while_it_lasts_and_the_summary_in_the_end(tmp_path: Path) -> None:
    read, write = pty.openpty()
    process = subprocess.Popen(
        [COMMAND, "demo"],
        cwd=tmp_path,
        env=os.environ | {"TERM": "xterm-256color", "COLUMNS": "120"},
        stdout=subprocess.DEVNULL,
        stderr=write,
        stdin=write,
    )
    os.close(write)
    shown = b""
    while True:
        try:
            chunk = os.read(read, 65536)
        except OSError:  # Linux's way of saying that the other end is closed
            break
        if not chunk:
            break
        shown += chunk
    os.close(read)
    assert process.wait(timeout=60) == 4
    text = shown.decode()
    assert "Reading accounts" in text
    assert "/40" in text
    assert "INCOMPLETE" in text.rsplit("Writing reports", 1)[-1]
    assert "\x07" not in text, "an account's name rings the bell"
