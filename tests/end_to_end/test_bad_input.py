"""What goes wrong for a user, through the installed command: an exit code, one line of advice, no traceback."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest

from scanner.models import Outcome
from scanner.simulator import (
    BASE_CREDENTIALS,
    Behaviour,
    Faults,
    SimulatedOrganization,
    Simulator,
    benchmark_organization,
    run_in_thread,
)

COMMAND = str(Path(sys.executable).with_name("credaudit"))
FAST = "[scan.rates]\nlist_accounts = 1000\norganizations = 1000\n"


def organization(accounts: int = 3, **changes: Any) -> SimulatedOrganization:
    return replace(benchmark_organization(accounts, 2, datetime.now(UTC)), **changes)


def surroundings(endpoint: str) -> dict[str, str]:
    """The example credentials, the endpoint, and nothing of the user's."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    key_id, secret = BASE_CREDENTIALS
    return (
        clean
        | {"AWS_ACCESS_KEY_ID": key_id, "AWS_SECRET_ACCESS_KEY": secret, "AWS_ENDPOINT_URL": endpoint}
        | {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
        | {"AWS_EC2_METADATA_DISABLED": "true", "NO_PROXY": "127.0.0.1"}
    )


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start the command in an empty folder, with the example credentials or those given, and nothing of the user's."""

    def run(endpoint: str, *arguments: str, limits: Callable[[], None] | None = None, **environment: str) -> Any:
        (tmp_path / "config.toml").write_text(FAST)
        return subprocess.Popen(
            [COMMAND, "scan", *arguments],
            cwd=tmp_path,
            env=surroundings(endpoint) | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=limits,
        )

    return run


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    assert "Traceback" not in err, err
    return process.returncode, out, err


@contextmanager
def serving(simulated: SimulatedOrganization, faults: Faults | None = None, **options: Any) -> Iterator[str]:
    with run_in_thread(Simulator(simulated, faults or Faults(), **options)) as endpoint:
        yield endpoint


def test_no_credentials(start: Any) -> None:
    code, out, err = finish(start("http://127.0.0.1:9", AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY=""))
    assert (code, out) == (1, "")
    assert "no AWS credentials found" in err
    assert "aws sso login" in err


def test_half_of_the_credentials(start: Any) -> None:
    code, _, err = finish(start("http://127.0.0.1:9", AWS_SECRET_ACCESS_KEY=""))
    assert code == 1
    assert "no AWS credentials found: PartialCredentialsError" in err


def test_a_profile_that_is_not_there(start: Any) -> None:
    code, _, err = finish(start("http://127.0.0.1:9", AWS_PROFILE="nobody"))
    assert code == 1
    assert "profile (nobody) could not be found" in err
    assert "aws configure list-profiles" in err


def test_credentials_that_aws_does_not_know(start: Any) -> None:
    with serving(organization()) as endpoint:
        code, _, err = finish(start(endpoint, AWS_ACCESS_KEY_ID="AKIAI44QH8DHBEXAMPLE"))
    assert code == 1
    assert "does not accept the caller's credentials: InvalidClientTokenId" in err


def test_a_wrong_secret_is_not_shown(start: Any) -> None:
    with serving(organization()) as endpoint:
        code, _, err = finish(start(endpoint, AWS_SECRET_ACCESS_KEY="not-the-secret"))
    assert code == 1
    assert "SignatureDoesNotMatch" in err
    assert "not-the-secret" not in err


def test_expired_credentials(start: Any) -> None:
    ahead = timedelta()
    simulated = organization()
    with serving(simulated, clock=lambda: datetime.now(UTC) + ahead) as endpoint:
        key_id, secret = BASE_CREDENTIALS
        client = boto3.client(
            "sts",
            region_name="us-east-1",
            endpoint_url=endpoint,
            aws_access_key_id=key_id,
            aws_secret_access_key=secret,
        )
        session = client.assume_role(
            RoleArn=f"arn:aws:iam::{simulated.management_account_id}:role/OrganizationReader", RoleSessionName="expired"
        )["Credentials"]
        client.close()
        ahead = timedelta(hours=2)
        code, _, err = finish(
            start(
                endpoint,
                AWS_ACCESS_KEY_ID=session["AccessKeyId"],
                AWS_SECRET_ACCESS_KEY=session["SecretAccessKey"],
                AWS_SESSION_TOKEN=session["SessionToken"],
            )
        )
    assert code == 1
    assert "does not accept the caller's credentials: ExpiredToken" in err
    assert "They have expired" in err
    assert session["SessionToken"] not in err


def test_an_endpoint_that_does_not_answer(start: Any) -> None:
    code, _, err = finish(start("http://127.0.0.1:9"))
    assert code == 1
    assert "AWS STS cannot be reached at http://127.0.0.1:9" in err
    assert "AWS_ENDPOINT_URL" in err


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"AWS_ENDPOINT_URL": "notaurl"}, "Invalid endpoint: notaurl"),
        ({"AWS_DEFAULT_REGION": "bad!!"}, "'bad!!' doesn't match"),
        ({"AWS_CONFIG_FILE": COMMAND}, "Unable to parse config file"),
    ],
    ids=["endpoint", "region", "configuration"],
)
def test_aws_settings_that_make_no_sense(start: Any, setting: dict[str, str], said: str) -> None:
    environment = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"} | setting
    code, out, err = finish(start(environment.pop("AWS_ENDPOINT_URL"), **environment))
    assert (code, out) == (1, "")
    assert said in err


