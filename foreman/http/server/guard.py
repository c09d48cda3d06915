"""Hypercorn behind a guard: an error of one connection ends that connection alone."""

from __future__ import annotations

import logging
import math
import os
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from socket import socket
from typing import ClassVar, TypeAlias, cast

import hypercorn.trio.run as hypercorn_run
import msgspec
import structlog
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config, Sockets
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import EventWrapper
from hypercorn.typing import ConnectionState, LifespanState
from hypercorn.utils import parse_socket_addr
from quart_trio import QuartTrio

from foreman.domain import views
from foreman.domain.errors import TooManyConnections
from foreman.http.server import websocket
from foreman.http.server.h11_protocol import H11Protocol
from foreman.http.server.http1 import Http1Protocol
from foreman.http.server.inflow import HURRY
from foreman.http.server.server_logs import AcceptErrors, LateErrors
from foreman.turnstile import Turnstile

log = structlog.get_logger()

READ_SIZE = 65_536  # bytes
PIECE = 65_536  # bytes of an answer that have one send timeout
REFUSED_HANDSHAKE = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close"
SEND_TIMEOUT = 2.0  # seconds that a client may take no bytes, once the server is leaving or its room is needed
AHEAD = 2  # pipelined requests per pass of the loop: their clients take turns with the rest
AT_THE_DOOR = 8  # excess connections that are answered 503; further ones are closed at once
CLOSE_GRACE = 3.0  # seconds for open connections when the server leaves
PARSERS: dict[str, type[Http1Protocol | H11Protocol]] = {"httptools": Http1Protocol, "h11": H11Protocol}
Address: TypeAlias = tuple[str, int] | None


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of connections. Times are seconds."""

    connections: int = 1024  # at a time
    idle: float = 75.0  # between two requests, and until a request's head is complete
    send: float = 60.0  # for each PIECE of an answer


class GuardedConnection(TCPServer):
    """One connection, guarded against three properties of Hypercorn.

    Any exception but OSError ends its server and the nursery around it; a stray byte after a websocket upgrade is
    enough. It sends in a shield without a deadline, so that a client which stops reading would block shutdown for
    ever. It starts a task per request for the idle timer, which costs more than the bytes.
    """

    limits: ClassVar[Limits]
    parser: ClassVar[type[Http1Protocol | H11Protocol]]
    protocol: Http1Protocol | H11Protocol  # type: ignore[assignment]
    open: ClassVar[set[GuardedConnection]]  # all of one server
    sending: ClassVar[set[trio.CancelScope]]  # the sends under way of one server
    pipelined: ClassVar[Turnstile]  # of one server, before requests that were sent ahead of an answer
    _idle_since: float | None  # the time at which it became idle; None while a request is answered
    _idle: trio.CancelScope  # around the idle timer
    _end: trio.CancelScope  # around the whole connection
    _reading = True
    _hurried = False  # its room is needed: each send has SEND_TIMEOUT
    _sends: trio.CancelScope | None = None  # the send under way

    async def run(self) -> None:
        """Serve the connection; turn it away when there are too many."""
        self._idle_since = trio.current_time()
        self._idle = trio.CancelScope()
        self._end = trio.CancelScope()
        self.open.add(self)
        self.state = LifespanState({**self.state, HURRY: self.hurry})
        try:
            with self._end:
                beyond = len(self.open) - self.limits.connections
                if beyond <= 0:
                    await self._converse()
                elif beyond <= AT_THE_DOOR:
                    await self._turn_away()
                else:
                    await trio.aclose_forcefully(self.stream)
        except* Exception as group:  # one client's errors must not end the server
            log.info("connection ended by an error", error=repr(group.exceptions[0])[:200])
            with trio.CancelScope(shield=True, deadline=trio.current_time() + SEND_TIMEOUT):
                await trio.aclose_forcefully(self.stream)
        finally:
            self.open.discard(self)

    async def _converse(self) -> None:
        """Do what Hypercorn's `run` does, with a protocol of our choice."""
        with suppress(OSError):
            try:
                client, server = await self._addresses()
                async with TaskGroup() as tasks:
                    self.protocol = self.parser(
                        self.app,
                        self.config,
                        self.context,
                        tasks,
                        ConnectionState(self.state),
                        isinstance(self.stream, trio.SSLStream),
                        client,
                        server,
                        self.protocol_send,
                    )
                    self.protocol.can_read = _Turn(self)
                    tasks.spawn(self._idle_timeout)
                    await self._read_data()
            finally:
                await self._close()

    async def _addresses(self) -> tuple[Address, Address]:
        """Return the addresses of the client and of the server, after the handshake of TLS. Raise OSError."""
        stream: object = self.stream
        if isinstance(stream, trio.SSLStream):
            try:
                with trio.fail_after(self.limits.idle):
                    await stream.do_handshake()
            except (trio.BrokenResourceError, trio.TooSlowError) as error:
                raise OSError("handshake failed") from error
            stream = stream.transport_stream
        connected = cast(trio.SocketStream, stream).socket
        family = connected.family
        return parse_socket_addr(family, connected.getpeername()), parse_socket_addr(family, connected.getsockname())

    def hurry(self) -> None:
        """Apply SEND_TIMEOUT to the client's sends, until its next request."""
        self._hurried = True
        if self._sends is not None:
            self._sends.deadline = min(self._sends.deadline, trio.current_time() + SEND_TIMEOUT)

    async def _turn_away(self) -> None:
        with trio.move_on_after(SEND_TIMEOUT), suppress(trio.BrokenResourceError):
            # An unread request would reset the connection and lose the answer.
            await self.stream.receive_some(READ_SIZE)
            await self.stream.send_all(_full(self.limits.connections))
        await trio.aclose_forcefully(self.stream)

    async def protocol_send(self, event: Event) -> None:
        """Handle an event of the protocol: send data, time idleness, close."""
        if isinstance(event, RawData):
            if rest := self._send_now(event.data):
                await self._send(rest)
            if event.data.startswith(REFUSED_HANDSHAKE):
                # Hypercorn neither closes it nor notifies the route, which would wait for ever.
                self._end.deadline = trio.current_time() + SEND_TIMEOUT
        elif isinstance(event, Updated):
            self._hurried = False
            self._idle_since = trio.current_time() if event.idle else None
        else:
            # The end of an answer cancels the task that is about to close the connection.
            with trio.CancelScope(shield=True, deadline=trio.current_time() + self._timeout()):
                await super().protocol_send(event)

    async def _read_data(self) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while data := await self.receive():
                await self.protocol.handle(RawData(data))
            await self.protocol.handle(RawData(b""))
        await self.protocol.handle(Closed())
        self._reading = False
        self._idle.cancel()

    async def _idle_timeout(self) -> None:
        """Close the connection once it was idle for too long, or is idle when the server leaves.

        The timer looks at the time now and then: to move its deadline with each request would cost more than to read.
        """
        with self._idle:
            while not self.context.terminated.is_set() and (now := trio.current_time()) < self._idle_until(now):
                with trio.move_on_at(self._idle_until(now)):
                    await self.context.terminated.wait()
        if self._reading and self._idle_since is not None:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + self._timeout()):
                await self._initiate_server_close()

    def _idle_until(self, now: float) -> float:
        return (now if self._idle_since is None else self._idle_since) + self.limits.idle

    async def receive(self) -> bytes:
        """Return what the client has sent, or nothing once it has closed its side. Raise BrokenResourceError."""
        stream: object = self.stream  # may be plain, despite Hypercorn's annotation
        if not isinstance(stream, trio.SocketStream):
            return bytes(await self.stream.receive_some(READ_SIZE))
        while True:
            if (number := stream.socket.fileno()) < 0:
                raise trio.ClosedResourceError
            try:
                # A client seldom sends before it has its answer, so that a first attempt to read would fail.
                await trio.lowlevel.wait_readable(number)
                return os.read(stream.socket.fileno(), READ_SIZE)  # the number may be another's by now
            except BlockingIOError:
                continue
            except OSError as error:
                raise trio.BrokenResourceError from error

    def _send_now(self, data: bytes) -> bytes:
        """Hand the kernel what it takes without waiting, nearly always all; return the rest."""
        stream: object = self.stream  # may be plain, despite Hypercorn's annotation
        if not isinstance(stream, trio.SocketStream) or self.send_lock.locked():
            return data
        try:
            return data[os.write(stream.socket.fileno(), data) :]
        except OSError:
            return data  # the waiting send meets the same error and handles it

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
    body = msgspec.json.encode(views.show_error(error)) + b"\n"
    head = (
        f"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        f"Retry-After: {error.retry_after}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


class _Turn(EventWrapper):
    """The wait of a pipelined request until the one before is answered.

    Hypercorn would not read meanwhile, and so never notice that the client has disconnected.
    """

    def __init__(self, connection: GuardedConnection) -> None:
        super().__init__()
        self._connection = connection
        self._gone = False

    async def wait(self) -> None:
        """Wait for the turn. Raise BrokenResourceError when the client has disconnected."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read_ahead, nursery.cancel_scope)
            await super().wait()
            nursery.cancel_scope.cancel()
        if self._gone:
            raise trio.BrokenResourceError
        await self._connection.pipelined.enter()

    async def _read_ahead(self, waiting: trio.CancelScope) -> None:
        """Read up to READ_SIZE bytes; the rest is read once the turn has come."""
        size = 0
        while size < READ_SIZE:
            data = b""
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                data = await self._connection.receive()
            if not data:
                self._gone = True
                waiting.cancel()
                return
            size += len(data)
            self._connection.protocol.receive(data)


async def serve(
    app: QuartTrio,
    listening: socket,
    *,
    until: Callable[[], Awaitable[None]],
    tls: ssl.SSLContext | None = None,
    limits: Limits | None = None,
    parser: str = "httptools",
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until `until` returns; the listening socket is the caller's. `parser` is a key of PARSERS."""
    sending: set[trio.CancelScope] = set()
    limits = limits or Limits()

    async def leaving() -> None:
        await until()
        for scope in sending:  # they began with the longer timeout
            scope.deadline = min(scope.deadline, trio.current_time() + SEND_TIMEOUT)

    accepting = logging.getLogger("trio.serve_listeners")
    accepting.handlers, accepting.propagate = [AcceptErrors()], False
    config = Config()
    config.accesslog = None
    config.errorlog = None
    config.logger_class = LateErrors
    config.graceful_timeout = CLOSE_GRACE
    config.ssl_handshake_timeout = limits.idle
    config.keep_alive_max_requests = math.inf  # type: ignore[assignment]
    config.websocket_ping_interval = 20
    config.include_server_header = False
    config.websocket_max_message_size = 64 * 1024
    own = {
        "sending": sending,
        "open": set(),
        "limits": limits,
        "pipelined": Turnstile(AHEAD),
        "parser": PARSERS[parser],
    }
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
