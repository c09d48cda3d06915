"""Connections to one Foreman over HTTP, with and without an event loop; every failure becomes a ClientError."""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import aclosing, closing, contextmanager, suppress
from http.cookiejar import DefaultCookiePolicy
from typing import Any, TypeVar

import anyio
import httpx2

from foreman.client import requests
from foreman.client.errors import AnswerTooLarge, AnswerTooSlow, ClientError, ConnectFailed, NotForeman
from foreman.client.limits import Allowance, Limits
from foreman.client.network import AsyncTransport, Transport
from foreman.client.operations import Emit, Emitting, Held, Open, Operation, Pause, Read, Step
from foreman.client.requests import Address, Ask
from foreman.client.why import causes, refused, why

T = TypeVar("T")

CONNECT_TIMEOUT = 5.0  # seconds
NO_COOKIES = DefaultCookiePolicy(allowed_domains=())  # Foreman sets none; another server might set any number
HEADERS = {"Accept-Encoding": "identity"}  # no compression: a small answer cannot expand beyond max_answer
TOO_LONG = 431  # the status that h11 suggests for an endless head, of an answer or of a chunk


class Connection:
    """Connection for callers without an event loop; threads may share it."""

    def __init__(self, address: Address, limits: Limits) -> None:
        self.url: str = address.url
        self.limits: Limits = limits
        self.http: httpx2.Client = httpx2.Client(
            base_url=address.url,
            headers=HEADERS | address.headers,
            transport=Transport(_trusted(address.url)),
            trust_env=False,  # prompts must not go through a proxy set in the environment
        )
        self.http.cookies.jar.set_policy(NO_COOKIES)

    def close(self) -> None:
        """Close all sockets."""
        self.http.close()

    def run(self, operation: Operation[T]) -> T:
        """Perform the steps of an operation and return its result."""
        with closing(_Session(self)) as session:
            held = Held(operation)
            while held.step is not None:
                session.step(held)
            return held.result

    def iterate(self, operation: Emitting[T]) -> Generator[T, None, None]:
        """Perform the steps of an operation and yield the values it emits."""
        with closing(_Session(self)) as session:
            held = Held(operation)
            while (step := held.step) is not None:
                if isinstance(step, Emit):
                    yield step.value
                    held.send(None)
                else:
                    session.step(held)


class AsyncConnection:
    """Connection for callers on an event loop of asyncio or Trio."""

    def __init__(self, address: Address, limits: Limits) -> None:
        self.url: str = address.url
        self.limits: Limits = limits
        self.http: httpx2.AsyncClient = httpx2.AsyncClient(
            base_url=address.url,
            headers=HEADERS | address.headers,
            transport=AsyncTransport(_trusted(address.url)),
            trust_env=False,
        )
        self.http.cookies.jar.set_policy(NO_COOKIES)

    async def aclose(self) -> None:
        """Close all sockets."""
        await self.http.aclose()

    async def run(self, operation: Operation[T]) -> T:
        """Perform the steps of an operation and return its result."""
        async with aclosing(_AsyncSession(self)) as session:
            held = Held(operation)
            while held.step is not None:
                await session.step(held)
            return held.result

    async def iterate(self, operation: Emitting[T]) -> AsyncGenerator[T, None]:
        """Perform the steps of an operation and yield the values it emits."""
        async with aclosing(_AsyncSession(self)) as session:
            held = Held(operation)
            while (step := held.step) is not None:
                if isinstance(step, Emit):
                    yield step.value
                    held.send(None)
                else:
                    await session.step(held)


