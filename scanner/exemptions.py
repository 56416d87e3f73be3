"""Accepted findings: the file they are written in, and what they cover."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import pandas as pd

from scanner.models import EXEMPTION_COLUMNS, Account, CheckSummary, Exemption, Rules, Verdict


@dataclass(frozen=True, slots=True)
class Exempted:
    """Findings, credentials and counts once the exemptions hold, and what became of each exemption."""

    credentials: pd.DataFrame
    findings: pd.DataFrame
    checks: tuple[CheckSummary, ...]
    exemptions: pd.DataFrame
    """With EXEMPTION_COLUMNS."""


def apply_exemptions(
    credentials: pd.DataFrame,
    findings: pd.DataFrame,
    checks: tuple[CheckSummary, ...],
    population: Sequence[Account],
    rules: Rules,
    as_of: datetime,
) -> Exempted:
    """Turn FAIL into EXEMPT where a live exemption covers it; an expired one adds to the reason that it did."""
    failing = findings["verdict"].eq(Verdict.FAIL).to_numpy()
    verdicts = findings["verdict"].to_numpy(object).copy()
    names = np.full(len(findings), "", dtype=object)
    reasons = findings["reason"].to_numpy(object).copy()
    rows = []
    for exemption in rules.exemptions:
        covered = np.flatnonzero(failing & _covers(exemption, findings, population))
        state = _state(exemption, as_of)
        if state == LIVE:
            names[covered] = [f"{name} {exemption.id}".strip() for name in names[covered]]
            verdicts[covered] = str(Verdict.EXEMPT)
        elif state == EXPIRED:
            reasons[covered] = [
                f"{reason}; exemption {exemption.id} expired on {exemption.expires:%Y-%m-%d}"
                for reason in reasons[covered]
            ]
        rows.append(_row(exemption, state, len(covered), rules, as_of))
    findings = findings.assign(
        verdict=pd.array(verdicts, dtype="string"),
        exemption=pd.array(names, dtype="string"),
        reason=pd.array(reasons, dtype="string"),
    )
    exempt = findings[findings["verdict"].eq(Verdict.EXEMPT)]
    return Exempted(
        credentials=_with_exempt(credentials, exempt),
        findings=findings,
        checks=tuple(_counted(check, exempt) for check in checks),
        exemptions=_frame(rows),
    )


LIVE, EXPIRED, NOT_YET = "live", "expired", "not yet in force"


def _state(exemption: Exemption, as_of: datetime) -> str:
    if exemption.starts is not None and as_of < exemption.starts:
        return NOT_YET
    return LIVE if as_of < exemption.expires else EXPIRED


def _covers(exemption: Exemption, findings: pd.DataFrame, population: Sequence[Account]) -> np.ndarray:
    """Which findings it names, whether it is live or not."""
    covered = findings["check"].isin(exemption.checks).to_numpy(dtype=bool, copy=True)
    if exemption.accounts or exemption.ous:
        chosen = {
            each.account_id
            for each in population
            if each.account_id in exemption.accounts or any(each.stands_under(ou) for ou in exemption.ous)
        }
        covered = covered & findings["account_id"].isin(chosen).to_numpy(dtype=bool)
    for column, pattern in (("user", exemption.user), ("arn", exemption.arn)):
        if pattern:
            names = findings.loc[covered, column].unique()
            matching = [name for name in names if fits(pattern, name)]
            covered = covered & findings[column].isin(matching).to_numpy(dtype=bool)
    return covered


def fits(pattern: str, text: str) -> bool:
    """Whether the pattern is the whole text; `*` stands for any text, and every other character for itself."""
    start, *between = pattern.split("*")
    if not between:
        return text == pattern
    end = between.pop()
    if not text.startswith(start):
        return False
    at = len(start)
    for part in between:
        found = text.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return len(text) - at >= len(end) and text.endswith(end)


def _row(exemption: Exemption, state: str, covers: int, rules: Rules, as_of: datetime) -> dict[str, object]:
    notes = []
    if state == EXPIRED:
        notes.append("expired: what it covered fails again")
    elif state == NOT_YET:
        notes.append("not yet in force")
    elif exemption.expires <= as_of + rules.next_audit:
        notes.append("ends before the next audit")
    if not covers:
        notes.append("matches nothing")
    return {
        "id": exemption.id,
        "state": state,
        **{name: " ".join(getattr(exemption, name)) for name in ("checks", "accounts")},
        "ous": ", ".join(exemption.ous),
        **{name: getattr(exemption, name) for name in ("user", "arn", "reason", "owner", "approver", "ticket")},
        "starts": exemption.starts,
        "expires": exemption.expires,
        "covers": covers,
        "note": "; ".join(notes),
    }


def _frame(rows: list[dict[str, object]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=list(EXEMPTION_COLUMNS))
    for name in EXEMPTION_COLUMNS:
        if name in ("starts", "expires"):
            frame[name] = pd.to_datetime(frame[name], utc=True).astype("datetime64[s, UTC]")
        else:
            frame[name] = frame[name].astype("Int64" if name == "covers" else "string")
    return frame


def _with_exempt(credentials: pd.DataFrame, exempt: pd.DataFrame) -> pd.DataFrame:
    """The verdict columns with EXEMPT in them."""
    if exempt.empty:
        return credentials
    keys = ["account_id", "user", "credential"]
    positions = pd.Series(np.arange(len(credentials)), index=pd.MultiIndex.from_frame(_as_text(credentials[keys])))
    changed = {}
    for check, rows in exempt.groupby("check", sort=False):
        name = f"verdict:{check}"
        verdicts = credentials[name].to_numpy(object).copy()
        verdicts[positions[pd.MultiIndex.from_frame(_as_text(rows[keys]))].to_numpy()] = str(Verdict.EXEMPT)
        changed[name] = pd.array(verdicts, dtype="string")
    return credentials.assign(**changed)


def _as_text(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.astype(object)


def _counted(check: CheckSummary, exempt: pd.DataFrame) -> CheckSummary:
    count = int(exempt["check"].eq(check.check_id).sum())
    verdicts = dict(check.verdicts)
    verdicts[Verdict.FAIL] -= count
    verdicts[Verdict.EXEMPT] += count
    return replace(check, verdicts=verdicts)
