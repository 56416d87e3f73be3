"""Assessments as the scan makes them: the demo's organization, read from its own reports, without a network."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd

from scanner.evaluate import assess, read_frame
from scanner.evidence import RunFolder, sha256_of
from scanner.models import (
    CHANGE_COLUMNS,
    TREND_COLUMNS,
    Account,
    Assessment,
    Caller,
    Changes,
    Exemption,
    LedgerEntry,
    Outcome,
    Override,
    Rules,
    Run,
    Severity,
)
from scanner.simulator.demo import demo_organization
from scanner.simulator.model import SimulatedAccount
from scanner.simulator.report import render_report

AS_OF = datetime(2026, 11, 23, 6, 15, tzinfo=UTC)
QUARTER = timedelta(days=91)
HOSTILE_NAME = "=cmd|'/C calc'!A0 \"\x1b[2J\u202e\ud800</script>\n"
EXEMPT_ACCOUNT = "333344440001"
UNREADABLE_DATES = "777788880005"
REPORTS = Path(__file__).parents[1] / "data" / "credential_reports"
RULES = Rules(
    overrides=(
        Override(
            ou="Root/Sandbox",
            limits={"access_key_max_age": timedelta(days=30)},
            severities={"password-not-changed": Severity.CRITICAL},
        ),
    ),
    exemptions=(
        Exemption(
            id="EX-1",
            checks=("access-key-not-rotated", "password-not-changed"),
            accounts=(EXEMPT_ACCOUNT,),
            reason="moves to roles",
            owner="orders",
            approver="ciso",
            ticket="SEC-1",
            expires=AS_OF + timedelta(days=30),
        ),
    ),
)


def demo_assessment(runs_dir: Path, *, as_of: datetime = AS_OF, rules: Rules = RULES) -> Assessment:
    """The demo's organization, with one account that refuses; the same credentials at each moment."""
    organization = demo_organization(AS_OF)
    name = f"{as_of:%Y%m%dT%H%M%SZ}-{organization.organization_id}"
    folder = RunFolder.create(runs_dir, name)
    active = {account.account_id for account in organization.accounts if account.state == "ACTIVE"}
    folder.write_population(
        [
            Account(
                account_id=each.account_id,
                name=each.name,
                email=each.email,
                state=each.state,
                ou_path="/".join(("Root", *each.ou_path)),
            )
            for each in organization.accounts
        ],
        ["request-1"],
    )
    with folder.open_ledger() as ledger:
        for each in organization.accounts:
            entry = LedgerEntry(account_id=each.account_id, outcome=Outcome.NOT_ACTIVE, reason=each.state)
            if each.account_id in active - {organization.caller_account_id}:
                content = _report(each)
                folder.write_report(each.account_id, content)
                users = len(content.splitlines()) - 1
                digest = sha256_of(folder.report_path(each.account_id))
                entry = replace(
                    entry, outcome=Outcome.SCANNED, reason="", report_generated=as_of, report_sha256=digest, users=users
                )
            elif each.account_id in active:
                entry = replace(entry, outcome=Outcome.ACCESS_DENIED, reason="no")
            ledger.append(entry)
    return assess(folder, a_run(name, as_of, rules), read_frame(folder))


def _report(account: SimulatedAccount) -> bytes:
    """As the demo has it; one of them with dates that cannot be read."""
    if account.account_id == UNREADABLE_DATES:
        return (REPORTS / "key_states.csv").read_bytes().replace(b"111122223333", UNREADABLE_DATES.encode())
    return render_report(account)


def empty_assessment(runs_dir: Path) -> Assessment:
    """A run over an organization in which nothing was in scope."""
    name = f"{AS_OF:%Y%m%dT%H%M%SZ}-o-exampleorg1"
    folder = RunFolder.create(runs_dir, name)
    folder.write_population([], [])
    return assess(folder, a_run(name, AS_OF, Rules()), read_frame(folder))


def a_run(run_id: str, as_of: datetime, rules: Rules) -> Run:
    return Run(
        run_id=run_id,
        tool_version="0.1.0",
        python_version="3.11.9",
        organization_id="o-exampleorg1",
        management_account_id="111122223333",
        caller=Caller(account_id="012345678901", arn="arn:aws:iam::012345678901:user/auditor", partition="aws"),
        role_name="CredentialAudit",
        external_id_used=False,
        session_name="credaudit",
        session_policy={},
        organization_role_arn="",
        endpoints={},
        as_of=as_of,
        rules=rules,
        parameters={},
        started=as_of,
        finished=as_of,
    )


def full(assessment: Assessment) -> Assessment:
    """With what only a later run has: changes, a trend, a first day for some findings, a second evaluation."""
    seen = assessment.findings["first_seen"].mask(assessment.findings.index % 2 == 0, pd.Timestamp(AS_OF - QUARTER))
    findings = assessment.findings.assign(first_seen=seen.astype("datetime64[s, UTC]"))
    shared = [name for name in CHANGE_COLUMNS if name in findings.columns]
    rows = findings[shared].assign(change="open", old_verdict="FAIL", open_days=pd.array([91] * len(findings), "Int64"))
    accounts = pd.DataFrame({"change": ["left"], "account_id": ["123456789012"], "account_name": ["x"], "note": [""]})
    trend = pd.DataFrame([("run", AS_OF, True, 1, 0, 1, 2, 3, 0, 0)], columns=list(TREND_COLUMNS))
    return replace(
        assessment,
        findings=findings,
        changes=Changes(
            old_run="20260824T061500Z-o-exampleorg1",
            old_as_of=AS_OF - QUARTER,
            findings=rows.assign(note="")[list(CHANGE_COLUMNS)],
            accounts=accounts,
        ),
        trend=trend.assign(as_of=trend["as_of"].astype("datetime64[s, UTC]")),
        reevaluated=AS_OF,
    )


def hostile(assessment: Assessment) -> Assessment:
    """With every text that a stranger chooses replaced by one that acts wherever it can."""

    def renamed(frame: pd.DataFrame) -> pd.DataFrame:
        strangers = ("account_name", "ou_path", "email", "reason")
        texts = {name: pd.array([HOSTILE_NAME] * len(frame), "string") for name in strangers if name in frame.columns}
        if "user" in frame.columns:
            texts["user"] = HOSTILE_NAME + frame["user"]
        return frame.assign(**texts)

    return replace(
        assessment,
        accounts=renamed(assessment.accounts),
        credentials=renamed(assessment.credentials),
        findings=renamed(assessment.findings),
        due_soon=renamed(assessment.due_soon),
    )
