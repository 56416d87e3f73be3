"""Lines of credential reports as AWS writes them, for the tests of the checks; and what becomes of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pandas as pd

from scanner.evaluate import evaluate
from scanner.exemptions import apply_exemptions
from scanner.models import Account, LedgerEntry, Outcome, Rules, Verdict
from scanner.normalize import RawReport, normalize

AS_OF = datetime(2026, 11, 23, 12, tzinfo=UTC)
ACCOUNT = Account(
    account_id="111122223333", name="payments", email="owner@example.com", state="ACTIVE", ou_path="Root/Prod"
)
ROOT = "<root_account>"
KEY_FIELDS = ("active", "last_rotated", "last_used_date", "last_used_region", "last_used_service")
COLUMNS = (
    *("user", "arn", "user_creation_time", "password_enabled", "password_last_used", "password_last_changed"),
    *("password_next_rotation", "mfa_active"),
    *(f"access_key_{number}_{field}" for number in (1, 2) for field in KEY_FIELDS),
    *("cert_1_active", "cert_1_last_rotated", "cert_2_active", "cert_2_last_rotated", "additional_credentials_info"),
)
Cells = dict[str, str]


def ago(days: int = 0, seconds: int = 0) -> str:
    """A moment before AS_OF, as AWS writes it."""
    return f"{AS_OF - timedelta(days=days, seconds=seconds):%Y-%m-%dT%H:%M:%S+00:00}"


def password(
    used: str = ago(1), changed: str = ago(10), mfa: str = "true", enabled: str = "true", created: str = ago(400)
) -> Cells:
    """A user who signs in; a password that was changed and used lately, and MFA, unless the cells say otherwise."""
    return {
        "password_enabled": enabled,
        "password_last_used": used,
        "password_last_changed": changed,
        "mfa_active": mfa,
        "user_creation_time": created,
    }


def key(number: int = 1, made: str = ago(10), used: str = ago(1), active: str = "true") -> Cells:
    """An access key, young and in use unless the cells say otherwise."""
    values = dict(zip(KEY_FIELDS, (active, made, used, "us-east-1", "s3"), strict=True))
    return {f"access_key_{number}_{field}": value for field, value in values.items()}


def cells_of(user: str, cells: Cells, account_id: str = ACCOUNT.account_id) -> Cells:
    """The whole line: a user without credentials where the cells say nothing."""
    assert set(cells) <= set(COLUMNS), cells
    end = "root" if user == ROOT else f"user/{user}"
    line = dict.fromkeys(COLUMNS, "N/A") | {"user": user, "arn": f"arn:aws:iam::{ACCOUNT.account_id}:{end}"}
    line |= {"user_creation_time": ago(400), "password_enabled": "false", "mfa_active": "false"}
    line |= dict.fromkeys((name for name in COLUMNS if name.endswith("_active")), "false")
    line |= {"additional_credentials_info": ""} | cells
    return line | {"arn": line["arn"].replace(ACCOUNT.account_id, account_id)}


def report(lines: Iterable[Cells]) -> bytes:
    """A report of these lines, quoted where it must be."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue().encode()


def raw(content: bytes, account: Account = ACCOUNT) -> RawReport:
    """The report as collected an hour before AS_OF."""
    generated = AS_OF - timedelta(hours=1)
    entry = LedgerEntry(account_id=account.account_id, outcome=Outcome.SCANNED, report_generated=generated)
    return RawReport(account, entry, content)


@dataclass(frozen=True)
class Judged:
    """What one check says of an account's lines."""

    verdicts: dict[tuple[str, str], str]
    """User and credential → verdict; empty where the check does not apply."""
    findings: pd.DataFrame


def judge(accounts: Sequence[Mapping[str, Cells]], rules: Rules) -> list[Judged]:
    """Lines, user → cells, of some accounts, through the real parts: normalized, evaluated, exemptions applied.

    The rules choose one check. The first account is ACCOUNT, and the numbers of the others follow.
    """
    assert rules.checks is not None
    (check_id,) = rules.checks
    first = int(ACCOUNT.account_id)
    population = [replace(ACCOUNT, account_id=str(first + at)) for at in range(len(accounts))]
    frame = normalize(
        raw(report(cells_of(user, cells, account.account_id) for user, cells in lines.items()), account)
        for account, lines in zip(population, accounts, strict=True)
    )
    credentials, findings, summaries = evaluate(frame, population, rules, AS_OF)
    exempted = apply_exemptions(credentials, findings, summaries, population, rules, AS_OF)
    of_account = dict(tuple(exempted.credentials.groupby("account_id")))
    judged = []
    for account in population:
        rows = of_account[account.account_id]
        keys = zip(rows["user"].tolist(), rows["credential"].astype(str).tolist(), strict=True)
        verdicts = dict(zip(keys, rows[f"verdict:{check_id}"].tolist(), strict=True))
        judged.append(Judged(verdicts, exempted.findings[exempted.findings["account_id"].eq(account.account_id)]))
    counts = pd.Series([verdict for each in judged for verdict in each.verdicts.values()]).value_counts()
    assert {str(v): n for v, n in exempted.checks[0].verdicts.items()} == {v: counts.get(v, 0) for v in Verdict}
    return judged
