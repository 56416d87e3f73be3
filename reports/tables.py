"""The tables of the workbook: which columns each has, what they mean, and where their cells lead."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from reports.cells import Kind, Value
from reports.columns import Column, days, moments, numbers, serials, texts
from reports.sheets import Table
from reports.words import GAPS, KEY_AGE_CHECK, plural, utc
from scanner.models import CHANGE_COLUMNS, Assessment, CheckSummary, Verdict

ACCESS_KEYS = ("access_key_1", "access_key_2", "additional_credentials")
BAD_VERDICTS = frozenset({str(Verdict.FAIL), str(Verdict.UNKNOWN)})
BAD_OUTCOMES = frozenset(map(str, GAPS))

NEVER, NOT_KNOWN, NOT_ACTIVE, DOES_NOT_APPLY = "never", "not known", "not active", "does not apply"


class Tables(NamedTuple):
    """The tables between Summary and Method, in the order of their sheets."""

    findings: Table
    due_soon: Table
    accounts: Table
    access_keys: Table
    root_users: Table
    exemptions: Table
    changes: Table
    account_changes: Table


def tables(assessment: Assessment) -> Tables:
    """All of them; a table without rows says why it has none."""
    places = Table("Accounts", "", (), assessment.accounts).places("account_id")
    findings = _findings(assessment, places)
    return Tables(
        findings,
        _due_soon(assessment, places),
        _accounts(assessment, findings.places("account_id")),
        _access_keys(assessment),
        _root_users(assessment, places),
        _exemptions(assessment),
        _changes(assessment, places),
        _account_changes(assessment),
    )


def verdict_column(check: CheckSummary) -> str:
    """The heading of a check's column on Access keys and Root users."""
    return f"Verdict: {check.check_id}"


# Where cells lead


def _links(places: Mapping[str, str], values: pd.Series) -> Sequence[str | None]:
    """The place of each value; None where it has none."""
    return [places.get(value) for value in values.tolist()]


# The tables


def _findings(assessment: Assessment, places: Mapping[str, str]) -> Table:
    findings = assessment.findings
    keys = ["account_id", "user", "credential"]
    failing = assessment.credentials["arn"].isin(findings["arn"])
    known = assessment.credentials.loc[failing, [*keys, "last_used_known"]].astype({"credential": "string"})
    frame = findings.astype({"credential": "string"}).merge(known, on=keys, how="left", validate="many_to_one")
    email = assessment.accounts.set_index("account_id")["email"]
    frame["email"] = email.reindex(frame["account_id"]).array
    explanation = (
        f"Everything that does not pass, the worst first; ages as of {utc(assessment.run.as_of)}. Fix and undo"
        " hold several lines: open the cell to read them all. Printed without the columns after Reason."
    )
    if frame.empty:
        explanation = "No finding: every credential that could be assessed passes."
    columns = (
        Column(
            "Verdict",
            11,
            Kind.TEXT,
            texts("verdict"),
            alerts=BAD_VERDICTS,
            help="FAIL: beyond the limit. EXEMPT: beyond it, and accepted until a day. UNKNOWN: cannot be judged; treat"
            " it as a failure until it is known.",
        ),
        Column(
            "Severity", 10, Kind.TEXT, texts("severity"), help="The check's, or what the configuration makes of it."
        ),
        Column("Check", 34, Kind.TEXT, texts("title"), wraps=True),
        Column(
            "Account id",
            14,
            Kind.TEXT,
            texts("account_id"),
            links=partial(_links, places, findings["account_id"]),
            help="Leads to the account's row on Accounts.",
        ),
        Column("Account name", 22, Kind.TEXT, texts("account_name"), wraps=True),
        Column("OU path", 20, Kind.TEXT, texts("ou_path"), wraps=True),
        Column("User", 22, Kind.TEXT, texts("user"), wraps=True),
        Column("Credential", 14, Kind.TEXT, texts("credential"), help="password also stands for the user as a whole."),
        Column("Key id", 23, Kind.TEXT, texts("key_id"), help="Credential reports have none; see Method, Key ids."),
        Column("Last rotated (UTC)", 20, Kind.MOMENT, moments("last_rotated"), help="AWS's date of the credential."),
        Column("Age (days)", 9, Kind.NUMBER, numbers("age_days"), help="Whole days at as_of; decided to the second."),
        Column("Due on (UTC)", 13, Kind.DAY, days("due_on"), help="When it became, or becomes, due by this check."),
        Column("Last used (UTC)", 20, Kind.MOMENT, _last_used, help="never or not known: see Method, Last use."),
        Column(
            "First seen (UTC)",
            13,
            Kind.DAY,
            days("first_seen"),
            help="The first run that had this finding without a break until now.",
        ),
        Column("Reason", 42, Kind.TEXT, texts("reason"), wraps=True),
        Column("Exemption", 18, Kind.TEXT, texts("exemption"), help="Its id on Exemptions.", wraps=True),
        Column("Account e-mail", 34, Kind.TEXT, texts("email"), is_printed=False, help="A hint at the owner."),
        Column("Controls", 40, Kind.TEXT, texts("controls"), is_printed=False),
        Column("Fix (commands)", 60, Kind.LINES, texts("fix"), is_printed=False),
        Column("Undo (commands)", 60, Kind.LINES, texts("undo"), is_printed=False),
        Column("Check id", 24, Kind.TEXT, texts("check"), is_printed=False),
        Column("ARN", 50, Kind.TEXT, texts("arn"), is_printed=False),
    )
    return Table("Findings", explanation, columns, frame)


