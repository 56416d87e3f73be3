from __future__ import annotations

import importlib.util
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reports import csv
from reports.parquet import SCHEMA_VERSION, check_available, write_parquet
from scanner.errors import ConfigError
from scanner.models import Assessment, Rules, Verdict

from .assessed import AS_OF, HOSTILE_NAME, QUARTER, RULES, demo_assessment, empty_assessment, hostile

DATA = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
QUERIES = dict(re.findall(r"^\*\*([^*\n]+)\.\*\*[^`]*```sql\n(.*?)```", DATA, re.DOTALL | re.MULTILINE))
MOMENT = pa.timestamp("us", "UTC")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Assessment:
    return demo_assessment(tmp_path_factory.mktemp("runs"))


def written(assessment: Assessment, folder: Path) -> pa.Table:
    write_parquet(assessment, folder / "credentials.parquet")
    return pq.ParquetFile(folder / "credentials.parquet").read()


def test_the_columns_are_the_runs_and_those_of_credentials_csv_typed(demo: Assessment, tmp_path: Path) -> None:
    table = written(demo, tmp_path)

    names = csv.tables(demo)["credentials.csv"].columns.tolist()
    assert table.schema.names == ["run_id", "organization_id", "as_of", *names, "verdicts"]
    kinds = {field.name: field.type for field in table.schema}
    moments = ("as_of", "user_created", "last_rotated", "last_used", "report_generated", "due_on")
    assert {kinds[name] for name in moments} == {MOMENT}
    assert {kinds[name] for name in ("is_root", "active", "mfa_active", "last_used_known")} == {pa.bool_()}
    assert kinds["age_days"] == pa.int64()
    assert {kinds[name] for name in ("run_id", "account_id", "user", "credential", "key_id")} == {pa.string()}
    assert kinds["failed_checks"] == pa.list_(pa.string())
    assert kinds["verdicts"] == pa.map_(pa.string(), pa.string())
    assert table.schema.metadata[b"credaudit.schema_version"] == SCHEMA_VERSION.encode()


def test_every_value_is_that_of_the_frame(demo: Assessment, tmp_path: Path) -> None:
    table = written(demo, tmp_path)

    assert len(table) == len(demo.credentials) > 500
    assert set(table["run_id"].to_pylist()) == {demo.run.run_id}
    assert set(table["as_of"].to_pylist()) == {AS_OF}
    checks = [each.check_id for each in demo.checks]
    for row, (_, expected) in zip(table.to_pylist(), demo.credentials.iterrows(), strict=True):
        for name in demo.credentials.columns:
            if name == "failed_checks":
                assert row[name] == expected[name].split()
            elif not name.startswith("verdict:"):
                assert row[name] is None if pd.isna(expected[name]) else row[name] == expected[name]
        judged = {check: expected[f"verdict:{check}"] for check in checks}
        assert row["verdicts"] == [(check, verdict) for check, verdict in judged.items() if verdict]


@pytest.mark.parametrize("rules", [RULES, Rules(checks=("root-without-mfa",))])
def test_a_run_that_read_nothing_or_asked_little_has_the_same_schema(
    rules: Rules, demo: Assessment, tmp_path: Path
) -> None:
    usual = written(demo, tmp_path).schema
    assert written(empty_assessment(tmp_path), tmp_path).schema == usual
    assert written(demo_assessment(tmp_path, as_of=AS_OF + QUARTER, rules=rules), tmp_path).schema == usual
    bare = demo.credentials.assign(key_id=pd.array([pd.NA] * len(demo.credentials), "string"))
    assert written(replace(demo, credentials=bare), tmp_path).schema == usual


def test_a_strangers_text_is_kept_and_half_a_character_does_not_end_the_report(
    demo: Assessment, tmp_path: Path
) -> None:
    table = written(hostile(demo), tmp_path)
    assert set(table["account_name"].to_pylist()) == {HOSTILE_NAME.replace("\ud800", r"\ud800")}


