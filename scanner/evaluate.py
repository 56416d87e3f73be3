"""Frame × checks → verdicts and findings: same evidence, limits and `as_of`, same result. Asks no clock and no AWS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np
import pandas as pd

from scanner.checks import CATALOGUE, Check
from scanner.evidence import RunFolder
from scanner.key_ids import join_keys
from scanner.models import Account, Assessment, CheckSummary, LedgerEntry, Limits, Outcome, Run, Severity, Verdict
from scanner.normalize import ACCESS_KEYS, RawReport, normalize

FINDING_COLUMNS = (
    "account_id",
    "account_name",
    "ou_path",
    "user",
    "arn",
    "credential",
    "key_id",
    "check",
    "title",
    "severity",
    "verdict",
    "last_rotated",
    "age_days",
    "due_on",
    "last_used",
    "reason",
    "controls",
    "exemption",
    "first_seen",
    "fix",
    "undo",
)

ACCOUNT_COLUMNS = (
    "account_id",
    "account_name",
    "email",
    "ou_path",
    "state",
    "outcome",
    "reason",
    "report_generated",
    "report_sha256",
    "source_run",
    "users",
    "credentials",
    "failing",
    "unknown",
    "started",
    "finished",
    "attempts",
)


def read_frame(folder: RunFolder) -> pd.DataFrame:
    """The credentials frame of all scanned accounts, key ids not joined yet."""
    population, ledger = _read_accounts(folder)
    return normalize(
        RawReport(account, ledger[account.account_id], folder.read_report(account.account_id))
        for account in population
        if ledger[account.account_id].outcome is Outcome.SCANNED
    )


def assess(folder: RunFolder, run: Run, frame: pd.DataFrame) -> Assessment:
    """Evidence → all that the reports are written from, by the run's limits and `as_of`; `frame` is its frame."""
    population, ledger = _read_accounts(folder)
    answers = {account.account_id: keys for account in population if (keys := folder.read_keys(account.account_id))}
    credentials, findings, checks = evaluate(join_keys(frame, answers), CATALOGUE, run.limits, run.as_of)
    return Assessment(
        run=replace(run, counts=count_outcomes(population, ledger)),
        accounts=_accounts_frame(population, ledger, credentials, findings),
        credentials=credentials,
        findings=findings,
        checks=checks,
    )


def _read_accounts(folder: RunFolder) -> tuple[list[Account], dict[str, LedgerEntry]]:
    """The population, and an outcome for each: an account without a line was not reached."""
    population = folder.read_population()
    ledger = folder.read_ledger()
    for account in population:
        missing = LedgerEntry(
            account_id=account.account_id, outcome=Outcome.INTERRUPTED, reason="the run ended before this account"
        )
        ledger.setdefault(account.account_id, missing)
    return population, ledger


def evaluate(
    frame: pd.DataFrame, checks: Sequence[Check], limits: Limits, as_of: datetime
) -> tuple[pd.DataFrame, pd.DataFrame, tuple[CheckSummary, ...]]:
    """The frame with ages, due dates and verdicts; the findings (FAIL and UNKNOWN); and each check's counts."""
    credentials = frame.assign(
        age_days=_whole_days(as_of - frame["last_rotated"]),
        due_on=pd.Series(pd.NaT, index=frame.index, dtype="datetime64[s, UTC]"),
        failed_checks=pd.Series("", index=frame.index, dtype="string"),
    )
    findings, summaries = [], []
    for check in checks:
        verdict = _verdicts(check, frame, limits, as_of)
        due = check.due(frame, limits).where(verdict.ne(""))
        credentials[f"verdict:{check.id}"] = verdict
        credentials["due_on"] = (
            credentials["due_on"].where(credentials["due_on"] <= due, due).fillna(credentials["due_on"])
        )
        failing = verdict.eq(Verdict.FAIL)
        separator = np.where(credentials.loc[failing, "failed_checks"].eq(""), "", " ")
        credentials.loc[failing, "failed_checks"] += separator + check.id
        findings.append(_findings(credentials, check, verdict, due, limits, as_of))
        counts = verdict.value_counts()
        summaries.append(
            CheckSummary(
                check_id=check.id,
                title=check.title,
                severity=check.severity,
                why=check.why,
                controls=check.controls,
                verdicts={each: int(counts.get(each, 0)) for each in Verdict},
            )
        )
    return credentials, _ordered(pd.concat(findings, ignore_index=True)), tuple(summaries)


def _whole_days(age: pd.Series) -> pd.Series:
    """Whole days, cut towards zero; NA where there is no date."""
    return pd.Series(np.trunc(age.dt.total_seconds() / 86_400), index=age.index).astype("Int64")