def _accounts(assessment: Assessment, places: Mapping[str, str]) -> Table:
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
        Column(
            "Failing",
            8,
            Kind.NUMBER,
            numbers("failing"),
            links=partial(_links, places, assessment.accounts["account_id"]),
            help="Findings with the verdict FAIL. Leads to the first finding of the account.",
        ),
        Column("Unknown", 9, Kind.NUMBER, numbers("unknown")),
        Column("Users in IAM", 9, Kind.NUMBER, numbers("iam_users"), help="GetAccountSummary: without the root user."),
        Column(
            "Difference", 11, Kind.NUMBER, numbers("user_difference"), help="Users in the report less those in IAM."
        ),
        Column("Cross-check", 28, Kind.TEXT, texts("cross_check"), wraps=True),
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
            if judges_keys_only(assessment, check)
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


def _due_soon(assessment: Assessment, places: Mapping[str, str]) -> Table:
    days_ahead = plural(assessment.run.rules.next_audit.days, "day")
    explanation = (
        f"Active access keys that pass today and fall due within {days_ahead} of {utc(assessment.run.as_of)}, the next"
        " first: rotate them before."
    )
    if assessment.due_soon.empty:
        explanation = f"No active access key that passes falls due within {days_ahead}."
    if all(check.check_id != KEY_AGE_CHECK for check in assessment.checks):
        explanation = f"Not known: the check {KEY_AGE_CHECK} was not asked."
    columns = (
        Column("Due on (UTC)", 14, Kind.DAY, days("due_on")),
        Column("Days left", 9, Kind.NUMBER, numbers("days_left")),
        Column(
            "Account id",
            14,
            Kind.TEXT,
            texts("account_id"),
            links=partial(_links, places, assessment.due_soon["account_id"]),
        ),
        Column("Account name", 24, Kind.TEXT, texts("account_name"), wraps=True),
        Column("OU path", 24, Kind.TEXT, texts("ou_path"), wraps=True),
        Column("User", 27, Kind.TEXT, texts("user"), wraps=True),
        Column("Slot", 14, Kind.TEXT, texts("credential")),
        Column("Last rotated (UTC)", 20, Kind.MOMENT, moments("last_rotated")),
        Column("Age (days)", 9, Kind.NUMBER, numbers("age_days")),
        Column("Account e-mail", 34, Kind.TEXT, texts("email"), wraps=True, help="A hint at the owner."),
    )
    return Table("Due soon", explanation, columns, assessment.due_soon, has_row_heights=False)


