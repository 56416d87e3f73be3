"""What runs know of the findings of runs before them: since when, and which were resolved. history.jsonl of a run."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pandas as pd

from scanner.errors import EvidenceError
from scanner.evidence import RunFolder
from scanner.models import Assessment

OPEN, NOT_RECHECKED, RESOLVED = "open", "not_rechecked", "resolved"
KEPT = timedelta(days=2 * 365)
"""How long a resolved finding is remembered, so that it can be said to reappear."""

SHOWN = (
    "account_id",
    "account_name",
    "ou_path",
    "user",
    "arn",
    "credential",
    "key_id",
    "check",
    "title",
    "severity",
    "verdict",
)
MOMENTS = ("user_created", "made", "first_seen", "last_seen")
HISTORY_COLUMNS = ("identity", "state", *MOMENTS, *SHOWN)
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
        _text(credentials["user_created"]),
        which,
        _text(whole["made"]),
    )
    identity = parts[0].astype(object)
    for part in parts[1:]:
        identity = identity + SEPARATOR + part.astype(object)
    return credentials.assign(made=whole["made"], identity=identity.astype("string"))


def _text(moments: pd.Series) -> pd.Series:
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


def empty_history() -> pd.DataFrame:
    """That of a run before which there was none."""
    return _typed(pd.DataFrame([], columns=list(HISTORY_COLUMNS)))


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    types = {name: "datetime64[s, UTC]" if name in MOMENTS else "string" for name in HISTORY_COLUMNS}
    for name in MOMENTS:
        frame[name] = pd.to_datetime(frame[name], utc=True, format="ISO8601")
    return frame[list(HISTORY_COLUMNS)].astype(types)


def write_history(folder: RunFolder, history: pd.DataFrame) -> None:
    """history.jsonl: a line for each finding that is open, was not re-checked, or was resolved not long ago."""
    shown = history.assign(**{name: _text(history[name]) for name in MOMENTS}).sort_values("identity")
    columns = [shown[name].astype(object).where(shown[name].notna(), None).tolist() for name in HISTORY_COLUMNS]
    lines = (json.dumps(dict(zip(HISTORY_COLUMNS, row, strict=True))) for row in zip(*columns, strict=True))
    folder.write_history("".join(f"{line}\n" for line in lines).encode())


def read_history(folder: RunFolder) -> pd.DataFrame:
    """That of a run; raises EvidenceError where it is not there, or not as credaudit writes it."""
    rows: list[dict[str, Any]] = []
    try:
        for line in folder.read_history().decode().splitlines():
            row = json.loads(line)
            rows.append({name: row[name] for name in HISTORY_COLUMNS})
            if row["state"] not in (OPEN, NOT_RECHECKED, RESOLVED):
                raise ValueError(row["state"])
        frame = pd.DataFrame(rows, columns=list(HISTORY_COLUMNS))
        for name in MOMENTS:
            frame[name] = frame[name].replace("", None)
        frame = _typed(frame)
        if frame["identity"].duplicated().any() or frame["first_seen"].isna().any():
            raise ValueError("identity")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        path = folder.path / "history.jsonl"
        raise EvidenceError(f"{path} is not as credaudit writes it: {type(error).__name__}") from None
    return frame
