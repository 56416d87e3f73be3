"""workbook.xlsx: what an auditor opens. Summary, Findings, Accounts, Access keys, Method.

No cell is a formula but the recounts on Summary, which are ours; see reports.sheets for how that is kept.
"""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Callable
from datetime import UTC
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from lxml.etree import LxmlError
from openpyxl import Workbook

from reports.cells import Kind, Value
from reports.columns import Column, days, moments, numbers, serials, texts
from reports.method import write_method
from reports.package import save
from reports.sheets import DataRows, Table
from reports.summary import Tables, verdict_column, write_summary
from reports.words import GAPS, utc
from scanner.models import Assessment, CheckSummary, Verdict

ACCESS_KEYS = ("access_key_1", "access_key_2", "additional_credentials")
BAD_VERDICTS = frozenset({str(Verdict.FAIL), str(Verdict.UNKNOWN)})
BAD_OUTCOMES = frozenset(map(str, GAPS))

NEVER, NOT_KNOWN, NOT_ACTIVE, DOES_NOT_APPLY = "never", "not known", "not active", "does not apply"


def write_workbook(assessment: Assessment, path: Path) -> None:
    """Write the workbook. Same assessment, same cells. Raises OSError where the disk is full, or that of $TMPDIR."""
    try:
        _write(assessment, path)
    except LxmlError as error:  # a full disk comes from libxml2, which writes the sheets to temporary files
        raise OSError(errno.EIO, f"{error} (temporary files are in {tempfile.gettempdir()})") from None


def tables(assessment: Assessment) -> Tables:
    """The tables between Summary and Method."""
    return Tables(_findings(assessment), _accounts(assessment), _access_keys(assessment))


def _write(assessment: Assessment, path: Path) -> None:
    run = assessment.run
    data = tables(assessment)
    workbook = Workbook(write_only=True)
    properties = workbook.properties
    properties.title = f"Access key audit of {run.organization_id}"
    properties.subject = run.run_id
    properties.creator = properties.lastModifiedBy = "credaudit"
    properties.created = (run.finished or run.as_of).astimezone(UTC).replace(tzinfo=None)
    workbook.calculation.fullCalcOnLoad = True  # openpyxl stores no results; the recounts are made when it is opened
    write_summary(workbook.create_sheet("Summary"), assessment, data)
    rows: dict[Any, DataRows] = {}
    for table in data:
        rows |= table.write(workbook, run.run_id)
    write_method(workbook.create_sheet("Method"), assessment)
    save(workbook, path, rows)


def _findings(assessment: Assessment) -> Table:
    findings = assessment.findings
    keys = ["account_id", "user", "credential"]
    failing = assessment.credentials["arn"].isin(findings["arn"])
    known = assessment.credentials.loc[failing, [*keys, "last_used_known"]].astype({"credential": "string"})
    frame = findings.astype({"credential": "string"}).merge(known, on=keys, how="left", validate="many_to_one")
    explanation = (
        f"Everything that does not pass, the worst first; ages as of {utc(assessment.run.as_of)}. Fix and undo"
        " hold several lines: open the cell to read them all. Printed without the columns after Reason."
    )
    if frame.empty:
        explanation = "No finding: every credential that could be assessed passes."
    columns = (
        Column("Verdict", 11, Kind.TEXT, texts("verdict"), alerts=BAD_VERDICTS),
        Column("Severity", 10, Kind.TEXT, texts("severity")),
        Column("Account id", 14, Kind.TEXT, texts("account_id")),
        Column("Account name", 24, Kind.TEXT, texts("account_name"), wraps=True),
        Column("OU path", 22, Kind.TEXT, texts("ou_path"), wraps=True),
        Column("User", 23, Kind.TEXT, texts("user"), wraps=True),
        Column("Credential", 14, Kind.TEXT, texts("credential")),
        Column("Key id", 23, Kind.TEXT, texts("key_id")),
        Column("Last rotated (UTC)", 20, Kind.MOMENT, moments("last_rotated")),
        Column("Age (days)", 9, Kind.NUMBER, numbers("age_days")),
        Column("Due on (UTC)", 14, Kind.DAY, days("due_on")),
        Column("Last used (UTC)", 20, Kind.MOMENT, _last_used),
        Column("Reason", 42, Kind.TEXT, texts("reason"), wraps=True),
        Column("Check", 38, Kind.TEXT, texts("title"), is_printed=False),
        Column("Exemption", 20, Kind.TEXT, texts("exemption"), is_printed=False),
        Column("Controls", 40, Kind.TEXT, texts("controls"), is_printed=False),
        Column("Fix (commands)", 60, Kind.LINES, texts("fix"), is_printed=False),
        Column("Undo (commands)", 60, Kind.LINES, texts("undo"), is_printed=False),
        Column("Check id", 24, Kind.TEXT, texts("check"), is_printed=False),
        Column("ARN", 50, Kind.TEXT, texts("arn"), is_printed=False),
    )
    return Table("Findings", explanation, columns, frame)


