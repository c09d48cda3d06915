"""The webhook sender: pins the validated IP address, bounds the response read, enforces a deadline."""

from __future__ import annotations

import math
import socket
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, NamedTuple, Protocol

import httpcore2
import httpx2
import msgspec
import trio
from httpcore2 import AsyncNetworkBackend, AsyncNetworkStream, Response

from foreman import __version__
from foreman.domain import views
from foreman.domain.errors import JobUnreadable, WebhookRefused
from foreman.domain.job import Delivery, Instant, State
from foreman.domain.retry import Sent, retry_after
from foreman.domain.webhooks import addresses
from foreman.domain.webhooks.endpoints import AnyDelivery, EndpointDelivery, body_of
from foreman.domain.webhooks.signature import sign
from foreman.queue.results import show_results
from foreman.resolver import Resolver
from foreman.shortage import shortage_in
from foreman.store.protocol import Reader

READ_AT_MOST = 4096  # bytes of a receiver's answer
READ_TIMEOUT = 2.0  # seconds for them
KEPT = 64  # connections that are kept for the next delivery
KEPT_FOR = 4.0  # seconds without a delivery
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
    """A coroutine function that returns what getaddrinfo returns."""

    async def __call__(self, host: str, port: int, *, type: int) -> Any:
        """Resolve a host name."""


class Content(NamedTuple):
    """What a webhook carries."""

    body: bytes
    secrets: Sequence[str] | None = None  # of its endpoint; None: those of the settings


class WebhookSender:
    """Validates receivers and sends webhooks to them."""

    def __init__(
        self,
        rules: addresses.AddressRules,
        *,
        secrets: Sequence[str],
        timeout: float,
        clock: Callable[[], Instant],
        resolve: Resolve | None = None,
    ) -> None:
        """Sign with all of `secrets`; `timeout` bounds a whole attempt, in seconds."""
        # Not the resolver that the process shares: callers name these hosts, and their slow name servers must not
        # take the threads that resolve the target's name.
        self._validator = _Validator(rules, resolve or Resolver().getaddrinfo)
        self._secrets = secrets
        self._timeout = timeout
        self._clock = clock
        # The pool alone: webhooks must not use what a client adds (cookies, redirects, proxies), and that costs as
        # much as the sending itself.
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=httpx2.create_ssl_context(trust_env=False),
            max_connections=None,  # the dispatcher bounds concurrent deliveries
            max_keepalive_connections=KEPT,
            keepalive_expiry=KEPT_FOR,
            network_backend=_PinnedBackend(self._validator),
        )
        self._posting = 0  # attempts under way
        self._used_at = -math.inf  # when the last one ended, in Trio's time

    def change(self, rules: addresses.AddressRules, *, secrets: Sequence[str], timeout: float) -> None:
        """Judge, sign and time the attempts that begin from now on by these; a kept connection stays for seconds."""
        self._validator.rules, self._secrets, self._timeout = rules, secrets, timeout

    async def aclose(self) -> None:
        """Close the pooled connections."""
        await self._pool.aclose()

    def expires_in(self) -> float:
        """Return the seconds until the kept connections should be closed; infinity while there is nothing to close."""
        if self._posting or not self._pool.connections:
            return math.inf
        return self._used_at + KEPT_FOR - trio.current_time()

    async def close_expired(self) -> None:
        """Close the kept connections if none was used for long, which the pool itself notices at its next use only."""
        if self.expires_in() <= 0:
            await self._pool.aclose()

    async def check(
        self, url: str, judged: dict[str, str | None] | None = None, *, field: str = "state_webhook_url"
    ) -> None:
        """Validate the URL of a webhook.

        `judged` caches the outcome by receiver, for a caller with many URLs of the same host. `field` is where the URL
        was given.

        Raises:
            WebhookRefused: Webhooks may not go there; says why, and which setting would allow it.
            Shortage: The process is out of a resource that the check needs.
        """
        judged = {} if judged is None else judged
        try:
            parts = addresses.read_url(url)
            target, _ = _target(url)
        except ValueError as error:
            raise WebhookRefused(url, str(error), field) from None
        receiver = f"{parts.scheme}://{parts.netloc}"
        if receiver not in judged:
            judged[receiver] = await self._refusal(target.host.decode(), target.port or PORTS[parts.scheme])
        if (why := judged[receiver]) is not None:
            raise WebhookRefused(url, why, field)

    async def _refusal(self, host: str, port: int) -> str | None:
        try:
            await self._validator.choose(host, port)
        except _Refused as error:
            return str(error)
        except OSError as error:
            if short := shortage_in(error):
                raise short from error
            return f"its host name cannot be resolved ({error.strerror or error})"
        return None

    async def post(self, delivery: AnyDelivery, content: Content) -> Sent:
        """Make one attempt; return its outcome. Network errors are part of it and not raised."""
        self._posting += 1
        try:
            return await self._attempt(delivery, content)
        finally:
            self._posting -= 1
            self._used_at = trio.current_time()

    async def _attempt(self, delivery: AnyDelivery, content: Content) -> Sent:
        secrets = self._secrets if content.secrets is None else content.secrets
        signed = sign(content.body, webhook_id=delivery.webhook_id, secrets=secrets, now=self._clock())
        answered: Sent | None = None  # what follows its head changes nothing
        try:
            with trio.fail_after(self._timeout):
                async with self._posted(delivery.url, content.body, AS_FOREMAN | signed) as response:
                    answered = self._outcome(response)
                    await _read_a_little(response)
        except trio.TooSlowError:
            return answered or Sent(error=f"no answer within {self._timeout:g} s")
        except (*UNDELIVERED, _Refused, OSError, ValueError) as error:
            return answered or Sent(error=str(error)[:500] or type(error).__name__)
        except Exception as error:
            if short := shortage_in(error):
                return answered or Sent(error=str(short))
            raise
        return answered

    def _posted(self, url: str, body: bytes, headers: dict[str, str]) -> AbstractAsyncContextManager[Response]:
        target, host = _target(url)
        sent = [("Host", host), *headers.items()]
        return self._pool.stream("POST", target, headers=sent, content=body)

    def _outcome(self, response: Response) -> Sent:
        status = response.status
        asked = next((value for name, value in response.headers if name.lower() == b"retry-after"), b"")
        return Sent(
            status=status,
            error=None if 200 <= status < 300 else f"the receiver answered {status}",
            retry_after=retry_after(asked.decode("latin-1"), self._clock()),
        )