def _root_users(assessment: Assessment, places: Mapping[str, str]) -> Table:
    credentials = assessment.credentials
    is_root = credentials["is_root"].to_numpy(dtype=bool)
    is_key = credentials["credential"].isin(ACCESS_KEYS).to_numpy()
    roots = credentials[is_root & credentials["credential"].eq("password").to_numpy()]
    keys = credentials[is_root & is_key]
    is_active = keys["active"].fillna(False).astype(bool)

    def per_account(rows: pd.DataFrame) -> Any:
        return rows["account_id"].value_counts().reindex(roots["account_id"], fill_value=0).array

    latest = credentials[is_root].groupby("account_id")["last_used"].max().reindex(roots["account_id"])
    frame = roots.assign(
        active_keys=per_account(keys[is_active]),
        other_keys=per_account(keys[~is_active]),
        latest_use=latest.array,
    )
    explanation = "The root user of every scanned account, as its credential report has it; one row each."
    if frame.empty:
        explanation = "No root user: the reports of the scanned accounts have no row of one."
    columns = (
        Column(
            "Account id",
            14,
            Kind.TEXT,
            texts("account_id"),
            links=partial(_links, places, roots["account_id"]),
        ),
        Column("Account name", 24, Kind.TEXT, texts("account_name"), wraps=True),
        Column("OU path", 24, Kind.TEXT, texts("ou_path"), wraps=True),
        Column("Password", 11, Kind.TEXT, _active, help="not known: AWS reported not_supported."),
        Column("MFA", 11, Kind.TEXT, partial(_yes_no, "mfa_active")),
        Column("Active keys", 9, Kind.NUMBER, numbers("active_keys")),
        Column("Other keys", 9, Kind.NUMBER, numbers("other_keys"), help="Inactive, or of unknown state."),
        Column("Last used (UTC)", 20, Kind.MOMENT, moments("latest_use"), help="The latest of password and keys."),
        *(
            Column(verdict_column(check), 18, Kind.TEXT, _verdict(check.check_id), alerts=BAD_VERDICTS)
            for check in assessment.checks
            if judges_roots_only(assessment, check)
        ),
    )
    return Table("Root users", explanation, columns, frame)


def judges_roots_only(assessment: Assessment, check: CheckSummary) -> bool:
    """Whether all verdicts of a check stand on Root users."""
    name = f"verdict:{check.check_id}"
    if name not in assessment.credentials:
        return False
    asked = assessment.credentials[assessment.credentials[name].ne("")]
    return bool((asked["is_root"] & asked["credential"].eq("password")).all()) and "root" in check.check_id


def _exemptions(assessment: Assessment) -> Table:
    explanation = (
        "Findings that somebody accepted until a day. An expired exemption covers nothing: its findings fail again."
        " One that matches nothing should be withdrawn."
    )
    if assessment.exemptions.empty:
        explanation = "No exemption is configured: nothing was accepted."
    columns = (
        Column("Id", 18, Kind.TEXT, texts("id"), wraps=True),
        Column("State", 13, Kind.TEXT, texts("state"), alerts=frozenset({"expired"})),
        Column("Covers", 8, Kind.NUMBER, numbers("covers"), help="Findings; of an expired one, those it would cover."),
        Column("Note", 26, Kind.TEXT, texts("note"), wraps=True),
        Column("Expires (UTC)", 20, Kind.MOMENT, moments("expires"), help="The first moment it no longer holds."),
        Column("Checks", 30, Kind.TEXT, texts("checks"), wraps=True),
        Column("Accounts", 16, Kind.TEXT, texts("accounts"), wraps=True),
        Column("OUs", 18, Kind.TEXT, texts("ous"), wraps=True),
        Column("User", 16, Kind.TEXT, texts("user"), wraps=True),
        Column("Reason", 32, Kind.TEXT, texts("reason"), wraps=True),
        Column("Owner", 20, Kind.TEXT, texts("owner"), wraps=True),
        Column("Approver", 20, Kind.TEXT, texts("approver"), wraps=True),
        Column("Ticket", 14, Kind.TEXT, texts("ticket"), wraps=True),
        Column("Starts (UTC)", 20, Kind.MOMENT, moments("starts"), is_printed=False),
        Column("ARN", 50, Kind.TEXT, texts("arn"), is_printed=False),
    )
    return Table("Exemptions", explanation, columns, assessment.exemptions)


