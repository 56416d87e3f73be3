"""Everything that knows the AWS library: clients, credentials per task, rates, retries, and the mapping of errors.

One client per service serves the whole run: a client per account would cost a TLS context, a connection pool and
15 ms of CPU each. The IAM client signs with the credentials of the account whose request is being made; they travel
in a context variable, so that no two tasks can see each other's.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import random
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self
from urllib.parse import urlsplit

import aioboto3
import aiobotocore.session
import botocore.exceptions as boto
from aiobotocore.credentials import AioCredentials
from asyncio_throttle.throttler import Throttler
from botocore import xform_name
from botocore.config import Config as BotoConfig
from botocore.credentials import ReadOnlyCredentials
from botocore.utils import parse_timestamp as parse_any_timestamp

from scanner import __version__
from scanner.aws_errors import UNREADABLE, first_line, map_error
from scanner.config import Config
from scanner.errors import AwsError, CallerError, CredentialsRefused, Throttled, Unreachable
from scanner.models import Caller

MEMBER_ACTIONS = ("iam:GenerateCredentialReport", "iam:GetCredentialReport", "iam:ListAccessKeys")
"""All that a scan calls inside an account; the session policy allows exactly these."""

CALLER_ACTIONS = (
    "sts:GetCallerIdentity",
    "sts:AssumeRole",
    "organizations:DescribeOrganization",
    "organizations:ListAccounts",
    "organizations:ListRoots",
    "organizations:ListOrganizationalUnitsForParent",
    "organizations:ListAccountsForParent",
)
"""All that a scan calls with the caller's own credentials, or with those of the hop role."""


