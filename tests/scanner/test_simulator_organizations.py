"""The ready-made organizations, and the process that serves one."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from scanner.simulator import (
    SimulatedAccount,
    SimulatedKey,
    SimulatedUser,
    Simulator,
    benchmark_organization,
    demo_organization,
    render_report,
)

from .simulation import (
    NOW,
    Api,
    make_certificate,
    organization,
    refused,
    serve,
)

# The demo


def demo_users() -> Iterator[tuple[SimulatedAccount, SimulatedUser]]:
    return ((account, user) for account in demo_organization(NOW).accounts for user in account.users)


def example(name: str) -> list[SimulatedKey | None]:
    return next(list(user.keys) for _, user in demo_users() if user.name == name)


def ages(name: str) -> list[timedelta | None]:
    return [None if key is None else NOW - key.created for key in example(name)]


def test_the_demo_is_the_same_every_time() -> None:
    assert demo_organization(NOW) == demo_organization(NOW)


def test_the_demo_has_forty_accounts_in_every_state() -> None:
    simulated = demo_organization(NOW)
    names = Counter(account.name for account in simulated.accounts)
    caller = next(account for account in simulated.accounts if account.account_id == simulated.caller_account_id)

    assert len(simulated.accounts) == 40
    assert Counter(account.state for account in simulated.accounts) == {
        "ACTIVE": 36,
        "SUSPENDED": 1,
        "PENDING_CLOSURE": 1,
        "CLOSED": 1,
        "PENDING_ACTIVATION": 1,
    }
    assert caller.ou_path == ("Security",)
    assert {"assume_denied", "report_denied_by_scp"} == {account.behaviour for account in simulated.accounts} - {
        "normal"
    }
    assert all(5 <= len(account.users) <= 25 for account in simulated.accounts if account.users is not None)
    assert names["playground"] == 2
    assert sum(account.account_id.startswith("0") for account in simulated.accounts) >= 2
    assert all(account.email.endswith("@example.com") for account in simulated.accounts)


def test_the_demo_holds_hostile_names() -> None:
    simulated = demo_organization(NOW)
    names = {account.name for account in simulated.accounts}
    users = {user.name for _, user in demo_users()}

    assert {'=HYPERLINK("http://example.com","click")', "@SUM(1+1)", "NA", "legacy\timport\x07"} <= names
    assert any("@SUM(1+1)" in account.ou_path for account in simulated.accounts)
    assert {"+alice", "-bob", "doe,jane", "null", "nan"} <= users
    assert {name[0] for name in users} >= set("+-=@")


def test_the_demo_holds_keys_of_every_age() -> None:
    limit = timedelta(days=90)

    assert ages("exactly-90-days") == [limit]
    assert ages("one-second-over-90-days") == [limit + timedelta(seconds=1)]
    assert ages("one-second-under-90-days") == [limit - timedelta(seconds=1)]
    assert all(age is not None and age > limit for age in ages("both-keys-old"))
    assert len(ages("both-keys-old")) == 2
    assert ages("second-slot-only")[0] is None
    assert len(set(ages("two-keys-in-one-second"))) == 1
    assert len(example("two-keys-in-one-second")) == 2


def test_the_demos_key_ids_are_plainly_fake_and_unique() -> None:
    ids = [key.key_id for _, user in demo_users() for key in user.keys if key is not None]

    assert len(set(ids)) == len(ids)
    assert all(len(identifier) == 20 and identifier.startswith("AKIAEXAMPLE") for identifier in ids)
    assert set("".join(ids)) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")


def test_some_old_keys_of_the_demo_changed_since_the_report() -> None:
    simulated = demo_organization(NOW)
    old = {
        key.key_id
        for _, user in demo_users()
        for key in user.keys
        if key is not None and key.active and NOW - key.created > timedelta(days=90)
    }
    deleted = [account.keys_deleted_since_report for account in simulated.accounts]
    inactive = [account.inactive_since_report for account in simulated.accounts]
    gone = [user for account, user in demo_users() if user.name in account.deleted_since_report]

    assert set.union(*map(set, deleted)) & old
    assert set.union(*map(set, inactive)) & old
    assert [key.key_id in old for user in gone for key in user.keys if key is not None] == [True]


def test_the_demo_has_roots_of_every_kind() -> None:
    roots = [account.root for account in demo_organization(NOW).accounts]
    active_keys = [key for root in roots for key in root.keys if key is not None and key.active]

    assert {root.password_enabled for root in roots} == {"true", "false", "not_supported"}
    assert {"N/A", "no_information"} < {root.password_last_used for root in roots}
    assert [NOW - key.created > timedelta(days=90) for key in active_keys] == [True]


def test_every_report_of_the_demo_has_a_row_for_each_user() -> None:
    for account in demo_organization(NOW).accounts:
        rows = list(csv.reader(io.StringIO(render_report(account).decode())))
        assert {len(row) for row in rows} == {22}
        assert rows[1][0] == "<root_account>"
        assert sorted(row[0] for row in rows[2:]) == sorted(user.name for user in account.users)


# The benchmark


@pytest.mark.parametrize(("share", "failing"), [(0.0, 0), (0.1, 30), (1.0, 300)])
def test_the_benchmark_has_the_share_of_old_keys_that_was_asked_for(share: float, failing: int) -> None:
    simulated = benchmark_organization(15, 20, NOW, share)
    keys = [key for account in simulated.accounts for user in account.users for key in user.keys if key is not None]

    assert len(simulated.accounts) == 15
    assert sum(NOW - key.created > timedelta(days=90) for key in keys) == failing
    assert len({key.key_id for key in keys}) == 300
    assert {account.behaviour for account in simulated.accounts} == {"normal"}


def test_the_benchmarks_users_are_made_only_when_they_are_asked_for() -> None:
    # A billion users would take hours, and all memory.
    simulated = benchmark_organization(3, 10**9, NOW)
    assert len(simulated.accounts[0].users) == 10**9

    first, second = benchmark_organization(2, 3, NOW).accounts
    assert list(first.users) == list(first.users)
    assert [user.name for user in second.users] == ["user-00000", "user-00001", "user-00002"]
    assert second.users[1].name == "user-00001"
    assert render_report(second).count(second.account_id.encode()) == 4


def test_a_benchmarks_report_and_its_keys_agree() -> None:
    simulated = benchmark_organization(3, 4, NOW, failing_share=0.5)
    with serve(simulated) as api:
        iam = api.iam(simulated.accounts[2].account_id)
        iam.generate_credential_report()
        rows = list(csv.DictReader(io.StringIO(iam.get_credential_report()["Content"].decode())))[1:]
        for row in rows:
            (listed,) = iam.list_access_keys(UserName=row["user"])["AccessKeyMetadata"]
            assert listed["CreateDate"].isoformat() == row["access_key_1_last_rotated"]
    assert len(rows) == 4


@contextmanager
def process(*options: str) -> Iterator[tuple[str, Any]]:
    """Serve from another process; yields the URL, and a function that ends it and returns its counters."""
    command = [sys.executable, "-W", "error", "-m", "scanner.simulator", "--accounts", "30", "--users", "2", *options]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as started:
        assert started.stdout is not None
        stdout = started.stdout

        def finish() -> dict[str, Any]:
            started.send_signal(signal.SIGTERM)
            (line,) = stdout.read().splitlines()
            assert started.wait() == 0
            return dict(json.loads(line))

        try:
            yield stdout.readline().strip(), finish
        finally:
            started.kill()


def test_the_benchmark_can_be_served_by_a_process_of_its_own() -> None:
    with process() as (url, finish):
        api = Api(Simulator(organization()), url)
        client = api.client("organizations")
        accounts = [page["Accounts"] for page in client.get_paginator("list_accounts").paginate()]
        client.close()
        counters = finish()
    assert sum(map(len, accounts)) == 30
    assert counters == {
        "requests": {"organizations:ListAccounts": 3},
        "total": 3,
        "connections": 1,
        "throttled": 0,
        "faults": {},
    }


def test_every_fault_can_be_asked_of_the_process(tmp_path: Path) -> None:
    certificate, key_file = make_certificate(tmp_path)
    options = ["--fault-rate", "1", "--fault-kinds", "slow,stuck_report", "--max-faults", "2", "--seed", "4"]
    options += ["--slow-seconds", "0.01", "--stuck-seconds", "0", "--session-seconds", "0", "--clock-skew", "100"]
    options += ["--quotas", "on", "--paths", "--tls-certificate", str(certificate), "--tls-key", str(key_file)]
    with process(*options) as (url, finish):
        api = Api(Simulator(organization()), url, certificate)
        sts, organizations, iam = (api.client(service) for service in ("sts", "organizations", "iam"))
        caller = sts.get_caller_identity()["Account"]
        states = [iam.generate_credential_report()["State"] for _ in range(3)]
        generated = iam.get_credential_report()["GeneratedTime"]
        organizations.list_roots()
        organizations.list_roots()
        with refused("TooManyRequestsException", 400):
            organizations.list_roots()
        session = api.assume("100000000005")
        with refused("ExpiredToken", 403):
            api.client("iam", session).generate_credential_report()
        for client in api.clients:
            client.close()
        counters = finish()
    assert url.startswith("https://")
    assert caller == "100000000001"
    assert states[:2] == ["STARTED", "STARTED"], "a stuck report is replaced at once"
    assert generated > datetime.now(UTC) + timedelta(seconds=50)
    assert counters["throttled"] == 1
    assert sum(counters["faults"].values()) == 3
    assert set(counters["faults"]) == {"slow", "stuck_report"}


def test_a_kind_of_fault_that_there_is_not_is_refused() -> None:
    command = [sys.executable, "-m", "scanner.simulator", "--fault-kinds", "slow,fire"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 2
    assert "slow,fire" in ended.stderr
