"""signing-certificate-active: an X.509 signing certificate, of which hardly anything has need any more."""

from __future__ import annotations

from datetime import datetime

import pandas as pd

from scanner.checks.commands import as_root, lines, user_option
from scanner.checks.model import Check
from scanner.checks.rows import never_due
from scanner.credentials import MORE, Credential
from scanner.models import Limits, Severity

CERTIFICATES = ("cert_1", "cert_2", MORE)


def _fails(frame: pd.DataFrame, _limits: Limits, _as_of: datetime) -> pd.Series:
    return frame["active"].astype("boolean")


def _reason(each: Credential, _limits: Limits, _as_of: datetime) -> str:
    if each.credential == MORE:
        return "the report says that the user has more credentials than it shows, and they may be certificates"
    if each.active is None:
        return "the report does not say whether the signing certificate is active"
    return "a signing certificate is active"


def _fix(each: Credential) -> str:
    if each.is_root:
        return as_root(each, "deactivate the signing certificate, and delete it after a week")
    user = user_option(each)
    return lines(
        f"# In account {each.account_id}: deactivate the certificate, wait a week, then delete it",
        f"aws iam list-signing-certificates {user}",
        f"#   aws iam update-signing-certificate {user} --certificate-id CERTIFICATE-ID --status Inactive",
        "# after that week; from here on there is no way back",
        f"#   aws iam delete-signing-certificate {user} --certificate-id CERTIFICATE-ID",
    )


def _undo(each: Credential) -> str:
    if each.is_root:
        return as_root(each, "activate the certificate again, as long as it is not deleted")
    return lines(
        "# Until the certificate is deleted",
        f"aws iam update-signing-certificate {user_option(each)} --certificate-id CERTIFICATE-ID --status Active",
    )


SIGNING_CERTIFICATE_ACTIVE = Check(
    id="signing-certificate-active",
    title="A signing certificate is active",
    severity=Severity.LOW,
    population="signing certificates",
    limits=(),
    controls=(),
    why="It signs requests to old SOAP interfaces as its user. Whoever has the private key has the user's permissions.",
    applies=lambda frame: frame["credential"].isin(CERTIFICATES),
    fails=_fails,
    due=never_due,
    reason=_reason,
    fix=_fix,
    undo=_undo,
)
