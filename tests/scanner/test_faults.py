"""Whatever AWS, the network and the clock do wrong, alone and together: no account is lost, none is misjudged."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from scanner.evidence import RunFolder
from scanner.models import Assessment, Outcome
from scanner.simulator import (
    Behaviour,
    FaultKind,
    Faults,
    SimulatedOrganization,
    Simulator,
    benchmark_organization,
)

from .scanning import FAST_LISTING, NOW, Scan, outcomes, scanner_in

ACCOUNTS, USERS = 24, 5
MEMBER = 7
"""The position of the account that has something of its own."""

ORGANIZATION = benchmark_organization(ACCOUNTS, USERS, NOW, failing_share=0.3)
ABOUT_ACCOUNTS = (
    ("sts", "AssumeRole"),
    ("iam", "GenerateCredentialReport"),
    ("iam", "GetAccountSummary"),
    ("iam", "GetCredentialReport"),
    ("iam", "ListAccessKeys"),
)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same waits, shorter."""
    monkeypatch.setattr("scanner.aws.BACK_OFF_SECONDS", 0.01)
    monkeypatch.setattr("scanner.credential_report.LEAST_WAIT_SECONDS", 0.1)
    monkeypatch.setattr("scanner.member.ENTRY_PAUSE_SECONDS", 0.05)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Assessment:
    with pytest.MonkeyPatch.context() as monkeypatch:
        _, assessment = scanner_in(tmp_path_factory.mktemp("undisturbed"), monkeypatch)(Simulator(ORGANIZATION))
    assert set(outcomes(assessment).values()) == {"scanned"}
    assert assessment.findings["check"].eq("access-key-not-rotated").sum() == ACCOUNTS * USERS * 0.3
    return assessment


def with_member(**changes: Any) -> SimulatedOrganization:
    accounts = list(ORGANIZATION.accounts)
    accounts[MEMBER] = replace(accounts[MEMBER], **changes)
    return replace(ORGANIZATION, accounts=tuple(accounts))


def always(kind: FaultKind) -> Faults:
    """Of each account's first calls every one fails so."""
    bounds = {"max_faults_per_account": 2, "slow_seconds": 0.3, "stuck_seconds": 0.1}
    return Faults(fault_rate=1.0, kinds=(kind,), **bounds)


def often(seed: int, **settings: Any) -> Faults:
    """Of all calls a third fails, in every way there is."""
    bounds = {"max_faults_per_account": 5, "slow_seconds": 0.3, "stuck_seconds": 0.1}
    return Faults(fault_rate=0.35, seed=seed, **bounds | settings)


SLOW = {"latency_seconds": 0.1, "report_delay_seconds": 0.5}
QUOTAS = {
    "organizations:ListAccounts": (8.0, 2),
    "organizations:ListRoots": (1.0, 1),
    "sts:AssumeRole": (20.0, 3),
    "iam:GenerateCredentialReport": (5.0, 1),
    "iam:GetCredentialReport": (5.0, 1),
    "iam:ListAccessKeys": (5.0, 1),
    "iam:GetAccountSummary": (5.0, 1),
}
EVERYTHING = {**SLOW, "quotas": QUOTAS, "session_seconds": 1.0, "clock_skew_seconds": 120}