def _changes(assessment: Assessment, places: Mapping[str, str]) -> Table:
    changes = assessment.changes
    if changes is None:
        explanation, frame = "There is no earlier run of this organization to compare with.", _no_changes()
    else:
        frame = changes.findings
        explanation = (
            f"Since {changes.old_run} (as of {utc(changes.old_as_of)}). not_rechecked: its account was not read, or its"
            " check not asked, this time; it is not resolved."
        )
    columns = (
        Column("Change", 14, Kind.TEXT, texts("change"), alerts=frozenset({"new", "reappeared", "not_rechecked"})),
        Column(
            "Account id",
            14,
            Kind.TEXT,
            texts("account_id"),
            links=partial(_links, places, frame["account_id"]),
        ),
        Column("Account name", 22, Kind.TEXT, texts("account_name"), wraps=True),
        Column("OU path", 20, Kind.TEXT, texts("ou_path"), wraps=True),
        Column("User", 22, Kind.TEXT, texts("user"), wraps=True),
        Column("Credential", 14, Kind.TEXT, texts("credential")),
        Column("Key id", 23, Kind.TEXT, texts("key_id")),
        Column("Check", 34, Kind.TEXT, texts("title"), wraps=True),
        Column("Severity", 10, Kind.TEXT, texts("severity")),
        Column("Verdict", 11, Kind.TEXT, texts("verdict"), alerts=BAD_VERDICTS),
        Column("Verdict before", 11, Kind.TEXT, texts("old_verdict")),
        Column("First seen (UTC)", 13, Kind.DAY, days("first_seen")),
        Column(
            "Days open", 9, Kind.NUMBER, numbers("open_days"), help="To as_of; of what is resolved, to its last run."
        ),
        Column("Note", 40, Kind.TEXT, texts("note"), wraps=True),
    )
    return Table("Changes", explanation, columns, frame)


def _account_changes(assessment: Assessment) -> Table:
    changes = assessment.changes
    frame = changes.accounts if changes else _no_account_changes()
    explanation = "Accounts that joined or left since then, and those that only one of the two runs has read."
    if frame.empty:
        explanation = "No account joined or left, and the same accounts were read, as far as there was a run before."
    columns = (
        Column("Change", 14, Kind.TEXT, texts("change"), alerts=frozenset({"not read", "left"})),
        Column("Account id", 14, Kind.TEXT, texts("account_id")),
        Column("Account name", 36, Kind.TEXT, texts("account_name"), wraps=True),
        Column("Note", 70, Kind.TEXT, texts("note"), wraps=True),
    )
    return Table("Account changes", explanation, columns, frame)


def _no_changes() -> pd.DataFrame:
    empty = pd.DataFrame([], columns=list(CHANGE_COLUMNS)).astype("string")
    return empty.astype({"first_seen": "datetime64[s, UTC]", "open_days": "Int64"})


def _no_account_changes() -> pd.DataFrame:
    return pd.DataFrame([], columns=["change", "account_id", "account_name", "note"]).astype("string")


def judges_keys_only(assessment: Assessment, check: CheckSummary) -> bool:
    """Whether all verdicts of a check stand on the Access keys sheet, so that they can be recounted there."""
    name = f"verdict:{check.check_id}"
    is_key = assessment.credentials["credential"].isin(ACCESS_KEYS)
    return name in assessment.credentials and not (assessment.credentials[name].ne("") & ~is_key).any()


def _verdict(check_id: str) -> Callable[[pd.DataFrame], list[str]]:
    """The check's verdict; where it has none, why."""

    def read(frame: pd.DataFrame) -> list[str]:
        verdict = frame[f"verdict:{check_id}"]
        is_inactive = ~frame["active"].fillna(True).astype(bool)
        is_key = frame["credential"].isin(ACCESS_KEYS)
        without = np.where(is_inactive & is_key, NOT_ACTIVE, DOES_NOT_APPLY)
        return list(map(str, np.where(verdict.eq(""), without, verdict.to_numpy(object)).tolist()))

    return read


def _active(frame: pd.DataFrame) -> list[str]:
    return _yes_no("active", frame)


def _yes_no(name: str, frame: pd.DataFrame) -> list[str]:
    active = frame[name]
    words: list[str] = np.where(active.isna(), NOT_KNOWN, np.where(active.fillna(False), "yes", "no")).tolist()
    return words


def _last_used(frame: pd.DataFrame) -> list[Value]:
    """A moment; `never` where AWS recorded all of the key's life and no use; else `not known`."""
    without = np.where(frame["last_used_known"].fillna(False).astype(bool), NEVER, NOT_KNOWN).tolist()
    return [
        word if moment is None else moment for moment, word in zip(serials(frame["last_used"]), without, strict=True)
    ]
