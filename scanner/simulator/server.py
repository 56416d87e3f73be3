"""Serves a simulated organization over HTTP on loopback."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType

from aiohttp import web

from .faults import FaultInjector
from .iam import Iam
from .identity import BASE_CREDENTIALS, Credentials, CredentialStore, Principal
from .model import Faults, SimulatedOrganization
from .organizations import Organizations
from .sts import Sts
from .wire import (
    RESET,
    Answer,
    AwsError,
    Call,
    ReceivedRequest,
    error_answer,
    json_answer,
    parse_authorization,
    parse_call,
    query_answer,
)

HOST = "127.0.0.1"
UNKNOWN = "unknown"

QueryOperation = Callable[[Principal, Mapping[str, str]], str]
JsonOperation = Callable[[Principal, Mapping[str, str]], dict[str, object]]


@dataclass(frozen=True, slots=True)
class RequestLogEntry:
    """One request and how it ended."""

    service: str
    action: str
    account_id: str
    """The signer's; empty for a request that was not authenticated."""
    access_key_id: str
    status: int
    """0 for a connection reset."""
    at: datetime
    parameters: Mapping[str, str] = field(default_factory=dict)


def utc_now() -> datetime:
    """Return the present moment."""
    return datetime.now(UTC)


class Simulator:
    """A simulated AWS that answers for one organization until it is stopped."""

    base_credentials: Credentials = BASE_CREDENTIALS
    """The auditor's own access key."""

    def __init__(
        self,
        organization: SimulatedOrganization,
        faults: Faults | None = None,
        *,
        log_requests: bool = True,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """Prepare all answers; without `log_requests` only the counters are kept."""
        self.organization = organization
        self.requests: list[RequestLogEntry] = []
        self.counts: Counter[tuple[str, str]] = Counter()
        self.connections = 0
        self.endpoint_url = ""
        """Where the simulator listens; empty until it has been started."""
        self._faults = faults or Faults()
        self._injector = FaultInjector(self._faults)
        self._log_requests = log_requests
        self._clock = clock
        self._credentials = CredentialStore(organization.partition, organization.caller_account_id)
        self._request_number = 0
        self._query_operations = self._list_query_operations()
        self._json_operations = self._list_json_operations()
        self._listener: asyncio.Server | None = None
        self._protocols: web.Server | None = None

    def _list_query_operations(self) -> dict[tuple[str, str], QueryOperation]:
        sts = Sts(self.organization, self._credentials, self._clock)
        iam = Iam(self.organization, self._clock, self._faults.report_delay_seconds)
        return {
            ("sts", "AssumeRole"): sts.assume_role,
            ("sts", "GetCallerIdentity"): sts.get_caller_identity,
            ("iam", "GenerateCredentialReport"): iam.generate_credential_report,
            ("iam", "GetCredentialReport"): iam.get_credential_report,
            ("iam", "ListAccessKeys"): iam.list_access_keys,
        }

    def _list_json_operations(self) -> dict[str, JsonOperation]:
        organizations = Organizations(self.organization, self._credentials.caller)
        return {
            "DescribeOrganization": organizations.describe_organization,
            "ListRoots": organizations.list_roots,
            "ListAccounts": organizations.list_accounts,
            "ListOrganizationalUnitsForParent": organizations.list_organizational_units_for_parent,
            "ListAccountsForParent": organizations.list_accounts_for_parent,
        }

    async def start(self) -> str:
        """Listen on a free port of the loopback interface; return the endpoint URL."""
        if self._listener is not None:
            raise RuntimeError("the simulator is running already")
        self._protocols = web.Server(self._handle, access_log=None)
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self._accept, HOST, 0, backlog=1024)
        port = self._listener.sockets[0].getsockname()[1]
        self.endpoint_url = f"http://{HOST}:{port}"
        return self.endpoint_url

    async def stop(self) -> None:
        """Close the listener and every connection."""
        if self._listener is None or self._protocols is None:
            return
        listener, protocols = self._listener, self._protocols
        self._listener = self._protocols = None
        listener.close()
        # Wakes the idle connections, which the shutdown would wait for in vain.
        protocols.pre_shutdown()
        await protocols.shutdown(timeout=0.5)
        await listener.wait_closed()

    async def __aenter__(self) -> str:
        """Start, and yield the endpoint URL."""
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop."""
        await self.stop()

    def _accept(self) -> asyncio.Protocol:
        """Make the protocol of a new connection, of which there is exactly one for each."""
        assert self._protocols is not None
        self.connections += 1
        return self._protocols()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        if self._faults.latency_seconds > 0:
            await asyncio.sleep(self._faults.latency_seconds)
        self._request_number += 1
        request_id = f"00000000-0000-4000-8000-{self._request_number:012x}"
        received = ReceivedRequest(request.method, request.raw_path, request.headers, body)
        answer = self._answer(received, request_id)
        if answer is RESET:
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        headers = {"Content-Type": answer.content_type, "x-amzn-RequestId": request_id}
        return web.Response(status=answer.status, body=answer.body, headers=headers)

    def _answer(self, request: ReceivedRequest, request_id: str) -> Answer:
        call, principal = Call(UNKNOWN, UNKNOWN, {}), None
        try:
            authorization = parse_authorization(request)
            call = parse_call(request, authorization.service)
            principal = self._credentials.authenticate(request, authorization, self._clock())
            answer = self._perform(call, principal, request_id)
        except AwsError as error:
            answer = error_answer(error, request.is_json, call.service, request_id)
        self._record(call, principal, answer)
        return answer

    def _perform(self, call: Call, principal: Principal, request_id: str) -> Answer:
        fault = self._injector.draw(call, _subject(call, principal))
        if fault is not None and fault.code:
            raise fault.error()
        answer = self._dispatch(call, principal, request_id)
        return answer if fault is None else RESET

    def _dispatch(self, call: Call, principal: Principal, request_id: str) -> Answer:
        if call.service == "organizations":
            list_operation = self._json_operations.get(call.action)
            if list_operation is None:
                raise AwsError("InvalidAction", f"Could not find operation {call.action}")
            return json_answer(list_operation(principal, call.parameters))
        operation = self._query_operations.get((call.service, call.action))
        if operation is None:
            raise AwsError("InvalidAction", f"Could not find operation {call.action}")
        return query_answer(call, operation(principal, call.parameters), request_id)

    def _record(self, call: Call, principal: Principal | None, answer: Answer) -> None:
        self.counts[call.service, call.action] += 1
        if not self._log_requests:
            return
        account_id, key_id = (principal.account_id, principal.access_key_id) if principal else ("", "")
        entry = RequestLogEntry(
            call.service, call.action, account_id, key_id, answer.status, self._clock(), call.parameters
        )
        self.requests.append(entry)


def _subject(call: Call, principal: Principal) -> str:
    """Return the account that a call is about: the target's for AssumeRole, else the signer's."""
    if call.action == "AssumeRole":
        parts = call.parameters.get("RoleArn", "").split(":")
        return parts[4] if len(parts) > 4 else ""
    return principal.account_id


@contextmanager
def run_in_thread(simulator: Simulator) -> Iterator[str]:
    """Serve from an event loop in a thread of its own; yield the endpoint URL."""
    started: Future[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = Future()
    thread = threading.Thread(target=lambda: asyncio.run(_serve(simulator, started)), name="simulator")
    thread.start()
    try:
        endpoint_url, loop, stopping = started.result()
    except BaseException:
        thread.join()
        raise
    try:
        yield endpoint_url
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join()


async def _serve(simulator: Simulator, started: Future[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]]) -> None:
    stopping = asyncio.Event()
    try:
        endpoint_url = await simulator.start()
    except BaseException as error:
        started.set_exception(error)
        return
    started.set_result((endpoint_url, asyncio.get_running_loop(), stopping))
    await stopping.wait()
    await simulator.stop()
