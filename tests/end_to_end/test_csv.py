"""Every row of the CSV files against what was planted."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from .expected import CHECK, Row, in_csv, is_within, whole_days, without
from .plan import AS_OF, FAIL, User, at


def test_accounts_csv_has_every_account(scan):
    shown = scan.csv("accounts.csv")
    assert [without(row, "started", "finished") for row in shown] == [
        {name: in_csv(value) for name, value in scan.state(account).items()} for account in scan.accounts
    ]
    for row in shown:
        assert is_within(scan, row["started"], row["finished"])


def test_findings_csv_has_every_finding_the_worst_first(scan):
    shown = scan.csv("findings.csv")
    assert [without(row, "title", "controls", "fix", "undo") for row in shown] == [
        {
            "account_id": row.account.account_id,
            "account_name": in_csv(row.account.shown),
            "ou_path": row.account.ou_path,
            "user": in_csv(row.user.name),
            "arn": row.user.arn,
            "credential": f"access_key_{row.slot}",
            "key_id": row.key_id,
            "check": CHECK,
            "severity": "medium",
            "verdict": row.key.verdict,
            "last_rotated": in_csv(row.last_rotated),
            "age_days": str(row.days),
            "due_on": in_csv(row.due),
            "last_used": in_csv(row.key.used),
            "reason": row.reason,
            "exemption": "",
            "first_seen": in_csv(AS_OF),  # of all three runs
        }
        for row in scan.findings
    ]
    assert all("AWS Security Hub IAM.3" in row["controls"].split("; ") for row in shown)


def test_credentials_csv_has_every_credential(scan):
    expected = []
    for account in scan.scanned:
        for user in account.users:
            common = {
                "account_id": account.account_id,
                "account_name": account.shown,
                "ou_path": account.ou_path,
                "user": user.name,
                "arn": user.arn,
                "is_root": False,
                "user_created": user.created,
                "mfa_active": user.has_mfa,
                "report_generated": scan.served(account)[1],
                "last_used_region": None,
                "last_used_service": None,
            }
            expected.append(common | password(user))
            expected += [common | access_key(row) for row in scan.rows if row.user is user]
    assert scan.csv("credentials.csv") == [
        {name: in_csv(value) for name, value in credential.items()} for credential in expected
    ]


def password(user: User) -> dict[str, Any]:
    """Of a user without a password moto gives the user's own date; AWS has recorded sign-ins since 2014-10-20."""
    recorded = user.has_password and user.created >= at("2014-10-20T00:00:00")
    return {
        "credential": "password",
        "key_id": None,
        "key_note": None,
        "active": user.has_password,
        "last_rotated": user.created,
        "last_used": user.password_used,
        "last_used_known": recorded or user.password_used is not None,
        "no_use_recorded": user.password_used is None and user.has_password,
        "age_days": whole_days(AS_OF - user.created),
        "due_on": None,
        "failed_checks": None,
    }


def access_key(row: Row) -> dict[str, Any]:
    return {
        "credential": f"access_key_{row.slot}",
        "key_id": row.key_id,
        "key_note": row.note,
        "active": row.key.is_active,
        "last_rotated": row.last_rotated,
        "last_used": row.key.used,
        "last_used_known": row.last_used != "not known",
        "no_use_recorded": row.key.used is None,
        "age_days": row.days,
        "due_on": row.due,
        "failed_checks": CHECK if row.key.verdict == FAIL else None,
    }


def test_fix_and_undo_name_this_user_and_this_key_to_a_shell(scan):
    for row, finding in zip(scan.findings, scan.csv("findings.csv"), strict=True):
        fix, undo = (list(options(finding[name])) for name in ("fix", "undo"))
        assert {user for _, user, _ in fix + undo} - {None} == {row.user.name}
        assert {key for _, _, key in fix + undo} - {None} == {row.key_id or "OLD-ACCESS-KEY-ID"}
        assert [action for action, _, key in fix if key] == [
            "get-access-key-last-used",
            "update-access-key",
            "delete-access-key",
        ]
        assert [action for action, _, _ in undo] == ["update-access-key"]
        assert "--status Inactive" in finding["fix"]
        assert "--status Active" in finding["undo"]


def options(commands: str) -> Iterator[tuple[str, str | None, str | None]]:
    """Of each IAM command its action, user and key, as a shell splits them."""
    for line in commands.splitlines():
        if "aws iam " in line and (not line.startswith("#") or line.startswith("#   aws ")):
            # `--name=value` stands where `--name value` would take the value for another option.
            words = [part for word in shlex.split(line) for part in re.split(r"(?<=^--user-name)=", word)]
            after = dict(pairwise(words))
            yield after["iam"], after.get("--user-name"), after.get("--access-key-id")
