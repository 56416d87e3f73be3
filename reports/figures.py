"""What charts and summaries show: findings by severity and OU, key ages, controls. Pure computations on frames."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd

from reports.words import KEY_AGE_CHECK
from scanner.models import CheckSummary, Severity, Verdict

SEVERITIES = tuple(str(severity) for severity in reversed(Severity))
"""The worst first."""
AGE_EDGES = (30, 60, 90, 180, 365)
"""Whole days at which a bucket of key ages ends; the limit is another."""
OTHERS = "all others"
NO_PLACE = "(not known)"
IN_PART = "PASS, in part"


def by_ou(accounts: pd.DataFrame, findings: pd.DataFrame, most: int) -> pd.DataFrame:
    """One row per OU path: `ou`, scanned `accounts`, and failing findings per severity; the worst, then the others."""
    scanned = accounts[accounts["outcome"].eq("scanned")]
    failing = findings[findings["verdict"].eq(Verdict.FAIL)]
    counts = pd.crosstab(failing["ou_path"].astype(object), failing["severity"].astype(object))
    counts = counts.reindex(columns=list(SEVERITIES), fill_value=0)
    per_ou = scanned["ou_path"].astype(object).value_counts()
    table = counts.reindex(per_ou.index.union(counts.index), fill_value=0).astype("int64")
    table.insert(0, "accounts", per_ou.reindex(table.index, fill_value=0).astype("int64"))
    table.insert(0, "ou", [path or NO_PLACE for path in table.index])
    order = [*(-table[name] for name in SEVERITIES), table["ou"]]
    table = table.iloc[np.lexsort([each.to_numpy() for each in reversed(order)])].reset_index(drop=True)
    if len(table) <= most:
        return table
    rest = table.iloc[most - 1 :]
    summed = pd.DataFrame([{"ou": f"{OTHERS} ({len(rest)})", **rest.drop(columns="ou").sum().to_dict()}])
    return pd.concat([table.iloc[: most - 1], summed], ignore_index=True)


@dataclass(frozen=True, slots=True)
class AgeBucket:
    """Active access keys of some ages."""

    first: int
    """Whole days."""
    last: int | None
    """Whole days; None for all older ones."""
    passing: int
    failing: int
    """Beyond the limit, whether exempt or not."""

    @property
    def label(self) -> str:
        """`31–60 days`."""
        return f"{self.first}–{self.last} days" if self.last is not None else f"over {self.first - 1} days"


def key_ages(credentials: pd.DataFrame, limit: timedelta) -> list[AgeBucket]:
    """Active access keys with a verdict, by age; the limit ends a bucket."""
    name = f"verdict:{KEY_AGE_CHECK}"
    if name not in credentials:
        return []
    verdicts = credentials[name]
    is_beyond = verdicts.isin((str(Verdict.FAIL), str(Verdict.EXEMPT))).to_numpy(dtype=bool)
    is_judged = (verdicts.eq(Verdict.PASS).to_numpy(dtype=bool) | is_beyond) & credentials[
        "age_days"
    ].notna().to_numpy()
    ages = np.maximum(credentials["age_days"].to_numpy(dtype="float64", na_value=0)[is_judged], 0)
    beyond = is_beyond[is_judged]
    edges = sorted({*AGE_EDGES, limit.days})
    which = np.searchsorted(edges, ages, side="left")
    buckets = []
    for number, (first, last) in enumerate(zip([0, *(edge + 1 for edge in edges)], [*edges, None], strict=True)):
        inside = which == number
        buckets.append(AgeBucket(first, last, int((inside & ~beyond).sum()), int((inside & beyond).sum())))
    return buckets


@dataclass(frozen=True, slots=True)
class Requirement:
    """A requirement of one version of a framework, and what the checks that serve it found."""

    framework: str
    version: str
    number: str
    note: str
    checks: tuple[CheckSummary, ...]

    def count(self, verdict: Verdict) -> int:
        """How many credentials met this verdict, over all of its checks."""
        return sum(check.verdicts[verdict] for check in self.checks)

    @property
    def status(self) -> str:
        """The worst of its verdicts: one FAIL fails it, and unknown is not pass."""
        for verdict in (Verdict.FAIL, Verdict.UNKNOWN, Verdict.EXEMPT, Verdict.PASS):
            if self.count(verdict):
                return str(verdict)
        return "nothing to check"

    def result(self, *, is_complete: bool) -> str:
        """Its status; where accounts are missing, it passes in part only."""
        if self.status in (Verdict.PASS, Verdict.EXEMPT) and not is_complete:
            return IN_PART
        return self.status


def requirements(checks: Sequence[CheckSummary]) -> list[Requirement]:
    """Every requirement that the checks serve: frameworks as the catalogue has them, the newest version first."""
    found: dict[tuple[str, str, str], list[tuple[CheckSummary, str]]] = {}
    frameworks: list[str] = []
    for check in checks:
        for control in check.controls:
            found.setdefault((control.framework, control.version, control.number), []).append((check, control.note))
            if control.framework not in frameworks:
                frameworks.append(control.framework)
    keys = sorted(found, key=lambda each: natural(each[2]))
    keys.sort(key=lambda each: natural(each[1]), reverse=True)
    keys.sort(key=lambda each: frameworks.index(each[0]))
    return [
        Requirement(*key, note=" ".join(dict.fromkeys(note for _, note in found[key] if note)),
                    checks=tuple(check for check, _ in found[key]))
        for key in keys
    ]  # fmt: skip


def natural(text: str) -> list[Any]:
    """A key to sort by in which 1.9 is before 1.10."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", text) if part]


def latest_foundations(found: Sequence[Requirement]) -> Iterator[Requirement]:
    """Those of the newest version of the first framework, which is CIS's for AWS."""
    first = found[0] if found else None
    return (each for each in found if first and (each.framework, each.version) == (first.framework, first.version))
