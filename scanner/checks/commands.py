"""The words and commands that fixes are made of: safe to paste, whatever a user is called."""

from __future__ import annotations

import shlex
from datetime import datetime, timedelta

from scanner.credentials import Credential

OLD_KEY = "OLD-ACCESS-KEY-ID"


def duration(age: timedelta) -> str:
    """Days, and for the first day past a limit the rest too, so that the boundary can be seen."""
    hours, seconds = divmod(age.seconds, 3600)
    return f"{age.days} d {hours:02}:{seconds // 60:02}:{seconds % 60:02}"


def moment(when: datetime) -> str:
    """ISO 8601 in UTC, to the second."""
    return f"{when:%Y-%m-%dT%H:%M:%SZ}"


def quoted(text: str) -> str:
    """One word for bash and zsh; the latter takes a word that begins with = for a command."""
    return f"'{text}'" if text.startswith("=") and shlex.quote(text) == text else shlex.quote(text)


def user_option(key: Credential) -> str:
    """The option that names the user; after a space, a name that begins with a hyphen would be an option itself."""
    separator = "=" if key.user.startswith("-") else " "
    return f"--user-name{separator}{quoted(key.user)}"


def key_id(key: Credential) -> str:
    """The key's id, or what stands for it until its owner has looked it up."""
    return OLD_KEY if key.key_id is None else key.key_id


def which_key(key: Credential) -> str:
    """A key by its id, or by what tells it from the user's other key."""
    if key.key_id is not None:
        return f"key {key.key_id}"
    if key.last_rotated is not None:
        return f"the key created at {moment(key.last_rotated)}, here {OLD_KEY}"
    return f"the key that the report gives no date for, here {OLD_KEY}"


def key_note(key: Credential) -> str:
    """What is known of the id of a key, to be added to a reason."""
    note = "AWS lists the id of a root key to the root user alone" if key.is_root else key.key_note
    return f"; {note}" if note else ""


def as_root(key: Credential, what: str) -> str:
    """Steps that only the root user can take."""
    return f"Sign in as the root user of account {key.account_id}, open Security credentials, and {what}."


def lines(*each: str) -> str:
    """One command or comment a line."""
    return "\n".join(each)
