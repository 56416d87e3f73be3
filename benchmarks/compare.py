"""`make bench`: the same simulated organization, scanned by credaudit and by plain boto3, one after the other.

Ratios are what counts: the contenders run in turn on the same machine, and the machine may be busy with other things.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

PER_ACCOUNT = ("sts:AssumeRole", "iam:GenerateCredentialReport", "iam:GetCredentialReport", "iam:ListAccessKeys")
EXAMPLE_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
}


@dataclass(frozen=True, slots=True)
class Measurement:
    """One contender's run: seconds, seconds of CPU, MB of peak memory, TCP connections, requests by action."""

    name: str
    wall: float
    cpu: float
    memory: float
    connections: int
    requests: dict[str, int]

    @property
    def account_requests(self) -> int:
        """Requests made for single accounts; the listing of the organization is not among them."""
        return sum(self.requests.get(action, 0) for action in PER_ACCOUNT)


def main() -> None:
    """Measure all contenders and print the table."""
    options = _options()
    python = sys.executable
    credaudit = [str(Path(python).with_name("credaudit")), "scan", "--quiet", "--runs-dir"]
    thread_script = [python, "-m", "benchmarks.boto3_threads"]
    # Files of all contenders once read, so that the first does not pay for the disk.
    subprocess.run([python, "-c", "import boto3, scanner.scan, reports.workbook, reports.csv"], check=True)
    with tempfile.TemporaryDirectory() as folder:
        contenders = [
            ("credaudit (with all reports)", [*credaudit, f"{folder}/runs"], (0, 3)),
            ("boto3, 20 threads, session per account", [*thread_script, "sessions", "20"], (0,)),
            ("boto3, 20 threads, client per account", [*thread_script, "clients", "20"], (0,)),
        ]
        results = [_measure(name, command, codes, options) for name, command, codes in contenders]
    _show(results, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=200)
    parser.add_argument("--users", type=int, default=20, help="in each account")
    parser.add_argument("--latency", type=float, default=0.05, help="seconds before every answer")
    parser.add_argument("--report-delay", type=float, default=2.0, help="seconds until a report is ready")
    return parser.parse_args()


@contextmanager
def _simulator(options: argparse.Namespace) -> Any:
    """A simulator in a process of its own; yields its URL, and a dict that its counters are put into at the end."""
    command = [sys.executable, "-m", "scanner.simulator"]
    for name in ("accounts", "users", "latency", "report_delay"):
        command += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    counters: dict[str, Any] = {}
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip(), counters
        process.send_signal(signal.SIGTERM)
        counters.update(json.loads(process.communicate(timeout=30)[0]))
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _measure(name: str, command: list[str], codes: tuple[int, ...], options: argparse.Namespace) -> Measurement:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    nothing = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull, "NO_PROXY": "127.0.0.1"}
    with _simulator(options) as (url, counters):
        environment = (
            clean | EXAMPLE_CREDENTIALS | nothing | {"AWS_ENDPOINT_URL": url, "AWS_DEFAULT_REGION": "us-east-1"}
        )
        started = time.monotonic()
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - started
        code = process.returncode = os.waitstatus_to_exitcode(status)
    if code not in codes:
        raise SystemExit(f"{name} ended with exit code {code}")
    return Measurement(
        name,
        wall,
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss / 1024,
        counters["connections"],
        counters["requests"],
    )


def _show(results: list[Measurement], options: argparse.Namespace) -> None:
    ours = results[0]
    table = Table(
        title=f"{options.accounts} accounts of {options.users} users, {options.latency * 1000:.0f} ms latency, "
        f"report ready after {options.report_delay:g} s"
    )
    headings = ("", "wall s", "× ours", "CPU s", "× ours", "peak MB", "connections", "requests", "per account")
    for position, heading in enumerate(headings):
        table.add_column(heading, justify="right" if position else "left")
    for result in results:
        table.add_row(
            result.name,
            f"{result.wall:.1f}",
            f"{result.wall / ours.wall:.1f}",
            f"{result.cpu:.1f}",
            f"{result.cpu / ours.cpu:.1f}",
            f"{result.memory:.0f}",
            str(result.connections),
            str(sum(result.requests.values())),
            f"{result.account_requests / options.accounts:.2f}",
        )
    console = Console(width=140)
    console.print(table)
    console.print(
        f"Python {platform.python_version()}, {os.cpu_count()} cores. Requests are all that were sent, "
        "the listing of the organization included; 'per account' counts AssumeRole and IAM only."
    )


if __name__ == "__main__":
    main()
