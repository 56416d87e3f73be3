"""Frame × checks → verdicts and findings: same evidence, limits and `as_of`, same result. Asks no clock and no AWS."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from scanner import cross_check
from scanner.checks import CATALOGUE, Check
from scanner.checks.access_key_not_rotated import ACCESS_KEY_NOT_ROTATED
from scanner.credentials import ACCESS_KEYS, plain_rows
from scanner.dates import Moments
from scanner.evidence import NOT_OURS, RunFolder
from scanner.exemptions import apply_exemptions
from scanner.key_ids import join_keys
from scanner.models import (
    DUE_SOON_COLUMNS,
    Account,
    Assessment,
    CheckSummary,
    LedgerEntry,
    Limits,
    Outcome,
    Rules,
    Run,
    Severity,
    Verdict,
)
from scanner.normalize import RawReport, normalize
from scanner.rules import AccountRules, chosen_checks, rules_by_account

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
    "iam_users",
    "user_difference",
    "cross_check",
    "started",
    "finished",
    "attempts",
)

NOT_APPLICABLE, PASS, FAIL, UNKNOWN = range(4)
WORDS = np.array(["", *map(str, (Verdict.PASS, Verdict.FAIL, Verdict.UNKNOWN))], dtype=object)
Judged = npt.NDArray[np.int8]
"""Positions in WORDS, from FAIL on a finding."""

NEVER = np.datetime64("NaT", "s")


def read_frame(folder: RunFolder) -> pd.DataFrame:
    """The credentials frame of all scanned accounts, key ids not joined yet."""
    population, ledger = _read_accounts(folder)
    return normalize(
        RawReport(account, ledger[account.account_id], folder.read_report(account.account_id))
        for account in population
        if ledger[account.account_id].outcome is Outcome.SCANNED
    )


def assess(folder: RunFolder, run: Run, frame: pd.DataFrame) -> Assessment:
    """Evidence → all that the reports are written from, by the run's rules and `as_of`; `frame` is its frame."""
    population, ledger = _read_accounts(folder)
    # The answers have no name here: they are large, and of no use once they are joined.
    joined = join_keys(
        frame, {each.account_id: keys for each in population if (keys := folder.read_keys(each.account_id))}
    )
    credentials, findings, checks = evaluate(joined, population, run.rules, run.as_of)
    exempted = apply_exemptions(credentials, findings, checks, population, run.rules, run.as_of)
    accounts = _accounts_frame(population, ledger, credentials, exempted.findings)
    accounts = _with_cross_check(accounts, folder, run, credentials)
    return Assessment(
        run=replace(run, counts=count_outcomes(population, ledger), totals=_totals(exempted.findings)),
        accounts=accounts,
        credentials=exempted.credentials,
        findings=exempted.findings,
        checks=exempted.checks,
        exemptions=exempted.exemptions,
        due_soon=due_soon(exempted.credentials, population, run.rules, run.as_of),
    )


def _totals(findings: pd.DataFrame) -> dict[str, int]:
    """Failing findings by severity, and those that are exempt or unknown."""
    failing = findings.loc[findings["verdict"].eq(Verdict.FAIL), "severity"]
    return {
        **{str(severity): int(failing.eq(severity).sum()) for severity in reversed(Severity)},
        **{str(each): int(findings["verdict"].eq(each).sum()) for each in (Verdict.EXEMPT, Verdict.UNKNOWN)},
    }


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
    frame: pd.DataFrame,
    population: Iterable[Account],
    rules: Rules,
    as_of: datetime,
    catalogue: Sequence[Check] = CATALOGUE,
) -> tuple[pd.DataFrame, pd.DataFrame, tuple[CheckSummary, ...]]:
    """The frame with ages, due dates and verdicts; the findings (FAIL and UNKNOWN); and each check's counts."""
    credentials = frame.assign(age_days=_whole_days(as_of - frame["last_rotated"]))
    groups = _groups(frame, population, rules)
    checks = chosen_checks(rules, catalogue)
    due_on = np.full(len(frame), NEVER)
    failed = np.zeros(len(frame), dtype=np.int64)
    verdicts, findings, summaries = {}, [], []
    for number, check in enumerate(checks):
        judged, due = _judge_all(check, frame, groups, as_of)
        due_on = np.fmin(due_on, due)  # the earlier one; of a moment and NaT the moment
        failed |= (judged == FAIL).astype(np.int64) << number
        verdicts[f"verdict:{check.id}"] = _strings(WORDS[judged])
        findings += [_findings(credentials, check, judged, due, group, as_of) for group in groups]
        summaries.append(_summary(check, judged))
    credentials = credentials.assign(due_on=_utc(due_on), failed_checks=_failed_checks(failed, checks), **verdicts)
    found = [each for each in findings if len(each)] or findings[:1]
    return credentials, _ordered(pd.concat(found, ignore_index=True)), tuple(summaries)


