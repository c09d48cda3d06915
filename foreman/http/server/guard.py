"""Hypercorn behind a guard: what one connection does ends that connection and nothing else."""

from __future__ import annotations

import logging
import math
import os
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from socket import socket
from typing import Any, ClassVar

import h11
import hypercorn.trio.run as hypercorn_run
import msgspec
import structlog
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config, Sockets
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.logging import Logger
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import EventWrapper
from hypercorn.typing import LifespanState
from quart_trio import QuartTrio

from foreman.domain.errors import TooManyConnections
from foreman.domain.wire import show_error
from foreman.http.server import websocket
from foreman.http.server.exchange import HURRY
from foreman.turnstile import Turnstile

log = structlog.get_logger()

READ_SIZE = 65_536  # bytes
PIECE = 65_536  # bytes of an answer that a slow client has its patience for
SAID_EVERY = 60.0  # seconds
REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}
REFUSED_HANDSHAKE = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close"
SEND_TIMEOUT = 2.0  # seconds that a client may take no bytes at all once the server is leaving
AHEAD = 2  # requests in one pass of the loop that were sent ahead of an answer: their clients take turns with the rest
AT_THE_DOOR = 8  # connections that are told that there are too many; more than that are closed without a word
CLOSE_GRACE = 3.0  # seconds for open connections when the server leaves


@dataclass(frozen=True, slots=True)
class Limits:
    """What clients may take. Times are seconds."""

    connections: int = 1024  # at a time
    idle: float = 75.0  # between two requests, and until the head of one is whole
    send: float = 60.0  # for each PIECE of an answer


