"""`credaudit report` on the demo's run: the same to the byte, and by other rules or at another date."""

from __future__ import annotations

import csv
import hashlib
import json
from datetime import datetime, timedelta
from pathlib import Path

import openpyxl

from .test_verify import credaudit, demo_run, run

__all__ = ["demo_run", "run"]


def rows(folder: Path, name: str = "findings.csv") -> list[dict[str, str]]:
    with (folder / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def hashes(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def summary(folder: Path) -> str:
    sheet = openpyxl.load_workbook(folder / "workbook.xlsx")["Summary"]
    return "\n".join(str(cell.value) for row in sheet.iter_rows() for cell in row if cell.value is not None)


def test_the_same_run_gives_the_same_findings_to_the_byte_and_is_not_touched(run: Path) -> None:
    before = hashes(run)
    result = credaudit(run.parent.parent, "report", run.name)
    assert result.returncode == 4, "as incomplete as the run"
    folder = run.parent.parent / result.stdout.strip()
    assert folder.name.startswith(f"{run.name}.report-")
    for name in ("findings.csv", "credentials.csv", "accounts.csv"):
        assert (folder / name).read_bytes() == (run / "reports" / name).read_bytes(), name
    assert hashes(run) == before
    assert "Evaluated again, offline" in summary(folder)
    assert "Evaluated again, offline" not in summary(run / "reports")
    assert credaudit(run.parent.parent, "verify", run.name).returncode == 0


def test_thirty_days_later_the_newly_due_keys_appear(run: Path) -> None:
    as_of = datetime.fromisoformat(json.loads((run / "run.json").read_text())["as_of"])
    later = as_of + timedelta(days=30)
    result = credaudit(run.parent, "report", str(run), "--as-of", later.isoformat(), "--out", "later")
    check = "access-key-not-rotated"
    keys = [row for row in rows(run / "reports", "credentials.csv") if row["credential"].startswith("access_key")]
    due = {
        (row["account_id"], row["user"], row["credential"])
        for row in keys
        if row["active"] != "false" and later - datetime.fromisoformat(row["last_rotated"]) > timedelta(days=90)
    }

    def failing(folder: Path) -> set[tuple[str, str, str]]:
        return {
            (row["account_id"], row["user"], row["credential"])
            for row in rows(folder)
            if row["check"] == check and row["verdict"] == "FAIL"
        }

    assert failing(run.parent / "later") == due
    assert failing(run.parent / "later") > failing(run / "reports")
    assert f"Ages are measured at {later:%Y-%m-%d %H:%M:%S} UTC" in result.stderr
    assert f"as of {later:%Y-%m-%d %H:%M:%S} UTC" in summary(run.parent / "later")


def test_other_rules_and_exemptions_from_a_file(run: Path) -> None:
    folder = run.parent.parent
    expires = f"{datetime.now() + timedelta(days=20):%Y-%m-%d}"
    (folder / "other.toml").write_text(
        '[checks]\nonly = ["access-key-not-rotated"]\n[limits]\naccess_key_max_age_days = 365\n'
        '[exemptions]\nfile = "accepted.toml"\n[output]\nformats = ["csv", "xlsx"]\n'
        '[[override]]\nou = "Root/Sandbox"\nseverity = { access-key-not-rotated = "critical" }\n'
    )
    (folder / "accepted.toml").write_text(
        '[[exemption]]\nid = "E-1"\nchecks = ["access-key-not-rotated"]\nuser = "etl-loader"\nreason = "=1+1"\n'
        f'owner = "o"\napprover = "a"\nticket = "T-1"\nexpires = {expires}\n'
    )
    result = credaudit(folder, "report", run.name, "--config", "other.toml", "--out", "other")
    assert result.returncode == 4, result.stderr
    found = rows(folder / "other")
    assert {row["check"] for row in found} == {"access-key-not-rotated"}
    assert all(int(row["age_days"]) >= 365 for row in found)
    exempt = [row for row in found if row["verdict"] == "EXEMPT"]
    assert {row["user"] for row in exempt} == {"etl-loader"}
    assert {row["exemption"] for row in exempt} == {"E-1"}
    assert {row["severity"] for row in found if row["ou_path"].startswith("Root/Sandbox")} == {"critical"}
    assert {row["severity"] for row in found if not row["ou_path"].startswith("Root/Sandbox")} == {"medium"}
    text = summary(folder / "other")
    assert "Not those of the run: limits, checks, overrides of OUs, exemptions." in text
    assert {path.name for path in (folder / "other").iterdir()} >= {"findings.csv", "workbook.xlsx"}


def test_what_cannot_be_reported_is_said(run: Path) -> None:
    folder = run.parent.parent
    report = next((run / "evidence").glob("4*.csv"))
    report.write_bytes(report.read_bytes().replace(b"false", b"true ", 1))
    changed = credaudit(folder, "report", run.name)
    assert changed.returncode == 1
    assert "is not the report that was collected" in changed.stderr
    assert credaudit(folder, "report", "20200101T000000Z-o-exampleorg1").returncode == 2
    (folder / "full").mkdir()
    (folder / "full" / "file").write_text("x")
    assert credaudit(folder, "report", run.name, "--as-of", "soon").returncode == 2
    report.write_bytes(report.read_bytes().replace(b"true ", b"false", 1))
    taken = credaudit(folder, "report", run.name, "--out", "full")
    assert taken.returncode == 2
    assert "is not an empty folder" in taken.stderr
    for inside in (run / "again", run / "reports" / "again"):
        refused = credaudit(folder, "report", run.name, "--out", str(inside))
        assert refused.returncode == 2
        assert "lies in a run's folder" in refused.stderr
    late = credaudit(folder, "report", run.name, "--as-of", "9999-12-31")
    assert late.returncode == 2
    assert "must not lie after the year 2199" in late.stderr
