"""The catalogue: every check, in the order of the reports."""

from scanner.checks.access_key_not_rotated import ACCESS_KEY_NOT_ROTATED
from scanner.checks.access_keys import (
    ACCESS_KEY_CREATED_WITH_USER,
    INACTIVE_ACCESS_KEY_NOT_DELETED,
    SEVERAL_ACTIVE_ACCESS_KEYS,
)
from scanner.checks.console import CONSOLE_USER_WITHOUT_MFA, PASSWORD_NOT_CHANGED
from scanner.checks.credential_unused import CREDENTIAL_UNUSED
from scanner.checks.model import Check
from scanner.checks.root import ROOT_ACCESS_KEY_EXISTS, ROOT_RECENTLY_USED, ROOT_WITHOUT_MFA
from scanner.checks.signing_certificate_active import SIGNING_CERTIFICATE_ACTIVE

CATALOGUE: tuple[Check, ...] = (
    ACCESS_KEY_NOT_ROTATED,
    ROOT_ACCESS_KEY_EXISTS,
    ROOT_WITHOUT_MFA,
    ROOT_RECENTLY_USED,
    CONSOLE_USER_WITHOUT_MFA,
    CREDENTIAL_UNUSED,
    SEVERAL_ACTIVE_ACCESS_KEYS,
    ACCESS_KEY_CREATED_WITH_USER,
    PASSWORD_NOT_CHANGED,
    SIGNING_CERTIFICATE_ACTIVE,
    INACTIVE_ACCESS_KEY_NOT_DELETED,
)

__all__ = ["CATALOGUE", "Check"]
