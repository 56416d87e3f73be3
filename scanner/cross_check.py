"""The population of users, proved from a second side: what GetAccountSummary counts beside what the report lists.

A credential report may be hours older than the summary; users made or deleted since explain a difference. What age
cannot explain is no whole report.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd

from scanner.credentials import ACCESS_KEYS

EXPLAINED_FROM = timedelta(minutes=1)
"""Age of a report from which a user may have been made after it; younger, and a missing user is a missing row."""

COUNTS = ("Users", "AccountAccessKeysPresent", "AccountMFAEnabled")
"""What is compared; the answer has more."""

OFF, MATCHES = "off", "matches"


@dataclass(frozen=True, slots=True)
class Summary:
    """What GetAccountSummary said of an account, or why it said nothing."""

    asked: datetime
    counts: dict[str, int] | None
    error: str | None = None

    def lacks_users(self, listed: int, generated: datetime) -> bool:
        """Whether the report lists fewer users than there are, and is too young for that."""
        return self.counts is not None and listed < self.counts["Users"] and self.asked - generated < EXPLAINED_FROM


def to_json(summary: Summary) -> dict[str, Any]:
    """The content of evidence/ID.summary.json."""
    return {"asked": summary.asked, "summary": summary.counts, "error": summary.error}


def from_json(content: dict[str, Any]) -> Summary:
    """The summary as it was kept; raises ValueError, KeyError or TypeError where it is not as we write it."""
    asked = datetime.fromisoformat(content["asked"]).astimezone(UTC)
    counts = content["summary"]
    if counts is not None:
        counts = {str(name): int(value) for name, value in counts.items()}
        if missing := [name for name in COUNTS if name not in counts]:
            raise ValueError(f"no {missing[0]}")
    if content["error"] is not None and not isinstance(content["error"], str):
        raise TypeError("error")
    return Summary(asked, counts, content["error"])


@dataclass(frozen=True, slots=True)
class Root:
    """What the report says of the root user."""

    has_keys: bool
    has_mfa: bool | None


def roots_of(credentials: pd.DataFrame) -> dict[str, Root]:
    """Account id → its root user, where the report has a row of one."""
    rows = credentials[credentials["is_root"]]
    with_keys = set(rows.loc[rows["credential"].isin(ACCESS_KEYS), "account_id"])
    users = rows[rows["credential"].eq("password")]
    mfa = users["mfa_active"].astype(object).where(users["mfa_active"].notna(), None)
    return {each: Root(each in with_keys, has_mfa) for each, has_mfa in zip(users["account_id"], mfa, strict=True)}


def compare(summary: Summary | None, listed: int, generated: datetime | None, root: Root | None) -> str:
    """In words, whether the report and the summary agree."""
    if summary is None:
        return "not cross-checked: IAM's answer is not there"
    if summary.counts is None:
        return f"not cross-checked: {summary.error}"
    found = []
    if difference := listed - summary.counts["Users"]:
        age = summary.asked - generated if generated else timedelta()
        found.append(
            f"{abs(difference):,} {'user' if abs(difference) == 1 else 'users'} {'more' if difference > 0 else 'fewer'}"
            " in the report than in IAM;"
            f" the report is {_hours(age)} older, and users may have been"
            f" {'deleted' if difference > 0 else 'created'} since"
        )
    if root is None:
        found.append("the report has no row of the root user")
    else:
        if root.has_keys != bool(summary.counts["AccountAccessKeysPresent"]):
            found.append(f"IAM says that root has {'no ' if root.has_keys else ''}access keys, the report otherwise")
        if root.has_mfa is not None and root.has_mfa != bool(summary.counts["AccountMFAEnabled"]):
            found.append(f"IAM says that root has {'no ' if root.has_mfa else ''}MFA, the report otherwise")
    return "; ".join(found) or MATCHES


def _hours(age: timedelta) -> str:
    minutes = max(int(age.total_seconds()) // 60, 0)
    return f"{minutes // 60} h {minutes % 60} min"
