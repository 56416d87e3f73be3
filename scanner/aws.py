"""Everything that asks AWS: the clients of a run, its declared actions, retries and rates.

One client per service serves the whole run: a client per account would cost a TLS context, a connection pool and
15 ms of CPU each. Every client signs with the credentials of the task whose request is being made; they travel in a
context variable, so that no two tasks can see each other's.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import aioboto3
import aiobotocore.session
import botocore.exceptions as boto
from botocore import xform_name
from botocore.config import Config as BotoConfig
from botocore.utils import parse_timestamp as parse_any_timestamp

from scanner import __version__
from scanner.actions import ANSWER_KEYS
from scanner.aws_errors import CREDENTIAL_ERRORS, UNREADABLE, first_line, map_error
from scanner.config import Config
from scanner.errors import (
    AwsError,
    CallerError,
    CallerExpired,
    ClockSkewed,
    CredentialsRefused,
    Throttled,
    Unreachable,
)
from scanner.models import Caller
from scanner.rates import rates_of_actions
from scanner.signing import CALLER_SESSION, RenewableCredentials, RoleSession, TaskCredentialProvider, signing

TRIES = 9
"""Of a request that fails."""
THROTTLED_TRIES = 5
"""Times as many of one that AWS asks to come later: that is no failure, and an account's deadline bounds it too."""
BACK_OFF_SECONDS = 0.2
BACK_OFF_CAP_SECONDS = 20.0
POOL_CONNECTIONS = 128
DEFAULT_REGION = "us-east-1"
CALLER_ARN = re.compile(r"arn:aws[a-z-]*:(iam|sts)::[0-9]{12}:.+")
AWS_MODELS = Path(__file__).with_name("aws_models")
"""Fields that AWS sends and the pinned botocore does not know yet, in the form that its loader merges into its own."""

# A failed refresh of the caller's credentials comes to us as an error; the library would print its traceback too.
logging.getLogger("aiobotocore").addHandler(logging.NullHandler())
logging.getLogger("botocore").addHandler(logging.NullHandler())


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


