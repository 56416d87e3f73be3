"""What `credaudit checks` prints and docs/checks.md repeats: the catalogue in words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pandas as pd

from scanner.checks.model import Check
from scanner.config import LimitsTable
from scanner.credentials import FRAME_COLUMNS, ROOT_USER, SCHEMA, Credential, plain_rows
from scanner.models import Control

ACCOUNT_ID = "111122223333"
KEY_ID = "AKIAIOSFODNN7EXAMPLE"
MADE = datetime(2024, 1, 15, 9, 30, tzinfo=UTC)


def listing(checks: Sequence[Check]) -> str:
    """A line for each check: id, severity, title, and the limits it decides by."""
    rows = [(check.id, str(check.severity), check.title, ", ".join(_limits(check))) for check in checks]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def explanation(check: Check) -> str:
    """All that the catalogue knows of one check, with the commands for an example credential."""
    example = _example(check)
    parts = [f"{check.id}: {check.title}", *facts(check), f"Why: {check.why}"]
    texts = {"Fix": check.fix(example), "Undo": check.undo(example)}
    parts += [f"\n{name}, for an example:\n{_indented(text)}" for name, text in texts.items()]
    return "\n".join(parts)


def facts(check: Check) -> list[str]:
    """Lines that docs/checks.md has word for word: severity, population, limits, controls."""
    limits = ", ".join(f"`[limits] {limit}`" for limit in _limits(check)) or "none"
    controls = [_controls(name, check.controls) for name in dict.fromkeys(each.framework for each in check.controls)]
    return [
        f"Severity: {check.severity}",
        f"Asks about: {check.population}",
        f"Limits: {limits}",
        *(f"Control: {line}" for line in controls or ["none that names it"]),
    ]


def _limits(check: Check) -> list[str]:
    """As config.toml has them, with their defaults."""
    fields = LimitsTable.model_fields
    return [f"{key} = {fields[key].default}" for key in fields if key.rpartition("_")[0] in check.limits]


def _controls(framework: str, controls: Sequence[Control]) -> str:
    """One framework's numbers, and what is to be noted of them."""
    of_it = [each for each in controls if each.framework == framework]
    notes = dict.fromkeys(each.note for each in of_it)
    versions = dict.fromkeys(each.version for each in of_it)
    numbers = "; ".join(
        f"{version} {', '.join(each.number for each in of_it if each.version == version)}".strip()
        for version in versions
    )
    if len(notes) == 1:
        return f"{framework} {numbers}" + "".join(f" ({note})" for note in notes if note)
    numbered = "; ".join(f"{each.number}: {each.note}" for each in of_it if each.note)
    return f"{framework} {numbers} ({numbered})"


def _example(check: Check) -> Credential:
    """The first of some example credentials that the check applies to."""
    examples = {
        "alice": (("password", True), ("access_key_1", True), ("access_key_2", False), ("cert_1", True)),
        ROOT_USER: (("password", True),),
    }
    rows = [
        dict.fromkeys(FRAME_COLUMNS)
        | {"account_id": ACCOUNT_ID, "user": user, "is_root": user == ROOT_USER, "credential": credential}
        | {"arn": f"arn:aws:iam::{ACCOUNT_ID}:root" if user == ROOT_USER else f"arn:aws:iam::{ACCOUNT_ID}:user/{user}"}
        | {"key_id": KEY_ID if credential.startswith("access_key") else None, "key_note": "", "active": active}
        | {"last_rotated": MADE, "last_used_known": False, "no_use_recorded": False}
        for user, credentials in examples.items()
        for credential, active in credentials
    ]
    frame = pd.DataFrame(rows, columns=list(FRAME_COLUMNS)).astype(SCHEMA)
    return next(plain_rows(frame[check.applies(frame)]))


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
