"""The one mapping of the AWS library's errors to ours."""

from __future__ import annotations

import aiohttp
import botocore.exceptions as boto
from botocore.parsers import ResponseParserError

from scanner.errors import (
    AccessDenied,
    AwsError,
    ClockSkewed,
    CredentialsRefused,
    NoOrganization,
    NotFound,
    ReportMissing,
    ReportNotReady,
    Throttled,
    Unreachable,
)

ERROR_CLASSES: dict[str, type[AwsError]] = {
    "AccessDenied": AccessDenied,
    "AccessDeniedException": AccessDenied,
    "UnauthorizedOperation": AccessDenied,
    "OptInRequired": AccessDenied,
    "RegionDisabledException": AccessDenied,
    "AccountNotRegisteredException": AccessDenied,
    "AWSOrganizationsNotInUseException": NoOrganization,
    "ExpiredToken": CredentialsRefused,
    "ExpiredTokenException": CredentialsRefused,
    "IncompleteSignature": CredentialsRefused,
    "InvalidClientTokenId": CredentialsRefused,
    "InvalidSignatureException": CredentialsRefused,
    "MissingAuthenticationToken": CredentialsRefused,
    "RequestExpired": ClockSkewed,
    "RequestTimeTooSkewed": ClockSkewed,
    "SignatureDoesNotMatch": CredentialsRefused,
    "UnrecognizedClientException": CredentialsRefused,
    "AccountNotFoundException": NotFound,
    "NoSuchEntity": NotFound,
    "ReportInProgress": ReportNotReady,
    "ReportExpired": ReportMissing,
    "ReportNotPresent": ReportMissing,
    "BandwidthLimitExceeded": Throttled,
    "LimitExceeded": Throttled,  # of GenerateCredentialReport; no botocore retry mode knows it
    "LimitExceededException": Throttled,
    "PriorRequestNotComplete": Throttled,
    "RequestLimitExceeded": Throttled,
    "RequestThrottled": Throttled,
    "RequestThrottledException": Throttled,
    "SlowDown": Throttled,
    "ThrottledException": Throttled,
    "Throttling": Throttled,
    "ThrottlingException": Throttled,
    "TooManyRequestsException": Throttled,
    "ConcurrentModificationException": Unreachable,
    "InternalError": Unreachable,
    "InternalFailure": Unreachable,
    "RequestTimeout": Unreachable,
    "RequestTimeoutException": Unreachable,
    "ServiceException": Unreachable,
    "ServiceFailure": Unreachable,
    "ServiceUnavailable": Unreachable,
}
"""Code on the wire (IAM's have no `Exception` suffix) → our class. Any other with a 5xx status is Unreachable."""

CREDENTIAL_ERRORS = (boto.NoCredentialsError, boto.CredentialRetrievalError, boto.TokenRetrievalError, boto.SSOError)
SKEWED = ("Signature expired", "Signature not yet current")
"""How AWS begins to say that the time of a signature is off; the code is that of any wrong signature."""
UNREADABLE = "unreadable answer"
NETWORK_ERRORS = (
    boto.HTTPClientError,
    boto.ConnectionError,
    boto.ResponseStreamingError,
    ResponseParserError,
    aiohttp.ClientError,
    TimeoutError,
    ConnectionError,
)


def map_error(action: str, error: Exception) -> AwsError:
    """Our class for what AWS answered, what the network did, what the credentials lack, or what cannot be read."""
    if isinstance(error, boto.ClientError):
        code = str(error.response.get("Error", {}).get("Code", "Unknown"))
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        fallback = Unreachable if status >= 500 else AwsError
        message = str(error.response.get("Error", {}).get("Message", ""))
        if message.startswith(SKEWED):
            return ClockSkewed(action, code, first_line(message))
        return ERROR_CLASSES.get(code, fallback)(action, code, first_line(message))
    if isinstance(error, CREDENTIAL_ERRORS):
        return CredentialsRefused(action, type(error).__name__, first_line(str(error)))
    if isinstance(error, NETWORK_ERRORS):
        return Unreachable(action, type(error).__name__, "")
    if isinstance(error, boto.BotoCoreError):
        return AwsError(action, type(error).__name__, first_line(str(error)))
    return Unreachable(action, UNREADABLE, f"{type(error).__name__}: {first_line(str(error))}")


def first_line(message: str) -> str:
    """The first line only: SignatureDoesNotMatch goes on with the canonical request, session token included."""
    lines = message.splitlines()
    return lines[0][:500] if lines else ""
