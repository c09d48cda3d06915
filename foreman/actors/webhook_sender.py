"""Posts one webhook: to the very address that was judged, no further than it must read, never longer than it may."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, Protocol

import httpcore2
import httpx2
import msgspec
import trio
from httpcore2 import AsyncNetworkBackend, AsyncNetworkStream

from foreman import __version__
from foreman.actors.results import show_results
from foreman.domain.errors import JobUnreadable, WebhookRefused
from foreman.domain.job import Delivery, Instant, State
from foreman.domain.retry import Sent, retry_after
from foreman.domain.webhooks import addresses
from foreman.domain.webhooks.signature import sign
from foreman.domain.wire import show_webhook
from foreman.resolver import Resolver
from foreman.shortage import shortage_in
from foreman.store.protocol import Reader

READ_AT_MOST = 4096  # bytes of a receiver's answer
READ_TIMEOUT = 2.0  # seconds for them
KEPT = 64  # connections that are kept for the next delivery
PORTS = {"http": 80, "https": 443}
AS_FOREMAN = {"User-Agent": f"foreman/{__version__}", "Content-Type": "application/json"}
UNDELIVERED = (
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.TimeoutException,
    httpcore2.UnsupportedProtocol,
    httpcore2.ConnectionNotAvailable,
)


class Resolve(Protocol):
    """A coroutine function that gives what getaddrinfo gives."""

    async def __call__(self, host: str, port: int, *, type: int) -> Any: ...


class WebhookSender:
    """Judges receivers and posts to them."""

    def __init__(
        self,
        rules: addresses.Rules,
        *,
        secrets: Sequence[str],
        timeout: float,
        clock: Callable[[], Instant],
        resolve: Resolve | None = None,
    ) -> None:
        """`timeout` is seconds for a whole attempt."""
        # Not the resolver that all of the process shares: callers name these hosts, and slow name servers of theirs
        # must not take the threads in which the target's name is looked up.
        self._judge = _Judge(rules, resolve or Resolver().getaddrinfo)
        self._secrets = secrets
        self._timeout = timeout
        self._clock = clock
        # The pool alone: what a client adds on top (cookies, redirects, proxies) no webhook may have, and it costs as
        # much as the sending itself.
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=httpx2.create_ssl_context(trust_env=False),
            max_connections=None,  # how many deliveries run together is decided elsewhere
            max_keepalive_connections=KEPT,
            keepalive_expiry=4.0,
            network_backend=_Judged(self._judge),
        )

    async def aclose(self) -> None:
        await self._pool.aclose()

    async def check(self, url: str, judged: dict[str, str | None] | None = None) -> None:
        """Raises WebhookRefused when no webhook may go to `url`: why, and the setting that would allow it. Raises
        Shortage when that cannot be found out now.

        `judged` remembers receivers for a caller who has many URLs, of which most name the same host.
        """
        judged = {} if judged is None else judged
        try:
            parts = addresses.read_url(url)
            target, _ = _target(url)
        except ValueError as allowed:
            raise WebhookRefused(url, str(allowed)) from None
        receiver = f"{parts.scheme}://{parts.netloc}"
        if receiver not in judged:
            judged[receiver] = await self._refusal(target.host.decode(), target.port or PORTS[parts.scheme])
        if (why := judged[receiver]) is not None:
            raise WebhookRefused(url, why)

    async def _refusal(self, host: str, port: int) -> str | None:
        try:
            await self._judge.choose(host, port)
        except _Refused as why:
            return str(why)
        except OSError as error:
            if short := shortage_in(error):
                raise short from error
            return f"its host name cannot be resolved ({error.strerror or error})"
        return None

    async def post(self, delivery: Delivery, body: bytes) -> Sent:
        """One attempt. Never raises: what went wrong is the answer."""
        now = self._clock()
        webhook_id = f"msg_{delivery.job_id}_{delivery.seq}"
        headers = AS_FOREMAN | sign(body, webhook_id=webhook_id, secrets=self._secrets, now=now)
        try:
            with trio.fail_after(self._timeout):
                return await self._post(delivery.url, body, headers)
        except trio.TooSlowError:
            return Sent(error=f"no answer within {self._timeout:g} s")
        except (*UNDELIVERED, _Refused, OSError, ValueError) as error:
            return Sent(error=str(error)[:500] or type(error).__name__)
        except Exception as error:
            if short := shortage_in(error):
                return Sent(error=str(short))
            raise

    async def _post(self, url: str, body: bytes, headers: dict[str, str]) -> Sent:
        target, host = _target(url)
        sent = [("Host", host), *headers.items()]
        async with self._pool.stream("POST", target, headers=sent, content=body) as response:
            await _read_a_little(response)
            status = response.status
            asked = next((value for name, value in response.headers if name.lower() == b"retry-after"), b"")
            return Sent(
                status=status,
                error=None if 200 <= status < 300 else f"the receiver answered {status}",
                retry_after=retry_after(asked.decode("latin-1"), self._clock()),
            )


async def _read_a_little(response: httpcore2.Response) -> None:
    """Read a short body, so that the connection can be used again; whatever else comes, the status was the answer."""
    read = 0
    with trio.move_on_after(READ_TIMEOUT), suppress(*UNDELIVERED):
        async for piece in response.aiter_stream():
            read += len(piece)
            if read > READ_AT_MOST:
                return  # leaving the stream closes the connection


@lru_cache(maxsize=1024)
def _target(url: str) -> tuple[httpcore2.URL, str]:
    """The URL as it is connected to, names in their ASCII form, and its Host header. Raises ValueError."""
    try:
        parts = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise ValueError(f"must be an http:// or https:// address ({error})") from None
    target = httpcore2.URL(scheme=parts.raw_scheme, host=parts.raw_host, port=parts.port, target=parts.raw_path)
    return target, parts.netloc.decode()


class _Refused(Exception):
    """The receiver's address is one that no webhook may go to."""


class _Judge:
    """Resolves a name once and judges every address it has."""

    def __init__(self, rules: addresses.Rules, resolve: Resolve) -> None:
        self._rules = rules
        self._resolve = resolve

    async def choose(self, host: str, port: int) -> str:
        """An address to connect to. Raises _Refused when any of the host's is refused, OSError when it has none."""
        found = await self._resolve(host, port, type=socket.SOCK_STREAM)
        texts = list(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found))
        for text in texts:
            if why := self._rules.refusal(ip_address(text), name=host):
                raise _Refused(why)
        if not texts:
            raise OSError(f"{host} has no address")
        return texts[0]


class _Judged(AsyncNetworkBackend):
    """Connects to what was judged, so that a name cannot change its mind in between."""

    def __init__(self, judge: _Judge) -> None:
        self._judge = judge
        self._inner = httpcore2.TrioBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> AsyncNetworkStream:
        address = await self._judge.choose(host, port)
        return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)


def payload_of(store: Reader, delivery: Delivery, inline: int) -> bytes:
    """Return the body of a webhook, of which artifacts of more than `inline` bytes are no part.

    Raises JobUnreadable.
    """
    event, job = store.event(delivery.seq), store.job(delivery.job_id)
    if event is None or job is None:  # the schema rules it out; another program may not have heeded that
        raise JobUnreadable(delivery.job_id, f"it, or its event {delivery.seq}, is not there")
    results: dict[str, Any] = {"result": None, "artifacts": None}
    if event.state is State.DONE:
        results = show_results(store, job.id, inline)
    return msgspec.json.encode(show_webhook(event, job) | results)