class Aws:
    """The clients of one run. Use as an async context manager; every request goes through `call`."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._rates = rates_of_actions(config.scan.rates)
        self._slots = asyncio.Semaphore(config.scan.concurrency)
        self._stack = AsyncExitStack()
        self._clients: dict[str, Any] = {}
        self._caller = self._lister = RenewableCredentials(self._load_callers_credentials, self._check_caller)
        self._identity: Caller | None = None

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

    async def _load_callers_credentials(self) -> Any:
        """From where the AWS CLI would find them; a session keeps what it has found, so each time takes a new one."""
        try:
            credentials = await _core_session(self._config.access.profile).get_credentials()
        except (boto.BotoCoreError, ValueError, OSError) as error:
            raise _no_credentials(error) from None
        if credentials is None:
            raise _no_credentials(None)
        return credentials

    async def _open_clients(self) -> None:
        try:
            core = _core_session(self._config.access.profile)
            core.register_component("credential_provider", TaskCredentialProvider())
            core.get_component("data_loader").search_paths.append(str(AWS_MODELS))
            session = aioboto3.Session(botocore_session=core)
        except (boto.BotoCoreError, ValueError, OSError) as error:
            raise _no_credentials(error) from None
        try:
            await self._caller.get_frozen_credentials()
        except CREDENTIAL_ERRORS as error:
            raise _no_credentials(error) from None
        # AWS_REGION is what the CLI, Lambda and the other SDKs heed first; this one knows AWS_DEFAULT_REGION only.
        region = os.environ.get("AWS_REGION") or session.region_name or DEFAULT_REGION
        for service in ("sts", "organizations", "iam"):
            self._clients[service] = await self._open_client(session, service, region)

    async def _open_client(self, session: aioboto3.Session, service: str, region: str) -> Any:
        settings = BotoConfig(
            # Own retries (in `call`): they hold no slot while they wait, and the ledger counts every attempt.
            retries={"mode": "standard", "total_max_attempts": 1},
            max_pool_connections=POOL_CONNECTIONS,
            connect_timeout=10,
            read_timeout=60,
            # One ready-made string: building botocore's own costs an eighth of the CPU of a request.
            user_agent=f"credaudit/{__version__} aioboto3",
        )
        client = session.client(service, region_name=region, config=settings)
        try:
            return await self._stack.enter_async_context(client)
        except (boto.BotoCoreError, ValueError, OSError) as error:
            raise CallerError(
                f"no client for {service} can be made: {first_line(str(error))}",
                "Check the region, AWS_ENDPOINT_URL, and what else AWS_* variables and the AWS configuration set.",
            ) from None

    async def use_organization_role(self, enter: Callable[[], Awaitable[RoleSession]]) -> None:
        """List the organization with the sessions that `enter` gives (the hop role's) from now on."""
        self._lister = RenewableCredentials(enter)
        await self._lister.get_frozen_credentials()

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

        `session` signs requests to IAM. Waits between tries hold no slot. Raises the classes of `errors.AwsError`;
        CallerExpired where AWS no longer takes the caller's own credentials, and there are no newer ones.
        """
        if action not in self._rates:
            raise ValueError(f"{action} is not a declared action of a scan")
        return await self._call(action, record, parameters or {}, self._signer(action, session), tries)

    async def _call(
        self, action: str, record: CallRecord, parameters: Mapping[str, Any], signer: Any, tries: int
    ) -> dict[str, Any]:
        failures = throttles = 0
        while True:
            try:
                return await self._send(action, record, parameters, signer)
            except Throttled:
                record.throttles += 1
                throttles += 1
                if throttles == tries * THROTTLED_TRIES:
                    raise
                await _back_off(throttles)
            except (Unreachable, ClockSkewed):
                failures += 1
                if failures == tries:
                    raise
                await _back_off(failures)
            except CredentialsRefused as error:
                failures += 1
                if not isinstance(signer, RenewableCredentials) or failures == tries:
                    raise
                await _renew(signer, error)

    def _signer(self, action: str, session: RoleSession | None) -> RoleSession | RenewableCredentials:
        if action.startswith("organizations:"):
            return self._lister
        if action.startswith("sts:"):
            return self._caller
        assert session is not None, "an IAM request must say whose credentials sign it"
        return self._caller if session is CALLER_SESSION else session

    async def _send(
        self, action: str, record: CallRecord, parameters: Mapping[str, Any], signer: Any
    ) -> dict[str, Any]:
        service, operation = action.split(":")
        rate = self._rates[action]
        with record.off_the_clock():
            await rate.wait()
            signing.set(None)
            try:
                signing.set(await signer.get_frozen_credentials())
            except CREDENTIAL_ERRORS as error:
                raise map_error(action, error) from None
            await self._slots.acquire()
        try:
            record.attempts += 1
            answer: dict[str, Any] = await getattr(self._clients[service], xform_name(operation))(**parameters)
        except Exception as error:  # the library's parsers raise what they like at an answer that is none of AWS's
            _note_request(record, getattr(error, "response", None))
            mapped = map_error(action, error)
            rate.had_answer(throttled=isinstance(mapped, Throttled))
            raise mapped from None
        finally:
            self._slots.release()
        rate.had_answer(throttled=False)
        _note_request(record, answer)
        missing = [key for key in ANSWER_KEYS[operation] if key not in answer]
        if missing:
            raise Unreachable(action, UNREADABLE, f"no {missing[0]} in it; a proxy may have answered instead of AWS")
        return answer

    async def _check_caller(self, found: Any) -> None:
        """Raise CallerExpired where credentials that were found anew are not those of the principal that began."""
        if self._identity is None:
            return
        action = "sts:GetCallerIdentity"
        try:
            answer = await self._call(action, CallRecord(), {}, found, TRIES)
        except CredentialsRefused as error:
            raise CallerExpired(action, error.code, error.message) from None
        if principal_of(str(answer["Arn"])) != principal_of(self._identity.arn):
            raise CallerExpired(action, "AnotherPrincipal", f"the credentials found now are of {answer['Arn']}")

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
        self._identity = Caller(account_id=answer["Account"], arn=answer["Arn"], partition=answer["Arn"].split(":")[1])
        return self._identity

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


async def _renew(signer: RenewableCredentials, error: CredentialsRefused) -> None:
    """Have the refused credentials replaced; raise CallerExpired where there are no newer ones."""
    try:
        renewed = await signer.renew(signing.get())
    except (CallerError, *CREDENTIAL_ERRORS):
        renewed = False
    if not renewed:
        raise CallerExpired(error.action, error.code, error.message) from None


async def _back_off(times: int) -> None:
    """Wait longer each time, and never as long as others who began to wait with us."""
    await asyncio.sleep(random.uniform(0.5, 1.0) * min(BACK_OFF_CAP_SECONDS, BACK_OFF_SECONDS * 2**times))


def principal_of(arn: str) -> str:
    """Who a caller is, whatever its session is called: a new sign-in may name the session anew."""
    return arn.rpartition("/")[0] if ":assumed-role/" in arn else arn


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