@dataclass(frozen=True, slots=True)
class Group:
    """The rows that the same rules hold for."""

    rules: AccountRules
    rows: npt.NDArray[np.intp] | None
    """Positions in the frame; None for all of them."""

    def of(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Its rows."""
        return frame if self.rows is None else frame.iloc[self.rows]


def _groups(frame: pd.DataFrame, population: Iterable[Account], rules: Rules) -> list[Group]:
    """The rows of the frame by the rules that hold for their account; all rows of an account are in one group."""
    by_account = rules_by_account(rules, population)
    distinct = list(dict.fromkeys(by_account.values()))
    if len(distinct) < 2:
        return [Group(distinct[0] if distinct else AccountRules(rules.limits, ()), None)]
    which = {account_id: distinct.index(each) for account_id, each in by_account.items()}
    codes, account_ids = pd.factorize(frame["account_id"])
    of_row = np.array([which[account_id] for account_id in account_ids], dtype=np.intp)[codes]
    return [Group(each, np.flatnonzero(of_row == number)) for number, each in enumerate(distinct)]


def _judge_all(check: Check, frame: pd.DataFrame, groups: Sequence[Group], as_of: datetime) -> tuple[Judged, Moments]:
    """The verdict of every row, and when it became or becomes due."""
    judged = np.zeros(len(frame), dtype=np.int8)
    due = np.full(len(frame), NEVER)
    for group in groups:
        rows, limits = group.of(frame), group.rules.limits
        where = slice(None) if group.rows is None else group.rows
        judged[where] = _judge(check, rows, limits, as_of)
        due[where] = check.due(rows, limits).to_numpy(dtype=NEVER.dtype)
    return judged, np.where(judged == NOT_APPLICABLE, NEVER, due)


def _whole_days(age: pd.Series) -> pd.Series:
    """Whole days, cut towards zero; NA where there is no date."""
    return pd.Series(np.trunc(age.dt.total_seconds() / 86_400), index=age.index).astype("Int64")


def _judge(check: Check, frame: pd.DataFrame, limits: Limits, as_of: datetime) -> Judged:
    """NOT_APPLICABLE, PASS, FAIL or UNKNOWN for every row."""
    fails = check.fails(frame, limits, as_of)
    judged = np.where(fails.to_numpy(dtype=bool, na_value=False), FAIL, PASS).astype(np.int8)
    judged[fails.isna().to_numpy()] = UNKNOWN
    judged[~check.applies(frame).to_numpy(dtype=bool)] = NOT_APPLICABLE
    return judged


def _summary(check: Check, judged: Judged) -> CheckSummary:
    counts = dict(zip(WORDS, np.bincount(judged, minlength=len(WORDS)).tolist(), strict=True))
    return CheckSummary(
        check_id=check.id,
        title=check.title,
        severity=check.severity,
        why=check.why,
        controls=check.controls,
        verdicts={verdict: counts.get(verdict, 0) for verdict in Verdict},
        population=check.population,
        limits=check.limits,
    )


def _failed_checks(failed: npt.NDArray[np.int64], checks: Sequence[Check]) -> Any:
    """The ids of the checks whose bits are set; rows that fail the same checks share one text."""
    which, sets = pd.factorize(failed)
    texts = [" ".join(check.id for bit, check in enumerate(checks) if bits >> bit & 1) for bits in sets.tolist()]
    return _strings(np.array(texts, dtype=object)[which])


def _findings(
    credentials: pd.DataFrame, check: Check, judged: Judged, due: Moments, group: Group, as_of: datetime
) -> pd.DataFrame:
    found = np.flatnonzero(judged >= FAIL) if group.rows is None else group.rows[judged[group.rows] >= FAIL]
    rows = credentials.iloc[found]
    limits = group.rules.limits
    says = {FAIL: check.reason, UNKNOWN: check.unknown or check.reason}
    texts = [
        (says[verdict](row, limits, as_of), check.fix(row), check.undo(row))
        for row, verdict in zip(plain_rows(rows) if len(rows) else (), judged[found].tolist(), strict=True)
    ]
    reason, fix, undo = zip(*texts, strict=True) if texts else ((), (), ())
    findings = rows.assign(
        check=check.id,
        title=check.title,
        severity=str(dict(group.rules.severities).get(check.id, check.severity)),
        verdict=_strings(WORDS[judged[found]]),
        due_on=_utc(due[found]),
        reason=_strings(reason),
        controls="; ".join(str(control) for control in check.controls),
        exemption="",
        first_seen=_utc(np.full(len(found), NEVER)),
        fix=_strings(fix),
        undo=_strings(undo),
    )
    return findings[list(FINDING_COLUMNS)]


def _strings(values: Any) -> Any:
    return pd.array(np.asarray(values, dtype=object), dtype="string", copy=False)


def _utc(moments: Moments) -> Any:
    return pd.array(moments, dtype="datetime64[s, UTC]", copy=False)


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
    frame: pd.DataFrame, population: Iterable[Account], rules: Rules, as_of: datetime
) -> dict[str, list[str]]:
    """The users whose key ids a reader will ask for: account id → names, for keys that fail or cannot be judged.

    The root user is not among them: AWS lists root's keys to root alone.
    """
    is_key = (frame["credential"].isin(ACCESS_KEYS) & ~frame["is_root"]).to_numpy()
    is_asked_for = np.zeros(len(frame), dtype=bool)
    groups = _groups(frame, population, rules)
    for check in chosen_checks(rules):
        judged, _ = _judge_all(check, frame, groups, as_of)
        is_asked_for |= judged >= FAIL
    is_asked_for &= is_key
    names: dict[str, set[str]] = {}
    users = zip(*(frame[name][is_asked_for].tolist() for name in ("account_id", "user")), strict=True)
    for account_id, user in users:
        names.setdefault(account_id, set()).add(user)
    return {account_id: sorted(names[account_id]) for account_id in sorted(names)}


def due_soon(credentials: pd.DataFrame, population: Sequence[Account], rules: Rules, as_of: datetime) -> pd.DataFrame:
    """Active access keys that pass today and fall due by the next audit, with DUE_SOON_COLUMNS, the earliest first."""
    verdict = f"verdict:{ACCESS_KEY_NOT_ROTATED.id}"
    if verdict not in credentials:
        return credentials.iloc[:0].assign(email="", days_left=pd.array([], "Int64"))[list(DUE_SOON_COLUMNS)]
    is_key = credentials["credential"].isin(ACCESS_KEYS) & credentials[verdict].eq(Verdict.PASS)
    # due_on is of all checks: the day by which the key is to be rotated is this check's alone.
    keys = credentials[is_key]
    due = np.full(len(keys), NEVER)
    for group in _groups(keys, population, rules):
        rows = group.of(keys)
        where = slice(None) if group.rows is None else group.rows
        due[where] = ACCESS_KEY_NOT_ROTATED.due(rows, group.rules.limits).to_numpy(dtype=NEVER.dtype)
    email = {account.account_id: account.email for account in population}
    keys = keys.assign(due_on=_utc(due), email=keys["account_id"].map(email).astype("string"))
    keys = keys[keys["due_on"] <= as_of + rules.next_audit]
    keys = keys.assign(days_left=_whole_days(keys["due_on"] - as_of))
    order = ["due_on", "account_id", "user", "credential"]
    return keys.sort_values(order, kind="stable").reset_index(drop=True)[list(DUE_SOON_COLUMNS)]


def count_outcomes(population: Sequence[Account], ledger: dict[str, LedgerEntry]) -> dict[str, int]:
    """Accounts per outcome, and `listed`, their sum."""
    counts = {str(outcome): 0 for outcome in Outcome}
    for account in population:
        counts[ledger[account.account_id].outcome] += 1
    return {"listed": len(population), **counts}


def _with_cross_check(accounts: pd.DataFrame, folder: RunFolder, run: Run, credentials: pd.DataFrame) -> pd.DataFrame:
    """The accounts with what IAM counts in each beside what its report lists."""
    is_user = credentials["credential"].eq("password") & ~credentials["is_root"]
    listed = credentials.loc[is_user, "account_id"].value_counts()
    roots = cross_check.roots_of(credentials)
    is_on = run.parameters.get("scan", {}).get("cross_check", True)
    counts: list[int | None] = []
    words: list[str] = []
    for account_id, outcome, generated in zip(
        accounts["account_id"], accounts["outcome"], accounts["report_generated"], strict=True
    ):
        content = folder.read_summary(account_id) if outcome == Outcome.SCANNED else {}
        summary = _summary_of(content)
        counts.append(summary.counts["Users"] if summary and summary.counts else None)
        if outcome != Outcome.SCANNED:
            words.append("")
        elif not content and not is_on:
            words.append(cross_check.OFF)
        else:
            users = int(listed.get(account_id, 0))
            words.append(cross_check.compare(summary, users, generated, roots.get(account_id)))
    iam_users = pd.array(counts, dtype="Int64")
    in_report = accounts["account_id"].map(listed).fillna(0).astype("Int64")
    told = accounts.assign(iam_users=iam_users, cross_check=pd.array(words, dtype="string"))
    return told.assign(user_difference=in_report - told["iam_users"])[list(ACCOUNT_COLUMNS)]


def _summary_of(content: dict[str, Any]) -> cross_check.Summary | None:
    try:
        return cross_check.from_json(content) if content else None
    except NOT_OURS:
        return None


def _accounts_frame(
    population: Sequence[Account], ledger: dict[str, LedgerEntry], credentials: pd.DataFrame, findings: pd.DataFrame
) -> pd.DataFrame:
    entries = [ledger[account.account_id] for account in population]

    def counts(of: Mapping[Any, int]) -> Any:
        """The number for each account; NA where it was not scanned."""
        values = [of.get(each.account_id, 0) if each.outcome is Outcome.SCANNED else None for each in entries]
        return pd.array(values, dtype="Int64")

    rows_of = {
        "credentials": credentials["account_id"],
        "failing": findings.loc[findings["verdict"].eq(Verdict.FAIL), "account_id"],
        "unknown": findings.loc[findings["verdict"].eq(Verdict.UNKNOWN), "account_id"],
    }
    told = ("reason", "report_generated", "report_sha256", "source_run", "started", "finished", "attempts")
    columns = {
        "account_name": [account.name for account in population],
        "outcome": [str(entry.outcome) for entry in entries],
        "users": counts({entry.account_id: entry.users for entry in entries}),
        **{name: [getattr(account, name) for account in population] for name in ("email", "ou_path", "state")},
        **{name: [getattr(entry, name) for entry in entries] for name in ("account_id", *told)},
        **{name: counts(rows.value_counts().to_dict()) for name, rows in rows_of.items()},
    }
    frame = pd.DataFrame({name: pd.Series(columns[name]) for name in ACCOUNT_COLUMNS if name in columns})
    for name in ("report_generated", "started", "finished"):
        frame[name] = pd.to_datetime(frame[name], utc=True).astype("datetime64[s, UTC]")
    return frame
