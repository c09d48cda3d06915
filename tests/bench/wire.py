"""A load generator on bare sockets: HTTP/1.1 with as little work for each request as can be."""

from __future__ import annotations

import json
import selectors
import socket
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from types import MappingProxyType
from typing import Any

import trio

WARM_UP = 0.3  # seconds before a rate is taken
TIMEOUT = 60.0  # seconds for one answer to begin
READ_SIZE = 65_536  # bytes
NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class Connection:
    """One kept connection."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._buffer = b""

    async def exchange(self, request: bytes) -> tuple[int, bytes]:
        """Send a whole request; the status and the whole body of its answer."""
        await self._stream.send_all(request)
        status, length = await self._head()
        if length is None:
            return status, b"".join([piece async for piece in self._chunks()])
        while len(self._buffer) < length:
            await self._more()
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        return status, body

    async def stream(self, request: bytes) -> AsyncIterator[bytes]:
        """Send a whole request; the pieces of its chunked answer as they come."""
        await self._stream.send_all(request)
        status, length = await self._head()
        if status != 200 or length is not None:
            raise RuntimeError(f"answered {status}, not a stream: {self._buffer[:300]!r}")
        async for piece in self._chunks():
            yield piece

    async def _head(self) -> tuple[int, int | None]:
        """The status, and the length of the body; None for a chunked one."""
        with trio.fail_after(TIMEOUT):
            while (end := self._buffer.find(b"\r\n\r\n")) < 0:
                await self._more()
        head = self._buffer[:end].lower()
        self._buffer = self._buffer[end + 4 :]
        status = int(head[9:12])
        at = head.find(b"content-length:")
        if at >= 0:
            return status, int(head[at + 15 :].split(b"\r\n", 1)[0])
        return status, None if b"transfer-encoding: chunked" in head else 0

    async def _chunks(self) -> AsyncIterator[bytes]:
        while True:
            while (end := self._buffer.find(b"\r\n")) < 0:
                await self._more()
            size = int(self._buffer[:end], 16)
            while len(self._buffer) < end + 2 + size + 2:
                await self._more()
            piece = self._buffer[end + 2 : end + 2 + size]
            self._buffer = self._buffer[end + 4 + size :]
            if not size:
                return
            yield piece

    async def _more(self) -> None:
        data = await self._stream.receive_some(READ_SIZE)
        if not data:
            raise ConnectionError("the server closed the connection")
        self._buffer += data


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Connection]:
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    stream.setsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_NODELAY, 1)
    async with stream:
        yield Connection(stream)


def post(path: str, body: object, headers: Mapping[str, str] = NO_HEADERS) -> bytes:
    """The bytes of a POST of JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(data)}"
    head += "".join(f"\r\n{name}: {value}" for name, value in headers.items())
    return head.encode() + b"\r\n\r\n" + data


def get(path: str) -> bytes:
    """The bytes of a GET."""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()


async def ask(port: int, request: bytes, *, status: int = 200) -> Any:
    """One exchange on a connection of its own: the JSON of the answer, which must have `status`."""
    async with connected(port) as connection:
        got, body = await connection.exchange(request)
    if got != status:
        raise RuntimeError(f"answered {got} instead of {status}: {body[:300]!r}")
    return json.loads(body)


async def rate(port: int, request: bytes, *, connections: int, seconds: float, status: int) -> float:
    """Requests answered per second, by `connections` that each ask again as soon as they are answered."""
    return await rate_of_all([port], request, connections=connections, seconds=seconds, status=status)


async def rate_of_all(ports: Sequence[int], request: bytes, *, connections: int, seconds: float, status: int) -> float:
    """As `rate`, with the connections shared out among the ports."""
    return await trio.to_thread.run_sync(_keep_asking, ports, request, connections, seconds, status)


def _keep_asking(ports: Sequence[int], request: bytes, connections: int, seconds: float, status: int) -> float:
    """As `rate`, on one bare selector: the server has the cores for itself."""
    wanted = b"HTTP/1.1 %d " % status
    done = 0
    with ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        for number in range(connections):
            opened = stack.enter_context(socket.create_connection(("127.0.0.1", ports[number % len(ports)])))
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(opened, selectors.EVENT_READ, _Answer())
            opened.sendall(request)
        start = time.perf_counter() + WARM_UP
        before: int | None = None
        while True:
            ready = selector.select(TIMEOUT)
            now = time.perf_counter()
            if not ready:
                raise RuntimeError(f"no answer within {TIMEOUT:.0f} s")
            if before is None and now >= start:
                before, start = done, now
            if before is not None and now >= start + seconds:
                return (done - before) / (now - start)
            for key, _ in ready:
                connection: Any = key.fileobj
                if key.data.take(connection.recv(READ_SIZE), wanted):
                    done += 1
                    connection.sendall(request)


class _Answer:
    """The answer that a connection waits for: enough of it to know its end."""

    def __init__(self) -> None:
        self._got = b""

    def take(self, data: bytes, wanted: bytes) -> bool:
        """Add what came; return True once the answer is whole."""
        if not data:
            raise ConnectionError("the server closed the connection")
        got = self._got = self._got + data if self._got else data
        end = got.find(b"\r\n\r\n")
        if end < 0:
            return False
        if not got.startswith(wanted):
            raise RuntimeError(f"answered not {wanted!r}: {got[:400]!r}")
        head = got[:end].lower()
        at = head.find(b"content-length:")
        if at >= 0:
            whole = len(got) >= end + 4 + int(head[at + 15 :].split(b"\r\n", 1)[0])
        else:
            whole = got.endswith(b"\r\n0\r\n\r\n")
        if whole:
            self._got = b""
        return whole
