"""A simulator, and the clients that call it over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPMessage, IncompleteRead
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

import botocore.session
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError, ConnectionClosedError
from botocore.parsers import ResponseParserError

from scanner.simulator import (
    BASE_CREDENTIALS,
    FaultKind,
    Faults,
    SimulatedAccount,
    SimulatedKey,
    SimulatedOrganization,
    Simulator,
    run_in_thread,
)

NOW = datetime(2026, 11, 23, 6, 15, tzinfo=UTC)
CREATED = NOW - timedelta(days=200)
MANAGEMENT = "111122223333"
CALLER = "012345678901"
MEMBER = "444455556666"
READ_POLICY = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["iam:GenerateCredentialReport", "iam:GetCredentialReport"],
                "Resource": "*",
            }
        ],
    }
)
SESSION = botocore.session.Session()


class Keys(NamedTuple):
    access_key_id: str
    secret: str
    token: str | None = None


BASE = Keys(*BASE_CREDENTIALS)


class Clock:
    """A clock that tests move by hand."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


def key(number: int, **fields: Any) -> SimulatedKey:
    return SimulatedKey(f"AKIAEXAMPLE{number:09d}", fields.pop("created", CREATED), **fields)


def member(account_id: str = MEMBER, **fields: Any) -> SimulatedAccount:
    return SimulatedAccount(account_id, "member", "member@example.com", **fields)


def organization(*members: SimulatedAccount, **fields: Any) -> SimulatedOrganization:
    management = SimulatedAccount(MANAGEMENT, "management", "management@example.com")
    caller = SimulatedAccount(CALLER, "security", "security@example.com", ou_path=("Security",))
    return SimulatedOrganization("o-exampleorg1", MANAGEMENT, CALLER, (management, caller, *members), **fields)


class Api:
    """A simulator and the clients to call it with."""

    def __init__(self, simulator: Simulator, endpoint_url: str, certificate: Path | None = None) -> None:
        self.simulator = simulator
        self.endpoint_url = endpoint_url
        self.certificate = certificate
        self.clients: list[Any] = []

    def client(self, service: str, keys: Keys = BASE) -> Any:
        client = SESSION.create_client(
            service,
            region_name="us-east-1",
            endpoint_url=self.endpoint_url,
            aws_access_key_id=keys.access_key_id,
            aws_secret_access_key=keys.secret,
            aws_session_token=keys.token,
            verify=None if self.certificate is None else str(self.certificate),
            config=Config(retries={"total_max_attempts": 1, "mode": "standard"}),
        )
        self.clients.append(client)
        return client

    def assume(self, account_id: str = MEMBER, role: str = "CredentialAudit", **parameters: Any) -> Keys:
        answer = self.client("sts").assume_role(
            RoleArn=f"arn:aws:iam::{account_id}:role/{role}", RoleSessionName="test", **parameters
        )
        credentials = answer["Credentials"]
        return Keys(credentials["AccessKeyId"], credentials["SecretAccessKey"], credentials["SessionToken"])

    def iam(self, account_id: str = MEMBER, **parameters: Any) -> Any:
        return self.client("iam", self.assume(account_id, **parameters))


@contextmanager
def serve(simulated: SimulatedOrganization, faults: Faults | None = None, **fields: Any) -> Iterator[Api]:
    simulator = Simulator(simulated, faults, **fields)
    with run_in_thread(simulator) as endpoint_url:
        api = Api(simulator, endpoint_url)
        try:
            yield api
        finally:
            for client in api.clients:
                client.close()


@contextmanager
def refused(code: str, status: int, message: str = "") -> Iterator[None]:
    with pytest.raises(ClientError) as caught:
        yield
    answer: Any = caught.value.response
    assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)
    assert message in answer["Error"]["Message"]


class Answer(NamedTuple):
    """What came over the wire, whether or not it is all that should have come."""

    status: int
    headers: HTTPMessage
    body: bytes


def post(
    api: Api, service: str, body: str, headers: dict[str, str] | None = None, auth: type[SigV4Auth] = SigV4Auth
) -> Answer:
    """Send a signed request past botocore, which hides what really came."""
    request = AWSRequest("POST", f"{api.endpoint_url}/", data=body.encode(), headers=headers or {})
    auth(Credentials(*BASE_CREDENTIALS), service, "us-east-1").add_auth(request)
    with closing(HTTPConnection(api.endpoint_url.removeprefix("http://"))) as connection:
        connection.request("POST", "/", body.encode(), dict(request.headers))
        answer = connection.getresponse()
        try:
            received = answer.read()
        except IncompleteRead as error:
            received = error.partial
    return Answer(answer.status, answer.headers, received)


IDENTITY = "Action=GetCallerIdentity&Version=2011-06-15"
LISTING = {"X-Amz-Target": "AWSOrganizationsV20161128.ListAccounts", "Content-Type": "application/x-amz-json-1.1"}


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Write a certificate for this machine that signs itself, and its key."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    hosts = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


@contextmanager
def troubled(
    *kinds: FaultKind, simulated: SimulatedOrganization | None = None, clock: Clock | None = None, **fields: Any
) -> Iterator[Api]:
    """Serve with faults of these kinds at every call that they apply to."""
    options = {} if clock is None else {"clock": clock}
    faults = Faults(**{"fault_rate": 1.0, "kinds": kinds, "slow_seconds": 0.0, **fields})
    with serve(simulated or organization(member()), faults, **options) as api:
        yield api


def outcomes(api: Api, calls: int) -> list[str]:
    return [outcome(api.client("sts").get_caller_identity) for _ in range(calls)]


def outcome(call: Any) -> str:
    try:
        call()
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    except ConnectionClosedError:
        return "reset"
    except ResponseParserError:
        return "cut"
    return "ok"