ROWS: dict[str, tuple[SimulatedOrganization, Faults, Outcome]] = {
    **{f"every first call: {kind}": (ORGANIZATION, always(kind), Outcome.SCANNED) for kind in FaultKind},
    **{f"every way at once, seed {seed}": (ORGANIZATION, often(seed), Outcome.SCANNED) for seed in range(3)},
    "answers cut in the middle, the listing's too": (
        ORGANIZATION,
        Faults(fault_rate=0.3, seed=3, kinds=(FaultKind.CUT_DOCUMENT, FaultKind.TRUNCATED_BODY)),
        Outcome.SCANNED,
    ),
    "latency and reports that take their time": (ORGANIZATION, Faults(**SLOW), Outcome.SCANNED),
    "throttling of each API": (ORGANIZATION, Faults(quotas=QUOTAS), Outcome.SCANNED),
    "sessions that end early": (ORGANIZATION, Faults(session_seconds=0.4, report_delay_seconds=0.6), Outcome.SCANNED),
    "AWS's clock ahead": (ORGANIZATION, Faults(clock_skew_seconds=240), Outcome.SCANNED),
    "AWS's clock behind": (ORGANIZATION, Faults(clock_skew_seconds=-240), Outcome.SCANNED),
    "every way at once, slow, throttled and skewed": (
        ORGANIZATION,
        often(9, **EVERYTHING),
        Outcome.SCANNED,
    ),
    "an account suspended before it is entered": (
        with_member(suspended_after_calls=0),
        Faults(),
        Outcome.NOT_ACTIVE,
    ),
    "an account suspended between role and report": (
        with_member(suspended_after_calls=2),
        Faults(report_delay_seconds=0.3),
        Outcome.NOT_ACTIVE,
    ),
    "an account suspended, and every way at once": (
        with_member(suspended_after_calls=2),
        often(4, report_delay_seconds=0.3),
        Outcome.NOT_ACTIVE,
    ),
    "an account that denies, and every way at once": (
        with_member(behaviour=Behaviour.REPORT_DENIED_BY_SCP),
        often(5),
        Outcome.REPORT_DENIED,
    ),
    "a role that is missing, and every way at once": (
        with_member(behaviour=Behaviour.ASSUME_DENIED),
        often(6),
        Outcome.ACCESS_DENIED,
    ),
    "a report that never gets ready, and every way at once": (
        with_member(behaviour=Behaviour.REPORT_NEVER_READY),
        often(7),
        Outcome.REPORT_TIMEOUT,
    ),
    "a report that is none, and every way at once": (
        with_member(report=b"<html>Sign in</html>"),
        often(8),
        Outcome.REPORT_MALFORMED,
    ),
}
"""What is wrong → the organization, the faults, and the outcome of the account at MEMBER; every other is scanned."""


@pytest.mark.parametrize("name", ROWS)
def test_no_fault_loses_an_account_or_changes_a_verdict(name: str, scanned: Scan, undisturbed: Assessment) -> None:
    organization, faults, special = ROWS[name]
    simulator = Simulator(organization, faults)

    seconds = 8 if special is Outcome.REPORT_TIMEOUT else 60
    folder, assessment = scanned(simulator, scan={"rates": FAST_LISTING, "account_timeout_seconds": seconds})

    expected = dict.fromkeys((account.account_id for account in organization.accounts), "scanned")
    expected[organization.accounts[MEMBER].account_id] = str(special)
    assert outcomes(assessment) == expected, reasons(assessment)
    assert_the_ledger_adds_up(folder, assessment, simulator)
    assert_same_findings(assessment, undisturbed)
    assert_it_went_wrong(faults, simulator)


def reasons(assessment: Assessment) -> list[str]:
    return [reason for reason in assessment.accounts["reason"] if reason]


def assert_the_ledger_adds_up(folder: RunFolder, assessment: Assessment, simulator: Simulator) -> None:
    """Accounts listed = the sum of the outcomes, and requests in the ledger and the look-ups = requests received."""
    counts = assessment.run.counts or {}
    assert counts["listed"] == ACCOUNTS == sum(counts[outcome] for outcome in Outcome)
    assert assessment.run.is_complete is not any(counts[outcome] for outcome in Outcome if outcome.is_gap)
    ledger = folder.read_ledger()
    looked_up = sum(folder.read_keys(account_id).get("attempts", 0) for account_id in ledger)
    sent = sum(entry.attempts for entry in ledger.values()) + looked_up
    assert sent == sum(simulator.counts[action] for action in ABOUT_ACCOUNTS)


def assert_same_findings(assessment: Assessment, undisturbed: Assessment) -> None:
    """Whatever was read is judged as if nothing had gone wrong, key ids included."""
    scanned = {account_id for account_id, outcome in outcomes(assessment).items() if outcome == "scanned"}

    def of_scanned(frame: pd.DataFrame) -> pd.DataFrame:
        kept = frame[frame["account_id"].isin(scanned)].reset_index(drop=True)
        return kept.drop(columns="report_generated", errors="ignore")

    assert_frame_equal(of_scanned(assessment.findings), of_scanned(undisturbed.findings))
    assert_frame_equal(of_scanned(assessment.credentials), of_scanned(undisturbed.credentials))


def assert_it_went_wrong(faults: Faults, simulator: Simulator) -> None:
    """A row in which nothing was wrong would prove nothing."""
    if faults.fault_rate:
        assert simulator.fault_counts.total() > ACCOUNTS / 2
    if faults.quotas:
        assert simulator.throttled > 5
