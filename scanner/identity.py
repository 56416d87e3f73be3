"""What stays the same of a credential, and of a finding, from run to run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from scanner.models import Assessment

SEPARATOR = "\x1f"
"""Stands in no name of AWS's: IAM allows no control characters."""

KINDS = {"access_key_1": "access_key", "access_key_2": "access_key", "cert_1": "cert", "cert_2": "cert"}
"""Slots whose credentials are known by when they were made; every other is known by its name."""

IDENTITY = ("account_id", "arn", "user_created", "kind", "made", "nth")


def identify(credentials: pd.DataFrame) -> pd.DataFrame:
    """The frame with `kind`, `made`, `nth` and `identity`: what stays the same of a credential from run to run.

    A user is who was created at that moment under that name. An access key or certificate is what that user got at
    that moment; not its slot, since AWS gives the slots anew when one is deleted. Those made in the same second, and
    those without a date, are told apart by their order: `nth` counts from 0. All credentials of a user must be there.
    """
    slot = credentials["credential"].astype("string")
    kind = slot.map(KINDS).astype("string")
    made = credentials["last_rotated"].where(kind.notna())
    known = credentials.assign(kind=kind.fillna(slot), made=made)
    known["nth"] = known.groupby(list(IDENTITY[:-1]), dropna=False, sort=False).cumcount().astype("Int64")
    return known.assign(identity=pd.array(joined_texts(known, IDENTITY).to_numpy(), dtype="string"))


def joined_texts(frame: pd.DataFrame, columns: Sequence[str]) -> pd.Index:
    """One text per row, equal where all these columns are."""
    texts = [_texts(frame[name]) for name in columns]
    return pd.Index(list(map(SEPARATOR.join, zip(*texts, strict=True))), dtype=object)


def _texts(values: pd.Series) -> list[str]:
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        shown = np.datetime_as_string(values.dt.tz_convert(None).to_numpy().astype("datetime64[s]"))
        return ["" if text == "NaT" else f"{text}Z" for text in shown.tolist()]
    texts: list[str] = values.astype("string").fillna("").tolist()
    return texts


def findings_by_identity(assessment: Assessment) -> pd.DataFrame:
    """The findings, each with its identity (the credential's, and the check), user_created, kind, made and nth."""
    concerned = assessment.credentials["arn"].isin(assessment.findings["arn"].unique())
    return with_identity(assessment.findings, identify(assessment.credentials[concerned]))


def with_identity(findings: pd.DataFrame, credentials: pd.DataFrame) -> pd.DataFrame:
    """The findings, in their order, joined with their credentials as `identify` gives them."""
    keys = ["account_id", "user", "credential"]
    known = credentials[[*keys, "user_created", "kind", "made", "nth", "identity"]]
    joined = findings.astype({"credential": "string"}).merge(
        known.astype({"credential": "string"}), on=keys, how="left", validate="many_to_one"
    )
    return joined.assign(identity=joined["check"] + SEPARATOR + joined["identity"])
