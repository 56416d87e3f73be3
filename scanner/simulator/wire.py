"""AWS's wire protocols as a server sees them: calls, answers, errors and signatures."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, unquote

from .model import FaultKind

if TYPE_CHECKING:
    from multidict import CIMultiDictProxy

XML_NAMESPACES = {
    "iam": "https://iam.amazonaws.com/doc/2010-05-08/",
    "sts": "https://sts.amazonaws.com/doc/2011-06-15/",
}
JSON_TARGET = "AWSOrganizationsV20161128"
JSON_CODES = {
    "AccessDenied": "AccessDeniedException",
    "ExpiredToken": "ExpiredTokenException",
    "IncompleteSignature": "IncompleteSignatureException",
    "InvalidAction": "UnknownOperationException",
    "InvalidClientTokenId": "UnrecognizedClientException",
    "MissingAuthenticationToken": "MissingAuthenticationTokenException",
    "ServiceFailure": "ServiceException",
    "ServiceUnavailable": "ServiceUnavailableException",
    "SignatureDoesNotMatch": "InvalidSignatureException",
    "Throttling": "TooManyRequestsException",
}
"""The JSON services have other names for the errors that the query services share."""

SIGNATURE_LIFETIME = timedelta(minutes=5)
"""How far a signature's date may be off AWS's clock."""

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 "
    r"Credential=(?P<key_id>\w+)/(?P<date>\d{8})/(?P<region>[\w-]+)/(?P<service>[\w-]+)/aws4_request, ?"
    r"SignedHeaders=(?P<signed_headers>[\w;-]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)
_ILLEGAL_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_XML_REFERENCES = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\t": "&#x9;", "\n": "&#xA;", "\r": "&#xD;"}
)


class AwsError(Exception):
    """An error answer, under the name that the query services give it."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        """Keep what the answer will say."""
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """One HTTP request, nothing decoded."""

    method: str
    target: str
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def is_json(self) -> bool:
        """Whether it speaks JSON 1.1; the query protocol otherwise."""
        return "X-Amz-Target" in self.headers


@dataclass(frozen=True, slots=True)
class Authorization:
    """The parts of an `Authorization` header."""

    key_id: str
    date: str
    region: str
    service: str
    signed_headers: str
    signature: str


@dataclass(frozen=True, slots=True)
class Call:
    """What a request asks for; every parameter as text."""

    service: str
    action: str
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP response, and what goes wrong with it on the way; status 0 stands for no response at all."""

    status: int
    body: bytes
    content_type: str
    fault: FaultKind | None = None


NO_ANSWER = Answer(0, b"", "")


def parse_authorization(request: ReceivedRequest) -> Authorization:
    """Return the request's credential scope and signature."""
    header = request.headers.get("Authorization")
    if header is None:
        raise AwsError("MissingAuthenticationToken", "Request is missing Authentication Token", 403)
    match = _AUTHORIZATION.fullmatch(header)
    if match is None:
        raise AwsError("IncompleteSignature", "Authorization header is not a valid AWS4-HMAC-SHA256 one", 400)
    return Authorization(**match.groupdict())


def parse_call(request: ReceivedRequest, service: str) -> Call:
    """Return the operation and its parameters, for the service named in the credential scope."""
    target = request.headers.get("X-Amz-Target")
    if target is not None:
        return _parse_json_call(target, request.body, service)
    if service not in XML_NAMESPACES:
        raise AwsError("SignatureDoesNotMatch", "Credential should be scoped to correct service.", 403)
    form = request.body.decode(errors="replace") or request.target.partition("?")[2]
    parameters = dict(parse_qsl(form, keep_blank_values=True))
    action = parameters.pop("Action", "")
    parameters.pop("Version", None)
    return Call(service, action, parameters)


def _parse_json_call(target: str, body: bytes, service: str) -> Call:
    prefix, _, action = target.partition(".")
    if service != "organizations" or prefix != JSON_TARGET:
        raise AwsError("SignatureDoesNotMatch", "Credential should be scoped to correct service.", 403)
    try:
        document = json.loads(body or b"{}")
    except ValueError as error:
        raise AwsError("SerializationException", "The body is not JSON") from error
    if not isinstance(document, dict):
        raise AwsError("SerializationException", "Start of structure expected")
    return Call(service, action, {name: str(value) for name, value in document.items()})


