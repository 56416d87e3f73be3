"""Serves a simulated organization over HTTP or HTTPS on loopback."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import datetime
from email.utils import format_datetime
from types import TracebackType

from aiohttp import web

from .identity import BASE_CREDENTIALS, Credentials
from .model import FaultKind, Faults, SimulatedOrganization
from .service import RequestLogEntry, Service, utc_now
from .wire import Answer, ReceivedRequest

HOST = "127.0.0.1"
_LINGER_NOT = struct.pack("ii", 1, 0)


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
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """Without `log_requests` only the counters are kept; reports and sessions follow the `clock`."""
        self.organization = organization
        self.connections = 0
        self.endpoint_url = ""
        """Where the simulator listens; empty until it has been started."""
        self._faults = faults or Faults()
        self._service = Service(organization, self._faults, clock, log_requests)
        self._ssl_context = ssl_context
        self._request_number = 0
        self._listener: asyncio.Server | None = None
        self._protocols: web.Server | None = None

    @property
    def requests(self) -> list[RequestLogEntry]:
        """All requests so far, when they are logged."""
        return self._service.requests

    @property
    def counts(self) -> Counter[tuple[str, str]]:
        """Requests of each service and action."""
        return self._service.counts

    @property
    def throttled(self) -> int:
        """Requests beyond a quota."""
        return self._service.quotas.throttled

    @property
    def fault_counts(self) -> Counter[FaultKind]:
        """Faults of each kind."""
        return self._service.injector.counts

    async def start(self) -> str:
        """Listen on a free port of the loopback interface; return the endpoint URL."""
        if self._listener is not None:
            raise RuntimeError("the simulator is running already")
        self._protocols = web.Server(self._handle, access_log=None)
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self._accept, HOST, 0, backlog=1024, ssl=self._ssl_context)
        port = self._listener.sockets[0].getsockname()[1]
        self.endpoint_url = f"{'http' if self._ssl_context is None else 'https'}://{HOST}:{port}"
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
        answer = self._service.answer(received, request_id)
        if answer.fault is FaultKind.SLOW:
            await asyncio.sleep(self._faults.slow_seconds)
        if answer.status == 0:
            _reset(request, is_hard=answer.fault is FaultKind.RESET_BEFORE)
            return web.Response()
        headers = {"Content-Type": answer.content_type, "x-amzn-RequestId": request_id}
        if self._faults.clock_skew_seconds:
            headers["Date"] = format_datetime(self._service.now(), usegmt=True)
        if answer.fault is FaultKind.TRUNCATED_BODY:
            return await _send_half(request, answer, headers)
        return web.Response(status=answer.status, body=answer.body, headers=headers)


def _reset(request: web.BaseRequest, is_hard: bool) -> None:
    """Close the connection without an answer: with a TCP reset, or as an orderly end of the stream."""
    transport = request.transport
    if transport is None:
        return
    if is_hard:
        connection: socket.socket = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
    transport.abort()


async def _send_half(request: web.BaseRequest, answer: Answer, headers: dict[str, str]) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers=headers)
    response.content_length = len(answer.body)
    response.force_close()
    await response.prepare(request)
    await response.write(answer.body[: len(answer.body) // 2])
    return response


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
