"""Posts one webhook: to the very address that was judged, no further than it must read, never longer than it may."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import Any

import httpcore2
import httpx2
import msgspec
import trio
from httpcore2 import AsyncNetworkBackend, AsyncNetworkStream

from foreman import __version__, addresses
from foreman.actors.results import show_results
from foreman.errors import WebhookRefused
from foreman.job import Delivery, Instant, State
from foreman.retry import Sent
from foreman.signature import sign
from foreman.store.protocol import Reader
from foreman.wire import show_webhook

READ_AT_MOST = 4096  # bytes of a receiver's answer
CONNECTIONS = 64
LOOKUP_PATIENCE = 5.0  # seconds for a name

Resolve = Callable[[str, int], Any]  # a coroutine function that gives what getaddrinfo gives


class Poster:
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
        self._judge = _Judge(rules, resolve or _resolve)
        self._secrets = secrets
        self._timeout = timeout
        self._clock = clock
        self._client = httpx2.AsyncClient(
            transport=_Transport(_Judged(self._judge)),
            trust_env=False,  # a proxy from the environment would carry the answers of the jobs
            follow_redirects=False,
            timeout=None,  # one deadline covers the whole attempt
            headers={"User-Agent": f"foreman/{__version__}", "Content-Type": "application/json"},
        )

    async def check(self, url: str, judged: dict[str, str | None] | None = None) -> None:
        """Raises WebhookRefused when no webhook may go to `url`: why, and the setting that would allow it.

        `judged` remembers receivers for a caller who has many URLs, of which most name the same host.
        """
        judged = {} if judged is None else judged
        try:
            parts = addresses.read_url(url)
        except ValueError as allowed:
            raise WebhookRefused(url, str(allowed)) from None
        receiver = f"{parts.scheme}://{parts.netloc}"
        if receiver not in judged:
            judged[receiver] = await self._refusal(parts.hostname or "", parts.port or _PORTS[parts.scheme])
        if (why := judged[receiver]) is not None:
            raise WebhookRefused(url, why)

    async def _refusal(self, host: str, port: int) -> str | None:
        try:
            await self._judge.choose(host, port)
        except _Refused as why:
            return str(why)
        except OSError as error:
            return f"its host name cannot be resolved ({error.strerror or error})"
        return None

    async def post(self, delivery: Delivery, body: bytes) -> Sent:
        """One attempt. Never raises: what went wrong is the answer."""
        now = self._clock()
        headers = sign(body, webhook_id=f"msg_{delivery.job_id}_{delivery.seq}", secrets=self._secrets, now=now)
        try:
            with trio.fail_after(self._timeout):
                return await self._post(delivery.url, body, headers)
        except trio.TooSlowError:
            return Sent(error=f"no answer within {self._timeout:g} s")
        except (httpx2.HTTPError, httpx2.InvalidURL, _Refused, OSError) as error:
            return Sent(error=str(error)[:500] or type(error).__name__)

    async def _post(self, url: str, body: bytes, headers: dict[str, str]) -> Sent:
        async with self._client.stream("POST", url, content=body, headers=headers) as response:
            read = 0
            async for piece in response.aiter_raw():
                read += len(piece)
                if read > READ_AT_MOST:
                    break  # leaving the stream closes the connection
            status = response.status_code
            return Sent(
                status=status,
                error=None if 200 <= status < 300 else f"the receiver answered {status}",
                retry_after=_retry_after(response.headers.get("Retry-After"), self._clock()),
            )


_PORTS = {"http": 80, "https": 443}


class _Refused(Exception):
    """The receiver's address is one that no webhook may go to."""


class _Judge:
    """Resolves a name once and judges every address it has."""

    def __init__(self, rules: addresses.Rules, resolve: Resolve) -> None:
        self._rules = rules
        self._resolve = resolve

    async def choose(self, host: str, port: int) -> str:
        """An address to connect to. Raises _Refused when any of the host's is refused, OSError when it has none."""
        with trio.move_on_after(LOOKUP_PATIENCE):
            found = await self._resolve(host, port)
            texts = list(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found))
            for text in texts:
                if why := self._rules.refusal(ip_address(text), name=host):
                    raise _Refused(why)
            if texts:
                return texts[0]
        raise OSError(f"{host} has no address")


async def _resolve(host: str, port: int) -> Any:
    try:
        return await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:
        raise OSError(f"{host!r} is not a host name") from None


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


class _Transport(httpx2.AsyncHTTPTransport):
    def __init__(self, backend: AsyncNetworkBackend) -> None:
        super().__init__(trust_env=False)
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=httpx2.create_ssl_context(trust_env=False),
            max_connections=CONNECTIONS,
            max_keepalive_connections=CONNECTIONS,
            keepalive_expiry=4.0,
            network_backend=backend,
        )


def _retry_after(text: str | None, now: Instant) -> float | None:
    if text is None:
        return None
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        at = parsedate_to_datetime(text)
        return max(0.0, (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - now)
    except (ValueError, TypeError, IndexError, OverflowError):  # what the parser makes of an odd date varies
        return None


def payload_of(store: Reader, delivery: Delivery, inline: int) -> bytes:
    """The body of a webhook, of which artifacts of more than `inline` bytes are no part."""
    change, job = store.change(delivery.seq), store.job(delivery.job_id)
    if change is None or job is None:
        raise LookupError(f"delivery {delivery.seq} has outlived its job")  # the schema rules it out
    results: dict[str, Any] = {"result": None, "artifacts": None}
    if change.state is State.DONE:
        results = show_results(store, job.id, inline, whole=False)
    return msgspec.json.encode(show_webhook(change, job) | results)