@lru_cache(maxsize=1024)  # more than the sessions that are in use at one time
def signing_key(secret: str, date: str, region: str, service: str) -> bytes:
    """Derive the key that signs one day's requests to one service."""
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def verify_signature(request: ReceivedRequest, authorization: Authorization, key: bytes) -> None:
    """Raise unless the key made the request's Signature Version 4."""
    moment = request.headers.get("X-Amz-Date", "")
    names = authorization.signed_headers.split(";")
    covered = {"host", "x-amz-date"} <= set(names) and all(name in request.headers for name in names)
    if not covered or not moment.startswith(authorization.date):
        raise _wrong_signature()
    scope = f"{authorization.date}/{authorization.region}/{authorization.service}/aws4_request"
    digest = hashlib.sha256(_canonical_request(request, names).encode()).hexdigest()
    expected = hmac.new(key, f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{digest}".encode(), "sha256").hexdigest()
    if not hmac.compare_digest(expected, authorization.signature):
        raise _wrong_signature()


def verify_age(request: ReceivedRequest, now: datetime) -> None:
    """Raise unless the request was signed within five minutes of AWS's time."""
    moment = request.headers["X-Amz-Date"]
    try:
        signed = datetime.fromisoformat(moment)
        age = now.replace(microsecond=0) - signed
    except (TypeError, ValueError) as error:
        raise _wrong_signature() from error
    if age > SIGNATURE_LIFETIME:
        bound = f"earlier than {_basic_time(now - SIGNATURE_LIFETIME)} ({_basic_time(now)} - 5 min.)"
        raise AwsError("SignatureDoesNotMatch", f"Signature expired: {moment} is now {bound}", 403)
    if age < -SIGNATURE_LIFETIME:
        bound = f"later than {_basic_time(now + SIGNATURE_LIFETIME)} ({_basic_time(now)} + 5 min.)"
        raise AwsError("SignatureDoesNotMatch", f"Signature not yet current: {moment} is still {bound}", 403)


def _basic_time(moment: datetime) -> str:
    return moment.strftime("%Y%m%dT%H%M%SZ")


def _wrong_signature() -> AwsError:
    message = "The request signature we calculated does not match the signature you provided."
    return AwsError("SignatureDoesNotMatch", message, 403)


def _canonical_request(request: ReceivedRequest, names: list[str]) -> str:
    path, _, query = request.target.partition("?")
    headers = "".join(f"{name}:{' '.join(','.join(request.headers.getall(name)).split())}\n" for name in names)
    digest = hashlib.sha256(request.body).hexdigest()
    parts = (request.method, quote(path, safe="/~"), _canonical_query(query), headers, ";".join(names), digest)
    return "\n".join(parts)


def _canonical_query(query: str) -> str:
    if not query:
        return ""
    pairs = (pair.partition("=") for pair in query.split("&"))
    encoded = [(quote(unquote(name), safe="~"), quote(unquote(value), safe="~")) for name, _, value in pairs]
    return "&".join(f"{name}={value}" for name, value in sorted(encoded))


def xml_text(text: str) -> str:
    """Escape text for XML 1.0, without the characters that it cannot carry at all."""
    return _ILLEGAL_IN_XML.sub("", text).translate(_XML_REFERENCES)


def xml_time(moment: datetime) -> str:
    """Write a moment as the query services do."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def query_answer(call: Call, result: str, request_id: str) -> Answer:
    """Wrap the inner XML of a result."""
    namespace, action = XML_NAMESPACES[call.service], call.action
    body = (
        f'<{action}Response xmlns="{namespace}"><{action}Result>{result}</{action}Result>'
        f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{action}Response>"
    )
    return Answer(200, body.encode(), "text/xml")


def json_answer(document: Mapping[str, object]) -> Answer:
    """Write a JSON 1.1 result."""
    return Answer(200, json.dumps(document).encode(), "application/x-amz-json-1.1")


def error_answer(error: AwsError, is_json: bool, service: str, request_id: str) -> Answer:
    """Write an error in the protocol of the request."""
    if is_json:
        body = json.dumps({"__type": JSON_CODES.get(error.code, error.code), "Message": error.message})
        # Every client error of a JSON 1.1 service is a 400.
        status = error.status if error.status >= 500 else 400
        return Answer(status, body.encode(), "application/x-amz-json-1.1")
    namespace = XML_NAMESPACES.get(service, XML_NAMESPACES["sts"])
    blame = "Sender" if error.status < 500 else "Receiver"
    text = (
        f'<ErrorResponse xmlns="{namespace}"><Error><Type>{blame}</Type><Code>{xml_text(error.code)}</Code>'
        f"<Message>{xml_text(error.message)}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>"
    )
    return Answer(error.status, text.encode(), "text/xml")