class GuardedConnection(TCPServer):
    """One connection.

    Hypercorn lets any exception but OSError end the server and the nursery around it (a stray byte after a websocket
    upgrade is enough), sends in a shield without a deadline, so that a client which stops reading would hold up
    shutdown for ever, and spends more on the timer of an idle connection, a task for each request, than on the bytes.
    """

    limits: ClassVar[Limits]
    open: ClassVar[set[GuardedConnection]]  # all of one server
    sending: ClassVar[set[trio.CancelScope]]  # the sends of one server that are under way
    pipelined: ClassVar[Turnstile]  # of one server, before requests that were sent ahead of an answer
    _idle: trio.CancelScope  # around the wait for the end; its deadline is infinite while a request is answered
    _end: trio.CancelScope  # around all of it
    _reading = True
    _hurried = False  # what it reads is needed: each part of the answer has SEND_PATIENCE
    _sends: trio.CancelScope | None = None  # the send under way

    async def run(self) -> None:
        self._idle = trio.CancelScope(deadline=trio.current_time() + self.limits.idle)
        self._end = trio.CancelScope()
        self.open.add(self)
        self.state = LifespanState({**self.state, HURRY: self.hurry})
        try:
            with self._end:
                beyond = len(self.open) - self.limits.connections
                if beyond <= 0:
                    await super().run()
                elif beyond <= AT_THE_DOOR:
                    await self._turn_away()
                else:
                    await trio.aclose_forcefully(self.stream)
        except* Exception as group:  # the boundary between one client and the rest
            log.info("connection ended by a fault", error=repr(group.exceptions[0])[:200])
            with trio.CancelScope(shield=True, deadline=trio.current_time() + SEND_TIMEOUT):
                await trio.aclose_forcefully(self.stream)
        finally:
            self.open.discard(self)

    def hurry(self) -> None:
        """Have the client take all that is sent to it now within SEND_PATIENCE, until it asks for something else."""
        self._hurried = True
        if self._sends is not None:
            self._sends.deadline = min(self._sends.deadline, trio.current_time() + SEND_TIMEOUT)

    async def _turn_away(self) -> None:
        with trio.move_on_after(SEND_TIMEOUT), suppress(trio.BrokenResourceError):
            await self.stream.receive_some(READ_SIZE)  # closed with the request unread, the answer would be lost
            await self.stream.send_all(_full(self.limits.connections))
        await trio.aclose_forcefully(self.stream)

    async def protocol_send(self, event: Event) -> None:
        if isinstance(event, RawData):
            if rest := self._send_now(event.data):
                await self._send(rest)
            if event.data.startswith(REFUSED_HANDSHAKE):
                # Hypercorn means to close it, and neither does nor tells the route, which would wait for ever.
                self._end.deadline = trio.current_time() + SEND_TIMEOUT
        elif isinstance(event, Updated):
            self._hurried = False
            self._idle.deadline = trio.current_time() + self.limits.idle if event.idle else math.inf
        else:
            # The end of an answer cancels the task that is about to close the connection behind it.
            with trio.CancelScope(shield=True, deadline=trio.current_time() + self._timeout()):
                await super().protocol_send(event)

    async def _read_data(self) -> None:
        if isinstance(http1 := self.protocol.protocol, H11Protocol):
            http1.can_read = _Turn(self, http1)
            http1._check_protocol = partial(_check, http1)  # type: ignore[method-assign]
            http1._send_h11_event = partial(  # type: ignore[method-assign]
                _send_with_reason, http1._send_h11_event
            )
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while data := await self.stream.receive_some(READ_SIZE):
                await self.protocol.handle(RawData(bytes(data)))
            await self.protocol.handle(RawData(b""))
        await self.protocol.handle(Closed())
        self._reading = False
        self._idle.cancel()

    async def _idle_timeout(self) -> None:
        with self._idle:
            await self.context.terminated.wait()
        if self._reading and self._idle.deadline < math.inf:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + self._timeout()):
                await self._initiate_server_close()

    def _send_now(self, data: bytes) -> bytes:
        """Hand the kernel what it takes without waiting, nearly always all of it; the rest."""
        stream: object = self.stream  # not one with TLS, whatever Hypercorn's annotation says
        if not isinstance(stream, trio.SocketStream) or self.send_lock.locked():
            return data
        try:
            return data[os.write(stream.socket.fileno(), data) :]
        except OSError:
            return data  # waiting will tell what is wrong

    async def _send(self, data: bytes) -> None:
        async with self.send_lock:
            try:
                deadline = trio.current_time() + self._timeout()
                with trio.CancelScope(shield=True, deadline=deadline) as scope:
                    self.sending.add(scope)
                    self._sends = scope
                    try:
                        for start in range(0, len(data), PIECE):
                            if not self._hurried:
                                scope.deadline = trio.current_time() + self._timeout()
                            await self.stream.send_all(data[start : start + PIECE])
                    finally:
                        self._sends = None
                        self.sending.discard(scope)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                scope.cancel()
                await self.protocol.handle(Closed())
                return
        if scope.cancelled_caught:
            await trio.aclose_forcefully(self.stream)
            await self.protocol.handle(Closed())

    def _timeout(self) -> float:
        return SEND_TIMEOUT if self._hurried or self.context.terminated.is_set() else self.limits.send


