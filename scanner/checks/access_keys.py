"""Access keys beyond their age: more than one active, made with the user, inactive and left behind."""

from __future__ import annotations

from datetime import datetime, timedelta

import pandas as pd

from scanner.checks.commands import duration, key_id, key_note, lines, moment, user_option, which_key
from scanner.checks.controls import foundations, iso
from scanner.checks.model import Check
from scanner.checks.rows import (
    CLOCK_TOLERANCE,
    any_of_user,
    count_of_user,
    is_in_future,
    is_user_row,
    never_due,
)
from scanner.credentials import ACCESS_KEYS, MORE, Credential
from scanner.models import Limits, Severity

NONE = timedelta(0)


def _is_active(frame: pd.DataFrame) -> pd.Series:
    return frame["active"].fillna(False).astype(bool)


def _deactivate(key: Credential, what: str) -> str:
    user = user_option(key)
    return lines(
        f"# In account {key.account_id}: {what}",
        f"aws iam list-access-keys {user}",
        "# deactivate the key when nothing uses it, and wait a week",
        f"aws iam get-access-key-last-used --access-key-id {key_id(key)}",
        f"#   aws iam update-access-key {user} --access-key-id {key_id(key)} --status Inactive",
        "# delete it after that week; from here on there is no way back",
        f"#   aws iam delete-access-key {user} --access-key-id {key_id(key)}",
    )


def _activate(key: Credential) -> str:
    return lines(
        "# Until the key is deleted",
        f"aws iam update-access-key {user_option(key)} --access-key-id {key_id(key)} --status Active",
    )


# several-active-access-keys


def _has_several(frame: pd.DataFrame, _limits: Limits, _as_of: datetime) -> pd.Series:
    is_key = frame["credential"].isin(ACCESS_KEYS)
    active = count_of_user(frame, is_key & _is_active(frame))
    # MORE stands for an unknown number of keys, or for none.
    unsure = count_of_user(frame, is_key & frame["active"].isna())
    is_more = any_of_user(frame, frame["credential"].eq(MORE))
    is_unknown = (active < 2) & ((active + unsure > 1) | is_more)
    return (active > 1).astype("boolean").mask(is_unknown)


SEVERAL_ACTIVE_ACCESS_KEYS = Check(
    id="several-active-access-keys",
    title="A user has more than one active access key",
    severity=Severity.MEDIUM,
    population="IAM users",
    limits=(),
    controls=(*foundations("1.13", "1.13", "1.12", "2.12", ""), *iso("A.5.15")),
    why=(
        "The second key is for the days of a rotation. Kept longer, it is one more secret to lose, and hides which of"
        " the two is in use."
    ),
    applies=lambda frame: is_user_row(frame) & ~frame["is_root"],
    fails=_has_several,
    due=never_due,
    reason=lambda user, limits, as_of: "both access keys of the user are active",
    unknown=lambda user, limits, as_of: (
        "the report does not say whether more than one access key of the user is active"
    ),
    fix=lambda user: _deactivate(user, "find out which of the two keys is used, and move its systems to the other"),
    undo=_activate,
)


# access-key-created-with-user


def _is_key_of_console_user(frame: pd.DataFrame) -> pd.Series:
    """Active keys of IAM users with a console password; where AWS does not say, it may be so."""
    may_sign_in = any_of_user(frame, is_user_row(frame) & frame["active"].fillna(True).astype(bool))
    is_key = frame["credential"].isin(ACCESS_KEYS) & frame["credential"].ne(MORE)
    return is_key & frame["active"].fillna(True).astype(bool) & may_sign_in & ~frame["is_root"]


def _came_with_user(frame: pd.DataFrame, limits: Limits, _as_of: datetime) -> pd.Series:
    apart = frame["last_rotated"] - frame["user_created"]
    fails = (apart <= limits.access_key_setup_window).astype("boolean")
    is_sure = any_of_user(frame, is_user_row(frame) & frame["active"].notna()) & (apart >= NONE)
    return fails.mask(apart.isna() | (fails & ~(is_sure & frame["active"].notna())))


def _setup_reason(key: Credential, limits: Limits, _as_of: datetime) -> str:
    assert key.last_rotated is not None
    assert key.user_created is not None
    apart = int((key.last_rotated - key.user_created).total_seconds())
    return (
        f"the key was created {apart} s after its user, who has a console password;"
        f" the limit is {int(limits.access_key_setup_window.total_seconds())} s{key_note(key)}"
    )


