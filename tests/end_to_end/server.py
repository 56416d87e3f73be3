"""moto as an AWS that credaudit can be run against, and around it, at the wire, what AWS does and moto does not."""

from __future__ import annotations

import base64
import io
import json
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

import boto3
from moto.iam.models import get_account_id_from, iam_backends
from moto.moto_api._internal import mock_random, moto_api_backend
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

CALLER_ACCOUNT = "123456789012"
"""Where moto places every access key that it does not know: the management account."""
CALLER = {
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
}
ROLE = "CredentialAudit"
"""The role that the scan assumes."""
OTHER_ROLE = "OrganizationAccountAccessRole"
"""The role that AWS makes in each account it creates; the plan is planted through it."""
PAGE = 20
MOTO_GENERATED = b"2015-02-02T20:02:02Z"
SIGNING_KEY = re.compile(r"Credential=(\w+)/")
ROLE_ARN = re.compile(r"arn:aws:iam::(\d{12}):role/(.+)")


@dataclass(frozen=True)
class Request:
    """One request that reached the server."""

    action: str
    account_id: str
    """Whose credentials signed it; of AssumeRole: which account is to be entered."""
    parameters: dict[str, str]


@dataclass
class Aws:
    """A WSGI application: moto, and around it what AWS does and moto does not."""

    dates_reports_now: bool = True
    """Whether GeneratedTime is the present; moto's own is always 2015-02-02."""
    requests: list[Request] = field(default_factory=list)
    served: dict[str, tuple[bytes, datetime]] = field(default_factory=dict)
    """Account id → the last credential report sent, and its GeneratedTime."""
    url: str = ""
    _moto: Any = field(default_factory=lambda: DomainDispatcherApplication(create_backend_app))

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        request = _parse(environ, body)
        self.requests.append(request)
        if request.action == "AssumeRole" and not _role_exists(request.parameters["RoleArn"]):
            return _answer(start_response, 403, "text/xml", _access_denied(request.parameters["RoleArn"]))
        if request.action == "ListAccounts":
            # AWS lists 20 accounts a page at most; moto's page is 100.
            body = json.dumps({"MaxResults": PAGE, **request.parameters}).encode()
        environ |= {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        if request.action != "GetCredentialReport":
            return self._moto(environ, start_response)
        status, kind, answer = self._ask_moto(environ)
        if self.dates_reports_now:
            # moto dates every report 2015-02-02, which no rule of freshness may accept.
            answer = answer.replace(MOTO_GENERATED, f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}".encode())
        if status == HTTPStatus.OK:
            content = base64.b64decode(re.search(rb"<Content>(.*?)</Content>", answer, re.DOTALL)[1])
            generated = re.search(rb"<GeneratedTime>(.*?)</GeneratedTime>", answer)[1].decode()
            self.served[request.account_id] = (content, datetime.fromisoformat(generated))
        return _answer(start_response, status, kind, answer)

    def _ask_moto(self, environ: dict[str, Any]) -> tuple[int, str, bytes]:
        head: list[Any] = []
        chunks = self._moto(environ, lambda status, headers, exc_info=None: head.extend((status, dict(headers))))
        try:
            return int(head[0][:3]), head[1]["Content-Type"], b"".join(chunks)
        finally:
            chunks.close()

    def client(self, service: str, **credentials: str) -> AbstractContextManager[Any]:
        """A boto3 client of this server; without credentials it is the caller's."""
        own = {name.lower(): value for name, value in CALLER.items()}
        client = boto3.client(service, endpoint_url=self.url, region_name="us-east-1", **(own | credentials))
        return closing(client)

    @contextmanager
    def iam_of(self, account_id: str) -> Iterator[Any]:
        """IAM of an account, entered through the role that AWS leaves there; the caller's own in the caller's."""
        credentials = {}
        if account_id != CALLER_ACCOUNT:
            with self.client("sts") as sts:
                answer = sts.assume_role(
                    RoleArn=f"arn:aws:iam::{account_id}:role/{OTHER_ROLE}", RoleSessionName="plant"
                )["Credentials"]
            credentials = {
                "aws_access_key_id": answer["AccessKeyId"],
                "aws_secret_access_key": answer["SecretAccessKey"],
                "aws_session_token": answer["SessionToken"],
            }
        with self.client("iam", **credentials) as iam:
            yield iam


def _parse(environ: dict[str, Any], body: bytes) -> Request:
    if target := environ.get("HTTP_X_AMZ_TARGET"):
        action, parameters = target.split(".")[1], json.loads(body or b"{}")
    else:
        form = parse_qs(body.decode(), keep_blank_values=True)
        parameters = {name: values[0] for name, values in form.items()}
        action = parameters["Action"]
    signer = get_account_id_from(SIGNING_KEY.search(environ["HTTP_AUTHORIZATION"])[1])
    entered = ROLE_ARN.fullmatch(parameters.get("RoleArn", ""))
    return Request(action, entered[1] if entered else signer, parameters)


def _role_exists(arn: str) -> bool:
    """Moto lets anyone assume a role that is not there; AWS does not."""
    account_id, name = ROLE_ARN.fullmatch(arn).groups()
    return any(role.name == name for role in iam_backends[account_id]["aws"].get_roles())


def _access_denied(arn: str) -> bytes:
    """What AWS says to a caller who may not assume a role, and also where there is no such role."""
    return (
        '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>'
        f"<Code>AccessDenied</Code><Message>User: arn:aws:iam::{CALLER_ACCOUNT}:user/auditor is not authorized to "
        f"perform: sts:AssumeRole on resource: {arn}</Message></Error>"
        "<RequestId>01234567-89ab-cdef-0123-456789abcdef</RequestId></ErrorResponse>"
    ).encode()


def _answer(start_response: Callable[..., Any], status: int, kind: str, body: bytes) -> list[bytes]:
    headers = [("Content-Type", kind), ("Content-Length", str(len(body)))]
    start_response(f"{status} {HTTPStatus(status).phrase}", headers)
    return [body]


class _Silent(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:
        """A line for every request would bury what a failing test has to say."""


@contextmanager
def serve() -> Iterator[Aws]:
    """Moto's server on a free port of loopback, empty at first."""
    moto_api_backend.reset()
    mock_random.seed(20250630)  # the same account ids and key ids each time
    aws = Aws()
    server = make_server("127.0.0.1", 0, aws, threaded=True, request_handler=_Silent)
    aws.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield aws
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        moto_api_backend.reset()