def _policy(actions: Iterable[str]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": list(actions), "Resource": "*"}]}


SESSION_POLICY = _policy(MEMBER_ACTIONS)
"""Goes with every AssumeRole into an account."""

LISTING_POLICY = _policy(action for action in CALLER_ACTIONS if action.startswith("organizations:"))
"""Goes with the AssumeRole of the hop role."""

ANSWER_KEYS = {
    "GetCallerIdentity": ("Account", "Arn"),
    "AssumeRole": ("Credentials",),
    "DescribeOrganization": ("Organization",),
    "ListAccounts": ("Accounts",),
    "ListRoots": ("Roots",),
    "ListAccountsForParent": ("Accounts",),
    "ListOrganizationalUnitsForParent": ("OrganizationalUnits",),
    "GenerateCredentialReport": ("State",),
    "GetCredentialReport": ("Content", "GeneratedTime"),
    "ListAccessKeys": ("AccessKeyMetadata",),
}
"""What an answer must have to be one: a proxy's sign-in page comes with status 200, and parses to nothing."""

RETRIED = (Throttled, Unreachable)
TRIES = 8
BACK_OFF_SECONDS = 0.4
BACK_OFF_CAP_SECONDS = 20.0
POOL_CONNECTIONS = 128
DEFAULT_REGION = "us-east-1"
CALLER_ARN = re.compile(r"arn:aws[a-z-]*:(iam|sts)::[0-9]{12}:.+")
LISTING_SESSION_SECONDS = 3600

# A failed refresh of the caller's credentials comes to us as an error; the library would print its traceback too.
logging.getLogger("aiobotocore").addHandler(logging.NullHandler())
logging.getLogger("botocore").addHandler(logging.NullHandler())


@dataclass(frozen=True, slots=True)
class RoleSession:
    """Temporary credentials of one role; the secrets stay out of every repr."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    expires: datetime


CALLER_SESSION = RoleSession("", "", "", datetime.max.replace(tzinfo=UTC))
"""Stands for the caller's own credentials: in the account one already is, no role can be assumed."""


@dataclass(slots=True)
class CallRecord:
    """What was sent for one account (or for the organization)."""

    attempts: int = 0
    throttles: int = 0
    request_ids: list[str] = field(default_factory=list)
    deadline: asyncio.Timeout | None = None
    """Runs while AWS is asked and waited for; stands still while the request waits for its turn here."""

    @contextmanager
    def off_the_clock(self) -> Iterator[None]:
        """Stop the deadline for the length of the block: an account must not time out in our own queue."""
        when = self.deadline.when() if self.deadline else None
        if self.deadline is None or when is None:
            yield
            return
        loop = asyncio.get_running_loop()
        began = loop.time()
        self.deadline.reschedule(None)
        try:
            yield
        finally:
            self.deadline.reschedule(when + loop.time() - began)


_signing_session: ContextVar[RoleSession] = ContextVar("signing_session")


class _TaskCredentials(AioCredentials):  # type: ignore[misc]
    """What the IAM client takes for its credentials: at each signature, those of the request being made."""

    def __init__(self, caller: Any) -> None:
        super().__init__(access_key="", secret_key="", method="credaudit")
        self._caller = caller

    async def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """Those of the session that `Aws.call` was given; a request that was given none fails here."""
        session = _signing_session.get()
        if session is CALLER_SESSION:
            return await self._caller.get_frozen_credentials()
        return ReadOnlyCredentials(session.access_key_id, session.secret_access_key, session.session_token)


class _TaskCredentialProvider:
    """The component botocore asks for credentials when it makes a client."""

    def __init__(self, caller: Any) -> None:
        self._credentials = _TaskCredentials(caller)

    async def load_credentials(self) -> _TaskCredentials:
        return self._credentials


class Rate:
    """So many calls a second in the long run, and no more than `burst` at once.

    One task at a time waits in the throttler: a thousand of them there would burn a core.
    """

    def __init__(self, calls_a_second: int, burst: int | None = None) -> None:
        burst = burst or calls_a_second
        self._throttler = Throttler(rate_limit=burst, period=burst / calls_a_second, retry_interval=0.02)
        self._turn = asyncio.Lock()

    async def wait(self) -> None:
        """Return when the next call may be sent."""
        async with self._turn:
            await self._throttler.acquire()


def _organizations_rate(calls_a_second: int) -> Rate:
    """AWS documents a burst of 12 beside 8 a second, and of 8 beside 5."""
    return Rate(calls_a_second, burst=math.ceil(calls_a_second * 1.5))


class Aws:
    """The clients of one run. Use as an async context manager; every request goes through `call`."""

    def __init__(self, config: Config) -> None:
        rates = config.scan.rates
        self._config = config
        self._rates = {
            "sts": Rate(rates.sts),
            "iam": Rate(rates.iam),
            "organizations": _organizations_rate(rates.organizations),
        }
        self._list_accounts_rate = _organizations_rate(rates.list_accounts)
        self._slots = asyncio.Semaphore(config.scan.concurrency)
        self._stack = AsyncExitStack()
        self._clients: dict[str, Any] = {}

    async def __aenter__(self) -> Self:
        try:
            await self._open_clients()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()

    @property
    def endpoints(self) -> dict[str, str]:
        """Where the requests of each service go, without any password in the address."""
        addresses = {service: urlsplit(client.meta.endpoint_url) for service, client in sorted(self._clients.items())}
        return {
            service: address._replace(netloc=address.netloc.rpartition("@")[2]).geturl()
            for service, address in addresses.items()
        }

    async def _open_clients(self) -> None:
        try:
            caller_core = _core_session(self._config.access.profile)
            caller_session = aioboto3.Session(botocore_session=caller_core)
            caller = await caller_core.get_credentials()
        except (boto.BotoCoreError, ValueError, OSError) as error:
            raise _no_credentials(error) from None
        if caller is None:
            raise _no_credentials(None)
        # AWS_REGION is what the CLI, Lambda and the other SDKs heed first; this one knows AWS_DEFAULT_REGION only.
        region = os.environ.get("AWS_REGION") or caller_session.region_name or DEFAULT_REGION
        member_core = _core_session(self._config.access.profile)
        member_core.register_component("credential_provider", _TaskCredentialProvider(caller))
        member_session = aioboto3.Session(botocore_session=member_core)
        self._caller_session = caller_session
        self._region = region
        for service, session in (("sts", caller_session), ("organizations", caller_session), ("iam", member_session)):
            self._clients[service] = await self._open_client(session, service)

    async def _open_client(self, session: aioboto3.Session, service: str, **credentials: str) -> Any:
        settings = BotoConfig(
            # Own retries (in `call`): they hold no slot while they wait, and the ledger counts every attempt.
            retries={"mode": "standard", "total_max_attempts": 1},
            max_pool_connections=POOL_CONNECTIONS,
            connect_timeout=10,
            read_timeout=60,
            # One ready-made string: building botocore's own costs an eighth of the CPU of a request.
            user_agent=f"credaudit/{__version__} aioboto3",
        )
        client = session.client(service, region_name=self._region, config=settings, **credentials)
        try:
            return await self._stack.enter_async_context(client)
        except (boto.BotoCoreError, ValueError, OSError) as error:
            raise CallerError(
                f"no client for {service} can be made: {first_line(str(error))}",
                "Check the region, AWS_ENDPOINT_URL, and what else AWS_* variables and the AWS configuration set.",
            ) from None

    async def use_organization_role(self, session: RoleSession) -> None:
        """List the organization with these credentials (the hop role's) from now on."""
        self._clients["organizations"] = await self._open_client(
            self._caller_session,
            "organizations",
            aws_access_key_id=session.access_key_id,
            aws_secret_access_key=session.secret_access_key,
            aws_session_token=session.session_token,
        )

    async def call(
        self,
        action: str,
        record: CallRecord,
        parameters: Mapping[str, Any] | None = None,
        *,
        session: RoleSession | None = None,
        tries: int = TRIES,
    ) -> dict[str, Any]:
        """Send one declared read action, again while AWS throttles or fails, and return the answer.

        `session` signs requests to IAM. Waits between tries hold no slot. Raises the classes of `errors.AwsError`.
        """
        if action not in MEMBER_ACTIONS and action not in CALLER_ACTIONS:
            raise ValueError(f"{action} is not a declared action of a scan")
        for attempt in range(1, tries + 1):
            try:
                return await self._send(action, record, parameters or {}, session)
            except RETRIED as error:
                if isinstance(error, Throttled):
                    record.throttles += 1
                if attempt == tries:
                    raise
            await asyncio.sleep(random.uniform(0.5, 1.0) * min(BACK_OFF_CAP_SECONDS, BACK_OFF_SECONDS * 2**attempt))
        raise AssertionError("unreachable: the last try returns or raises")

    async def _send(
        self, action: str, record: CallRecord, parameters: Mapping[str, Any], session: RoleSession | None
    ) -> dict[str, Any]:
        service, operation = action.split(":")
        rate = self._list_accounts_rate if operation == "ListAccounts" else self._rates[service]
        if service == "iam":
            assert session is not None, "an IAM request must say whose credentials sign it"
            _signing_session.set(session)  # seen by this account's task alone, however long it waits
        with record.off_the_clock():
            await rate.wait()
            await self._slots.acquire()
        try:
            record.attempts += 1
            answer: dict[str, Any] = await getattr(self._clients[service], xform_name(operation))(**parameters)
        except Exception as error:  # the library's parsers raise what they like at an answer that is none of AWS's
            _note_request(record, getattr(error, "response", None))
            raise map_error(action, error) from None
        finally:
            self._slots.release()
        _note_request(record, answer)
        missing = [key for key in ANSWER_KEYS[operation] if key not in answer]
        if missing:
            raise Unreachable(action, UNREADABLE, f"no {missing[0]} in it; a proxy may have answered instead of AWS")
        return answer

    async def identify_caller(self, record: CallRecord) -> Caller:
        """Who is calling, and in which partition; raises CallerError where AWS does not accept the credentials."""
        try:
            answer = await self.call("sts:GetCallerIdentity", record, tries=3)
        except CredentialsRefused as error:
            raise CallerError(
                f"AWS does not accept the caller's credentials: {error.code}", _advice_on_credentials(error.code)
            ) from None
        except Unreachable as error:
            why = f"{error.code}: {error.message}" if error.message else error.code
            raise CallerError(
                f"AWS STS cannot be reached at {self.endpoints['sts']}: {why}",
                "Check the network, the proxy settings, the region, and AWS_ENDPOINT_URL if it is set.",
            ) from None
        except AwsError as error:
            raise CallerError(f"the caller could not be identified: {error}", "Check credentials and region.") from None
        if not CALLER_ARN.fullmatch(answer["Arn"]):
            raise CallerError(f"AWS STS sent no ARN of a caller: {answer['Arn'][:60]!r}", "Check AWS_ENDPOINT_URL.")
        return Caller(account_id=answer["Account"], arn=answer["Arn"], partition=answer["Arn"].split(":")[1])

    async def assume_role(
        self, role_arn: str, record: CallRecord, *, session_name: str, duration_seconds: int, **optional: str
    ) -> RoleSession:
        """Enter a role; `optional` may hold ExternalId and the inline session Policy."""
        parameters = {
            "RoleArn": role_arn,
            "RoleSessionName": session_name,
            "DurationSeconds": duration_seconds,
            **optional,
        }
        answer = await self.call("sts:AssumeRole", record, parameters)
        credentials = answer["Credentials"]
        return RoleSession(
            credentials["AccessKeyId"],
            credentials["SecretAccessKey"],
            credentials["SessionToken"],
            credentials["Expiration"],
        )


def _advice_on_credentials(code: str) -> str:
    if "SSO" in code or code.startswith(("Expired", "Token", "Unauthorized")):
        return "They have expired, or you are not signed in: `aws sso login`, or fetch new ones."
    return "Check the access key, the profile, and this machine's clock."


def _note_request(record: CallRecord, answer: dict[str, Any] | None) -> None:
    request_id = (answer or {}).get("ResponseMetadata", {}).get("RequestId")
    if request_id:
        record.request_ids.append(request_id)


def _core_session(profile: str) -> aiobotocore.session.AioSession:
    core = aiobotocore.session.get_session()
    if profile:
        core.set_config_variable("profile", profile)
    core.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=parse_timestamp)
    return core


def parse_timestamp(value: Any) -> datetime:
    """A date of AWS's answers in UTC, by the standard library's parser where it will do: botocore's costs far more."""
    try:
        if isinstance(value, int | float):
            return datetime.fromtimestamp(value, UTC)
        parsed = datetime.fromisoformat(value)
    except (ValueError, TypeError):
        parsed = parse_any_timestamp(value)
    return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def _no_credentials(error: Exception | None) -> CallerError:
    if isinstance(error, boto.ProfileNotFound):
        return CallerError(first_line(str(error)), "`aws configure list-profiles` shows the profiles there are.")
    what = f": {type(error).__name__}: {first_line(str(error))}" if error else ""
    return CallerError(
        f"no AWS credentials found{what}",
        "Sign in (`aws sso login`), set AWS_PROFILE, or set [access] profile in config.toml.",
    )
