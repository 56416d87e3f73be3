"""The quotas and the clock of the simulated AWS, and accounts that it suspends."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from botocore.auth import SigV4Auth

from scanner.simulator import DOCUMENTED_QUOTAS, FaultKind, Faults, Simulator

from .simulation import (
    CALLER,
    IDENTITY,
    MANAGEMENT,
    MEMBER,
    NOW,
    Clock,
    member,
    organization,
    outcome,
    outcomes,
    post,
    refused,
    serve,
    troubled,
)

# Quotas


def test_calls_beyond_a_quota_are_throttled_until_tokens_have_grown_back() -> None:
    clock = Clock()
    with serve(organization(), Faults(quotas={"organizations:ListAccounts": (2, 3)}), clock=clock) as api:
        client = api.client("organizations")
        burst = [outcome(client.list_accounts) for _ in range(4)]
        clock.now += timedelta(seconds=0.9)
        later = [outcome(client.list_accounts) for _ in range(2)]
        clock.now += timedelta(hours=1)
        at_rest = [outcome(client.list_accounts) for _ in range(4)]
        assert api.simulator.throttled == 3
        assert outcome(client.describe_organization) == "ok"
    assert burst == ["ok", "ok", "ok", "TooManyRequestsException"]
    assert later == ["ok", "TooManyRequestsException"]
    assert at_rest == ["ok", "ok", "ok", "TooManyRequestsException"]


def test_actions_may_share_a_quota() -> None:
    quotas = {"sts:AssumeRole+GetCallerIdentity": (1.0, 2)}
    with serve(organization(member()), Faults(quotas=quotas), clock=Clock()) as api:
        results = [outcome(api.assume), *outcomes(api, 2), outcome(api.assume)]
    assert results == ["ok", "ok", "Throttling", "Throttling"]


def test_iam_has_a_quota_for_each_account() -> None:
    quotas = {"iam:GenerateCredentialReport": (1.0, 1)}
    with serve(organization(member()), Faults(quotas=quotas), clock=Clock()) as api:
        results = [outcome(api.iam(account).generate_credential_report) for account in (MEMBER, MEMBER, MANAGEMENT)]
    assert results == ["ok", "Throttling", "ok"]


def test_a_throttled_call_is_neither_carried_out_nor_a_fault() -> None:
    clock = Clock()
    faults = {"quotas": {"iam:GenerateCredentialReport": (1.0, 1)}, "max_faults_per_account": 2, "clock": clock}
    with troubled(FaultKind.SERVER_ERROR, **faults) as api:
        iam = api.client("iam")
        results = [outcome(iam.generate_credential_report) for _ in range(3)]
        clock.now += timedelta(seconds=1)
        results.append(outcome(iam.generate_credential_report))
        with refused("ReportNotPresent", 410):
            iam.get_credential_report()
        assert api.simulator.fault_counts == {FaultKind.SERVER_ERROR: 2}
        assert api.simulator.throttled == 2
    assert results == ["ServiceFailure", "Throttling", "Throttling", "ServiceFailure"]


def test_the_documented_quotas_are_those_of_actions_that_there_are() -> None:
    with serve(organization(), Faults(quotas=DOCUMENTED_QUOTAS), clock=Clock()) as api:
        client = api.client("organizations")
        parent = {"ParentId": client.list_roots()["Roots"][0]["Id"]}
        allowed = {
            "ListAccounts": tokens(client.list_accounts),
            "DescribeAccount": tokens(client.describe_account, AccountId=CALLER),
            "DescribeOrganization": tokens(client.describe_organization),
            "ListAccountsForParent": tokens(client.list_accounts_for_parent, **parent),
            "ListOrganizationalUnitsForParent": tokens(client.list_organizational_units_for_parent, **parent),
            "ListRoots": tokens(client.list_roots),
        }
    assert allowed == {
        "ListAccounts": 12,
        "DescribeAccount": 30,
        "DescribeOrganization": 2,
        "ListAccountsForParent": 8,
        "ListOrganizationalUnitsForParent": 0,
        "ListRoots": 1,
    }


def tokens(call: Any, **parameters: str) -> int:
    return [outcome(lambda: call(**parameters)) for _ in range(31)].count("ok")


def test_a_quota_is_named_after_a_service_and_its_actions() -> None:
    with pytest.raises(ValueError, match="SERVICE:ACTION"):
        Simulator(organization(), Faults(quotas={"ListAccounts": (8, 12)}))


# The clock


@pytest.mark.parametrize("skew", [290, -290])
def test_a_clock_that_is_a_little_wrong_does_no_harm(skew: int) -> None:
    with serve(organization(), Faults(clock_skew_seconds=skew)) as api:
        assert outcomes(api, 1) == ["ok"]


@pytest.mark.parametrize(
    ("skew", "text"),
    [
        (600, r"Signature expired: (\d{8}T\d{6}Z) is now earlier than (\d{8}T\d{6}Z) \((\d{8}T\d{6}Z) - 5 min\.\)"),
        (
            -600,
            r"Signature not yet current: (\d{8}T\d{6}Z) is still later than (\d{8}T\d{6}Z)"
            r" \((\d{8}T\d{6}Z) \+ 5 min\.\)",
        ),
    ],
)
def test_a_signature_is_good_for_five_minutes_of_awss_clock(skew: int, text: str) -> None:
    with serve(organization(), Faults(clock_skew_seconds=skew)) as api:
        with refused("SignatureDoesNotMatch", 403, "Signature "):
            api.client("sts").get_caller_identity()
        with refused("InvalidSignatureException", 400, "Signature "):
            api.client("organizations").list_accounts()
        answer = post(api, "sts", IDENTITY)
        match = re.search(text, answer.body.decode())
    assert match is not None
    signed, bound, now = (datetime.strptime(moment, "%Y%m%dT%H%M%S%z") for moment in match.groups())
    assert abs(now - bound) == timedelta(minutes=5)
    assert abs((now - signed).total_seconds() - skew) < 60
    assert abs(parsedate_to_datetime(answer.headers["Date"]) - now) <= timedelta(seconds=1)


def signing_at(moment: str) -> type[SigV4Auth]:
    class WrongClock(SigV4Auth):  # type: ignore[misc, unused-ignore]
        def _modify_request_before_signing(self, request: Any) -> None:
            request.context["timestamp"] = moment
            super()._modify_request_before_signing(request)

    return WrongClock


@pytest.mark.parametrize(("seconds", "code"), [(-310, 403), (-290, 200), (290, 200), (310, 403)])
def test_the_age_of_a_signature_does_not_follow_the_clock_of_reports(seconds: int, code: int) -> None:
    moment = datetime.now(UTC) + timedelta(seconds=seconds)
    with serve(organization(), clock=Clock()) as api:
        assert post(api, "sts", IDENTITY, auth=signing_at(moment.strftime("%Y%m%dT%H%M%SZ"))).status == code


@pytest.mark.parametrize("ending", ["", "T060000", "T996000Z"])
def test_a_signature_needs_a_whole_date(ending: str) -> None:
    with serve(organization()) as api:
        answer = post(api, "sts", IDENTITY, auth=signing_at(f"{datetime.now(UTC):%Y%m%d}{ending}"))
    assert b"<Code>SignatureDoesNotMatch</Code>" in answer.body


def test_reports_and_sessions_follow_awss_clock() -> None:
    with serve(organization(member()), Faults(clock_skew_seconds=-120), clock=Clock()) as api:
        answer = api.client("sts").assume_role(
            RoleArn=f"arn:aws:iam::{MEMBER}:role/CredentialAudit", RoleSessionName="test", DurationSeconds=900
        )
        iam = api.client("iam")
        iam.generate_credential_report()
        generated = iam.get_credential_report()["GeneratedTime"]
    assert answer["Credentials"]["Expiration"] == NOW + timedelta(seconds=900 - 120)
    assert generated == NOW - timedelta(seconds=120)


# Accounts that are suspended in mid-run


def test_an_account_may_be_suspended_after_some_calls() -> None:
    with serve(organization(member(suspended_after_calls=3))) as api:
        client = api.client("organizations")
        iam = api.iam()
        iam.generate_credential_report()
        assert state(client) == ("ACTIVE", "ACTIVE", "ACTIVE")
        iam.get_credential_report()
        for call in (iam.get_credential_report, iam.generate_credential_report, api.assume):
            with refused("AccessDenied", 403):
                call()
        with refused("AccessDenied", 403, "iam:ListAccessKeys"):
            iam.list_access_keys(UserName="alice")
        assert state(client) == ("SUSPENDED", "SUSPENDED", "SUSPENDED")
        api.iam(MANAGEMENT).generate_credential_report()


def state(client: Any) -> tuple[str, str, str]:
    listed = client.list_accounts()["Accounts"][-1]
    return listed["State"], listed["Status"], client.describe_account(AccountId=MEMBER)["Account"]["State"]


def test_only_calls_that_were_carried_out_suspend_an_account() -> None:
    kinds = (FaultKind.THROTTLING, FaultKind.RESET_BEFORE)
    simulated = organization(member(suspended_after_calls=2))
    with troubled(*kinds, simulated=simulated, max_faults_per_account=4) as api:
        results = [outcome(api.assume) == "ok" for _ in range(7)]
    assert results == [False] * 4 + [True] * 2 + [False]