def _setup_unknown(key: Credential, _limits: Limits, _as_of: datetime) -> str:
    if key.last_rotated is None or key.user_created is None:
        reason = "the report does not say when the user or the key was created"
    elif key.last_rotated < key.user_created:
        reason = "the report says that the key is older than its user"
    elif key.active is None:
        reason = "the key was created with its user, and the report does not say whether it is active"
    else:
        reason = "the key was created with its user, and the report does not say whether there is a console password"
    return f"{reason}{key_note(key)}"


ACCESS_KEY_CREATED_WITH_USER = Check(
    id="access-key-created-with-user",
    title="An access key was created together with a console user",
    severity=Severity.LOW,
    population="active access keys of users with a console password",
    limits=("access_key_setup_window",),
    controls=(*foundations("1.11", "1.11", "1.10", "2.10", ""), *iso("A.5.15")),
    why="A key that was made because a box was ticked at set-up is often never needed, and nobody looks after it.",
    applies=_is_key_of_console_user,
    fails=_came_with_user,
    due=never_due,
    reason=_setup_reason,
    unknown=_setup_unknown,
    fix=lambda key: _deactivate(key, f"is {which_key(key)} needed? Then its owner makes a new one, on purpose"),
    undo=_activate,
)


# inactive-access-key-not-deleted


def _is_inactive_key(frame: pd.DataFrame) -> pd.Series:
    is_inactive = ~frame["active"].fillna(True).astype(bool)
    return frame["credential"].isin(ACCESS_KEYS) & is_inactive


def _last_sign_of_life(frame: pd.DataFrame) -> pd.Series:
    """Creation or last use, whichever is later. The report does not tell when a key was deactivated."""
    return frame["last_used"].where(frame["last_used"] > frame["last_rotated"], frame["last_rotated"])


def _is_left_behind(frame: pd.DataFrame, limits: Limits, as_of: datetime) -> pd.Series:
    last = _last_sign_of_life(frame)
    fails = ((as_of - last) > limits.inactive_access_key_max_age).astype("boolean")
    is_unreadable = frame["last_used"].isna() & ~frame["no_use_recorded"]
    dated = frame.assign(last=last)
    return fails.mask(last.isna() | is_unreadable | is_in_future(dated, "last", as_of))


def _inactive_reason(key: Credential, limits: Limits, as_of: datetime) -> str:
    known = [each for each in (key.last_rotated, key.last_used) if each is not None]
    if key.last_rotated is None:
        reason = "the key is inactive and the report gives no readable date for it"
    elif key.last_used is None and not key.no_use_recorded:
        reason = "the report does not say when the inactive key was last used"
    elif max(known) - as_of > CLOCK_TOLERANCE:
        reason = f"the report dates the key in the future: {moment(max(known))}"
    else:
        age = duration(as_of - max(known))
        reason = (
            f"inactive, and neither created nor used for {age}; the limit is"
            f" {limits.inactive_access_key_max_age.days} days"
        )
    return f"{reason}{key_note(key)}"


def _delete(key: Credential) -> str:
    if key.is_root:
        return "Sign in as the root user, open Security credentials, and delete this key. There is no way back."
    return lines(
        f"# In account {key.account_id}: delete {which_key(key)}. From here on there is no way back",
        f"aws iam list-access-keys {user_option(key)}",
        f"#   aws iam delete-access-key {user_option(key)} --access-key-id {key_id(key)}",
    )


INACTIVE_ACCESS_KEY_NOT_DELETED = Check(
    id="inactive-access-key-not-deleted",
    title="An inactive access key was not deleted",
    severity=Severity.LOW,
    population="inactive access keys",
    limits=("inactive_access_key_max_age",),
    controls=(),
    why="Anybody who may update keys can activate it again, and its secret may still be in old files.",
    applies=_is_inactive_key,
    fails=_is_left_behind,
    due=lambda frame, limits: _last_sign_of_life(frame) + pd.Timedelta(limits.inactive_access_key_max_age).as_unit("s"),
    reason=_inactive_reason,
    fix=_delete,
    undo=lambda key: "There is none: a deleted key cannot be brought back. Create a new one where it is needed.",
)
