"""The root user: no access key, MFA, and no use from day to day. Each account's root row is the user-level row."""

from __future__ import annotations

from datetime import datetime, timedelta

import pandas as pd

from scanner.checks.commands import as_root, duration, lines, moment
from scanner.checks.controls import aws, foundations, iso, nist, pci
from scanner.checks.model import Check
from scanner.checks.rows import LONGEST_RUN, any_of_user, is_in_future, is_user_row, never_due
from scanner.credentials import ACCESS_KEYS, Credential
from scanner.models import Control, Limits, Severity

GOVCLOUD = "arn:aws-us-gov:"


def _is_root(frame: pd.DataFrame) -> pd.Series:
    return frame["is_root"] & is_user_row(frame)


# root-access-key-exists


def _has_key(frame: pd.DataFrame, _limits: Limits, _as_of: datetime) -> pd.Series:
    is_key = frame["credential"].isin(ACCESS_KEYS)
    exists = any_of_user(frame, is_key & frame["active"].fillna(False).astype(bool))
    is_unknown = any_of_user(frame, is_key & frame["active"].isna()) & ~exists
    return exists.astype("boolean").mask(is_unknown)


ROOT_ACCESS_KEY_EXISTS = Check(
    id="root-access-key-exists",
    title="The root user has an active access key",
    severity=Severity.CRITICAL,
    population="root users",
    limits=(),
    controls=(
        *foundations("1.4", "1.4", "1.3", "2.3", "2.4"),
        *aws("IAM.4", "iam-root-access-key-check"),
        *nist("AC-2(1)", "AC-3(15)", "AC-3(7)", "AC-6", "AC-6(2)", "AC-6(10)"),
        *iso("A.5.15"),
    ),
    why=(
        "A key of the root user may do everything in the account, and no policy of the account can limit it. "
        "Whoever has a copy owns the account."
    ),
    applies=_is_root,
    fails=_has_key,
    due=never_due,
    reason=lambda root, limits, as_of: "an access key of the root user is active",
    unknown=lambda root, limits, as_of: "the report does not say whether an access key of the root user is active",
    fix=lambda root: as_root(
        root,
        "deactivate the access key; watch for a week that nothing breaks; move what used it to a role; then delete"
        " the key. Create no new one",
    ),
    undo=lambda root: as_root(root, "activate the key again. Once it is deleted there is no way back"),
)


# root-without-mfa


def _lacks_mfa(frame: pd.DataFrame, _limits: Limits, _as_of: datetime) -> pd.Series:
    has_none = frame["mfa_active"].eq(False)
    is_key = frame["credential"].isin(ACCESS_KEYS)
    may_sign_in = frame["active"].fillna(True).astype(bool)
    could = any_of_user(frame, (is_user_row(frame) | is_key) & may_sign_in)
    # A root user without credentials cannot sign in, so there is nothing that MFA could protect.
    fails = has_none.fillna(False).astype(bool) & could
    is_unknown = frame["mfa_active"].isna() | (fails & frame["arn"].str.startswith(GOVCLOUD))
    return fails.astype("boolean").mask(is_unknown & could)


def _mfa_reason(root: Credential, _limits: Limits, _as_of: datetime) -> str:
    if root.mfa_active is None:
        return "the report does not say whether the root user has MFA"
    if root.arn.startswith(GOVCLOUD):
        return "credential reports of AWS GovCloud (US) do not tell whether the root user has MFA"
    return "the root user can sign in, and has no MFA"


ROOT_WITHOUT_MFA = Check(
    id="root-without-mfa",
    title="The root user has no MFA",
    severity=Severity.CRITICAL,
    population="root users",
    limits=(),
    controls=(
        *foundations("1.5", "1.5", "1.4", "2.4", "2.5"),
        *aws("IAM.9", "root-account-mfa-enabled"),
        *pci("8.4.2"),
        *nist("IA-2(1)", "IA-2(2)", "IA-2(6)", "IA-2(8)"),
        *iso("A.5.15", "A.5.17", "A.8.5"),
    ),
    why="The root user's password alone would then open the whole account to whoever guesses or steals it.",
    applies=_is_root,
    fails=_lacks_mfa,
    due=never_due,
    reason=_mfa_reason,
    fix=lambda root: as_root(
        root,
        "assign an MFA device, better a hardware key and a second one kept elsewhere. In a member account you may"
        " delete the root user's credentials instead, with centralized root access",
    ),
    undo=lambda root: as_root(root, "remove the MFA device; it should not be necessary"),
)


# root-recently-used


def _was_used(frame: pd.DataFrame, limits: Limits, as_of: datetime) -> pd.Series:
    can_be_used = frame["credential"].isin(("password", *ACCESS_KEYS))
    is_recent = (as_of - frame["last_used"]) <= limits.root_unused
    is_unreadable = frame["last_used"].isna() & ~frame["no_use_recorded"]
    # AWS has nothing to say of the use of a password that there is not.
    is_unreadable &= ~(is_user_row(frame) & frame["active"].eq(False).fillna(False).astype(bool))
    is_unreadable |= is_in_future(frame, "last_used", as_of)
    was_used = any_of_user(frame, can_be_used & is_recent & ~is_unreadable)
    is_unknown = any_of_user(frame, can_be_used & is_unreadable) & ~was_used
    return was_used.astype("boolean").mask(is_unknown)


def _use_reason(root: Credential, limits: Limits, as_of: datetime) -> str:
    days = limits.root_unused.days
    if root.last_used is not None and timedelta(0) <= as_of - root.last_used <= limits.root_unused:
        ago = duration(as_of - root.last_used)
        return f"the root user signed in at {moment(root.last_used)}, {ago} before; the limit is {days} days"
    if root.last_used is not None and as_of < root.last_used <= as_of + LONGEST_RUN:
        return (
            f"the report has a sign-in of the root user after the moment ages are measured at: {moment(root.last_used)}"
        )
    return f"an access key of the root user was used within {days} days; its row in credentials.csv has the date"


ROOT_RECENTLY_USED = Check(
    id="root-recently-used",
    title="The root user was used lately",
    severity=Severity.HIGH,
    population="root users",
    limits=("root_unused",),
    controls=(
        *foundations("1.7", "1.7", "1.6", "2.6", "2.7"),
        Control(framework="AWS Security Hub", version="", number="IAM.20", note="Retired by AWS in April 2024."),
        *iso("A.5.15"),
    ),
    why="The root user is for the few tasks that need it. Day-to-day use exposes credentials that nothing can limit.",
    applies=_is_root,
    fails=_was_used,
    due=never_due,
    reason=_use_reason,
    unknown=lambda root, limits, as_of: (
        "the report does not say, or not credibly, when the root user's password or access key was last used"
    ),
    fix=lambda root: lines(
        f"# Find out who used the root user of account {root.account_id}, and what for; then give them a role for it",
        "aws cloudtrail lookup-events --lookup-attributes AttributeKey=Username,AttributeValue=root --region us-east-1",
    ),
    undo=lambda root: "Nothing to undo: the fix only looks.",
)
