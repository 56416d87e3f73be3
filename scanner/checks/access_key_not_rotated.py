"""access-key-not-rotated: an active access key is older than the limit.

The age is exact: `as_of - last_rotated > limit` as durations in UTC, so that a key of 90 days and 0 seconds passes a
limit of 90 days and one second more fails. AWS's last_rotated of a key is its creation date.
"""

from __future__ import annotations

from datetime import datetime

import pandas as pd

from scanner.checks.commands import OLD_KEY, duration, quoted, user_option, which_key
from scanner.checks.controls import DATABASE_SERVICES, aws, foundations, iso, nist, pci
from scanner.checks.model import Check
from scanner.checks.rows import CLOCK_TOLERANCE, is_in_future
from scanner.credentials import ACCESS_KEYS, MORE, Credential
from scanner.models import Control, Limits, Severity


def _applies(frame: pd.DataFrame) -> pd.Series:
    """Access keys that are active, and those of which AWS does not say."""
    return frame["credential"].isin(ACCESS_KEYS) & frame["active"].fillna(True).astype(bool)


def _fails(frame: pd.DataFrame, limits: Limits, as_of: datetime) -> pd.Series:
    is_older = ((as_of - frame["last_rotated"]) > limits.access_key_max_age).astype("boolean")
    # NaT > limit is False, which would be a pass.
    is_unknown = frame["active"].isna() | frame["last_rotated"].isna() | is_in_future(frame, "last_rotated", as_of)
    return is_older.mask(is_unknown)


def _due(frame: pd.DataFrame, limits: Limits) -> pd.Series:
    return frame["last_rotated"] + pd.Timedelta(limits.access_key_max_age).as_unit("s")


def _reason(key: Credential, limits: Limits, as_of: datetime) -> str:
    limit = limits.access_key_max_age
    if key.credential == MORE:
        reason = "the report says that the user has more credentials than it shows, and they may be access keys"
    elif key.active is None:
        reason = "the report does not say whether the key is active"
    elif key.last_rotated is None:
        reason = "the key is active and the report gives no readable date for it"
    elif key.last_rotated - as_of > CLOCK_TOLERANCE:
        date = f"{key.last_rotated:%Y-%m-%dT%H:%M:%SZ}"
        is_later_key = key.report_generated is not None and key.last_rotated <= key.report_generated
        reason = (
            f"the key is of {date}, after the moment ages are measured at"
            if is_later_key
            else (f"the report dates the key in the future: {date}")
        )
    else:
        age = as_of - key.last_rotated
        reason = f"active and not rotated for {duration(age)}; the limit is {limit.days} days"
    note = "AWS lists the id of a root key to the root user alone" if key.is_root else key.key_note
    return f"{reason}; {note}" if note else reason


def _fix(key: Credential) -> str:
    if key.is_root:
        return (
            "The root user should have no access key. Sign in as the root user, open Security credentials, "
            "deactivate this key, watch for a week that nothing breaks, then delete it. Create no new one."
        )
    user = user_option(key)
    old = OLD_KEY if key.key_id is None else key.key_id
    # A comma may stand in a user's name, not in a secret's; a slash in a secret's, not in a user's.
    store = quoted(f"iam/{key.account_id}/{key.user.replace(',', '/')}")
    new_key = f"new-key-{key.account_id}-{key.user}.json"
    file, url = quoted(new_key), quoted(f"file://{new_key}")
    is_here = f'test "$(aws sts get-caller-identity --query Account --output text)" = {key.account_id}'
    create = f"aws iam create-access-key {user} > {file}"
    return "\n".join(
        [
            f"# In account {key.account_id}: replace {which_key(key)}",
            f"aws iam list-access-keys {user}",
            "# Two keys? AWS allows no third, so step 1 would be refused. If the other is to replace this one, go on",
            "# at step 3. If it is not used, first take steps 5 and 6 for it. If both are in use, first move the",
            "# systems of one key to the other: steps 3 to 6.",
            "# 1 create the new key, in this account only, without showing its secret or overwriting an earlier one",
            f"({is_here} && umask 077 && set -C && {create}) || test -s {file} || rm -f {file}",
            "# 2 save it. Where this secret exists: put-secret-value --secret-id in place of create-secret --name",
            f"aws secretsmanager create-secret --name {store} --secret-string {url} && rm {file}",
            "# 3 update every system that uses the old key",
            "# 4 validate: the new key works, and the old one is used no more",
            "aws sts get-caller-identity --profile PROFILE-OF-THE-NEW-KEY",
            f"aws iam get-access-key-last-used --access-key-id {old}",
            "# 5 deactivate the old key when step 4 holds, and wait a week. Undo is in the next column",
            f"#   aws iam update-access-key {user} --access-key-id {old} --status Inactive",
            "# 6 delete it after that week. From here on there is no way back",
            f"#   aws iam delete-access-key {user} --access-key-id {old}",
        ]
    )


def _undo(key: Credential) -> str:
    if key.is_root:
        return "Until the key is deleted: sign in as the root user, open Security credentials, activate it again."
    old = OLD_KEY if key.key_id is None else key.key_id
    return "\n".join(
        [
            "# Until the old key is deleted: re-enable it, then point the systems back to it",
            f"aws iam update-access-key {user_option(key)} --access-key-id {old} --status Active",
        ]
    )


ACCESS_KEY_NOT_ROTATED = Check(
    id="access-key-not-rotated",
    title="Active access key is older than the limit",
    severity=Severity.MEDIUM,
    population="active access keys",
    limits=("access_key_max_age",),
    controls=(
        *foundations("1.14", "1.14", "1.13", "2.13", "2.12"),
        Control(
            framework=DATABASE_SERVICES,
            version="1.0.0",
            number="2.8",
            note="Often cited as 2.7; as published, 2.7 is about passwords and 2.8 about access keys.",
        ),
        *aws("IAM.3", "access-keys-rotated"),
        *pci("8.3.9", "8.6.3"),
        *nist("AC-2(1)", "AC-2(3)", "AC-3(15)"),
        *iso("A.5.15"),
    ),
    why=(
        "An access key works from anywhere, for whoever holds it, until it is deactivated. "
        "Rotating it limits how long a copy that was lost or stolen can be used."
    ),
    applies=_applies,
    fails=_fails,
    due=_due,
    reason=_reason,
    fix=_fix,
    undo=_undo,
)
