"""Network backends of both clients; every read and write is bounded by the allowance of its answer."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any, TypeAlias

import httpcore2
import httpx2
from httpcore2 import AsyncNetworkBackend, AsyncNetworkStream, NetworkBackend, NetworkStream

from foreman.client.limits import LONGEST, current

KEPT = 5.0  # seconds to keep an idle connection

Options: TypeAlias = Iterable[Any] | None


class Transport(httpx2.HTTPTransport):
    """HTTP transport without an event loop; the number of connections is limited by Foreman alone."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self._pool = httpcore2.ConnectionPool(
            tls, max_connections=None, keepalive_expiry=KEPT, network_backend=_Backend()
        )


class AsyncTransport(httpx2.AsyncHTTPTransport):
    """HTTP transport on an event loop of asyncio or Trio."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self._pool = httpcore2.AsyncConnectionPool(
            tls, max_connections=None, keepalive_expiry=KEPT, network_backend=_AsyncBackend()
        )


class _Backend(NetworkBackend):
    def __init__(self) -> None:
        self._inner = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Options = None,
    ) -> NetworkStream:
        """Try the addresses of a name, each for its share of the time left."""
        until = time.monotonic() + _left(timeout, httpcore2.ConnectTimeout)
        addresses = _addresses(host, port, until - time.monotonic())
        for number, address in enumerate(addresses):
            share = max(0.001, until - time.monotonic()) / (len(addresses) - number)
            try:
                return _Stream(self._inner.connect_tcp(address, port, share, local_address, socket_options))
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                if number == len(addresses) - 1:
                    raise
        raise httpcore2.ConnectError(f"no address found for {host}")


def _addresses(host: str, port: int, seconds: float) -> list[str]:
    """Resolve a name in a thread: getaddrinfo takes no timeout."""
    found: Future[list[Any]] = Future()

    def look() -> None:
        try:
            found.set_result(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            found.set_exception(error)

    threading.Thread(target=look, daemon=True).start()
    try:
        return list(dict.fromkeys(str(entry[4][0]) for entry in found.result(seconds)))
    except TimeoutError as error:
        raise httpcore2.ConnectTimeout(f"{host} was not resolved in time") from error
    except (OSError, UnicodeError) as error:
        raise httpcore2.ConnectError(str(error)) from error


class _Stream(NetworkStream):
    def __init__(self, inner: NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return _counted(self._inner.read(max_bytes, _left(timeout, httpcore2.ReadTimeout)))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all of it; httpcore2 would restart the timeout with each part sent."""
        sock: socket.socket = self._inner.get_extra_info("socket")
        view = memoryview(buffer)
        while view:
            try:
                sock.settimeout(_left(timeout, httpcore2.WriteTimeout))
                view = view[sock.send(view) :]
            except TimeoutError as error:
                raise httpcore2.WriteTimeout(str(error)) from error
            except OSError as error:
                raise httpcore2.WriteError(str(error)) from error

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> NetworkStream:
        left = _left(timeout, httpcore2.ConnectTimeout)
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _AsyncBackend(AsyncNetworkBackend):
    def __init__(self) -> None:
        self._inner = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Options = None,
    ) -> AsyncNetworkStream:
        left = _left(timeout, httpcore2.ConnectTimeout)
        return _AsyncStream(await self._inner.connect_tcp(host, port, left, local_address, socket_options))


class _AsyncStream(AsyncNetworkStream):
    def __init__(self, inner: AsyncNetworkStream) -> None:
        self._inner = inner

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return _counted(await self._inner.read(max_bytes, _left(timeout, httpcore2.ReadTimeout)))

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._inner.write(buffer, _left(timeout, httpcore2.WriteTimeout))

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> AsyncNetworkStream:
        left = _left(timeout, httpcore2.ConnectTimeout)
        return _AsyncStream(await self._inner.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


def _left(timeout: float | None, late: type[httpcore2.TimeoutException]) -> float:
    """Return the seconds left for this operation. Raise `late` when none are."""
    allowance = current()
    left = min(LONGEST if timeout is None else timeout, LONGEST if allowance is None else allowance.left())
    if left <= 0:
        raise late("the time for the whole answer is over")
    return left


def _counted(data: bytes) -> bytes:
    allowance = current()
    if allowance is not None:
        allowance.take(len(data))
    return data
