"""findings.ocsf.jsonl: each finding as a line, an OCSF event of class Compliance Finding, for a SIEM or a data lake.

The class and its objects: https://schema.ocsf.io/1.5.0/classes/compliance_finding
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from reports.json import plain_rows, to_json
from scanner.identity import findings_by_identity
from scanner.models import Assessment, CheckSummary, Run, Severity, Verdict

OCSF_VERSION = "1.5.0"
PRODUCT = "credaudit"
CATEGORY_UID = 2
CLASS_UID = 2003
CREATE, UPDATE = (1, "Create"), (2, "Update")
"""A finding that no run had before this one; one that an earlier run had."""
NEW, SUPPRESSED = (1, "New"), (3, "Suppressed")
SEVERITIES = {
    Severity.LOW: (2, "Low"),
    Severity.MEDIUM: (3, "Medium"),
    Severity.HIGH: (4, "High"),
    Severity.CRITICAL: (5, "Critical"),
}
STATUSES = {Verdict.FAIL: (3, "Fail"), Verdict.EXEMPT: (3, "Fail"), Verdict.UNKNOWN: (2, "Warning")}
"""Of the check. OCSF's Warning is a check without a result; what is exempt fails, and is suppressed as a finding."""
UNMAPPED = ("verdict", "user", "credential", "key_id", "last_rotated", "age_days", "due_on", "last_used")
UNMAPPED_TEXTS = ("exemption", "undo")


@dataclass(frozen=True, slots=True)
class _Common:
    """What the events of one run share."""

    run: Run
    time: int
    """`as_of`, in milliseconds."""
    metadata: dict[str, Any]
    compliance: dict[str, dict[str, Any]]
    """By check id."""


def write_ocsf(assessment: Assessment, path: Path) -> None:
    """Write the events, the worst first; ASCII, as findings.json is."""
    with path.open("w", encoding="ascii", newline="\n") as file:
        for event in events(assessment):
            file.write(f"{to_json(event)}\n")


def events(assessment: Assessment) -> Iterator[dict[str, Any]]:
    """One event for each finding; an attribute without a value is left out."""
    run = assessment.run
    common = _Common(
        run=run,
        time=_milliseconds(run.as_of),
        metadata={
            "version": OCSF_VERSION,
            "product": {"name": PRODUCT, "vendor_name": PRODUCT, "version": run.tool_version},
            "profiles": ["cloud"],
            "correlation_uid": run.run_id,
        },
        compliance={check.check_id: _compliance(check) for check in assessment.checks},
    )
    for row in plain_rows(_with_uid(assessment)):
        yield _event(row, common)


def _with_uid(assessment: Assessment) -> pd.DataFrame:
    """The findings, each with a `uid` that it has in every run: a hash of its identity."""
    identified = findings_by_identity(assessment)["identity"]
    uids = [hashlib.sha256(each.encode()).hexdigest()[:32] for each in identified]
    return assessment.findings.assign(uid=uids)


def _event(row: dict[str, Any], common: _Common) -> dict[str, Any]:
    first_seen = common.time if row["first_seen"] is None else _milliseconds(datetime.fromisoformat(row["first_seen"]))
    uid = row["uid"]
    activity_id, activity = UPDATE if first_seen < common.time else CREATE
    severity_id, severity = SEVERITIES[Severity(row["severity"])]
    status_id, status = SUPPRESSED if row["verdict"] == Verdict.EXEMPT else NEW
    return {
        "activity_id": activity_id,
        "activity_name": activity,
        "category_uid": CATEGORY_UID,
        "category_name": "Findings",
        "class_uid": CLASS_UID,
        "class_name": "Compliance Finding",
        "type_uid": CLASS_UID * 100 + activity_id,
        "type_name": f"Compliance Finding: {activity}",
        "time": common.time,
        "severity_id": severity_id,
        "severity": severity,
        "status_id": status_id,
        "status": status,
        "message": row["reason"],
        "metadata": {**common.metadata, "uid": f"{common.run.run_id}/{uid}"},
        "finding_info": _finding_info(row, uid, first_seen, common.time),
        "compliance": _judged(common.compliance[row["check"]], row["verdict"]),
        "cloud": _cloud(row, common.run),
        "resources": list(_resources(row, common.run)),
        "remediation": {"desc": row["fix"]},
        "unmapped": _unmapped(row),
    }


def _finding_info(row: dict[str, Any], uid: str, first_seen: int, last_seen: int) -> dict[str, Any]:
    return {
        "uid": uid,
        "title": row["title"],
        "desc": row["reason"],
        "types": [row["check"]],
        "analytic": {"type_id": 1, "type": "Rule", "uid": row["check"], "name": row["title"]},
        "created_time": first_seen,
        "first_seen_time": first_seen,
        "last_seen_time": last_seen,
    }


def _compliance(check: CheckSummary) -> dict[str, Any]:
    """The check, its standards and their requirements; one that serves no framework names this product's own."""
    standards = dict.fromkeys(f"{each.framework} {each.version}".strip() for each in check.controls)
    return {
        "control": check.check_id,
        "desc": check.why,
        "standards": list(standards) or [PRODUCT],
        "requirements": list(map(str, check.controls)) or [check.check_id],
    }


def _judged(compliance: dict[str, Any], verdict: str) -> dict[str, Any]:
    status_id, status = STATUSES[Verdict(verdict)]
    return {**compliance, "status_id": status_id, "status": status}


def _cloud(row: dict[str, Any], run: Run) -> dict[str, Any]:
    return {
        "provider": "AWS",
        "account": {
            "uid": row["account_id"],
            **_if_any("name", row["account_name"]),
            "type_id": 10,
            "type": "AWS Account",
        },
        "org": {"uid": run.organization_id, **_if_any("ou_name", row["ou_path"])},
    }


def _resources(row: dict[str, Any], run: Run) -> Iterator[dict[str, Any]]:
    """The user, or for the root user the account; and the key, where its id is known."""
    is_root = row["arn"].endswith(":root")
    kind = "AWS::::Account" if is_root else "AWS::IAM::User"
    yield {"uid": row["arn"], "name": row["user"], "type": kind, "cloud_partition": run.caller.partition}
    if row["key_id"]:
        kind = "AWS::IAM::AccessKey"
        yield {"uid": row["key_id"], "name": row["credential"], "type": kind, "cloud_partition": run.caller.partition}


def _unmapped(row: dict[str, Any]) -> dict[str, Any]:
    """What OCSF has no attribute for, as findings.json has it."""
    values = {name: row[name] for name in UNMAPPED if row[name] is not None}
    return values | {name: row[name] for name in UNMAPPED_TEXTS if row[name]}


def _if_any(name: str, text: str | None) -> dict[str, str]:
    return {name: text} if text else {}


def _milliseconds(moment: datetime) -> int:
    return int(moment.astimezone(UTC).timestamp()) * 1000
