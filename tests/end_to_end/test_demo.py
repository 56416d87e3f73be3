"""`credaudit demo`: what a newcomer runs first, on a machine with settings of its own."""

from __future__ import annotations

import csv
import json
import os
import pty
import re
import shutil
import subprocess
import sys
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

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


# The Summary sheet against the CSV files, counted independently


def csv_rows(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / "reports" / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.skipif(shutil.which("soffice") is None, reason="LibreOffice (soffice) is not installed")
def test_every_total_is_what_the_csv_files_hold_and_libreoffice_agrees(
    demo: tuple[subprocess.CompletedProcess[str], Path], tmp_path: Path
) -> None:
    _, folder = demo
    summary = recalculated(folder / "reports" / "workbook.xlsx", tmp_path)["Summary"]
    rows = [[cell.value for cell in row] for row in summary.iter_rows()]
    shown = {str(row[0]).strip(): row for row in rows if row[0] is not None and row[3] in ("matches", "DIFFERS")}
    accounts, findings, credentials = (
        csv_rows(folder, name) for name in ("accounts.csv", "findings.csv", "credentials.csv")
    )
    outcomes = Counter(row["outcome"] for row in accounts)
    verdicts = Counter(row["verdict"] for row in findings)
    severities = Counter(row["severity"] for row in findings if row["verdict"] == "FAIL")
    keys = [row for row in credentials if row["credential"].startswith("access_key")]
    active = [row for row in keys if row["active"] != "false"]
    as_of = json.loads((folder / "run.json").read_text())["as_of"]
    until = datetime.fromisoformat(as_of) + timedelta(days=90)
    ages = [datetime.fromisoformat(as_of) - datetime.fromisoformat(row["last_rotated"]) for row in active]
    expected = {
        "Listed by AWS Organizations": len(accounts),
        "scanned": outcomes["scanned"],
        "not active": outcomes["not_active"],
        "access denied": outcomes["access_denied"],
        "report denied": outcomes["report_denied"],
        "Sum of the outcomes": len(accounts),
        "Listed, not accounted for": 0,
        **{f"fail, {severity}": severities[severity] for severity in ("critical", "high", "medium", "low")},
        "Findings that fail": verdicts["FAIL"],
        "exempt": verdicts["EXEMPT"],
        "unknown": verdicts["UNKNOWN"],
        "Findings": len(findings),
        "Users, root users included": sum(row["credential"] == "password" for row in credentials),
        "Credentials": len(credentials),
        "Access keys, active or not": len(keys),
        "Active access keys": len(active),
        "Root users": sum(row["is_root"] == "true" and row["credential"] == "password" for row in credentials),
        "Oldest failing key, age in days": max(age.days for age in ages),
        f"Keys that fall due by {until:%Y-%m-%d}": sum(timedelta() <= age <= timedelta(days=90) for age in ages),
    }
    assert {name: shown[name][1] for name in expected} == expected
    assert {name: shown[name][2] for name in expected} == expected, "as LibreOffice counts them"
    assert {row[3] for row in shown.values()} == {"matches"}
    by_check = Counter((row["check"], row["verdict"]) for row in findings)
    checks = [row for row in rows if re.fullmatch(r"[a-z-]+ \((low|medium|high|critical)\)", str(row[0]))]
    assert len(checks) == 11
    for row in checks:
        name = row[0].split(" ")[0]
        assert list(row[6:9]) == [by_check[name, verdict] for verdict in ("FAIL", "EXEMPT", "UNKNOWN")]
        assert row[4] == sum(row[5:9])
        assert row[1] == row[2] == sum(row[6:9])
        assert row[3] == "matches"
    by_ou = Counter((row["ou_path"], row["severity"]) for row in findings if row["verdict"] == "FAIL")
    places = {row[0]: row for row in rows if str(row[0]).startswith("Root") and row[3] == "matches"}
    for place in {path for path, _ in by_ou}:
        name = place.removeprefix("'")
        counts = [by_ou[place, severity] for severity in ("critical", "high", "medium", "low")]
        assert places[name][4:8] == counts, name
        assert places[name][1] == places[name][2] == sum(counts), "as LibreOffice counts them"


def recalculated(workbook: Path, folder: Path) -> Any:
    profile = f"-env:UserInstallation={(folder / 'profile').as_uri()}"
    command = ["soffice", profile, "--headless", "--convert-to", "xlsx", "--outdir", str(folder), str(workbook)]
    subprocess.run(command, check=True, capture_output=True, timeout=180)
    return openpyxl.load_workbook(folder / workbook.name, data_only=True)
