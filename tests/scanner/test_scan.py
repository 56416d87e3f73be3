"""The whole scan against the simulator, over the wire, in this process."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from scanner.actions import CALLER_ACTIONS, MEMBER_ACTIONS
from scanner.credential_report import FIRST_WAIT_SECONDS
from scanner.models import Account, Outcome
from scanner.simulator import (
    Behaviour,
    FaultKind,
    Faults,
    SimulatedAccount,
    SimulatedOrganization,
    Simulator,
    benchmark_organization,
    demo_organization,
)

from .scanning import FAST_LISTING, NOW, outcomes, scanner_in


def small(count: int = 4, **changes: Any) -> SimulatedOrganization:
    return replace(benchmark_organization(count, 3, NOW, failing_share=0.5), **changes)


def with_account(organization: SimulatedOrganization, position: int, **changes: Any) -> SimulatedOrganization:
    accounts = list(organization.accounts)
    accounts[position] = replace(accounts[position], **changes)
    return replace(organization, accounts=tuple(accounts))


def test_500_accounts_at_once_with_faults_never_sign_with_another_accounts_key(scanned: Any) -> None:
    # Without tokens that expire, no answer is a 403 but for a wrong signature.
    kinds = tuple(kind for kind in FaultKind if kind is not FaultKind.EXPIRED_TOKEN)
    bounds = {"seed": 7, "max_faults_per_account": 4, "kinds": kinds}
    faults = Faults(latency_seconds=0.05, report_delay_seconds=0.3, fault_rate=0.2, **bounds)
    simulator = Simulator(benchmark_organization(500, 2, NOW), faults)

    # 500 accounts compete for 16 slots: a request waits between being given its credentials and being signed.
    rates = FAST_LISTING | {"sts": 5000, "iam": 5000}
    folder, assessment = scanned(simulator, scan={"rates": rates, "concurrency": 16})

    assert set(outcomes(assessment).values()) == {"scanned"}
    ledger = folder.read_ledger()
    sent: Counter[str] = Counter()
    keys: dict[str, set[str]] = {}
    for request in simulator.requests:
        if request.service == "iam":
            sent[request.account_id] += 1
            keys.setdefault(request.account_id, set()).add(request.access_key_id)
            assert request.status != 403, request
        elif request.action == "AssumeRole":
            sent[request.parameters["RoleArn"].split(":")[4]] += 1
    # Had one request of A been signed by B, B's count would be one too many and A's one too few.
    assert {account_id: entry.attempts for account_id, entry in ledger.items()} == dict(sent)
    assert sum(entry.attempts for entry in ledger.values()) > 3.3 * 500, "the faults must have caused retries"
    assert len(set.union(*keys.values())) >= 500
    assert all(not (mine & theirs) for a, mine in keys.items() for b, theirs in keys.items() if a < b)
    for account in simulator.organization.accounts:
        rows = folder.read_report(account.account_id).decode().splitlines()[1:]
        assert len(rows) == 3
        assert all(f"::{account.account_id}:" in row for row in rows)


def test_a_scan_calls_only_the_declared_actions_and_the_session_policy_lists_those_of_iam(scanned: Any) -> None:
    simulator = Simulator(demo_organization(NOW))

    scanned(simulator)

    called = {f"{request.service}:{request.action}" for request in simulator.requests}
    assert called == {*CALLER_ACTIONS, *MEMBER_ACTIONS}
    policies = {r.parameters["Policy"] for r in simulator.requests if r.action == "AssumeRole"}
    (policy,) = [json.loads(text) for text in policies]
    assert policy["Statement"] == [{"Effect": "Allow", "Action": list(MEMBER_ACTIONS), "Resource": "*"}]
    assert all(action.split(":")[1].startswith(("Get", "List", "Generate")) for action in MEMBER_ACTIONS)


def test_every_role_session_carries_the_run_id_and_the_external_id(scanned: Any) -> None:
    simulator = Simulator(small(external_id="an-external-id"))

    folder, assessment = scanned(simulator, access={"external_id": "an-external-id", "session_duration_seconds": 900})

    assumed = [request.parameters for request in simulator.requests if request.action == "AssumeRole"]
    assert {p["RoleSessionName"] for p in assumed} == {f"credaudit-{folder.path.name}"}
    assert {p["DurationSeconds"] for p in assumed} == {"900"}
    assert {p["ExternalId"] for p in assumed} == {"an-external-id"}
    assert "an-external-id" not in (folder.path / "run.json").read_text()
    assert assessment.run.external_id_used


def test_the_callers_own_and_the_management_account_are_scanned_too(scanned: Any) -> None:
    organization = small()
    folder, assessment = scanned(Simulator(organization))

    assert set(outcomes(assessment).values()) == {"scanned"}
    entries = folder.read_ledger()
    assert entries[organization.caller_account_id].credentials == "caller"
    assert entries[organization.management_account_id].credentials == "role"
    assert assessment.run.is_complete


@pytest.mark.parametrize(
    ("changes", "outcome", "reason"),
    [
        ({"behaviour": Behaviour.ASSUME_DENIED}, Outcome.ACCESS_DENIED, "sts:AssumeRole: AccessDenied"),
        ({"behaviour": Behaviour.REPORT_DENIED}, Outcome.REPORT_DENIED, "iam:GenerateCredentialReport: AccessDenied"),
        (
            {"behaviour": Behaviour.REPORT_DENIED_BY_SCP},
            Outcome.REPORT_DENIED,
            "refused by a service control policy: iam:GenerateCredentialReport",
        ),
        (
            {"behaviour": Behaviour.REPORT_NEVER_READY},
            Outcome.REPORT_TIMEOUT,
            "no current credential report within 4 s",
        ),
        ({"report": b""}, Outcome.REPORT_MALFORMED, "the credential report is empty"),
        ({"report": b"<html><body>Sign in</body></html>"}, Outcome.REPORT_MALFORMED, "HTML or XML"),
        ({"report": b"user,arn\n"}, Outcome.REPORT_MALFORMED, "has no column access_key_1_active"),
        ({"report": b"user,arn\xff\n"}, Outcome.REPORT_MALFORMED, "not UTF-8"),
        ({"state": "SUSPENDED"}, Outcome.NOT_ACTIVE, "the account's state is SUSPENDED"),
        ({"state": "PENDING_CLOSURE"}, Outcome.NOT_ACTIVE, "the account's state is PENDING_CLOSURE"),
    ],
    ids=lambda value: value.name if isinstance(value, Outcome) else None,
)
def test_an_account_that_cannot_be_read_has_its_own_outcome_and_harms_no_other(
    scanned: Any, changes: dict[str, Any], outcome: Outcome, reason: str
) -> None:
    organization = with_account(small(), 2, **changes)
    account_id = organization.accounts[2].account_id

    folder, assessment = scanned(Simulator(organization), scan={"rates": FAST_LISTING, "account_timeout_seconds": 4})

    entry = folder.read_ledger()[account_id]
    assert entry.outcome is outcome
    assert reason in entry.reason
    assert assessment.run.is_complete is not outcome.is_gap
    assert [o for i, o in outcomes(assessment).items() if i != account_id] == ["scanned"] * 3
    assert account_id not in set(assessment.credentials["account_id"])
    if "report" in changes:
        assert folder.read_report(account_id) == changes["report"], "what AWS sent is kept, also when it is nonsense"


def test_keys_that_cannot_be_looked_up_leave_the_finding_and_say_so(scanned: Any) -> None:
    organization = with_account(small(), 2, behaviour=Behaviour.KEYS_DENIED)

    _, assessment = scanned(Simulator(organization))

    findings = assessment.findings[assessment.findings["credential"].astype(str).str.startswith("access_key")]
    denied = findings[findings["account_id"].eq(organization.accounts[2].account_id)]
    assert len(denied) > 0
    assert denied["key_id"].isna().all()
    assert denied["reason"].str.contains("key id not known: iam:ListAccessKeys: AccessDenied", regex=False).all()
    assert findings[~findings.index.isin(denied.index)]["key_id"].notna().all()
    assert assessment.run.is_complete


def test_state_falls_back_to_status(scanned: Any) -> None:
    organization = with_account(small(lists_state=False), 3, state="SUSPENDED")

    _, assessment = scanned(Simulator(organization))

    assert list(outcomes(assessment).values()) == ["scanned", "scanned", "scanned", "not_active"]


def test_an_organization_that_the_caller_may_not_list_is_listed_through_the_hop_role(scanned: Any) -> None:
    organization = small(caller_may_list=False)
    reader = f"arn:aws:iam::{organization.management_account_id}:role/OrganizationReader"

    simulator = Simulator(organization)
    _, assessment = scanned(simulator, organization={"role_arn": reader})

    assert set(outcomes(assessment).values()) == {"scanned"}
    assert assessment.run.organization_role_arn == reader
    hop = next(r.parameters for r in simulator.requests if r.parameters.get("RoleArn") == reader)
    allowed = json.loads(hop["Policy"])["Statement"][0]["Action"]
    assert allowed == [action for action in CALLER_ACTIONS if action.startswith("organizations:")]


def test_the_session_of_the_hop_role_is_replaced_when_it_ends(scanned: Any) -> None:
    organization = small(160, caller_may_list=False)
    reader = f"arn:aws:iam::{organization.management_account_id}:role/OrganizationReader"
    simulator = Simulator(organization, Faults(session_seconds=1.0))

    _, assessment = scanned(
        simulator, organization={"role_arn": reader}, scan={"rates": FAST_LISTING | {"list_accounts": 3}}
    )

    assert set(outcomes(assessment).values()) == {"scanned"}
    hops = [r for r in simulator.requests if r.parameters.get("RoleArn") == reader]
    assert len(hops) >= 2
    assert assessment.run.is_complete


@pytest.mark.parametrize("partition", ["aws", "aws-us-gov", "aws-cn"])
def test_the_partition_of_the_roles_is_the_callers(scanned: Any, partition: str) -> None:
    simulator = Simulator(small(partition=partition))

    _, assessment = scanned(simulator)

    assert assessment.run.caller.partition == partition
    assert set(outcomes(assessment).values()) == {"scanned"}
    assumed = [r.parameters["RoleArn"] for r in simulator.requests if r.action == "AssumeRole"]
    assert all(arn.startswith(f"arn:{partition}:iam::") for arn in assumed)


def test_scope_by_account_and_ou_excludes_and_says_by_which_rule(scanned: Any) -> None:
    organization = demo_organization(NOW)
    sandbox = [a for a in organization.accounts if a.ou_path[:1] == ("Sandbox",)]
    one = next(a for a in organization.accounts if a.ou_path[:1] == ("Prod",))
    assert sandbox

    _, assessment = scanned(
        Simulator(organization),
        organization={"exclude_ous": ["Root/Sandbox"], "exclude_accounts": [one.account_id]},
    )

    excluded = assessment.accounts[assessment.accounts["outcome"].eq("excluded")]
    active = {a.account_id for a in sandbox if a.state == "ACTIVE"}
    assert set(excluded["account_id"]) == active | {one.account_id}
    assert set(excluded["reason"]) == {
        "excluded by configuration: exclude_ous: Root/Sandbox",
        "excluded by configuration: exclude_accounts",
    }
    counts = assessment.run.counts or {}
    assert counts["listed"] == len(organization.accounts) == sum(counts[o] for o in Outcome)


def test_at_most_four_requests_an_account_when_reports_take_two_seconds(scanned: Any) -> None:
    simulator = Simulator(benchmark_organization(60, 2, NOW), Faults(latency_seconds=0.05, report_delay_seconds=2.0))

    folder, _ = scanned(simulator, first_wait=FIRST_WAIT_SECONDS)

    attempts = [entry.attempts for entry in folder.read_ledger().values()]
    assert sum(attempts) <= 4.1 * 60, "role, generate, get, and the summary beside it"


def test_a_report_older_than_the_limit_is_not_accepted(scanned: Any) -> None:
    # The simulator's clock is two days behind: what it calls fresh was generated two days ago.
    simulator = Simulator(small(), clock=lambda: datetime.now(UTC) - timedelta(days=2))

    _, assessment = scanned(
        simulator, scan={"rates": FAST_LISTING, "account_timeout_seconds": 3, "report_max_age_hours": 24}
    )

    assert set(outcomes(assessment).values()) == {"report_timeout"}
    assert assessment.credentials.empty


def test_the_run_folder_holds_the_bytes_as_sent_and_ids_that_cloudtrail_would_know(scanned: Any) -> None:
    simulator = Simulator(small())
    folder, assessment = scanned(simulator)

    for account_id, entry in folder.read_ledger().items():
        content = folder.read_report(account_id)
        assert hashlib.sha256(content).hexdigest() == entry.report_sha256
        assert len(content) == entry.report_bytes
        assert len(entry.request_ids) == entry.attempts
    assert isinstance(simulator.organization.accounts[0], SimulatedAccount)
    assert sorted(outcomes(assessment)) == sorted(a.account_id for a in simulator.organization.accounts)


def test_a_report_that_expires_before_it_is_fetched_is_generated_anew(scanned: Any) -> None:
    # Five hours pass between the first GenerateCredentialReport of each account and the question for the report.
    behind = timedelta(hours=5)

    def clock() -> datetime:
        return datetime.now(UTC) - behind

    simulator = Simulator(small(2), clock=clock)

    def jump() -> None:
        nonlocal behind
        deadline = time.monotonic() + 30
        while simulator.counts["iam", "GenerateCredentialReport"] < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        behind = timedelta()

    jumping = threading.Thread(target=jump)
    jumping.start()
    _, assessment = scanned(simulator, first_wait=1.0, access={"session_duration_seconds": 43_200})
    jumping.join()

    assert set(outcomes(assessment).values()) == {"scanned"}
    answers = Counter((r.action, r.status) for r in simulator.requests if r.service == "iam")
    assert answers["GetCredentialReport", 410] == 2
    assert answers["GenerateCredentialReport", 200] == 4
    assert answers["GetCredentialReport", 200] == 2


def test_an_account_does_not_time_out_while_it_waits_for_its_turn(scanned: Any) -> None:
    # 30 accounts need 60 requests to IAM: 6 s at ten a second, and no account may take more than 4.
    _, assessment = scanned(
        Simulator(small(30)), scan={"rates": FAST_LISTING | {"iam": 10}, "account_timeout_seconds": 4}
    )

    assert set(outcomes(assessment).values()) == {"scanned"}


def test_a_report_from_the_future_is_not_believed(scanned: Any) -> None:
    simulator = Simulator(small(2), clock=lambda: datetime.now(UTC) + timedelta(hours=1))

    _, assessment = scanned(simulator)

    assert set(outcomes(assessment).values()) == {"report_malformed"}
    assert assessment.accounts["reason"].str.contains("generated in the future").all()


def test_collecting_begins_with_the_first_page_of_accounts(scanned: Any) -> None:
    simulator = Simulator(small(100))

    _, assessment = scanned(simulator, scan={"rates": FAST_LISTING | {"list_accounts": 2}})

    assert list(outcomes(assessment).values()) == ["scanned"] * 100
    actions = [request.action for request in simulator.requests]
    last_page = len(actions) - actions[::-1].index("ListAccounts") - 1
    assert actions.index("AssumeRole") < actions.index("GetCredentialReport") < last_page


@pytest.mark.parametrize("sends_paths", [True, False])
def test_where_aws_sends_paths_only_ous_are_walked(scanned: Any, sends_paths: bool) -> None:
    organization = replace(demo_organization(NOW), sends_paths=sends_paths)
    simulator = Simulator(organization)

    _, assessment = scanned(simulator)

    paths = dict(zip(assessment.accounts["account_id"], assessment.accounts["ou_path"], strict=True))
    assert paths == {a.account_id: "/".join(("Root", *a.ou_path)) for a in organization.accounts}
    assert (simulator.counts["organizations", "ListAccountsForParent"] == 0) is sends_paths


@pytest.mark.parametrize("sends_paths", [True, False])
def test_a_scope_of_ous_waits_for_the_tree_and_asks_nothing_of_the_others(scanned: Any, sends_paths: bool) -> None:
    organization = replace(demo_organization(NOW), sends_paths=sends_paths)
    simulator = Simulator(organization)

    _, assessment = scanned(simulator, organization={"include_ous": ["Root/Prod"]})

    inside = {a.account_id for a in organization.accounts if a.ou_path[:1] == ("Prod",) and a.state == "ACTIVE"}
    entered = {r.parameters["RoleArn"].split(":")[4] for r in simulator.requests if r.action == "AssumeRole"}
    assert entered == inside
    assert (assessment.run.counts or {})["excluded"] > 0


def test_an_answer_about_another_account_than_was_asked_hides_no_gap(tmp_path: Path, monkeypatch: Any) -> None:
    organization = with_account(small(), 2, behaviour=Behaviour.ASSUME_DENIED)

    async def of_another(aws: Any, record: Any, account_id: str) -> Account:
        return Account(account_id=organization.accounts[0].account_id, name="", email="", state="SUSPENDED")

    monkeypatch.setattr("scanner.scan.describe_account", of_another)
    _, assessment = scanner_in(tmp_path, monkeypatch)(Simulator(organization))

    assert list(outcomes(assessment).values()) == ["scanned", "scanned", "access_denied", "scanned"]


def test_accounts_that_are_not_read_are_asked_nothing_and_stand_in_the_ledger(scanned: Any) -> None:
    organization = demo_organization(NOW)
    one = next(a for a in organization.accounts if a.ou_path[:1] == ("Prod",))
    simulator = Simulator(organization)

    folder, _ = scanned(simulator, organization={"exclude_accounts": [one.account_id]})

    ledger = folder.read_ledger()
    silent = {a.account_id for a in organization.accounts if a.state != "ACTIVE"} | {one.account_id}
    assert {i for i, e in ledger.items() if e.outcome in (Outcome.NOT_ACTIVE, Outcome.EXCLUDED)} == silent
    entered = {r.parameters["RoleArn"].split(":")[4] for r in simulator.requests if r.action == "AssumeRole"}
    assert not entered & silent
