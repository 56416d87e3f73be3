"""What stays the same of a credential, and of a finding, from run to run."""

from __future__ import annotations

import pandas as pd

from scanner.models import Assessment

SEPARATOR = "\x1f"
"""Stands in no name of AWS's: IAM allows no control characters."""


def identify(credentials: pd.DataFrame) -> pd.DataFrame:
    """The frame with `made` and `identity`: what stays the same of a credential from run to run.

    A user is who was created at that moment under that name. An access key or certificate is what that user got at
    that moment; not its slot, since AWS gives the slots anew when one is deleted. Of those made in the same second, and
    of those without a date, the slot is all there is.
    """
    slot = credentials["credential"].astype("string")
    kind = slot.str.replace(r"_[12]$", "", regex=True)
    is_dated = kind.isin(("access_key", "cert")) & credentials["last_rotated"].notna()
    whole = pd.DataFrame({"arn": credentials["arn"], "kind": kind, "made": credentials["last_rotated"].where(is_dated)})
    is_alone = is_dated & ~whole.duplicated(keep=False)
    which = kind.where(is_alone, slot)
    parts = (
        credentials["account_id"],
        credentials["arn"],
        moment_texts(credentials["user_created"]),
        which,
        moment_texts(whole["made"]),
    )
    identity = parts[0].astype(object)
    for part in parts[1:]:
        identity = identity + SEPARATOR + part.astype(object)
    return credentials.assign(made=whole["made"], identity=identity.astype("string"))


def moment_texts(moments: pd.Series) -> pd.Series:
    """ISO 8601 in UTC; empty where there is none."""
    texts: pd.Series = moments.dt.strftime("%Y-%m-%dT%H:%M:%SZ").astype("string").fillna("")
    return texts


def findings_by_identity(assessment: Assessment) -> pd.DataFrame:
    """The findings, each with its identity (the credential's, and the check), user_created and made."""
    findings = assessment.findings
    keys = ["account_id", "user", "credential"]
    concerned = assessment.credentials["arn"].isin(findings["arn"].unique())
    known = identify(assessment.credentials[concerned])[[*keys, "user_created", "made", "identity"]]
    joined = findings.astype({"credential": "string"}).merge(
        known.astype({"credential": "string"}), on=keys, how="left", validate="many_to_one"
    )
    return joined.assign(identity=joined["check"] + SEPARATOR + joined["identity"])
