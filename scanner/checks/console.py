"""Console users: MFA, passwords that are changed."""

from __future__ import annotations

from datetime import datetime

import pandas as pd

from scanner.checks.commands import duration, lines, moment, user_option
from scanner.checks.controls import DATABASE_SERVICES, aws, foundations, iso, nist, pci
from scanner.checks.model import Check
from scanner.checks.rows import CLOCK_TOLERANCE, is_in_future, is_user_row, never_due
from scanner.credentials import Credential
from scanner.models import Control, Limits, Severity


def _has_password(frame: pd.DataFrame) -> pd.Series:
    """IAM users with a console password, and those of whom AWS does not say."""
    return is_user_row(frame) & ~frame["is_root"] & frame["active"].fillna(True).astype(bool)


# console-user-without-mfa


def _lacks_mfa(frame: pd.DataFrame, _limits: Limits, _as_of: datetime) -> pd.Series:
    is_protected = frame["mfa_active"].fillna(False).astype(bool)
    is_unknown = ~is_protected & (frame["active"].isna() | frame["mfa_active"].isna())
    return (~is_protected).astype("boolean").mask(is_unknown)


def _mfa_reason(user: Credential, _limits: Limits, _as_of: datetime) -> str:
    if user.mfa_active is None:
        return "the report does not say whether the user has MFA"
    if user.active is None:
        return "the user has no MFA, and the report does not say whether there is a password"
    return "the user has a console password and no MFA"


def _name(user: Credential) -> str:
    return user_option(user)


CONSOLE_USER_WITHOUT_MFA = Check(
    id="console-user-without-mfa",
    title="A user with a console password has no MFA",
    severity=Severity.HIGH,
    population="users with a console password",
    limits=(),
    controls=(
        *foundations("1.10", "1.10", "1.9", "2.9", "2.10"),
        Control(framework=DATABASE_SERVICES, version="1.0.0", number="2.11"),
        *aws("IAM.5", "mfa-enabled-for-iam-console-access"),
        *pci("8.4.2"),
        *nist("AC-2(1)", "AC-3(15)", "IA-2(1)", "IA-2(2)", "IA-2(6)", "IA-2(8)"),
        *iso("A.5.15", "A.5.17", "A.8.5"),
    ),
    why="A password that was guessed, phished or reused is then enough to get in.",
    applies=_has_password,
    fails=_lacks_mfa,
    due=never_due,
    reason=_mfa_reason,
    fix=lambda user: lines(
        f"# In account {user.account_id}: the user assigns an MFA device (IAM, Users, Security credentials).",
        "# Until then, or where nobody signs in with it, take the password away; its owner needs a new one afterwards",
        f"aws iam list-mfa-devices {_name(user)}",
        f"#   aws iam delete-login-profile {_name(user)}",
    ),
    undo=lambda user: lines(
        "# A password that was taken away is replaced by a new one; AWS asks for it to be changed at the next sign-in",
        f"aws iam create-login-profile {_name(user)} --password-reset-required --password NEW-PASSWORD",
    ),
)


# password-not-changed


def _is_old(frame: pd.DataFrame, limits: Limits, as_of: datetime) -> pd.Series:
    is_older = ((as_of - frame["last_rotated"]) > limits.password_max_age).astype("boolean")
    is_unknown = frame["active"].isna() | frame["last_rotated"].isna() | is_in_future(frame, "last_rotated", as_of)
    return is_older.mask(is_unknown)


def _age_reason(password: Credential, limits: Limits, as_of: datetime) -> str:
    if password.active is None:
        return "the report does not say whether the user has a password"
    if password.last_rotated is None:
        return "the report gives no readable date for the last change of the password"
    if password.last_rotated - as_of > CLOCK_TOLERANCE:
        return f"the report dates the last change in the future: {moment(password.last_rotated)}"
    age = duration(as_of - password.last_rotated)
    return f"the password was not changed for {age}; the limit is {limits.password_max_age.days} days"


PASSWORD_NOT_CHANGED = Check(
    id="password-not-changed",
    title="A console password is older than the limit",
    severity=Severity.LOW,
    population="console passwords of IAM users",
    limits=("password_max_age",),
    controls=(
        Control(framework=DATABASE_SERVICES, version="1.0.0", number="2.7"),
        Control(
            framework="PCI DSS",
            version="4.0.1",
            number="8.3.9",
            note="Only where the password is the sole factor of authentication.",
        ),
        *iso("A.5.15"),
    ),
    why="A password that somebody else knows stays good until it is changed.",
    applies=_has_password,
    fails=_is_old,
    due=lambda frame, limits: frame["last_rotated"] + pd.Timedelta(limits.password_max_age).as_unit("s"),
    reason=_age_reason,
    fix=lambda user: lines(
        f"# In account {user.account_id}: the user has to set a new password at the next sign-in",
        f"aws iam update-login-profile {_name(user)} --password-reset-required",
    ),
    undo=lambda user: lines(
        "# Before the user has set a new password",
        f"aws iam update-login-profile {_name(user)} --no-password-reset-required",
    ),
)