def test_the_same_assessment_is_the_same_file(demo: Assessment, tmp_path: Path) -> None:
    for name in ("a.parquet", "b.parquet"):
        write_parquet(demo, tmp_path / name)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_without_pyarrow_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    check_available()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError) as error:
        check_available()
    assert "credaudit[parquet]" in error.value.advice


# The queries of docs/data.md


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `runs` lies, with the demo's organization at the end of two quarters, and a report made again of one."""
    folder = tmp_path_factory.mktemp("work")
    for as_of in (AS_OF - QUARTER, AS_OF):
        assessment = demo_assessment(folder / "runs", as_of=as_of)
        existed = ~(assessment.credentials["last_rotated"] > as_of)
        assessment = replace(assessment, credentials=assessment.credentials[existed])
        for name in ("", ".report-20261124T000000Z"):
            reports = folder / "runs" / f"{assessment.run.run_id}{name}" / ("" if name else "reports")
            reports.mkdir(exist_ok=True, parents=True)
            write_parquet(assessment, reports / "credentials.parquet")
    return folder


def rows(query: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What DuckDB answers in that folder."""
    monkeypatch.chdir(folder)
    with duckdb.connect() as connection:
        found: list[dict[str, Any]] = connection.sql(query).to_arrow_table().to_pylist()
    return found


def test_every_query_of_the_document_is_run_here() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert len(QUERIES) == DATA.count("```sql") == len(re.findall(r"rows\(QUERIES\[", source))


def active_keys(assessment: Assessment) -> pd.DataFrame:
    credentials = assessment.credentials
    is_key = credentials["credential"].isin(["access_key_1", "access_key_2"])
    return credentials[is_key & credentials["active"].fillna(False)]


def test_keys_by_age(two_runs: Path, demo: Assessment, monkeypatch: pytest.MonkeyPatch) -> None:
    found = rows(QUERIES["Active access keys by age, run by run"], two_runs, monkeypatch)

    assert [each["run_id"] for each in found] == sorted({str(each["run_id"]) for each in found})
    ages = active_keys(demo)["age_days"]
    last = found[-1]
    assert last["run_id"] == demo.run.run_id
    assert last["keys"] == len(ages)
    assert last["to_90_days"] == int(ages.le(90).sum())
    assert last["to_1_year"] == int((ages.gt(90) & ages.le(365)).sum())
    assert last["older"] == int(ages.gt(365).sum())
    assert last["no_date"] == int(ages.isna().sum()) > 0


def test_keys_never_rotated(two_runs: Path, demo: Assessment, monkeypatch: pytest.MonkeyPatch) -> None:
    found = rows(QUERIES["Access keys that no one rotated between the last four runs"], two_runs, monkeypatch)

    keys = active_keys(demo)
    old = keys[keys["last_rotated"] <= pd.Timestamp(AS_OF - QUARTER)]
    assert {(each["account_id"], each["user"], each["last_rotated"]) for each in found} == set(
        zip(old["account_id"], old["user"], old["last_rotated"], strict=True)
    )
    assert {each["runs"] for each in found} == {2}


def test_verdicts(two_runs: Path, demo: Assessment, monkeypatch: pytest.MonkeyPatch) -> None:
    found = rows(QUERIES["Verdicts of each check, run by run"], two_runs, monkeypatch)

    last = {each["check"]: each for each in found if each["run_id"] == demo.run.run_id}
    asked = {check.check_id: check.verdicts for check in demo.checks if any(check.verdicts.values())}
    assert last.keys() == asked.keys()
    for check_id, verdicts in asked.items():
        assert {verdict: last[check_id][verdict.lower()] for verdict in Verdict} == verdicts


def test_who_fails_what(two_runs: Path, demo: Assessment, monkeypatch: pytest.MonkeyPatch) -> None:
    found = rows(QUERIES["Who fails what today, from the last run alone"], two_runs, monkeypatch)

    failing = demo.findings[demo.findings["verdict"].eq("FAIL")]
    names = ["account_id", "user", "credential", "check"]
    assert sorted([each[name] for name in names] for each in found) == sorted(
        failing[names].astype("string").to_numpy().tolist()
    )