def _accounts(assessment: Assessment) -> Table:
    explanation = (
        "Every account that AWS Organizations listed, and what happened to it. The SHA-256 is that of"
        " evidence/ACCOUNT.csv, byte for byte as AWS returned it. Printed without the columns after it."
    )
    columns = (
        Column("Account id", 14, Kind.TEXT, texts("account_id")),
        Column("Account name", 24, Kind.TEXT, texts("account_name"), wraps=True),
        Column("OU path", 24, Kind.TEXT, texts("ou_path"), wraps=True),
        Column("State", 13, Kind.TEXT, texts("state"), wraps=True),
        Column("Outcome", 17, Kind.TEXT, texts("outcome"), alerts=BAD_OUTCOMES),
        Column("Reason", 46, Kind.TEXT, texts("reason"), wraps=True),
        Column("Users", 8, Kind.NUMBER, numbers("users")),
        Column("Credentials", 12, Kind.NUMBER, numbers("credentials")),
        Column("Failing", 8, Kind.NUMBER, numbers("failing")),
        Column("Unknown", 9, Kind.NUMBER, numbers("unknown")),
        Column("Report generated (UTC)", 20, Kind.MOMENT, moments("report_generated")),
        Column("SHA-256 of the report", 36, Kind.TEXT, texts("report_sha256"), wraps=True),
        Column("Report collected by run", 34, Kind.TEXT, texts("source_run"), is_printed=False),
        Column("Started (UTC)", 20, Kind.MOMENT, moments("started"), is_printed=False),
        Column("Finished (UTC)", 20, Kind.MOMENT, moments("finished"), is_printed=False),
        Column("Requests sent", 10, Kind.NUMBER, numbers("attempts"), is_printed=False),
        Column("E-mail", 34, Kind.TEXT, texts("email"), is_printed=False),
    )
    return Table("Accounts", explanation, columns, assessment.accounts)


def _access_keys(assessment: Assessment) -> Table:
    is_key = assessment.credentials["credential"].isin(ACCESS_KEYS)
    explanation = (
        "Every access key in the reports of the scanned accounts, active or not: the population from which the findings"
        f" are taken; ages as of {utc(assessment.run.as_of)}. Printed without the columns after the verdict."
    )
    if not is_key.any():
        explanation = "No access key: the reports of the scanned accounts hold none."
    columns = (
        Column("Account id", 14, Kind.TEXT, texts("account_id")),
        Column("Account name", 24, Kind.TEXT, texts("account_name")),
        Column("OU path", 24, Kind.TEXT, texts("ou_path")),
        Column("User", 27, Kind.TEXT, texts("user")),
        Column("Slot", 14, Kind.TEXT, texts("credential")),
        Column("Key id", 23, Kind.TEXT, texts("key_id")),
        Column("Active", 10, Kind.TEXT, _active),
        Column("Last rotated (UTC)", 20, Kind.MOMENT, moments("last_rotated")),
        Column("Age (days)", 9, Kind.NUMBER, numbers("age_days")),
        Column("Due on (UTC)", 14, Kind.DAY, days("due_on")),
        Column("Last used (UTC)", 20, Kind.MOMENT, _last_used),
        *(
            Column(verdict_column(check), 24, Kind.TEXT, _verdict(check.check_id), alerts=BAD_VERDICTS)
            for check in assessment.checks
            if _judges_keys_only(assessment, is_key, check)
        ),
        Column("Last used region", 16, Kind.TEXT, texts("last_used_region"), is_printed=False),
        Column("Last used service", 18, Kind.TEXT, texts("last_used_service"), is_printed=False),
        Column("Key note", 50, Kind.TEXT, texts("key_note"), is_printed=False),
        Column("User created (UTC)", 20, Kind.MOMENT, moments("user_created"), is_printed=False),
        Column("Report generated (UTC)", 20, Kind.MOMENT, moments("report_generated"), is_printed=False),
    )
    return Table(
        "Access keys",
        explanation,
        columns,
        assessment.credentials,
        has_row_heights=False,
        positions=np.flatnonzero(is_key),
    )


def _judges_keys_only(assessment: Assessment, is_key: pd.Series, check: CheckSummary) -> bool:
    """Whether all verdicts of a check stand on the Access keys sheet, so that they can be recounted there."""
    name = f"verdict:{check.check_id}"
    return name in assessment.credentials and not (assessment.credentials[name].ne("") & ~is_key).any()


def _verdict(check_id: str) -> Callable[[pd.DataFrame], list[str]]:
    """The check's verdict; where it has none, why."""

    def read(frame: pd.DataFrame) -> list[str]:
        verdict = frame[f"verdict:{check_id}"]
        is_inactive = ~frame["active"].fillna(True).astype(bool)
        without = np.where(is_inactive, NOT_ACTIVE, DOES_NOT_APPLY)
        return list(map(str, np.where(verdict.eq(""), without, verdict.to_numpy(object)).tolist()))

    return read


def _active(frame: pd.DataFrame) -> list[str]:
    active = frame["active"]
    words: list[str] = np.where(active.isna(), NOT_KNOWN, np.where(active.fillna(False), "yes", "no")).tolist()
    return words


def _last_used(frame: pd.DataFrame) -> list[Value]:
    """A moment; `never` where AWS recorded all of the key's life and no use; else `not known`."""
    without = np.where(frame["last_used_known"].fillna(False).astype(bool), NEVER, NOT_KNOWN).tolist()
    return [
        word if moment is None else moment for moment, word in zip(serials(frame["last_used"]), without, strict=True)
    ]
