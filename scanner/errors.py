"""The exception tree. Each class knows its exit code and one line of advice.

CredauditError
├── ConfigError              config.toml or a flag is wrong                          exit 2
├── CallerError              the caller has no usable AWS credentials                exit 1
├── OrganizationError        who is in the organization could not be established     exit 1
├── EvidenceError            the run folder cannot be written, or is in use          exit 1
├── MalformedReport          one account's report cannot be read; the run goes on   (recorded)
└── AwsError                 AWS answered with an error; mapped in aws_errors.py only
    ├── AccessDenied         ├── Throttled            ├── NotFound      ├── Unreachable
    ├── ReportNotReady       ├── ReportMissing        └── NoOrganization
    └── CredentialsRefused
        ├── ClockSkewed      the time of the signature is wrong; a later one may be right
        └── CallerExpired    the caller's own credentials have ended; the run stops (recorded)
"""

from __future__ import annotations


class CredauditError(Exception):
    """Anything credaudit refuses or fails to do: a message, one line of advice, an exit code."""

    exit_code = 1
    advice = ""

    def __init__(self, message: str, advice: str | None = None) -> None:
        super().__init__(message)
        if advice is not None:
            self.advice = advice


class ConfigError(CredauditError):
    """A key of config.toml or a flag is unknown, or has a value it cannot have."""

    exit_code = 2
    advice = "config.example.toml explains every key."


class CallerError(CredauditError):
    """There are no AWS credentials to start with, or AWS does not accept them."""


class OrganizationError(CredauditError):
    """The population of accounts could not be established, so nothing was audited."""


class EvidenceError(CredauditError):
    """The run folder could not be created, locked or written."""


class MalformedReport(CredauditError):
    """A credential report is not one: empty, truncated, of another account, or without a column that is needed."""


class AwsError(CredauditError):
    """AWS answered a request with an error.

    `code` is the code on the wire, or the exception's name where no answer came; `message` is AWS's own text.
    """

    def __init__(self, action: str, code: str, message: str) -> None:
        super().__init__(f"{action}: {code}: {message}" if message else f"{action}: {code}")
        self.action = action
        self.code = code
        self.message = message

    @property
    def by_service_control_policy(self) -> bool:
        """Whether AWS says that a service control policy refused the request."""
        return "service control policy" in self.message.lower()


class AccessDenied(AwsError):
    """The principal may not do this, or may not become that role."""


class CredentialsRefused(AwsError):
    """AWS does not accept the credentials themselves: expired, unknown or wrongly signed."""


class ClockSkewed(CredentialsRefused):
    """AWS finds the time of a signature too far from its own."""


class CallerExpired(CredentialsRefused):
    """AWS no longer takes the caller's own credentials, and there are no newer ones of the same principal."""


class Throttled(AwsError):
    """AWS kept asking to slow down until the tries were used up."""


class NotFound(AwsError):
    """The user, or the account, is not there (any more)."""


class ReportNotReady(AwsError):
    """The credential report is still being generated."""


class ReportMissing(AwsError):
    """There is no credential report, or the last one has expired: generate one."""


class Unreachable(AwsError):
    """No usable answer came back: connection, time-out, truncated body, server failure."""


class NoOrganization(AwsError):
    """The caller's account is in no AWS Organization."""
