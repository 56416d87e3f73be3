"""OCSF 1.5.0: what the schema requires of a Compliance Finding and the objects in it, as a table."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from reports.ocsf import write_ocsf
from scanner.models import Assessment, Severity, Verdict

from .assessed import AS_OF, HOSTILE_NAME, QUARTER, demo_assessment, empty_assessment, full, hostile

MILLISECONDS = int(AS_OF.timestamp()) * 1000

REQUIRED = {
    "compliance_finding": (
        *("activity_id", "category_uid", "class_uid", "type_uid", "time", "severity_id"),
        *("metadata", "finding_info", "compliance", "cloud"),
    ),
    "metadata": ("version", "product"),
    "product": ("name", "vendor_name"),
    "finding_info": ("uid", "title"),
    "analytic": ("type_id",),
    "compliance": ("standards",),
    "cloud": ("provider",),
    "account": ("uid",),
    "organization": ("uid",),
    "resource_details": ("uid",),
    "remediation": ("desc",),
}
"""Or, of what needs a name or a uid, the uid. `cloud` is required by the profile of that name."""

OBJECTS = {
    "metadata": "metadata",
    "product": "product",
    "finding_info": "finding_info",
    "analytic": "analytic",
    "compliance": "compliance",
    "cloud": "cloud",
    "account": "account",
    "org": "organization",
    "resources": "resource_details",
    "remediation": "remediation",
}
INTEGERS = ("activity_id", "category_uid", "class_uid", "type_uid", "severity_id", "status_id", "type_id")
TIMES = ("time", "created_time", "first_seen_time", "last_seen_time")
TEXTS = (
    *("activity_name", "category_name", "class_name", "type_name", "severity", "status", "message", "uid", "name"),
    *("vendor_name", "version", "correlation_uid", "title", "desc", "type", "control", "provider", "ou_name"),
    "cloud_partition",
)
LISTS = ("profiles", "types", "standards", "requirements")
CAPTIONS = {
    ("compliance_finding", "activity_id", "activity_name"): {1: "Create", 2: "Update", 3: "Close"},
    ("compliance_finding", "category_uid", "category_name"): {2: "Findings"},
    ("compliance_finding", "class_uid", "class_name"): {2003: "Compliance Finding"},
    ("compliance_finding", "severity_id", "severity"): {
        **{0: "Unknown", 1: "Informational", 2: "Low", 3: "Medium", 4: "High", 5: "Critical", 6: "Fatal", 99: "Other"}
    },
    ("compliance_finding", "status_id", "status"): {
        **{1: "New", 2: "In Progress", 3: "Suppressed", 4: "Resolved", 5: "Archived"}
    },
    ("compliance", "status_id", "status"): {1: "Pass", 2: "Warning", 3: "Fail"},
    ("account", "type_id", "type"): {10: "AWS Account"},
    ("analytic", "type_id", "type"): {1: "Rule"},
}


def faults(value: dict[str, Any], kind: str = "compliance_finding") -> Iterator[str]:
    """What the schema would refuse in an object of this kind, and in those within."""
    yield from (f"{kind} lacks {name}" for name in REQUIRED[kind] if name not in value)
    for (owner, number, caption), words in CAPTIONS.items():
        if owner == kind and number in value and words.get(value[number]) != value.get(caption):
            yield f"{kind}.{number} is {value[number]}, {value.get(caption)}"
    for name, each in value.items():
        if name == "unmapped":
            continue
        if name in OBJECTS:
            for within in each if isinstance(each, list) else [each]:
                yield from faults(within, OBJECTS[name])
        elif not is_typed(name, each):
            yield f"{kind}.{name} is {each!r}"
    if kind == "compliance_finding" and value["type_uid"] != value["class_uid"] * 100 + value["activity_id"]:
        yield "type_uid"


def is_typed(name: str, value: object) -> bool:
    if name in INTEGERS:
        return type(value) is int
    if name in TIMES:
        return type(value) is int and value % 1000 == 0 and 10**12 < value < 10**13
    if name in LISTS:
        return isinstance(value, list) and bool(value) and all(type(each) is str and each for each in value)
    return name in TEXTS and type(value) is str and value != ""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Assessment:
    return full(demo_assessment(tmp_path_factory.mktemp("runs")))


@pytest.fixture(scope="module")
def events(demo: Assessment, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return written(demo, tmp_path_factory.mktemp("ocsf"))


def written(assessment: Assessment, folder: Path) -> list[dict[str, Any]]:
    write_ocsf(assessment, folder / "findings.ocsf.jsonl")
    return [json.loads(line) for line in (folder / "findings.ocsf.jsonl").read_bytes().splitlines()]


def test_every_event_is_a_compliance_finding(events: list[dict[str, Any]]) -> None:
    assert len(events) > 100
    assert [fault for event in events for fault in faults(event)] == []


@pytest.mark.parametrize(
    ("where", "spoiled"),
    [
        ((), {"time": None}),
        ((), {"time": MILLISECONDS // 1000}),
        ((), {"severity_id": 7}),
        ((), {"severity": "high"}),
        ((), {"type_uid": 200399}),
        ((), {"unheard_of": "x"}),
        (("compliance",), {"standards": []}),
        (("compliance",), {"status_id": 0}),
        (("cloud", "account"), {"uid": 111122223333}),
        (("finding_info",), {"uid": ""}),
    ],
)
def test_the_table_refuses_what_is_none(
    where: tuple[str, ...], spoiled: dict[str, Any], events: list[dict[str, Any]]
) -> None:
    event = json.loads(json.dumps(events[0]))
    target = event
    for name in where:
        target = target[name]
    target.update(spoiled)
    assert len(list(faults(event))) == 1


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in ("metadata", "cloud") for name in REQUIRED[kind]])
def test_the_table_misses_what_is_missing(kind: str, name: str, events: list[dict[str, Any]]) -> None:
    event = json.loads(json.dumps(events[0]))
    del event[kind][name]
    assert list(faults(event)) == [f"{kind} lacks {name}"]


def test_each_finding_is_one_event_in_the_same_order(demo: Assessment, events: list[dict[str, Any]]) -> None:
    assert len(events) == len(demo.findings)
    for event, (_, row) in zip(events, demo.findings.iterrows(), strict=True):
        assert event["cloud"]["account"]["uid"] == row["account_id"]
        assert event["cloud"]["org"] == {"uid": "o-exampleorg1", "ou_name": row["ou_path"]}
        assert event["compliance"]["control"] == row["check"]
        assert event["resources"][0]["uid"] == row["arn"]
        assert event["message"] == row["reason"]
        assert event["remediation"]["desc"] == row["fix"]
        assert event["severity"] == row["severity"].capitalize()
        assert event["unmapped"]["verdict"] == row["verdict"]


def test_what_is_exempt_is_suppressed_and_what_is_unknown_is_no_failure(events: list[dict[str, Any]]) -> None:
    seen = Counter((each["unmapped"]["verdict"], each["status"], each["compliance"]["status"]) for each in events)
    assert set(seen) == {
        (Verdict.FAIL, "New", "Fail"),
        (Verdict.EXEMPT, "Suppressed", "Fail"),
        (Verdict.UNKNOWN, "New", "Warning"),
    }


def test_severities_keep_their_order(events: list[dict[str, Any]]) -> None:
    ids = {Severity(each["severity"].lower()): each["severity_id"] for each in events}
    assert [ids[severity] for severity in Severity] == [2, 3, 4, 5]


def test_a_finding_that_an_earlier_run_had_is_an_update_since_then(events: list[dict[str, Any]]) -> None:
    since = MILLISECONDS - int(QUARTER / timedelta(milliseconds=1))
    for number, event in enumerate(events):
        is_new = number % 2 == 1
        assert event["time"] == event["finding_info"]["last_seen_time"] == MILLISECONDS
        assert event["finding_info"]["first_seen_time"] == (MILLISECONDS if is_new else since)
        assert event["type_uid"] == (200301 if is_new else 200302)


def test_a_finding_has_one_uid_in_every_run_and_no_two_share_it(
    events: list[dict[str, Any]], demo: Assessment, tmp_path: Path
) -> None:
    uids = [each["finding_info"]["uid"] for each in events]
    assert len(set(uids)) == len(uids)

    later = written(demo_assessment(tmp_path, as_of=AS_OF + timedelta(days=1)), tmp_path)
    assert set(uids) <= {each["finding_info"]["uid"] for each in later}
    assert {each["metadata"]["uid"] for each in events}.isdisjoint(each["metadata"]["uid"] for each in later)


def test_a_user_created_anew_under_the_same_name_has_another_finding(demo: Assessment, tmp_path: Path) -> None:
    before = written(demo, tmp_path)
    anew = demo.credentials.assign(user_created=demo.credentials["user_created"] + timedelta(seconds=1))
    after = written(replace(demo, credentials=anew), tmp_path)
    for old, new in zip(before, after, strict=True):
        assert old["finding_info"]["uid"] != new["finding_info"]["uid"]


def test_a_check_of_no_framework_names_a_standard_all_the_same(demo: Assessment, tmp_path: Path) -> None:
    bare = replace(demo, checks=tuple(replace(check, controls=()) for check in demo.checks))
    for event in written(bare, tmp_path):
        assert list(faults(event)) == []
        assert event["compliance"]["standards"] == ["credaudit"]


def test_the_key_is_a_resource_where_its_id_is_known(demo: Assessment, tmp_path: Path) -> None:
    known = demo.findings.assign(key_id="AKIAIOSFODNN7EXAMPLE")
    events = written(replace(demo, findings=known), tmp_path)
    assert [fault for event in events for fault in faults(event)] == []
    assert {event["resources"][1]["uid"] for event in events} == {"AKIAIOSFODNN7EXAMPLE"}
    assert {event["resources"][0]["type"] for event in events} == {"AWS::IAM::User", "AWS::::Account"}


def test_a_strangers_text_is_kept_on_one_line_and_in_ascii(demo: Assessment, tmp_path: Path) -> None:
    events = written(hostile(demo), tmp_path)
    assert len(events) == len(demo.findings)
    assert {each["cloud"]["account"]["name"] for each in events} == {HOSTILE_NAME}
    assert set((tmp_path / "findings.ocsf.jsonl").read_bytes()) <= {0x0A, *range(0x20, 0x7F)}


def test_no_finding_is_no_line(tmp_path: Path) -> None:
    assert written(empty_assessment(tmp_path), tmp_path) == []
