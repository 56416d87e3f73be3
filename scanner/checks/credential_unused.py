"""credential-unused: a password or active access key that nobody used for the limit or longer.

As CIS has it, never used counts from creation: of a password, its last change. Used less than 45 days ago passes, so
that at exactly 45 days it fails.
"""

from __future__ import annotations

from datetime import datetime

import pandas as pd

from scanner.checks.commands import duration, key_id, key_note, lines, moment, user_option, which_key
from scanner.checks.controls import aws, foundations, iso, nist, pci
from scanner.checks.model import Check
from scanner.checks.rows import CLOCK_TOLERANCE, is_in_future, last_use
from scanner.credentials import ACCESS_KEYS, Credential
from scanner.models import Control, Limits, Severity


def _applies(frame: pd.DataFrame) -> pd.Series:
    """Passwords and active access keys of IAM users, and those of which AWS does not say."""
    is_usable = frame["credential"].isin(("password", *ACCESS_KEYS)) & frame["active"].fillna(True).astype(bool)
    return is_usable & ~frame["is_root"]


def _fails(frame: pd.DataFrame, limits: Limits, as_of: datetime) -> pd.Series:
    last = last_use(frame)
    is_unused = ((as_of - last) >= limits.credential_max_unused).astype("boolean")
    dated = frame.assign(last=last)
    return is_unused.mask(frame["active"].isna() | last.isna() | is_in_future(dated, "last", as_of))


def _due(frame: pd.DataFrame, limits: Limits) -> pd.Series:
    return last_use(frame) + pd.Timedelta(limits.credential_max_unused).as_unit("s")


def _reason(each: Credential, limits: Limits, as_of: datetime) -> str:
    note = "" if each.credential == "password" else key_note(each)
    what = "password" if each.credential == "password" else "key"
    last = each.last_used or (each.last_rotated if each.no_use_recorded else None)
    if each.active is None:
        reason = f"the report does not say whether the {what} is active"
    elif last is None:
        reason = f"the report does not say when the {what} was last used"
    elif last - as_of > CLOCK_TOLERANCE:
        reason = f"the report dates it in the future: {moment(last)}"
    elif each.last_used is None:
        made = "changed" if what == "password" else "created"
        reason = f"never used since it was {made} {duration(as_of - last)} ago; the limit is {_days(limits)}"
    else:
        reason = f"not used for {duration(as_of - last)}; the limit is {_days(limits)}"
    return f"{reason}{note}"


def _days(limits: Limits) -> str:
    return f"{limits.credential_max_unused.days} days"


def _fix(each: Credential) -> str:
    user = user_option(each)
    if each.credential == "password":
        return lines(
            f"# In account {each.account_id}: take the console password away. The user itself and its keys stay",
            f"aws iam get-login-profile {user}",
            f"#   aws iam delete-login-profile {user}",
        )
    return lines(
        f"# In account {each.account_id}: deactivate {which_key(each)}, wait a week, then delete it",
        f"aws iam list-access-keys {user}",
        f"aws iam get-access-key-last-used --access-key-id {key_id(each)}",
        f"#   aws iam update-access-key {user} --access-key-id {key_id(each)} --status Inactive",
        "# after that week; from here on there is no way back",
        f"#   aws iam delete-access-key {user} --access-key-id {key_id(each)}",
    )


def _undo(each: Credential) -> str:
    user = user_option(each)
    if each.credential == "password":
        return lines(
            "# A new password, to be changed at the next sign-in",
            f"aws iam create-login-profile {user} --password-reset-required --password NEW-PASSWORD",
        )
    return lines(
        "# Until the key is deleted",
        f"aws iam update-access-key {user} --access-key-id {key_id(each)} --status Active",
    )


CREDENTIAL_UNUSED = Check(
    id="credential-unused",
    title="A password or access key is not used",
    severity=Severity.MEDIUM,
    population="passwords and active access keys of IAM users",
    limits=("credential_max_unused",),
    controls=(
        *foundations("1.12", "1.12", "1.11", "2.11", "2.11"),
        *aws("IAM.22", "iam-user-unused-credentials-check"),
        Control(framework="AWS Security Hub", version="", number="IAM.8", note="With a limit of 90 days."),
        *pci("8.2.6"),
        *nist("AC-2", "AC-2(1)", "AC-2(3)", "AC-3", "AC-3(7)", "AC-3(15)", "AC-6"),
        *iso("A.5.15"),
    ),
    why="What nobody uses nobody misses when it is stolen, and nobody watches.",
    applies=_applies,
    fails=_fails,
    due=_due,
    reason=_reason,
    fix=_fix,
    undo=_undo,
)
