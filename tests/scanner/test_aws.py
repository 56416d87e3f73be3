"""The one place that knows the AWS library: errors, dates, secrets."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import aiohttp
import botocore.exceptions as boto
import botocore.session
import pytest
from botocore.parsers import ResponseParserError

from scanner import errors
from scanner.actions import CALLER_ACTIONS, MEMBER_ACTIONS
from scanner.aws import Aws, CallRecord, parse_timestamp
from scanner.aws_errors import ERROR_CLASSES, map_error
from scanner.config import Config
from scanner.signing import RoleSession

WRONG_REQUEST = {
    # A scan sends none of these requests, or it would be a defect: it becomes `error` with AWS's own words.
    "ConstraintViolationException",
    "InvalidInputException",
    "MalformedPolicyDocument",
    "PackedPolicyTooLarge",
    "ParentNotFoundException",
    "UnsupportedAPIEndpointException",
    "InvalidInput",
}


def client_error(code: str, status: int = 400, message: str = "") -> boto.ClientError:
    answer = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return boto.ClientError(answer, "Operation")


def test_every_modelled_error_of_the_actions_used_is_mapped() -> None:
    session = botocore.session.get_session()
    seen = set()
    for action in (*MEMBER_ACTIONS, *CALLER_ACTIONS):
        service, operation = action.split(":")
        for shape in session.get_service_model(service).operation_model(operation).error_shapes:
            code = shape.metadata.get("error", {}).get("code", shape.name)
            seen.add(code)
            assert code in ERROR_CLASSES or code in WRONG_REQUEST, f"{action} may answer {code}"
    assert {"ReportNotPresent", "ReportInProgress", "ReportExpired", "LimitExceeded", "ServiceFailure"} <= seen


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (client_error("LimitExceeded", 409), errors.Throttled),
        (client_error("Throttling"), errors.Throttled),
        (client_error("TooManyRequestsException"), errors.Throttled),
        (client_error("ReportInProgress", 404), errors.ReportNotReady),
        (client_error("ReportExpired", 410), errors.ReportMissing),
        (client_error("ReportNotPresent", 410), errors.ReportMissing),
        (client_error("AccessDenied", 403), errors.AccessDenied),
        (client_error("ExpiredToken", 403), errors.CredentialsRefused),
        (client_error("NoSuchEntity", 404), errors.NotFound),
        (client_error("SomethingNew", 503), errors.Unreachable),
        (client_error("SomethingNew", 400), errors.AwsError),
        (boto.EndpointConnectionError(endpoint_url="x"), errors.Unreachable),
        (boto.ConnectionClosedError(endpoint_url="x"), errors.Unreachable),
        (boto.ReadTimeoutError(endpoint_url="x"), errors.Unreachable),
        (boto.SSLError(endpoint_url="x", error="y"), errors.Unreachable),
        (aiohttp.ClientPayloadError(), errors.Unreachable),
        (ResponseParserError("half an answer"), errors.Unreachable),
        (ConnectionResetError(), errors.Unreachable),
        (boto.NoCredentialsError(), errors.CredentialsRefused),
        (boto.UnauthorizedSSOTokenError(), errors.CredentialsRefused),
        (boto.SSOTokenLoadError(error_msg="x"), errors.CredentialsRefused),
    ],
    ids=lambda value: str(value)[:60] if isinstance(value, Exception) else None,
)
def test_errors_of_the_library_become_ours(error: Exception, expected: type[errors.AwsError]) -> None:
    assert type(map_error("iam:GetCredentialReport", error)) is expected


def test_only_the_first_line_of_a_message_is_kept() -> None:
    # SignatureDoesNotMatch goes on with the canonical request, which holds the session token.
    mapped = map_error(
        "sts:AssumeRole", client_error("SignatureDoesNotMatch", 403, "It does not match.\nx-amz-security-token:IQoJ")
    )
    assert mapped is not None
    assert "IQoJ" not in str(mapped)


def test_secrets_are_in_no_repr() -> None:
    session = RoleSession("AKIAIOSFODNN7EXAMPLE", "the-secret", "the-token", datetime.now(UTC))
    assert "the-secret" not in repr(session)
    assert "the-token" not in repr(session)


def test_an_action_that_is_not_declared_is_refused_before_it_is_sent() -> None:
    with pytest.raises(ValueError, match="not a declared action"):
        asyncio.run(Aws(Config()).call("iam:CreateAccessKey", CallRecord()))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-11-23T06:15:00Z", datetime(2026, 11, 23, 6, 15, tzinfo=UTC)),
        ("2026-11-23T08:15:00+02:00", datetime(2026, 11, 23, 6, 15, tzinfo=UTC)),
        ("2026-11-23T06:15:00.250Z", datetime(2026, 11, 23, 6, 15, 0, 250_000, tzinfo=UTC)),
        (1795414500, datetime(2026, 11, 23, 6, 15, tzinfo=UTC)),
        (1795414500.0, datetime(2026, 11, 23, 6, 15, tzinfo=UTC)),
        ("Mon, 23 Nov 2026 06:15:00 GMT", datetime(2026, 11, 23, 6, 15, tzinfo=UTC)),
    ],
)
def test_dates_of_every_protocol(value: Any, expected: datetime) -> None:
    assert parse_timestamp(value) == expected
