"""One Foreman, asked over HTTP, with and without an event loop: whatever fails there becomes a ClientFault."""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import aclosing, closing, contextmanager, suppress
from typing import Any, TypeVar

import anyio
import httpx2

from foreman.client import requests
from foreman.client.faults import ClientFault, ConnectFailed
from foreman.client.requests import Address, Ask
from foreman.client.talks import Held, Open, Pause, Read, Step, Talk, Tell, Telling
from foreman.client.why import refused, why

T = TypeVar("T")

CONNECT_TIMEOUT = 5.0  # seconds
STREAM_SILENCE = 60.0  # seconds; Foreman sends a comment far more often than that
UNLIMITED = httpx2.Limits(max_connections=None)  # each wait holds one; the limit is Foreman's to set


class Connection:
    """For callers without an event loop; threads may share it. `timeout` is the longest wait for one answer, in s."""

    def __init__(self, address: Address, timeout: float) -> None:
        self.url: str = address.url
        self.timeout: float = timeout
        self.http: httpx2.Client = httpx2.Client(
            base_url=address.url,
            headers=address.headers,
            limits=UNLIMITED,
            trust_env=False,  # proxies of the environment are not for prompts
            verify=_trusted(address.url),
        )

    def close(self) -> None:
        self.http.close()

    def hold(self, talk: Talk[T]) -> T:
        """Do what a conversation wants, step after step; what it comes to. Raises the faults it raises."""
        with closing(_Line(self)) as line:
            held = Held(talk)
            while held.step is not None:
                line.go_on(held)
            return held.result

    def listen(self, talk: Telling[T]) -> Generator[T, None, None]:
        """Do what a conversation wants, and give on what it tells."""
        with closing(_Line(self)) as line:
            held = Held(talk)
            while (step := held.step) is not None:
                if isinstance(step, Tell):
                    yield step.value
                    held.send(None)
                else:
                    line.go_on(held)


class AsyncConnection:
    """For callers on an event loop of asyncio or Trio. `timeout` is the longest wait for one answer, in seconds."""

    def __init__(self, address: Address, timeout: float) -> None:
        self.url: str = address.url
        self.timeout: float = timeout
        self.http: httpx2.AsyncClient = httpx2.AsyncClient(
            base_url=address.url,
            headers=address.headers,
            limits=UNLIMITED,
            trust_env=False,
            verify=_trusted(address.url),
        )

    async def aclose(self) -> None:
        await self.http.aclose()

    async def hold(self, talk: Talk[T]) -> T:
        """Do what a conversation wants, step after step; what it comes to. Raises the faults it raises."""
        async with aclosing(_AsyncLine(self)) as line:
            held = Held(talk)
            while held.step is not None:
                await line.go_on(held)
            return held.result

    async def listen(self, talk: Telling[T]) -> AsyncGenerator[T, None]:
        """Do what a conversation wants, and give on what it tells."""
        async with aclosing(_AsyncLine(self)) as line:
            held = Held(talk)
            while (step := held.step) is not None:
                if isinstance(step, Tell):
                    yield step.value
                    held.send(None)
                else:
                    await line.go_on(held)


class _Line:
    """What one conversation has open."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._response: httpx2.Response | None = None
        self._bytes: Iterator[bytes] = iter(())

    def go_on(self, held: Held[Any]) -> None:
        """Do the step that is wanted, and say what came of it."""
        try:
            reply = self._do(held.step)
        except ClientFault as fault:
            held.throw(fault)
        else:
            held.send(reply)

    def _do(self, step: Step) -> Any:
        match step:
            case Pause():
                return time.sleep(step.seconds)
            case Read():
                with _faults(self._connection.url):
                    return next(self._bytes, b"")
            case Open():
                self.close()
                return self._open(step.ask)
            case Ask():
                url, http = self._connection.url, self._connection.http
                with _faults(url):
                    got = http.send(_request(http, step, self._connection.timeout))
                return requests.read(step, url, got.status_code, got.headers, got.content)

    def close(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None

    def _open(self, ask: Ask[bytes]) -> str:
        url, http = self._connection.url, self._connection.http
        with _faults(url):
            self._response = got = http.send(_request(http, ask, STREAM_SILENCE), stream=True)
            if got.status_code != 200:
                raise requests.fault(url, got.status_code, got.headers, got.read())
        self._bytes = got.iter_bytes()
        return got.headers.get("content-type", "")


class _AsyncLine:
    """What one conversation has open."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self._response: httpx2.Response | None = None
        self._bytes: AsyncGenerator[bytes, None] | None = None

    async def go_on(self, held: Held[Any]) -> None:
        """Do the step that is wanted, and say what came of it."""
        try:
            reply = await self._do(held.step)
        except ClientFault as fault:
            held.throw(fault)
        else:
            held.send(reply)

    async def _do(self, step: Step) -> Any:
        match step:
            case Pause():
                return await anyio.sleep(step.seconds)
            case Read():
                assert self._bytes is not None
                with _faults(self._connection.url):
                    return await anext(self._bytes, b"")
            case Open():
                await self.aclose()
                return await self._open(step.ask)
            case Ask():
                url, http = self._connection.url, self._connection.http
                with _faults(url):
                    got = await http.send(_request(http, step, self._connection.timeout))
                return requests.read(step, url, got.status_code, got.headers, got.content)

    async def aclose(self) -> None:
        if self._response is not None:
            await self._response.aclose()
            self._response = None
        if self._bytes is not None:
            with suppress(httpx2.RequestError, StopAsyncIteration):
                while True:  # what httpx2 would leave to the collector of garbage, of which Trio complains
                    await anext(self._bytes)
            self._bytes = None

    async def _open(self, ask: Ask[bytes]) -> str:
        url, http = self._connection.url, self._connection.http
        with _faults(url):
            self._response = got = await http.send(_request(http, ask, STREAM_SILENCE), stream=True)
            if got.status_code != 200:
                raise requests.fault(url, got.status_code, got.headers, await got.aread())
        self._bytes = got.aiter_bytes()
        return got.headers.get("content-type", "")


def _request(http: httpx2.Client | httpx2.AsyncClient, ask: Ask[Any], timeout: float) -> httpx2.Request:
    patience = httpx2.Timeout(timeout + ask.held, connect=min(timeout, CONNECT_TIMEOUT))
    return http.build_request(
        ask.method, ask.path, params=ask.params, headers=ask.headers, content=ask.body, timeout=patience
    )


@contextmanager
def _faults(url: str) -> Iterator[None]:
    try:
        yield
    except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
        raise ConnectFailed(url, "" if refused(error) else why(error), nobody=True) from None
    except httpx2.RequestError as error:
        raise ConnectFailed(url, why(error)) from None


def _trusted(url: str) -> ssl.SSLContext | bool:
    """The system's authorities, or those of SSL_CERT_FILE."""
    return ssl.create_default_context() if url.lower().startswith("https:") else False