def test_a_sign_in_that_is_missing(start: Any, tmp_path: Path) -> None:
    (tmp_path / "aws-config").write_text(
        "[default]\nsso_session = s\nsso_account_id = 111122223333\nsso_role_name = r\n"
        "[sso-session s]\nsso_start_url = https://example.com/start\nsso_region = us-east-1\n"
    )
    surroundings = {"AWS_CONFIG_FILE": str(tmp_path / "aws-config"), "HOME": str(tmp_path)}
    code, _, err = finish(start("http://127.0.0.1:9", AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="", **surroundings))
    assert code == 1
    assert "aws sso login" in err


def test_the_caller_may_not_list_the_organization(start: Any) -> None:
    with serving(organization(caller_may_list=False)) as endpoint:
        code, out, err = finish(start(endpoint))
    assert (code, out) == (1, "")
    assert "AccessDenied" in err
    assert "[organization] role_arn" in err


def test_a_wrong_role_name_is_said_once_with_the_likely_causes(start: Any, tmp_path: Path) -> None:
    with serving(organization(12)) as endpoint:
        code, out, err = finish(start(endpoint, "--role-name", "Nobody"))
    assert code == 4
    assert "INCOMPLETE: 11 of 12 accounts in scope could not be assessed" in err
    assert err.count("could be assumed in no account") == 1
    assert err.count("is not authorized to perform") == 1, "one of AWS's messages, not eleven"
    assert len(read_ledger(Path(tmp_path / out.strip()))) == 12


def test_neither_state_nor_status_is_refused(start: Any) -> None:
    with serving(organization(lists_state=False, lists_status=False)) as endpoint:
        code, _, err = finish(start(endpoint))
    assert code == 1
    assert "neither State nor Status" in err


def test_no_account_in_scope(start: Any, tmp_path: Path) -> None:
    simulated = organization()
    suspended = tuple(replace(account, state="SUSPENDED") for account in simulated.accounts)
    with serving(replace(simulated, accounts=suspended)) as endpoint:
        code, _, err = finish(start(endpoint))
    assert code == 1
    assert "no active account is in scope" in err