def _verdicts(check: Check, frame: pd.DataFrame, limits: Limits, as_of: datetime) -> pd.Series:
    """PASS, FAIL, UNKNOWN; empty where the check does not apply."""
    applies = check.applies(frame)
    fails = check.fails(frame, limits, as_of)
    verdict = pd.Series("", index=frame.index, dtype="string")
    verdict[applies & fails.isna()] = Verdict.UNKNOWN
    verdict[applies & fails.fillna(False).astype(bool)] = Verdict.FAIL
    verdict[applies & ~fails.fillna(True).astype(bool)] = Verdict.PASS
    return verdict


def _findings(
    credentials: pd.DataFrame, check: Check, verdict: pd.Series, due: pd.Series, limits: Limits, as_of: datetime
) -> pd.DataFrame:
    rows = credentials[verdict.isin([Verdict.FAIL, Verdict.UNKNOWN])]
    tuples = list(rows.itertuples(index=False))
    findings = rows.assign(
        check=check.id,
        title=check.title,
        severity=str(check.severity),
        verdict=verdict[rows.index],
        due_on=due[rows.index],
        reason=pd.Series([check.reason(row, limits, as_of) for row in tuples], index=rows.index, dtype="string"),
        controls="; ".join(str(control) for control in check.controls),
        exemption="",
        first_seen=pd.Series(pd.NaT, index=rows.index, dtype="datetime64[s, UTC]"),
        fix=pd.Series([check.fix(row) for row in tuples], index=rows.index, dtype="string"),
        undo=pd.Series([check.undo(row) for row in tuples], index=rows.index, dtype="string"),
    )
    return findings[list(FINDING_COLUMNS)]


def _ordered(findings: pd.DataFrame) -> pd.DataFrame:
    """The worst first: by severity, failures before unknowns, oldest first; then by account, user and credential."""
    keys = pd.DataFrame(
        {
            "severity": findings["severity"].map({str(s): -s.rank for s in Severity}),
            "verdict": findings["verdict"].ne(Verdict.FAIL),
            "last_rotated": findings["last_rotated"],
            "account_id": findings["account_id"],
            "user": findings["user"],
            "credential": findings["credential"].astype(str),
        }
    )
    return findings.loc[keys.sort_values(list(keys.columns), kind="stable").index].reset_index(drop=True)


def users_to_look_up(
    frame: pd.DataFrame, checks: Sequence[Check], limits: Limits, as_of: datetime
) -> dict[str, list[str]]:
    """The users whose key ids a reader will ask for: account id → names, for keys that fail or cannot be judged.

    The root user is not among them: AWS lists root's keys to root alone.
    """
    is_asked_for = pd.Series(False, index=frame.index)
    for check in checks:
        is_asked_for |= _verdicts(check, frame, limits, as_of).isin([Verdict.FAIL, Verdict.UNKNOWN])
    rows = frame[is_asked_for & frame["credential"].isin(ACCESS_KEYS) & ~frame["is_root"]]
    return {
        str(account_id): sorted({str(user) for user in users})
        for account_id, users in rows.groupby("account_id")["user"]
    }


def count_outcomes(population: Sequence[Account], ledger: dict[str, LedgerEntry]) -> dict[str, int]:
    """Accounts per outcome, and `listed`, their sum."""
    counts = {str(outcome): 0 for outcome in Outcome}
    for account in population:
        counts[ledger[account.account_id].outcome] += 1
    return {"listed": len(population), **counts}


def _accounts_frame(
    population: Sequence[Account], ledger: dict[str, LedgerEntry], credentials: pd.DataFrame, findings: pd.DataFrame
) -> pd.DataFrame:
    per_account = {
        "credentials": credentials["account_id"].value_counts(),
        "failing": findings.loc[findings["verdict"].eq(Verdict.FAIL), "account_id"].value_counts(),
        "unknown": findings.loc[findings["verdict"].eq(Verdict.UNKNOWN), "account_id"].value_counts(),
    }
    rows = []
    for account in population:
        entry = ledger[account.account_id]
        is_scanned = entry.outcome is Outcome.SCANNED
        counts = {
            name: int(values.get(account.account_id, 0)) if is_scanned else pd.NA
            for name, values in per_account.items()
        }
        rows.append(
            {
                "account_id": account.account_id,
                "account_name": account.name,
                "email": account.email,
                "ou_path": account.ou_path,
                "state": account.state,
                "outcome": str(entry.outcome),
                "reason": entry.reason,
                "report_generated": entry.report_generated,
                "report_sha256": entry.report_sha256,
                "source_run": entry.source_run,
                "users": entry.users if is_scanned else pd.NA,
                "started": entry.started,
                "finished": entry.finished,
                "attempts": entry.attempts,
                **counts,
            }
        )
    frame = pd.DataFrame(rows, columns=list(ACCOUNT_COLUMNS))
    for name in ("report_generated", "started", "finished"):
        frame[name] = pd.to_datetime(frame[name], utc=True).astype("datetime64[s, UTC]")
    return frame.astype(dict.fromkeys(("users", "credentials", "failing", "unknown"), "Int64"))
