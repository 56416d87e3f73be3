"""What goes wrong on purpose at single calls to the simulated AWS."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections import Counter
from datetime import UTC, datetime, timedelta
from http.client import RemoteDisconnected

import pytest

from scanner.simulator import FaultKind, Faults, render_report

from .simulation import (
    CALLER,
    IDENTITY,
    LISTING,
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

# Which calls


def test_faults_are_of_every_kind_and_repeatable() -> None:
    faults = Faults(fault_rate=0.5, seed=1, slow_seconds=0.0)
    runs, counts = [], []
    for _ in range(2):
        with serve(organization(), faults) as api:
            runs.append(outcomes(api, 60))
            counts.append(api.simulator.fault_counts)
    assert runs[0] == runs[1]
    assert counts[0] == counts[1]
    assert set(runs[0]) == {"ok", "Throttling", "ServiceFailure", "ServiceUnavailable", "reset", "cut"}
    assert 15 < runs[0].count("ok") < 45
    assert set(counts[0]) == {
        FaultKind.THROTTLING,
        FaultKind.SERVER_ERROR,
        FaultKind.UNAVAILABLE,
        FaultKind.RESET_BEFORE,
        FaultKind.RESET_AFTER,
        FaultKind.TRUNCATED_BODY,
        FaultKind.CUT_DOCUMENT,
        FaultKind.SLOW,
    }


def test_another_seed_has_other_fates() -> None:
    runs = []
    for seed in (1, 2):
        with serve(organization(), Faults(fault_rate=0.5, seed=seed, slow_seconds=0.0)) as api:
            runs.append(outcomes(api, 30))
    assert runs[0] != runs[1]


def test_the_fates_of_an_account_do_not_depend_on_the_calls_about_another() -> None:
    faults = Faults(fault_rate=0.5, seed=3, slow_seconds=0.0)
    fates: list[dict[str, list[str]]] = []
    for order in ([CALLER, MANAGEMENT] * 20, [MANAGEMENT] * 20 + [CALLER] * 20):
        with serve(organization(), faults) as api:
            fate: dict[str, list[str]] = {CALLER: [], MANAGEMENT: []}
            client = api.client("organizations")
            for account_id in order:
                fate[account_id].append(outcome(lambda: client.describe_account(AccountId=account_id)))  # noqa: B023
            fates.append(fate)
    assert fates[0] == fates[1]
    assert fates[0][CALLER] != fates[0][MANAGEMENT]


def test_faults_of_an_account_are_bounded() -> None:
    kinds = (FaultKind.THROTTLING, FaultKind.SERVER_ERROR, FaultKind.RESET_AFTER)
    with troubled(*kinds, max_faults_per_account=3) as api:
        results = outcomes(api, 6)
        assert api.simulator.fault_counts.total() == 3
        assert outcome(api.assume) != "ok", "each account has a bound of its own"
    assert [result == "ok" for result in results] == [False] * 3 + [True] * 3


def test_only_the_kinds_asked_for_are_drawn() -> None:
    with troubled(FaultKind.UNAVAILABLE) as api:
        assert set(outcomes(api, 10)) == {"ServiceUnavailable"}
        assert api.simulator.fault_counts == {FaultKind.UNAVAILABLE: 10}


@pytest.mark.parametrize(
    "kind",
    [
        FaultKind.LIMIT_EXCEEDED,
        FaultKind.EXPIRED_TOKEN,
        FaultKind.STUCK_REPORT,
        FaultKind.MALFORMED_REPORT,
        FaultKind.EXPIRED_REPORT,
    ],
)
def test_a_kind_befalls_only_calls_that_it_applies_to(kind: FaultKind) -> None:
    with troubled(kind) as api:
        assert set(outcomes(api, 5)) == {"ok"}
        assert outcome(api.client("organizations").list_accounts) == "ok"
        assert not api.simulator.fault_counts


# Answers that are errors


@pytest.mark.parametrize(
    ("kind", "code", "status"),
    [
        (FaultKind.THROTTLING, "Throttling", 400),
        (FaultKind.LIMIT_EXCEEDED, "LimitExceeded", 409),
        (FaultKind.SERVER_ERROR, "ServiceFailure", 500),
        (FaultKind.UNAVAILABLE, "ServiceUnavailable", 503),
    ],
)
def test_a_call_that_is_answered_with_an_error_was_not_carried_out(kind: FaultKind, code: str, status: int) -> None:
    with troubled(kind, max_faults_per_account=1) as api:
        iam = api.client("iam")
        with refused(code, status):
            iam.generate_credential_report()
        with refused("ReportNotPresent", 410):
            iam.get_credential_report()
        assert iam.generate_credential_report()["State"] == "STARTED"


def test_organizations_throttles_in_its_own_words() -> None:
    kinds = (FaultKind.THROTTLING, FaultKind.SERVER_ERROR, FaultKind.UNAVAILABLE, FaultKind.RESET_AFTER)
    with troubled(*kinds) as api:
        codes = Counter(outcome(api.client("organizations").list_accounts) for _ in range(30))
    assert set(codes) == {"TooManyRequestsException", "ServiceException", "ServiceUnavailableException", "reset"}


def test_generating_a_report_may_hit_a_limit() -> None:
    with serve(organization(), Faults(fault_rate=1.0, slow_seconds=0.0)) as api:
        codes = {outcome(api.client("iam").generate_credential_report) for _ in range(60)}
    assert "LimitExceeded" in codes


# Answers that do not arrive


@pytest.mark.parametrize(
    ("kind", "is_carried_out"),
    [
        (FaultKind.RESET_BEFORE, False),
        (FaultKind.RESET_AFTER, True),
        (FaultKind.TRUNCATED_BODY, True),
        (FaultKind.CUT_DOCUMENT, True),
        (FaultKind.SLOW, True),
    ],
)
def test_an_action_may_be_carried_out_although_its_answer_is_lost(kind: FaultKind, is_carried_out: bool) -> None:
    with troubled(kind, max_faults_per_account=1) as api:
        iam = api.client("iam")
        assert (outcome(iam.generate_credential_report) == "ok") is (kind is FaultKind.SLOW)
        assert iam.generate_credential_report()["State"] == ("COMPLETE" if is_carried_out else "STARTED")


def test_a_connection_is_reset_or_ends_without_an_answer() -> None:
    with troubled(FaultKind.RESET_BEFORE) as api, pytest.raises(ConnectionResetError) as caught:
        post(api, "sts", IDENTITY)
    assert not isinstance(caught.value, RemoteDisconnected)
    with troubled(FaultKind.RESET_AFTER) as api, pytest.raises(RemoteDisconnected):
        post(api, "sts", IDENTITY)
    assert [entry.status for entry in api.simulator.requests] == [0]


def test_a_body_may_end_before_its_length() -> None:
    with troubled(FaultKind.TRUNCATED_BODY) as api:
        status, headers, body = post(api, "sts", IDENTITY)
    assert status == 200
    assert len(body) == int(headers["Content-Length"]) // 2
    assert body.startswith(b"<GetCallerIdentityResponse")


def test_a_document_may_end_in_the_middle_of_a_body_of_the_right_length() -> None:
    with troubled(FaultKind.CUT_DOCUMENT) as api:
        for service, body, headers, parse in (
            ("sts", IDENTITY, None, ET.fromstring),
            ("organizations", "{}", LISTING, json.loads),
        ):
            answer = post(api, service, body, headers)
            assert (answer.status, int(answer.headers["Content-Length"])) == (200, len(answer.body))
            assert len(answer.body) > 100
            with pytest.raises((ET.ParseError, ValueError)):
                parse(answer.body)


def test_an_answer_may_be_slow_once() -> None:
    with troubled(FaultKind.SLOW, slow_seconds=0.3, max_faults_per_account=1) as api:
        before = datetime.now(UTC)
        api.client("sts").get_caller_identity()
        assert datetime.now(UTC) - before >= timedelta(seconds=0.3)
        assert outcomes(api, 1) == ["ok"]
        assert api.simulator.fault_counts == {FaultKind.SLOW: 1}


def test_answers_may_be_slow() -> None:
    with serve(organization(), Faults(latency_seconds=0.2)) as api:
        before = datetime.now(UTC)
        api.client("sts").get_caller_identity()
    assert datetime.now(UTC) - before >= timedelta(seconds=0.2)


# Sessions


def test_a_session_may_expire_before_its_time_and_a_new_one_is_good() -> None:
    with troubled(FaultKind.EXPIRED_TOKEN, max_faults_per_account=1) as api:
        first, other = api.iam(), api.iam()
        for _ in range(2):
            with refused("ExpiredToken", 403):
                first.generate_credential_report()
        assert api.simulator.fault_counts == {FaultKind.EXPIRED_TOKEN: 1}, "the second refusal is the first one's"
        assert other.generate_credential_report()["State"] == "STARTED"
        assert api.iam().get_credential_report()["Content"]


def test_sessions_may_end_before_the_expiration_that_was_told() -> None:
    clock = Clock()
    with serve(organization(member()), Faults(session_seconds=60), clock=clock) as api:
        answer = api.client("sts").assume_role(
            RoleArn=f"arn:aws:iam::{MEMBER}:role/CredentialAudit", RoleSessionName="test", DurationSeconds=900
        )
        iam = api.iam(DurationSeconds=900)
        clock.now += timedelta(seconds=59)
        iam.generate_credential_report()
        clock.now += timedelta(seconds=1)
        with refused("ExpiredToken", 403):
            iam.generate_credential_report()
        assert api.client("sts").get_caller_identity()["Account"] == CALLER
    assert answer["Credentials"]["Expiration"] == NOW + timedelta(seconds=900)


# Reports


def test_a_report_may_be_stuck_until_it_is_generated_anew() -> None:
    clock = Clock()
    with troubled(FaultKind.STUCK_REPORT, max_faults_per_account=1, stuck_seconds=10, clock=clock) as api:
        iam = api.client("iam")
        assert iam.generate_credential_report()["State"] == "STARTED"
        clock.now += timedelta(seconds=9)
        assert iam.generate_credential_report()["State"] == "INPROGRESS"
        clock.now += timedelta(seconds=1)
        with refused("ReportInProgress", 404):
            iam.get_credential_report()
        assert iam.generate_credential_report()["State"] == "STARTED"
        assert iam.get_credential_report()["GeneratedTime"] == clock.now
        assert api.simulator.fault_counts == {FaultKind.STUCK_REPORT: 1}


def test_only_a_report_that_is_started_can_get_stuck() -> None:
    with troubled(FaultKind.STUCK_REPORT, stuck_seconds=3600) as api:
        iam = api.client("iam")
        states = [iam.generate_credential_report()["State"] for _ in range(3)]
        assert api.simulator.fault_counts == {FaultKind.STUCK_REPORT: 1}
    assert states == ["STARTED", "INPROGRESS", "INPROGRESS"]


def test_a_report_may_be_damaged_in_every_way_in_one_answer() -> None:
    kinds = Counter()
    for seed in range(20):
        with troubled(FaultKind.MALFORMED_REPORT, max_faults_per_account=1, seed=seed) as api:
            iam = api.client("iam")
            with refused("ReportNotPresent", 410):
                iam.get_credential_report()
            iam.generate_credential_report()
            damaged, good = iam.get_credential_report(), iam.get_credential_report()
            own, foreign = (render_report(api.simulator.organization.accounts[number]) for number in (1, 0))
            kinds[damage(damaged["Content"], own, foreign)] += 1
            assert good["Content"] == own
            assert good["GeneratedTime"] == damaged["GeneratedTime"]
            assert api.simulator.fault_counts == {FaultKind.MALFORMED_REPORT: 1}
    assert set(kinds) == {"empty", "a page", "of another account", "cut"}


def damage(content: bytes, own: bytes, foreign: bytes) -> str:
    if not content:
        return "empty"
    if content.startswith(b"<!DOCTYPE html>"):
        return "a page"
    if content == foreign:
        return "of another account"
    assert own.startswith(content), content
    assert content.rpartition(b"\n")[2].count(b",") < 21
    return "cut"


def test_damage_never_leaves_a_report_as_it_is() -> None:
    with troubled(FaultKind.MALFORMED_REPORT, simulated=organization(member(report=b""))) as api:
        iam = api.iam()
        iam.generate_credential_report()
        assert all(iam.get_credential_report()["Content"] for _ in range(10))


def test_the_damage_follows_the_seed() -> None:
    contents = []
    for _ in range(2):
        with troubled(FaultKind.MALFORMED_REPORT, seed=5) as api:
            iam = api.client("iam")
            iam.generate_credential_report()
            contents.append([iam.get_credential_report()["Content"] for _ in range(8)])
    assert contents[0] == contents[1]
    assert len(set(contents[0])) > 1


def test_a_report_may_expire_before_it_is_fetched() -> None:
    with troubled(FaultKind.EXPIRED_REPORT, max_faults_per_account=1) as api:
        iam = api.client("iam")
        with refused("ReportNotPresent", 410):
            iam.get_credential_report()
        iam.generate_credential_report()
        with refused("ReportExpired", 410):
            iam.get_credential_report()
        with refused("ReportNotPresent", 410):
            iam.get_credential_report()
        assert iam.generate_credential_report()["State"] == "STARTED"
        assert iam.get_credential_report()["Content"]
        assert api.simulator.fault_counts == {FaultKind.EXPIRED_REPORT: 1}
