"""The installed command against a moto organization: what it says, what it keeps, and what it asks of AWS."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import stat
from collections import Counter
from zipfile import ZipFile

from moto.iam.models import iam_backends
from moto.sts.models import sts_backends

from .expected import Scan, in_csv, is_within, totals
from .plan import FAIL, PASS, PROD, UNKNOWN
from .server import CALLER, CALLER_ACCOUNT

MEMBER_ACTIONS = {"GenerateCredentialReport", "GetCredentialReport", "GetAccountSummary", "ListAccessKeys"}
CALLER_ACTIONS = {
    "GetCallerIdentity",
    "AssumeRole",
    "DescribeOrganization",
    "ListAccounts",
    "ListRoots",
    "ListOrganizationalUnitsForParent",
    "ListAccountsForParent",
}


# The organization is what the tests take it for


def test_organization_holds_what_the_plan_needs(organization):
    assert len(organization) == 41
    assert Counter(account.ou for account in organization)[PROD] == 21
    assert any(account.account_id.startswith("0") for account in organization)
    assert len({account.name for account in organization}) < len(organization)


def test_moto_has_each_key_at_its_slot(rotated):
    for row in rotated.rows:
        stored = iam_backends[row.account.account_id]["aws"].users[row.user.name].access_keys[row.slot - 1]
        assert (stored.access_key_id, stored.status == "Active") == (row.key.key_id, row.key.is_active)


# What the command says


def test_exit_code_says_whether_the_run_is_complete_and_has_findings(incomplete, complete, rotated):
    assert [each.run.code for each in (incomplete, complete, rotated)] == [4, 3, 0]


def test_findings_below_the_asked_severity_do_not_fail_a_complete_run(tolerated, complete):
    assert {fail_on: run.code for fail_on, run in tolerated.items()} == {"never": 0, "high": 0}
    for run in tolerated.values():
        assert Scan(run, complete.accounts).json["counts"] == complete.json["counts"]
        assert len(Scan(run, complete.accounts).csv("findings.csv")) == len(complete.findings) > 0


def test_stdout_is_the_path_of_the_run_folder_and_nothing_else(scan):
    assert scan.run.stdout == f"runs/{scan.folder.name}\n"
    assert re.fullmatch(r"\d{8}T\d{6}Z-o-[a-z0-9]{10}", scan.folder.name)
    assert scan.folder.is_dir()


def test_stderr_says_what_matters_and_nothing_where_all_is_well_and_quiet(incomplete, complete, rotated):
    assert "INCOMPLETE: 1 of 40 " in incomplete.run.stderr
    assert "41 accounts listed = 39 scanned + 1 not active + 1 access denied" in incomplete.run.stderr
    assert "COMPLETE: 40 accounts in scope, all assessed; 1 of 41 listed are" in complete.run.stderr
    for run in (incomplete, complete):
        active = run.count(PASS) + run.count(FAIL) + run.count(UNKNOWN)
        assert f"{run.count(FAIL)} of {active} active access keys are older than 90 days; 1 could not" in run.run.stderr
        assert "\x1b" not in run.run.stderr
    assert rotated.run.stderr == ""


# The ledger and the evidence


def test_ledger_has_each_account_once_with_its_outcome(scan):
    ledger = sorted(scan.ledger, key=lambda line: line["account_id"])
    assert [line["account_id"] for line in ledger] == [account.account_id for account in scan.accounts]
    for line, account in zip(ledger, scan.accounts, strict=True):
        expected = scan.state(account)
        for name in ("outcome", "reason", "attempts"):
            assert line[name] == expected[name]
        assert line["users"] == (expected["users"] or 0)
        assert line["report_sha256"] == (expected["report_sha256"] or "")
        assert (line["report_generated"] or "") == in_csv(expected["report_generated"])
        assert line["report_bytes"] == (len(scan.served(account)[0]) if account.outcome == "scanned" else 0)
        whose = "caller" if account.account_id == CALLER_ACCOUNT else "role"
        assert line["credentials"] == (whose if account.outcome == "scanned" else "")
        assert line["throttles"] == 0
        assert len(line["request_ids"]) == line["attempts"]
        assert is_within(scan, line["started"], line["finished"])


def test_run_json_counts_every_account_once(scan, incomplete, complete):
    before, is_second = incomplete.folder.name, scan is complete
    outcomes = Counter(account.outcome for account in scan.accounts)
    counts = {name: count for name, count in scan.json["counts"].items() if count}
    assert counts == {"listed": 41, **outcomes}
    assert scan.json["as_of"] == "2025-06-30T12:00:00Z"
    assert scan.json["management_account_id"] == CALLER_ACCOUNT
    assert scan.json["notes"] == [
        "Ages are measured at 2025-06-30 12:00:00 UTC (--as-of), not at the start of the run; "
        "the keys are those that exist now.",
        "Requests went to 127.0.0.1, which is not AWS's domain.",
        *([f"No complete run before this one: compared with {before}, which is incomplete."] if is_second else []),
    ]
    assert is_within(scan, scan.json["started"], scan.json["finished"])


def test_evidence_is_what_moto_sent_byte_for_byte(scan):
    reports = {path.stem: path.read_bytes() for path in (scan.folder / "evidence").glob("*.csv")}
    assert reports == {account_id: content for account_id, (content, _) in scan.run.served.items()}
    assert sorted(reports) == [account.account_id for account in scan.scanned]
    for account in scan.scanned:
        users = [row["user"] for row in csv.DictReader(reports[account.account_id].decode().splitlines())]
        assert users == [user.name for user in account.users]


def test_last_evidence_is_what_moto_holds(rotated):
    for account in rotated.scanned:
        report = (rotated.folder / "evidence" / f"{account.account_id}.csv").read_bytes()
        assert report == iam_backends[account.account_id]["aws"].get_credential_report().encode()


def test_keys_are_looked_up_for_users_with_findings_only(scan):
    looked_up = {
        path.name.removesuffix(".keys.json"): {
            name: [key["key_id"] for key in answer["keys"]]
            for name, answer in json.loads(path.read_text())["users"].items()
        }
        for path in (scan.folder / "evidence").glob("*.keys.json")
    }
    assert looked_up == {
        account.account_id: users
        for account in scan.scanned
        if (users := {user.name: [key.key_id for key in user.keys] for user in account.users if user.is_looked_up})
    }


def test_manifest_has_the_hash_of_every_file(scan):
    manifest = json.loads((scan.folder / "manifest.json").read_text())
    contents = {
        path.relative_to(scan.folder).as_posix(): path.read_bytes()
        for path in scan.folder.rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }
    assert manifest["files"] == {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        for name, content in contents.items()
    }
    reports = {"reports/workbook.xlsx", "reports/findings.csv", "reports/credentials.csv", "reports/accounts.csv"}
    assert {"run.json", "ledger.jsonl", "evidence/organization.json"} | reports <= contents.keys()


def test_each_manifest_has_the_hash_of_the_one_before(incomplete, complete, rotated):
    previous = None
    for each in (incomplete, complete, rotated):
        manifest = json.loads((each.folder / "manifest.json").read_text())
        assert manifest["previous"] == previous
        content = (each.folder / "manifest.json").read_bytes()
        previous = {"run_id": each.folder.name, "sha256": hashlib.sha256(content).hexdigest()}


def test_only_the_owner_may_read_and_nothing_is_written_elsewhere(scan):
    home, runs = scan.run.home, scan.folder.parent
    for path in [runs, *runs.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    elsewhere = {path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()}
    elsewhere = {name for name in elsewhere if not name.startswith("work/runs")}
    assert elsewhere == {"work/config.toml"}
    assert not [path for path in runs.rglob("*") if path.name.endswith((".partial", ".tmp"))]


def test_no_secret_is_in_any_file_or_output(scan):
    secrets = {CALLER["AWS_SECRET_ACCESS_KEY"]}
    for account in scan.accounts:
        for key in iam_backends[account.account_id]["aws"].access_keys.values():
            secrets.add(key.secret_access_key)
        for session in sts_backends[account.account_id]["aws"].assumed_roles:
            secrets |= {session.secret_access_key, session.session_token}
    assert len(secrets) > 100
    texts = [path.read_text() for path in scan.folder.rglob("*") if path.suffix in (".json", ".jsonl", ".csv")]
    with ZipFile(scan.folder / "reports" / "workbook.xlsx") as workbook:
        texts += [workbook.read(name).decode() for name in workbook.namelist()]
    text = "\n".join([*texts, scan.run.stdout, scan.run.stderr])
    assert "access-key-not-rotated" in text
    assert [secret for secret in secrets if secret in text] == []


# What was asked of AWS


def test_only_declared_actions_are_called_and_only_where_they_must_be(scan):
    called = Counter((request.action, request.account_id) for request in scan.run.requests)
    in_management = {(action, CALLER_ACCOUNT) for action in CALLER_ACTIONS - {"AssumeRole"}}
    if any(account.outcome == "access_denied" for account in scan.accounts):
        in_management.add(("DescribeAccount", CALLER_ACCOUNT))  # whether it was suspended meanwhile
    entered = {("AssumeRole", account.account_id) for account in scan.accounts if not account.is_closed}
    read = {
        (action, account.account_id)
        for account in scan.scanned
        for action in ("GenerateCredentialReport", "GetCredentialReport", "GetAccountSummary")
    }
    looked_up = {("ListAccessKeys", row.account.account_id) for row in scan.findings}
    assert set(called) == in_management | entered | read | looked_up
    assert all(called[each] == 1 for each in entered | read)
    users = Counter(
        (request.account_id, request.parameters["UserName"])
        for request in scan.run.requests
        if request.action == "ListAccessKeys"
    )
    assert users == Counter({(row.account.account_id, row.user.name) for row in scan.findings})


def test_all_pages_are_asked_for(scan):
    pages = [request.parameters.get("NextToken") for request in scan.run.requests if request.action == "ListAccounts"]
    assert len(pages) == len(set(pages)) == 3
    pages = Counter(
        request.parameters["ParentId"] for request in scan.run.requests if request.action == "ListAccountsForParent"
    )
    assert sorted(pages.values()) == [1] * 7 + [2]  # the root and seven OUs, one of them with 21 accounts


def test_every_role_session_is_scoped_down_to_the_read_actions(scan):
    entered = [request for request in scan.run.requests if request.action == "AssumeRole"]
    assert len(entered) == 40
    for request in entered:
        parameters = request.parameters
        assert parameters["RoleArn"] == f"arn:aws:iam::{request.account_id}:role/CredentialAudit"
        assert parameters["RoleSessionName"] == f"credaudit-{scan.folder.name}"
        assert "ExternalId" not in parameters
        (statement,) = json.loads(parameters["Policy"])["Statement"]
        assert {*statement.pop("Action")} == {f"iam:{action}" for action in MEMBER_ACTIONS}
        assert statement == {"Effect": "Allow", "Resource": "*"}


# moto's own date of the reports


def test_report_of_2015_is_refused_and_the_run_incomplete(aws, rotated, credaudit):
    chosen = [account for account in rotated.accounts if account.name in ("Boundary", "Pairs", "Closed")]
    config = f"""
    [organization]
    include_accounts = {[account.account_id for account in chosen]}
    [scan]
    account_timeout_seconds = 3
    [scan.rates]
    list_accounts = 100
    organizations = 100
    [checks]
    only = ["access-key-not-rotated"]
    """
    aws.dates_reports_now = False
    try:
        run = credaudit(config, "scan", "--as-of", "2025-06-30T12:00:00Z", "--runs-dir", "runs-stale")
    finally:
        aws.dates_reports_now = True
    assert run.code == 4
    assert {generated.year for _, generated in run.served.values()} == {2015}
    scan = Scan(run, rotated.accounts)
    outcomes = {row["account_id"]: row["outcome"] for row in scan.csv("accounts.csv")}
    assert outcomes == {
        account.account_id: "not_active" if account.is_closed else "report_timeout" if account in chosen else "excluded"
        for account in rotated.accounts
    }
    reasons = {row["reason"] for row in scan.csv("accounts.csv") if row["outcome"] == "report_timeout"}
    assert reasons == {"no current credential report within 3 s"}
    assert scan.csv("credentials.csv") == scan.csv("findings.csv") == []
    values = {label: value for _, label, value, _ in totals(scan) if value}
    assert values == {
        "Listed by AWS Organizations": 41,
        "not active": 1,
        "excluded by configuration": 38,
        "report not ready in time": 2,
        "Sum of the outcomes": 41,
        "Oldest failing key, age in days": "none",
    }
    assert not list((scan.folder / "evidence").glob("*.csv"))