class _Session:
    """Open stream of one operation."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._response: httpx2.Response | None = None
        self._bytes: Iterator[bytes] = iter(())
        self._allowance: Allowance | None = None

    def step(self, held: Held[Any]) -> None:
        """Perform the next step and resume the operation with its reply or error."""
        try:
            reply = self._do(held.step)
        except ClientError as error:
            held.throw(error)
        else:
            held.send(reply)

    def _do(self, step: Step) -> Any:
        url, http, limits = self._connection.url, self._connection.http, self._connection.limits
        match step:
            case Pause():
                return time.sleep(step.seconds)
            case Read():
                assert self._allowance is not None
                step.renew(self._allowance)
                with _held_to(self._allowance, url, "line"):
                    return next(self._bytes, b"")
            case Open():
                self.close()
                self._allowance = Allowance(limits, limits.timeout, url)
                with _held_to(self._allowance, url):
                    self._response = got = http.send(_request(http, step.ask), stream=True)
                    if got.status_code != 200:
                        raise requests.error_of(url, got.status_code, got.headers, b"".join(got.iter_raw()))
                media = _content_type(url, got)
                self._bytes = got.iter_raw()
                return media
            case Ask():
                with _held_to(Allowance(limits, _seconds(step, limits), url), url):
                    got = http.send(_request(http, step), stream=True)
                    with closing(got):
                        _content_type(url, got)
                        body = b"".join(got.iter_raw())
                return requests.read(step, url, got.status_code, got.headers, body)

    def close(self) -> None:
        """Close the open stream."""
        if self._response is not None:
            self._response.close()
            self._response = None


class _AsyncSession:
    """Open stream of one operation."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self._response: httpx2.Response | None = None
        self._bytes: AsyncGenerator[bytes, None] | None = None
        self._allowance: Allowance | None = None

    async def step(self, held: Held[Any]) -> None:
        """Perform the next step and resume the operation with its reply or error."""
        try:
            reply = await self._do(held.step)
        except ClientError as error:
            held.throw(error)
        else:
            held.send(reply)

    async def _do(self, step: Step) -> Any:
        url, http, limits = self._connection.url, self._connection.http, self._connection.limits
        match step:
            case Pause():
                return await anyio.sleep(step.seconds)
            case Read():
                assert self._allowance is not None
                assert self._bytes is not None
                step.renew(self._allowance)
                with _held_to(self._allowance, url, "line"):
                    return await anext(self._bytes, b"")
            case Open():
                await self.aclose()
                self._allowance = Allowance(limits, limits.timeout, url)
                with _held_to(self._allowance, url):
                    self._response = got = await http.send(_request(http, step.ask), stream=True)
                    if got.status_code != 200:
                        raise requests.error_of(url, got.status_code, got.headers, await _whole(got))
                media = _content_type(url, got)
                self._bytes = got.aiter_raw()
                return media
            case Ask():
                with _held_to(Allowance(limits, _seconds(step, limits), url), url):
                    got = await http.send(_request(http, step), stream=True)
                    async with aclosing(got):
                        _content_type(url, got)
                        body = await _whole(got)
                return requests.read(step, url, got.status_code, got.headers, body)

    async def aclose(self) -> None:
        """Close the open stream."""
        if self._response is not None:
            await self._response.aclose()
            self._response = None
        if self._bytes is not None:
            with suppress(httpx2.RequestError, httpx2.StreamError, StopAsyncIteration):
                while True:  # else httpx2 leaves the generator to the garbage collector, and Trio warns
                    await anext(self._bytes)
            self._bytes = None


async def _whole(got: httpx2.Response) -> bytes:
    return b"".join([data async for data in got.aiter_raw()])


def _request(http: httpx2.Client | httpx2.AsyncClient, ask: Ask[Any]) -> httpx2.Request:
    limits = httpx2.Timeout(None, connect=CONNECT_TIMEOUT)  # the allowance bounds all else
    content: Any = ask.body
    if ask.stream is not None:
        content = ask.stream.pieces() if isinstance(http, httpx2.Client) else ask.stream.async_pieces()
    return http.build_request(
        ask.method, ask.path, params=ask.params, headers=ask.headers, content=content, timeout=limits
    )


def _seconds(ask: Ask[Any], limits: Limits) -> float:
    """Return the seconds that a whole answer may take."""
    return min(limits.timeout + ask.held, ask.within)


def _content_type(url: str, got: httpx2.Response) -> str:
    """Return the media type of an answer. Raise NotForeman for a compressed one."""
    if (packed := got.headers.get("content-encoding", "identity").lower()) != "identity":
        raise NotForeman(url, f"it compresses its answers with {packed[:20]}, unasked")
    return got.headers.get("content-type", "")


@contextmanager
def _held_to(allowance: Allowance, url: str, what: str = "answer") -> Iterator[None]:
    """Apply the allowance, and translate errors of httpx2 into ClientErrors."""
    try:
        with allowance.applied():
            yield
    except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
        raise ConnectFailed(url, "" if refused(error) else why(error), nobody=True) from None
    except httpx2.TimeoutException:
        raise AnswerTooSlow(url, f"no whole {what} within {allowance.seconds:g} s") from None
    except httpx2.RequestError as error:
        if any(getattr(cause, "error_status_hint", None) == TOO_LONG for cause in causes(error)):
            raise AnswerTooLarge(url, "an endless head") from None
        raise ConnectFailed(url, why(error)) from None


def _trusted(url: str) -> ssl.SSLContext | None:
    """Return a TLS context with the authorities of the system, or of SSL_CERT_FILE; None for http."""
    return ssl.create_default_context() if url.lower().startswith("https:") else None
