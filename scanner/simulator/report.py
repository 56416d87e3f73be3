"""Renders a credential report as IAM does."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Sequence
from datetime import datetime

from .model import FALSE, NO_INFORMATION, NO_VALUE, TRUE, SimulatedAccount, SimulatedKey, SimulatedRoot, SimulatedUser

COLUMNS = (
    "user",
    "arn",
    "user_creation_time",
    "password_enabled",
    "password_last_used",
    "password_last_changed",
    "password_next_rotation",
    "mfa_active",
    "access_key_1_active",
    "access_key_1_last_rotated",
    "access_key_1_last_used_date",
    "access_key_1_last_used_region",
    "access_key_1_last_used_service",
    "access_key_2_active",
    "access_key_2_last_rotated",
    "access_key_2_last_used_date",
    "access_key_2_last_used_region",
    "access_key_2_last_used_service",
    "cert_1_active",
    "cert_1_last_rotated",
    "cert_2_active",
    "cert_2_last_rotated",
)
"""AWS's order; docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_getting-report.html"""

SIGN_IN_PAGE = (
    b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head>"
    b'<body><form action="https://proxy.example.com/login">Sign in to go on.</form></body></html>\n'
)
"""What a proxy sends in place of an answer."""

ROOT_USER = "<root_account>"
SLOTS = 2


def render_report(account: SimulatedAccount, partition: str = "aws") -> bytes:
    """Return the account's report: LF between lines and none after the last, root first, users sorted."""
    if account.report is not None:
        return account.report
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerow(_root_row(account.root, f"arn:{partition}:iam::{account.account_id}:root"))
    for user in sorted(account.users, key=lambda user: user.name.casefold()):
        writer.writerow(_user_row(user, user_arn(account.account_id, user, partition)))
    return text.getvalue().removesuffix("\n").encode()


def damage_report(content: bytes, of_another_account: bytes, chance: random.Random) -> bytes:
    """Return what may come in the place of a report: a part of it, a web page, nothing, or another one."""
    rows = content.split(b"\n")
    last = chance.randrange(len(rows))
    cut = b"\n".join([*rows[:last], rows[last][: len(rows[last]) // 2]])
    return chance.choice([other for other in (cut, SIGN_IN_PAGE, b"", of_another_account) if other != content])


def user_arn(account_id: str, user: SimulatedUser, partition: str = "aws") -> str:
    """Return the ARN of a user, its path included."""
    return f"arn:{partition}:iam::{account_id}:user{user.path}{user.name}"


def _root_row(root: SimulatedRoot, arn: str) -> list[str]:
    return [
        ROOT_USER,
        arn,
        _date(root.created),
        root.password_enabled,
        root.password_last_used,
        root.password_last_changed,
        root.password_next_rotation,
        _boolean(root.mfa_active),
        *_key_cells(root.keys),
        *_certificate_cells(root.certificates),
    ]


def _user_row(user: SimulatedUser, arn: str) -> list[str]:
    return [
        user.name,
        arn,
        _date(user.created),
        *_password_cells(user),
        _boolean(user.mfa_active),
        *_key_cells(user.keys),
        *_certificate_cells(user.certificates),
    ]


def _password_cells(user: SimulatedUser) -> list[str]:
    if not user.password_enabled:
        return [FALSE, NO_VALUE, NO_VALUE, NO_VALUE]
    last_used = NO_INFORMATION if user.password_last_used is None else _date(user.password_last_used)
    # The account has no password expiry policy, hence no next rotation.
    return [TRUE, last_used, _date(user.password_last_changed or user.created), NO_VALUE]


def _key_cells(keys: Sequence[SimulatedKey | None]) -> list[str]:
    slots = [*keys[:SLOTS], *[None] * (SLOTS - len(keys))]
    return [cell for key in slots for cell in _slot_cells(key)]


def _slot_cells(key: SimulatedKey | None) -> list[str]:
    if key is None:
        return [FALSE, NO_VALUE, NO_VALUE, NO_VALUE, NO_VALUE]
    # An inactive key keeps its date: recordings of real reports contradict the documentation here.
    cells = [_boolean(key.active), _date(key.created)]
    if key.last_used is None:
        return [*cells, NO_VALUE, NO_VALUE, NO_VALUE]
    # IAM records the use of a key to the minute.
    return [*cells, _date(key.last_used.replace(second=0)), key.last_used_region, key.last_used_service]


def _certificate_cells(certificates: Sequence[tuple[datetime, bool]]) -> list[str]:
    cells = [cell for created, active in certificates[:SLOTS] for cell in (_boolean(active), _date(created))]
    return cells + [FALSE, NO_VALUE] * (SLOTS - len(cells) // 2)


def _boolean(value: bool) -> str:
    return TRUE if value else FALSE


def _date(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
