"""The caller's own credentials end in mid-run: they are read anew from where they came from, or it is resumed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest

from scanner.simulator import BASE_CREDENTIALS, FaultKind, Faults, Simulator, benchmark_organization, run_in_thread

COMMAND = str(Path(sys.executable).with_name("credaudit"))
ACCOUNTS = 180
CONFIG = "[scan.rates]\nlist_accounts = 1\nlist_roots = 100\norganizations = 100\n"
SESSION_SECONDS = 5.0
"""What it takes to list the accounts, one page a second, is more."""

Run = Callable[..., tuple[int, str, dict[str, Any]]]


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    organization = benchmark_organization(ACCOUNTS, 2, datetime.now(UTC), failing_share=0.5)
    # Some answers fail, those of the check of new credentials among them.
    faults = {"fault_rate": 0.1, "seed": 5, "kinds": (FaultKind.UNAVAILABLE, FaultKind.THROTTLING)}
    simulator = Simulator(organization, Faults(session_seconds=SESSION_SECONDS, report_delay_seconds=0.5, **faults))
    with run_in_thread(simulator):
        yield simulator


def client(simulator: Simulator) -> Any:
    key_id, secret = BASE_CREDENTIALS
    return boto3.client(
        "sts",
        region_name="us-east-1",
        endpoint_url=simulator.endpoint_url,
        aws_access_key_id=key_id,
        aws_secret_access_key=secret,
    )


def sign_in(simulator: Simulator, folder: Path, *, as_another: bool = False) -> None:
    """Write temporary credentials, as tools that sign in do: of the auditor, or of somebody else."""
    sts = client(simulator)
    if as_another:
        management = simulator.organization.management_account_id
        role = f"arn:aws:iam::{management}:role/OrganizationReader"
        session = sts.assume_role(RoleArn=role, RoleSessionName="another")["Credentials"]
    else:
        session = sts.get_session_token()["Credentials"]
    sts.close()
    temporary = folder / "credentials.partial"
    temporary.write_text(
        f"[default]\naws_access_key_id = {session['AccessKeyId']}\n"
        f"aws_secret_access_key = {session['SecretAccessKey']}\naws_session_token = {session['SessionToken']}\n"
    )
    temporary.replace(folder / "credentials")


@pytest.fixture
def run(tmp_path: Path, simulator: Simulator) -> Run:
    """Scan, and call `meanwhile` now and then; the exit code, stderr, and run.json."""
    (tmp_path / "config.toml").write_text(CONFIG)

    def scan(*arguments: str, meanwhile: Callable[[], None] | None = None) -> tuple[int, str, dict[str, Any]]:
        sign_in(simulator, tmp_path)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        process = subprocess.Popen(
            [COMMAND, "scan", *arguments],
            cwd=tmp_path,
            env=kept
            | {
                "AWS_ENDPOINT_URL": simulator.endpoint_url,
                "AWS_DEFAULT_REGION": "us-east-1",
                "AWS_CONFIG_FILE": os.devnull,
                "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
                "AWS_EC2_METADATA_DISABLED": "true",
                "NO_PROXY": "127.0.0.1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        while meanwhile and process.poll() is None:
            time.sleep(SESSION_SECONDS / 2)
            meanwhile()
        out, err = process.communicate(timeout=120)
        assert "Traceback" not in err, err
        return process.returncode, err, json.loads((tmp_path / out.strip() / "run.json").read_text())

    return scan


def test_credentials_that_were_renewed_meanwhile_are_found_and_nothing_is_lost(
    run: Run, simulator: Simulator, tmp_path: Path
) -> None:
    code, _, found = run(meanwhile=lambda: sign_in(simulator, tmp_path))

    assert code == 3
    assert found["complete"]
    assert found["counts"]["scanned"] == ACCOUNTS
    expired = [request for request in simulator.requests if request.status == 403]
    assert {request.service for request in expired} & {"sts", "organizations"}, "nothing had expired"
    identified = [r.access_key_id for r in simulator.requests if r.action == "GetCallerIdentity"]
    assert len(set(identified)) >= 2, "the new credentials were not asked who they are"


@pytest.mark.parametrize(
    "slow", ["list_accounts = 1\n", "list_accounts = 100\nsts = 15\n"], ids=["listing", "entering"]
)
def test_without_newer_ones_the_run_is_incomplete_and_is_resumed_after_a_sign_in(
    run: Run, simulator: Simulator, tmp_path: Path, slow: str
) -> None:
    (tmp_path / "config.toml").write_text(CONFIG.replace("list_accounts = 1\n", slow))
    code, err, found = run()

    assert code == 4
    assert (found["stopped_by"], found["complete"]) == ("credentials", False)
    assert "the caller's credentials ended" in err
    assert "scan --resume latest" in err
    first = found["counts"]
    assert 0 < first["scanned"] < ACCOUNTS
    assert first["error"] == first["access_denied"] == 0, "a token that ends is no account's failure"

    (tmp_path / "config.toml").write_text(CONFIG.replace("list_accounts = 1\n", "list_accounts = 100\n"))
    code, _, found = run("--resume", "latest")

    assert code == 3
    assert found["counts"]["scanned"] == ACCOUNTS
    assert any(f": {first['scanned']:,} reports were collected by earlier runs" in note for note in found["notes"])


def test_credentials_of_somebody_else_are_not_taken(run: Run, simulator: Simulator, tmp_path: Path) -> None:
    code, err, found = run(meanwhile=lambda: sign_in(simulator, tmp_path, as_another=True))

    assert code == 4
    assert found["stopped_by"] == "credentials"
    assert "the credentials found now are of arn:aws:sts::" in err
    management = simulator.organization.management_account_id
    asked = {r.action for r in simulator.requests if r.account_id == management and r.service != "iam"}
    assert asked == {"GetCallerIdentity"}, "they were only asked whose they are"