def test_an_unknown_key_of_the_configuration(start: Any, tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text("[scan]\nconcurency = 5\n")
    code, _, err = finish(start("http://127.0.0.1:9", "--config", "other.toml"))
    assert code == 2
    assert "unknown key scan.concurency; did you mean concurrency?" in err


def test_a_time_without_a_zone(start: Any) -> None:
    code, _, err = finish(start("http://127.0.0.1:9", "--as-of", "2026-11-23T12:00:00"))
    assert code == 2
    assert "--as-of: must be a day" in err


@pytest.mark.parametrize("folder", ["/dev/null/runs", "config.toml"])
def test_a_folder_that_cannot_be_written(start: Any, folder: str) -> None:
    code, out, err = finish(start("http://127.0.0.1:9", "--runs-dir", folder))
    assert (code, out) == (1, "")
    assert "cannot be written" in err
    assert "--runs-dir" in err


def test_a_disk_that_is_full_in_mid_run(start: Any, tmp_path: Path) -> None:
    def no_file_over_4_kb() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    with serving(organization(30)) as endpoint:
        # Coverage would want to write a larger file than the disk of this test takes.
        code, out, err = finish(start(endpoint, limits=no_file_over_4_kb, COVERAGE_PROCESS_CONFIG=""))
    assert (code, out) == (1, "")
    assert "cannot be written: File too large" in err


@pytest.mark.parametrize("size", [6_000, 20_000])
def test_a_disk_that_is_full_when_the_reports_are_written_keeps_what_was_collected(
    start: Any, tmp_path: Path, size: int
) -> None:
    def no_large_file() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    with serving(organization(3)) as endpoint:
        code, out, err = finish(start(endpoint, limits=no_large_file, COVERAGE_PROCESS_CONFIG=""))
        assert (code, out) == (1, "")
        assert "workbook.xlsx cannot be written" in err
        assert "scan --resume latest" in err
        time.sleep(1)
        code, out, _ = finish(start(endpoint, "--resume", "latest"))
    assert code == 0
    assert json.loads((tmp_path / out.strip() / "run.json").read_text())["resumed_from"]


def test_a_second_run_in_the_same_folder(start: Any, tmp_path: Path) -> None:
    with serving(organization(), Faults(report_delay_seconds=3)) as endpoint:
        first = start(endpoint)
        wait_for(lambda: list(tmp_path.glob("runs/*/run.json")))
        code, _, err = finish(start(endpoint))
        assert code == 1
        assert "another run is writing to runs" in err
        assert finish(first)[0] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_loses_nothing(start: Any, tmp_path: Path, number: signal.Signals) -> None:
    simulator = Simulator(organization(30), Faults(report_delay_seconds=60))
    with run_in_thread(simulator) as endpoint:
        process = start(endpoint)
        wait_for(lambda: simulator.counts["iam", "GenerateCredentialReport"])
        process.send_signal(number)
        code, out, err = finish(process)
    assert code == 130
    assert "INCOMPLETE: the run was interrupted" in err
    folder = tmp_path / out.strip()
    assert {entry["outcome"] for entry in read_ledger(folder)} == {Outcome.INTERRUPTED}
    assert len(read_ledger(folder)) == 30
    run = json.loads((folder / "run.json").read_text())
    assert run["interrupted"] is True
    assert run["counts"]["interrupted"] == 30
    assert (folder / "reports" / "workbook.xlsx").exists()
    assert (folder / "manifest.json").exists()


def test_a_signal_while_the_accounts_are_listed_reports_those_that_are_known(start: Any, tmp_path: Path) -> None:
    (tmp_path / "slowly.toml").write_text("[scan.rates]\nlist_accounts = 1\n")
    with serving(organization(300)) as endpoint:
        process = start(endpoint, "--config", "slowly.toml")
        wait_for(lambda: any(read_ledger(path.parent) for path in tmp_path.glob("runs/*/ledger.jsonl")))
        process.send_signal(signal.SIGTERM)
        code, out, err = finish(process)
    assert code == 130
    assert "INCOMPLETE: the run was interrupted" in err
    assert "and the organization may have more" in err
    folder = tmp_path / out.strip()
    run = json.loads((folder / "run.json").read_text())
    listed = json.loads((folder / "evidence" / "organization.json").read_text())["accounts"]
    assert 20 <= len(listed) == run["counts"]["listed"] < 300
    assert run["counts"]["scanned"] >= 1
    assert (run["complete"], run["stopped_by"]) == (False, "signal")
    assert {entry["account_id"] for entry in read_ledger(folder)} == {account["account_id"] for account in listed}


def test_the_deadline_of_the_run_ends_it_incomplete(start: Any, tmp_path: Path) -> None:
    (tmp_path / "short.toml").write_text(FAST + "[scan]\nrun_timeout_seconds = 5\n")
    simulated = organization(6)
    stuck = replace(simulated.accounts[3], behaviour=Behaviour.REPORT_NEVER_READY)
    with serving(replace(simulated, accounts=(*simulated.accounts[:3], stuck, *simulated.accounts[4:]))) as endpoint:
        code, out, err = finish(start(endpoint, "--config", "short.toml"))
        assert code == 4
        assert "the run's deadline passed ([scan] run_timeout_seconds)" in err
        assert "scan --resume latest" in err
        run = json.loads((tmp_path / out.strip() / "run.json").read_text())
        assert run["stopped_by"] == "deadline"
        assert (run["counts"]["scanned"], run["counts"]["interrupted"]) == (5, 1)


def test_the_deadline_of_the_run_holds_while_nothing_is_known_yet(start: Any, tmp_path: Path) -> None:
    # The scope asks for the whole listing, one page a second, before the first account is read.
    scope = '[organization]\ninclude_accounts = ["100000000001"]\n'
    (tmp_path / "short.toml").write_text(f"[scan]\nrun_timeout_seconds = 2\n[scan.rates]\nlist_accounts = 1\n{scope}")
    with serving(organization(300)) as endpoint:
        code, out, err = finish(start(endpoint, "--config", "short.toml"))
    assert (code, out) == (1, "")
    assert "the run's deadline passed before an account could be read" in err


@pytest.mark.parametrize("phase", ["read_frame", "assess"])
def test_a_signal_while_the_evidence_is_judged_loses_no_report(start: Any, tmp_path: Path, phase: str) -> None:
    # The phase is short; the command is made to dwell in it.
    (tmp_path / "sitecustomize.py").write_text(
        "import os, time, scanner.scan as s\n"
        f"real = s.{phase}\n"
        "def dwell(*a):\n    open('dwells', 'w').close(); time.sleep(2); return real(*a)\n"
        f"s.{phase} = dwell\n"
    )
    with serving(organization(3)) as endpoint:
        process = start(
            endpoint, PYTHONPATH=os.pathsep.join([str(tmp_path), *sys.path[:1]]), COVERAGE_PROCESS_CONFIG=""
        )
        wait_for(lambda: (tmp_path / "dwells").exists())
        process.send_signal(signal.SIGINT)
        code, out, err = finish(process)
    assert code == 130
    assert "COMPLETE: 3 accounts in scope, all assessed" in err
    assert (tmp_path / out.strip() / "reports" / "workbook.xlsx").exists()


def test_a_second_signal_leaves_at_once(start: Any, tmp_path: Path) -> None:
    # The first ends the collecting; the reports of 4,000 users are being written when the second comes.
    simulated = benchmark_organization(40, 100, datetime.now(UTC), failing_share=0.5)
    with serving(simulated) as endpoint:
        process = start(endpoint)
        wait_for(lambda: list(tmp_path.glob("runs/*/reports/.*")))
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        code, out, err = finish(process)
    assert (code, out) == (130, "")
    assert "left at once, before all reports were written" in err
    assert not list(tmp_path.glob("runs/*/manifest.json"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_reports_are_written_lets_them_be_finished(
    start: Any, tmp_path: Path, number: signal.Signals
) -> None:
    simulated = benchmark_organization(40, 100, datetime.now(UTC), failing_share=0.5)
    with serving(simulated) as endpoint:
        process = start(endpoint)
        wait_for(lambda: list(tmp_path.glob("runs/*/reports/.*")))
        process.send_signal(number)
        code, out, err = finish(process)
    assert code == 130
    assert "COMPLETE: 40 accounts in scope, all assessed" in err
    assert (tmp_path / out.strip() / "manifest.json").exists()


def test_quiet_says_nothing_while_all_is_well(start: Any) -> None:
    with serving(organization()) as endpoint:
        code, out, err = finish(start(endpoint, "--quiet"))
    assert (code, err) == (0, "")
    assert out.startswith("runs/")


def test_json_lines_for_collectors(start: Any) -> None:
    with serving(organization()) as endpoint:
        code, _, err = finish(start(endpoint, "--log-format", "json"))
    assert code == 0
    events = [json.loads(line) for line in err.splitlines()]
    names = ["run_started", "accounts_listed", *["account"] * 3, "run_closed", "run_finished"]
    assert [event["event"] for event in events] == names
    assert events[-1]["complete"] is True


def read_ledger(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "ledger.jsonl").read_text().splitlines()]


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("fate", ["closed", "full", "gone"])
@pytest.mark.parametrize("extra", [[], ["--log-format", "json"]], ids=["text", "json"])
def test_a_stderr_that_cannot_be_written_does_not_end_the_audit(
    start: Any, tmp_path: Path, fate: str, extra: list[str]
) -> None:
    redirection = {"closed": "2>&-", "full": "2>/dev/full", "gone": "2> >(exec true)"}[fate]
    with serving(organization(5)) as endpoint:
        result = subprocess.run(
            ["bash", "-c", f'exec "$0" scan "$@" {redirection}', COMMAND, "--runs-dir", "second", *extra],
            cwd=tmp_path,
            env=surroundings(endpoint),
            stdout=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert result.returncode == 0
    folder = tmp_path / result.stdout.strip()
    assert len(read_ledger(folder)) == 5
    assert (folder / "manifest.json").exists()


def test_few_open_files_are_no_obstacle(start: Any) -> None:
    def as_on_macos() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 4096))

    with serving(organization(300), Faults(latency_seconds=0.3)) as endpoint:
        code, _, err = finish(start(endpoint, limits=as_on_macos))
    assert code == 0, err


def test_sigterm_while_the_organization_is_listed(start: Any, tmp_path: Path) -> None:
    with serving(organization(300), Faults(latency_seconds=2)) as endpoint:
        process = start(endpoint)
        wait_for(lambda: (tmp_path / "runs" / ".lock").exists())
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        code, out, err = finish(process)
    assert (code, out) == (130, "")
    assert "stopped at once" in err


def test_an_older_manifest_that_cannot_be_read_is_a_gap_in_the_chain_and_no_more(start: Any, tmp_path: Path) -> None:
    older = tmp_path / "runs" / "20200101T000000Z-o-benchmark01"
    (older / "manifest.json").mkdir(parents=True)
    with serving(organization()) as endpoint:
        code, out, _ = finish(start(endpoint))
    assert code == 0
    manifest = json.loads((tmp_path / out.strip() / "manifest.json").read_text())
    assert manifest["previous"] == {"run_id": older.name, "sha256": None}


@pytest.mark.parametrize("moment", ["1969-12-31", "0001-01-01T00:00:00+12:00", "9999-12-31T23:59:59-12:00", "soon", ""])
def test_an_as_of_that_is_no_moment_to_judge_by(start: Any, moment: str) -> None:
    code, _, err = finish(start("http://127.0.0.1:9", "--as-of", moment))
    assert code == 2
    assert "--as-of" in err
