"""The workbook's last sheet: what was done, by which rules, and how a reader can verify it without trusting us."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from reports.cells import EXPLANATION, LABEL, PROSE, TITLE
from reports.sheets import Prose
from reports.words import limit_text, limit_texts, utc
from scanner.models import Assessment, CheckSummary, Outcome, Run, Verdict

WIDTHS = (34, 96)

RULES = (
    (
        "Age",
        "An access key fails when as_of − last_rotated is greater than the limit, as exact durations in UTC. 90 days"
        " are 7,776,000 seconds: at exactly 90 d 0 h 0 s a key passes, one second later it fails. Ages are shown in"
        " whole days and decided to the second. AWS gives as last_rotated of a key the moment it was created.",
    ),
    (
        "Not used",
        "A credential counts as unused when its last use lies the limit or longer back, as CIS has it (used less than"
        " 45 days ago passes). One that was never used counts from its creation, a password from its last change.",
    ),
    (
        "Population",
        "Each check says below what it asks about, in every scanned account. Checks of a user or a root user as a whole"
        " stand on the user's row with the credential password, also where there is no password.",
    ),
    (
        "Exemptions",
        "A finding that fails is EXEMPT where an exemption covers it that has begun and not ended at as_of. Users and"
        " ARNs are matched as a whole, and * stands for any text. What is UNKNOWN is never exempt.",
    ),
    (
        "Changes",
        "A finding is the same as in an earlier run where the check, the user (by account, ARN and moment of creation)"
        " and the credential (a key or certificate by its moment of creation) are. What was not read again is"
        " not_rechecked, never resolved.",
    ),
    (
        "Unknown is not pass",
        "A date that is missing, cannot be read or lies in the future gives UNKNOWN with a reason, never PASS. The same"
        " holds for accounts: one that could not be assessed makes the run incomplete.",
    ),
    (
        "Age of the data",
        "AWS makes a new credential report at most every four hours, so that a report can be four hours older than the"
        " run, and more where AWS had no newer one; one older than the parameter scan.report_max_age_hours is not"
        " accepted. Accounts shows when each report was generated.",
    ),
    (
        "Key ids",
        "Credential reports hold no key ids. They were looked up for the users with findings (ListAccessKeys) and"
        " joined by the key's creation time; where that fits no key, or more than one, the id is left empty and the row"
        " says so.",
    ),
    (
        "Last use",
        "never: AWS recorded all of the credential's life and saw no use. not known: AWS does not say, or the"
        " credential is older than AWS's records of use (keys: 2015-04-22).",
    ),
    (
        "Text of others",
        "Account, OU and user names are chosen by others. Text that begins with = + - @ or a tab is stored as text and"
        " is never a formula (CSV files: an apostrophe is put before it). Control, direction and invisible characters"
        " are shown as escapes such as \\u202e.",
    ),
)

OUTCOMES = {
    Outcome.SCANNED: "The account's credential report was read and assessed.",
    Outcome.NOT_ACTIVE: "Suspended, closed or not yet active, as AWS Organizations states it; not assessed.",
    Outcome.EXCLUDED: "Left out by the configuration; the reason names the rule. Not assessed.",
    Outcome.ACCESS_DENIED: "The role could not be assumed: missing, or its trust policy refused. Not assessed; a gap.",
    Outcome.REPORT_DENIED: "The role was assumed, but AWS refused the credential report. Not assessed; a gap.",
    Outcome.REPORT_TIMEOUT: "AWS did not have the credential report ready in time. Not assessed; a gap.",
    Outcome.REPORT_MALFORMED: "The credential report cannot be relied on. Not assessed; a gap.",
    Outcome.ERROR: "Anything else went wrong. Not assessed; a gap.",
    Outcome.INTERRUPTED: "The run ended before this account. Not assessed; a gap.",
}

VERDICTS = {
    Verdict.PASS: "The check applies to the credential, and it is within the limit.",
    Verdict.FAIL: "The credential is beyond the limit.",
    Verdict.EXEMPT: "The credential is beyond the limit, and an exemption with an owner and an end date covers it.",
    Verdict.UNKNOWN: "The evidence allows no verdict; the reason says why. Treat it as a failure until it is known.",
}

VERIFY = (
    (
        "Raw reports",
        "sha256sum evidence/ACCOUNT.csv in the run folder gives the SHA-256 that stands on Accounts for that account."
        " The file is what AWS returned, byte for byte.",
    ),
    (
        "All files",
        "manifest.json lists the SHA-256 and size of every other file of the run folder, and the SHA-256 of the"
        " manifest of the run before. credaudit verify RUN compares them, derives every finding from the evidence"
        " again, and names each file, run, row and column that differs. It prints the SHA-256 of manifest.json: keep"
        " that elsewhere.",
    ),
    (
        "AWS's own log",
        "CloudTrail of each account shows this run under the session name above (reports that an earlier run collected"
        " under its name: credaudit- and the run that stands on Accounts), with the request ids that stand in"
        " ledger.jsonl and, for the look-up of key ids, in evidence/ACCOUNT.keys.json. Those of AssumeRole, and of the"
        " caller's own account, are in the caller's CloudTrail.",
    ),
    (
        "Completeness",
        "evidence/organization.json holds every account that AWS Organizations listed, with its place in the tree;"
        " each stands on Accounts with its outcome, and Summary reconciles them.",
    ),
    (
        "Counts",
        "Summary and Controls count their totals again by formula from the other sheets, and say matches or DIFFERS.",
    ),
    (
        "Links",
        "Underlined cells lead to a row of another sheet, the first 60,000 of a sheet: Excel takes no more. Where rows"
        " are filtered or sorted by hand, a link still leads to the place where its row was written.",
    ),
    (
        "One key",
        "Take a row of Access keys, find the user in evidence/ACCOUNT.csv, and compare access_key_1_last_rotated or"
        " access_key_2_last_rotated.",
    ),
)


def write_method(sheet: Any, assessment: Assessment) -> None:
    """Write the sheet."""
    run = assessment.run
    page = Prose(sheet, run.run_id, WIDTHS)
    page.across(TITLE, "Method")
    page.across(EXPLANATION, "What was done, by which rules, and how to verify it. All times are UTC.")
    sections: tuple[tuple[str, Iterable[tuple[str, str]]], ...] = (
        ("Rules", RULES),
        ("Limits", limit_texts(run.limits)),
        ("Overrides of OUs", _overrides(run)),
        ("Evaluated again", _reevaluated(assessment)),
        ("Outcomes of an account", ((str(outcome), OUTCOMES[outcome]) for outcome in Outcome)),
        ("Verdicts", ((str(verdict), VERDICTS[verdict]) for verdict in Verdict)),
        *((f"Check: {check.check_id}", _check(check, run)) for check in assessment.checks),
        ("Run", _run(run)),
        ("Session policy of the scan", _policy(run.session_policy)),
        ("Endpoints", run.endpoints.items()),
        ("Parameters", _flatten(run.parameters)),
        ("How to verify", VERIFY),
    )
    for title, rows in ((title, list(rows)) for title, rows in sections):
        if not rows:
            continue
        page.section(title)
        for label, text in rows:
            page.values((LABEL, label), (PROSE, text))


def _run(run: Run) -> Iterator[tuple[str, str]]:
    yield "Run", run.run_id
    yield "Organization", run.organization_id
    yield "Management account", run.management_account_id
    yield "Caller", f"{run.caller.arn} (account {run.caller.account_id}, partition {run.caller.partition})"
    yield "Role assumed in each account", run.role_name
    yield "Role that lists the organization", run.organization_role_arn or "none: the caller's own credentials"
    yield "Session name", run.session_name
    yield "Resumed from", run.resumed_from or "no earlier run"
    yield "External id", "used" if run.external_id_used else "not used"
    yield "Started", utc(run.started)
    yield "Finished", utc(run.finished) if run.finished else "not finished"
    yield "Ages measured as of (as_of)", utc(run.as_of)
    yield "Versions", f"credaudit {run.tool_version}, Python {run.python_version}"


def _overrides(run: Run) -> Iterator[tuple[str, str]]:
    """What differs below which OU; of several above an account the deepest holds."""
    for override in run.rules.overrides:
        limits = [f"{name.replace('_', ' ')}: {limit_text(value)}" for name, value in override.limits.items()]
        severities = [f"{check}: {severity}" for check, severity in override.severities.items()]
        yield override.ou, "; ".join([*limits, *severities]) or "nothing"


def _reevaluated(assessment: Assessment) -> Iterator[tuple[str, str]]:
    if assessment.reevaluated is not None:
        yield (
            "When",
            f"{utc(assessment.reevaluated)}, offline, from the evidence of {assessment.run.run_id}. What differs from"
            " the run's own reports stands under Notes on Summary; the limits, checks and exemptions here are those in"
            " force for this workbook. Parameters are those of the run.",
        )


def _check(check: CheckSummary, run: Run) -> Iterator[tuple[str, str]]:
    yield "Question", check.title
    yield "Asks about", check.population
    yield "Severity", str(check.severity)
    for name in check.limits:
        yield f"Limit: {name.replace('_', ' ')}", limit_text(getattr(run.limits, name))
    yield "Why", check.why
    if not check.controls:
        yield "Controls", "none: no framework that credaudit knows asks for it in so many words"
    for number, control in enumerate(check.controls):
        name = " ".join(part for part in (control.framework, control.version) if part)
        yield (
            "" if number else "Controls",
            ". ".join(part for part in (f"{name}: {control.number}", control.note) if part),
        )


def _policy(policy: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The session may do no more than this, whatever the role allows."""
    statements = policy.get("Statement", [])
    for statement in [statements] if isinstance(statements, Mapping) else statements:
        actions = statement.get("Action", [])
        yield str(statement.get("Effect", "")), actions if isinstance(actions, str) else ", ".join(actions)


def _flatten(parameters: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings → dotted names and their values in words."""
    for name, value in parameters.items():
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple | set | frozenset | Mapping):
            yield f"{prefix}{name}", ", ".join(map(str, value)) or "none"
        else:
            yield f"{prefix}{name}", "not set" if value is None or value == "" else str(value)
