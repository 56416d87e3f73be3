"""Runs a contender in a process of its own, against a simulated organization in another, and measures both."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PER_ACCOUNT = ("sts:AssumeRole", "iam:GenerateCredentialReport", "iam:GetCredentialReport")
LOOK_UP = "iam:ListAccessKeys"
EXAMPLE_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
}


@dataclass(frozen=True, slots=True)
class Organization:
    """What is simulated: accounts, users of each, and how AWS answers. Seconds."""

    accounts: int
    users: int = 20
    failing_share: float = 0.0
    """Of the users have a key older than 90 days."""
    latency: float = 0.05
    report_delay: float = 2.0
    fault_rate: float = 0.0

    def arguments(self) -> list[str]:
        """For the simulator's command; AWS's documented quotas are in force, and accounts tell their paths."""
        named = ("accounts", "users", "failing_share", "latency", "report_delay", "fault_rate")
        options = [f"--{name.replace('_', '-')}={getattr(self, name)}" for name in named]
        return [*options, "--quotas=on", "--paths"]


@dataclass(frozen=True, slots=True)
class Measurement:
    """One contender's run: seconds, seconds of CPU, MB of peak memory, TCP connections, requests by action."""

    name: str
    organization: Organization
    wall: float
    cpu: float
    memory: float
    connections: int
    requests: dict[str, int]
    phases: dict[str, dict[str, float]] = field(default_factory=dict)
    """Of credaudit: phase → its seconds and cpu_seconds."""

    @property
    def account_requests(self) -> float:
        """Requests for each account: AssumeRole and the report's, not the key look-ups, not the listing."""
        return sum(self.requests.get(action, 0) for action in PER_ACCOUNT) / self.organization.accounts

    def per_account_ms(self, phase: str) -> float:
        """Milliseconds of CPU that a phase took for each account."""
        return self.phases[phase]["cpu_seconds"] / self.organization.accounts * 1000

    def per_user_us(self, *phases: str) -> float:
        """Microseconds of CPU that phases took for each user, root users included."""
        users = self.organization.accounts * (self.organization.users + 1)
        return sum(self.phases[phase]["cpu_seconds"] for phase in phases) / users * 1_000_000


class Bench:
    """Measures contenders one after the other, over TLS on loopback."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._certificate, self._key = _certificate(folder)

    def credaudit(self, organization: Organization, *arguments: str) -> Measurement:
        """A whole scan by the installed command, with all its reports."""
        log = self._folder / "credaudit.log"
        with tempfile.TemporaryDirectory(dir=self._folder) as runs:
            command = [str(Path(sys.executable).with_name("credaudit")), "scan", "--log-format", "json"]
            measured = self.measure("credaudit", [*command, "--runs-dir", runs, *arguments], organization, log, (0, 3))
        last = json.loads(log.read_text(encoding="utf-8").splitlines()[-1])
        assert last["event"] == "run_finished", last
        assert last["complete"], last
        return Measurement(**{**_as_dict(measured), "phases": last["phases"]})

    def boto3(self, organization: Organization, style: str, threads: int) -> Measurement:
        """The plain script, with sessions or clients of its accounts' own."""
        name = f"boto3, {threads} threads, a {style[:-1]} per account"
        command = [sys.executable, "-m", "benchmarks.boto3_threads", style, str(threads)]
        return self.measure(name, command, organization, Path(os.devnull), (0,))

    def measure(
        self, name: str, command: Sequence[str], organization: Organization, log: Path, codes: tuple[int, ...]
    ) -> Measurement:
        """Run one command to its end against a simulator of its own."""
        with self._simulator(organization) as (url, counters):
            started = time.monotonic()
            with log.open("w") as errors:
                process = subprocess.Popen(
                    command,
                    env=self._environment(url),
                    cwd=Path(__file__).parent.parent,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                )
                _, status, usage = os.wait4(process.pid, 0)
            wall = time.monotonic() - started
            code = process.returncode = os.waitstatus_to_exitcode(status)
        if code not in codes:
            raise SystemExit(f"{name} ended with exit code {code}; {log}")
        return Measurement(
            name,
            organization,
            wall,
            usage.ru_utime + usage.ru_stime,
            usage.ru_maxrss / 1024,
            counters["connections"],
            counters["requests"],
        )

    def _environment(self, url: str) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return (
            clean
            | EXAMPLE_CREDENTIALS
            | {
                "AWS_CONFIG_FILE": os.devnull,
                "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
                "AWS_CA_BUNDLE": str(self._certificate),
                "AWS_ENDPOINT_URL": url,
                "AWS_DEFAULT_REGION": "us-east-1",
                "NO_PROXY": "127.0.0.1",
            }
        )

    @contextmanager
    def _simulator(self, organization: Organization) -> Iterator[tuple[str, dict[str, Any]]]:
        """A simulator in a process of its own; yields its URL, and a dict that its counters are put into at the end."""
        tls = [f"--tls-certificate={self._certificate}", f"--tls-key={self._key}"]
        command = [sys.executable, "-m", "scanner.simulator", *organization.arguments(), *tls]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        counters: dict[str, Any] = {}
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip(), counters
            process.send_signal(signal.SIGTERM)
            counters.update(json.loads(process.communicate(timeout=60)[0]))
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def _as_dict(measured: Measurement) -> dict[str, Any]:
    return {name: getattr(measured, name) for name in Measurement.__slots__}


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A throw-away certificate of 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "simulated AWS")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths
