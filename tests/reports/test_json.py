from __future__ import annotations

import json
import re
from collections.abc import Callable
from copy import deepcopy
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from jsonschema import Draft202012Validator

import reports
from reports import json as writer
from reports.json import SCHEMA_VERSION, write_json
from scanner import models
from scanner.evaluate import ACCOUNT_COLUMNS, FINDING_COLUMNS
from scanner.models import EXEMPTION_COLUMNS, Assessment, Verdict

from .assessed import EXEMPT_ACCOUNT, HOSTILE_NAME, demo_assessment, empty_assessment, full, hostile

SCHEMA = json.loads((files(reports) / "schema" / f"findings-{SCHEMA_VERSION}.schema.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Assessment:
    return full(demo_assessment(tmp_path_factory.mktemp("runs")))


@pytest.fixture(scope="module")
def document(demo: Assessment, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return written(demo, tmp_path_factory.mktemp("json"))


def written(assessment: Assessment, folder: Path) -> dict[str, Any]:
    write_json(assessment, folder / "findings.json")
    document: dict[str, Any] = json.loads((folder / "findings.json").read_bytes())
    return document


def faults(document: object) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in Draft202012Validator(SCHEMA).iter_errors(document)]


def test_the_schema_is_one_and_leaves_no_object_open() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    objects = [each for each in every(SCHEMA) if each.get("type") == "object"]
    assert len(objects) > 10
    assert all("additionalProperties" in each and each["additionalProperties"] is not True for each in objects)


def every(schema: object) -> list[dict[str, Any]]:
    if isinstance(schema, list):
        return [found for each in schema for found in every(each)]
    if isinstance(schema, dict):
        return [schema, *(found for each in schema.values() for found in every(each))]
    return []


def test_the_demos_findings_follow_the_schema(document: dict[str, Any]) -> None:
    assert faults(document) == []
    assert len(document["findings"]) > 100
    assert {each["verdict"] for each in document["findings"]} == {"FAIL", "EXEMPT", "UNKNOWN"}
    assert document["changes"]["findings"]
    assert document["trend"]
    assert document["due_soon"]


def test_a_run_that_read_nothing_and_a_first_run_follow_it_too(tmp_path: Path) -> None:
    document = written(empty_assessment(tmp_path), tmp_path)
    assert faults(document) == []
    assert (document["findings"], document["changes"], document["trend"]) == ([], None, None)


def test_nothing_of_the_assessment_is_missing(demo: Assessment, document: dict[str, Any]) -> None:
    assert document["run"]["complete"] is False
    assert document["run"]["counts"] == demo.run.counts
    assert document["run"]["totals"] == demo.run.totals
    assert len(document["accounts"]) == 40 == document["run"]["counts"]["listed"]
    for name in ("findings", "due_soon", "exemptions"):
        assert len(document[name]) == len(getattr(demo, name))
        assert list(document[name][0]) == list(getattr(demo, name).columns)
    for row, (_, expected) in zip(document["findings"], demo.findings.iterrows(), strict=True):
        for name in ("account_id", "user", "credential", "check", "verdict", "severity", "reason", "fix", "undo"):
            assert row[name] == expected[name]
        for name in ("last_rotated", "due_on", "last_used", "first_seen"):
            assert row[name] is None if pd.isna(expected[name]) else pd.Timestamp(row[name]) == expected[name]
        assert row["age_days"] is None if pd.isna(expected["age_days"]) else row["age_days"] == expected["age_days"]
        assert "; ".join(" ".join(filter(None, each.values())) for each in row["controls"]) == expected["controls"]


def test_each_checks_verdicts_and_exempt_findings_tie_out(document: dict[str, Any]) -> None:
    for check in document["checks"]:
        found = [each["verdict"] for each in document["findings"] if each["check"] == check["id"]]
        for verdict in (Verdict.FAIL, Verdict.EXEMPT, Verdict.UNKNOWN):
            assert check["verdicts"][verdict] == found.count(verdict)
    exempt = [each for each in document["findings"] if each["verdict"] == "EXEMPT"]
    assert {(each["account_id"], each["exemption"]) for each in exempt} == {(EXEMPT_ACCOUNT, "EX-1")}
    assert document["exemptions"][0]["covers"] == len(exempt) > 0


@pytest.mark.parametrize(
    "spoil",
    [
        lambda d: d.update(schema_version="2.0"),
        lambda d: d.update(more=1),
        lambda d: d.pop("accounts"),
        lambda d: d["run"].update(as_of="2026-11-23 06:15:00"),
        lambda d: d["run"].update(complete="no"),
        lambda d: d["run"]["counts"].pop("interrupted"),
        lambda d: d["run"]["rules"]["limits"].update(access_key_max_age=90),
        lambda d: d["findings"][0].update(verdict="PASS"),
        lambda d: d["findings"][0].update(severity="Critical"),
        lambda d: d["findings"][0].update(account_id=111122223333),
        lambda d: d["findings"][0].update(account_id="11112222333"),
        lambda d: d["findings"][0].update(controls="CIS 1.14"),
        lambda d: d["findings"][0].update(age_days="93"),
        lambda d: d["findings"][0].pop("reason"),
        lambda d: d["findings"][0].update(secret="x"),
        lambda d: d["accounts"][0].update(outcome="passed"),
        lambda d: d["exemptions"][0].update(expires=None),
        lambda d: d["changes"]["findings"][0].update(change="gone"),
    ],
)
def test_a_wrong_document_does_not(spoil: Callable[[dict[str, Any]], object], document: dict[str, Any]) -> None:
    wrong = {**document, **{name: deepcopy(document[name][:1]) for name in ("findings", "accounts", "exemptions")}}
    wrong["run"], wrong["changes"] = deepcopy(document["run"]), deepcopy(document["changes"])
    assert faults(wrong) == []
    spoil(wrong)
    assert len(faults(wrong)) == 1


def test_a_strangers_text_is_kept_and_does_nothing_to_a_terminal(demo: Assessment, tmp_path: Path) -> None:
    document = written(hostile(demo), tmp_path)

    assert faults(document) == []
    assert {each["account_name"] for each in document["findings"]} == {HOSTILE_NAME}
    content = (tmp_path / "findings.json").read_bytes()
    assert set(content) <= {0x0A, *range(0x20, 0x7F)}


def test_each_row_stands_on_a_line_and_the_rows_are_written_in_parts(
    demo: Assessment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_json(demo, tmp_path / "whole.json")
    monkeypatch.setattr(writer, "CHUNK_ROWS", 7)
    write_json(demo, tmp_path / "parts.json")

    whole = (tmp_path / "whole.json").read_bytes()
    assert (tmp_path / "parts.json").read_bytes() == whole
    assert len(re.findall(rb'(?m)^\{"account_id".*"check".*\},?', whole)) == len(demo.findings)


def test_the_schema_names_the_words_of_the_models() -> None:
    definitions = SCHEMA["$defs"]
    assert definitions["severity"]["enum"] == list(models.Severity)
    assert definitions["account"]["properties"]["outcome"]["enum"] == list(models.Outcome)
    assert set(definitions["verdict"]["enum"]) == {*Verdict} - {Verdict.PASS}
    assert list(definitions["finding"]["properties"]) == list(FINDING_COLUMNS)
    assert set(definitions["account"]["properties"]) >= set(ACCOUNT_COLUMNS)
    assert list(definitions["exemption"]["properties"]) == list(EXEMPTION_COLUMNS)
    assert list(definitions["due_soon"]["properties"]) == list(models.DUE_SOON_COLUMNS)
    changed = definitions["changes"]["properties"]["findings"]["items"]["properties"]
    assert list(changed) == list(models.CHANGE_COLUMNS)
    assert list(definitions["trend"]["properties"]) == list(models.TREND_COLUMNS)
    assert set(definitions["limits"]["properties"]) == set(models.Limits.__dataclass_fields__)