def _full(most: int) -> bytes:
    error = TooManyConnections(most)
    body = msgspec.json.encode(show_error(error)) + b"\n"
    head = (
        f"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        f"Retry-After: {error.retry_after}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


def tls_context(cert: str, key: str) -> ssl.SSLContext:
    """For HTTPS with HTTP/1.1. Raises OSError when the files cannot be read or do not belong together."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key or None)
    context.set_alpn_protocols(["http/1.1"])
    return context


class _Turn(EventWrapper):
    """The wait of a client that has sent its next request already, until the last one is answered.

    Hypercorn would read nothing meanwhile, and so never learn that the client has gone.
    """

    def __init__(self, connection: GuardedConnection, http1: H11Protocol) -> None:
        super().__init__()
        self._connection = connection
        self._http1 = http1
        self._gone = False

    async def wait(self) -> None:
        """Raises BrokenResourceError when the client has gone."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read_ahead, nursery.cancel_scope)
            await super().wait()
            nursery.cancel_scope.cancel()
        if self._gone:
            raise trio.BrokenResourceError
        await self._connection.pipelined.enter()

    async def _read_ahead(self, waiting: trio.CancelScope) -> None:
        """Up to READ_SIZE: a client that has sent more has its say when its turn has come."""
        size = 0
        while size < READ_SIZE:
            data = b""
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                data = bytes(await self._connection.stream.receive_some(READ_SIZE))
            if not data:
                self._gone = True
                waiting.cancel()
                return
            size += len(data)
            self._http1.connection.receive_data(data)


async def _check(http1: H11Protocol, request: h11.Request) -> None:
    """Have the connection end behind the answer to a request whose length another server may read otherwise.

    Content-Length beside Transfer-Encoding is how requests are smuggled (RFC 9112, 6.1). This comes in place of the
    look whether a client wants HTTP/2 without TLS, which would get round the limits on slow readers.
    """
    if {b"content-length", b"transfer-encoding"} <= {name for name, _ in request.headers}:
        http1.connection._cstate.process_keep_alive_disabled()  # type: ignore[union-attr]


async def _send_with_reason(send: Callable[[Any], Awaitable[None]], event: object) -> None:
    """Send an event of h11; Hypercorn leaves the reason phrase empty, which Ollama's command line shows its users."""
    if isinstance(event, (h11.Response, h11.InformationalResponse)):
        object.__setattr__(event, "reason", REASONS.get(event.status_code, b""))  # frozen, but seen by nobody yet
    await send(event)


class _Deaf(logging.Handler):
    """Says that no connection can be accepted, once in a while: Trio tries again, and says so, every 0.1 seconds."""

    def __init__(self) -> None:
        super().__init__()
        self._said_at = -math.inf

    def emit(self, record: logging.LogRecord) -> None:
        if trio.current_time() - self._said_at >= SAID_EVERY:
            self._said_at = trio.current_time()
            error = record.exc_info[1] if record.exc_info else None
            log.warning("cannot accept connections, trying again", why=str(error or record.getMessage()))


class _Faults(Logger):
    """What fails once an answer's head is out, where no route can answer for it any more."""

    async def exception(self, message: str, *args: object, **kwargs: object) -> None:
        log.error("answer broke off", why=message, exc_info=True)


async def serve(
    app: QuartTrio,
    listening: socket,
    *,
    until: Callable[[], Awaitable[None]],
    tls: ssl.SSLContext | None = None,
    limits: Limits | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until `until` returns; the listening socket is the caller's."""
    sending: set[trio.CancelScope] = set()
    limits = limits or Limits()

    async def leaving() -> None:
        await until()
        for scope in sending:  # they began with the patience of better days
            scope.deadline = min(scope.deadline, trio.current_time() + SEND_TIMEOUT)

    accepting = logging.getLogger("trio.serve_listeners")
    accepting.handlers, accepting.propagate = [_Deaf()], False
    config = Config()
    config.accesslog = None
    config.errorlog = None
    config.logger_class = _Faults
    config.graceful_timeout = CLOSE_GRACE
    config.ssl_handshake_timeout = limits.idle
    config.keep_alive_max_requests = math.inf  # type: ignore[assignment]
    config.websocket_ping_interval = 20
    config.include_server_header = False
    config.websocket_max_message_size = 64 * 1024
    own = {"sending": sending, "open": set(), "limits": limits, "pipelined": Turnstile(AHEAD)}
    guard: type[TCPServer] = type("Connection", (GuardedConnection,), own)
    hypercorn_run.TCPServer = guard  # type: ignore[attr-defined]
    websocket.install()
    served = listening.dup()
    served.setblocking(False)
    if tls is not None:
        config.create_ssl_context = lambda: tls  # type: ignore[method-assign]
    plain, secure = ([served], []) if tls is None else ([], [served])
    sockets = Sockets(secure_sockets=secure, insecure_sockets=plain, quic_sockets=[])
    async with trio.open_nursery() as nursery:
        await nursery.start(
            partial(hypercorn_run.worker_serve, ASGIWrapper(app), config, sockets=sockets, shutdown_trigger=leaving)
        )
        task_status.started()