async def _read_a_little(response: Response) -> None:
    """Read a short body, so that the connection can be reused. Errors are ignored: the status alone matters."""
    read = 0
    with trio.move_on_after(READ_TIMEOUT), suppress(*UNDELIVERED):
        async for chunk in response.aiter_stream():
            read += len(chunk)
            if read > READ_AT_MOST:
                return  # leaving the stream closes the connection


@lru_cache(maxsize=1024)
def _target(url: str) -> tuple[httpcore2.URL, str]:
    """Return the URL to connect to, its host in ASCII form, and the Host header. Raise ValueError on a bad URL."""
    try:
        parts = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise ValueError(f"must be an http:// or https:// address ({error})") from None
    target = httpcore2.URL(scheme=parts.raw_scheme, host=parts.raw_host, port=parts.port, target=parts.raw_path)
    return target, parts.netloc.decode()


class _Refused(Exception):
    """Webhooks may not go to the receiver's IP address."""


class _Validator:
    """Resolves a host name once and validates all its addresses."""

    def __init__(self, rules: addresses.AddressRules, resolve: Resolve) -> None:
        self.rules = rules
        self._resolve = resolve

    async def choose(self, host: str, port: int) -> str:
        """Return an address to connect to.

        Raises:
            _Refused: Any of the host's addresses is refused.
            OSError: The host has none, or cannot be resolved.
        """
        found = await self._resolve(host, port, type=socket.SOCK_STREAM)
        texts = list(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found))
        for text in texts:
            if why := self.rules.refusal(ip_address(text), name=host):
                raise _Refused(why)
        if not texts:
            raise OSError(f"{host} has no address")
        return texts[0]


class _PinnedBackend(AsyncNetworkBackend):
    """Connects to the validated address, so that DNS rebinding cannot change it in between."""

    def __init__(self, validator: _Validator) -> None:
        self._validator = validator
        self._inner = httpcore2.TrioBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> AsyncNetworkStream:
        address = await self._validator.choose(host, port)
        return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)


def content_of(store: Reader, delivery: AnyDelivery, inline: int, now: Instant) -> Content:
    """Return what a webhook carries, and its secrets. Raise JobUnreadable when what it tells of is missing."""
    if isinstance(delivery, Delivery):
        return Content(payload_of(store, delivery, inline))
    if delivery.endpoint_id == delivery.subject:
        return Content(_end_of_batch(store, delivery, now))
    endpoint = store.webhook_endpoint(delivery.endpoint_id)
    if endpoint is None:  # deleted meanwhile, with its deliveries
        raise JobUnreadable(delivery.subject, f"the endpoint of its event {delivery.id} is not there")
    return Content(body_of(delivery), endpoint.secrets(now))


def _end_of_batch(store: Reader, delivery: EndpointDelivery, now: Instant) -> bytes:
    """Return the body of the webhook for the end of a batch. Raise JobUnreadable when the batch is missing."""
    batch = store.batch(delivery.subject)
    if batch is None:  # pruned meanwhile
        raise JobUnreadable(delivery.subject, "it is not there")
    return msgspec.json.encode(views.show_batch_webhook(batch, delivery.type, delivery.created_at, now))


def payload_of(store: Reader, delivery: Delivery, inline: int) -> bytes:
    """Return the body of a webhook; artifacts of more than `inline` bytes are given by URL.

    Raise JobUnreadable when the job or the event is missing.
    """
    job = store.job(delivery.job_id)
    event = next(iter(store.events(after=delivery.seq - 1, job_id=delivery.job_id, limit=1)), None)
    if (
        event is None or event.seq != delivery.seq or job is None
    ):  # foreign keys rule it out, unless another program wrote to the database
        raise JobUnreadable(delivery.job_id, f"it, or its event {delivery.seq}, is not there")
    result, artifacts = show_results(store, job.id, inline) if event.state is State.DONE else (None, None)
    return msgspec.json.encode(views.show_webhook(event, job, result=result, artifacts=artifacts))
