"""Receiving webhooks: signature checks, and a small HTTP server for them."""

from __future__ import annotations

import io
import socket
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from types import TracebackType
from typing import Any, Self, TypeVar, overload

import msgspec

from foreman.client.errors import NotEnded
from foreman.client.reading import decode
from foreman.client.types import Webhook
from foreman.domain.webhooks.signature import SignatureInvalid as SignatureInvalid
from foreman.domain.webhooks.signature import key_of, verify

T = TypeVar("T")

LOOPBACK = "127.0.0.1"
MOST = 64 * 2**20  # bytes of a body; webhooks are far smaller, large answers are not inline
REQUEST_TIMEOUT = 10.0  # seconds for a whole request
SENDERS = 256  # connections at once; more are closed, and Foreman tries again
ROOM = 256 * 2**20  # bytes of bodies at once, and bytes of final webhooks kept for `wait`
REMEMBERED = 10_000  # webhook ids, to find repeats, and final webhooks kept for `wait`


@overload
def verify_webhook(body: bytes, headers: Mapping[str, str], secret: str) -> Webhook: ...
@overload
def verify_webhook(body: bytes, headers: Mapping[str, str], secret: str, kind: type[T]) -> T: ...
def verify_webhook(body: bytes, headers: Mapping[str, str], secret: str, kind: type[Any] = Webhook) -> Any:
    """Return the webhook that was signed with `secret`, of the same type as a Receiver's.

    `body` is the request's body as received, `headers` its headers in any case. With `kind`, such as `dict`, read that:
    the webhooks of batches and endpoints have other fields. Raise SignatureInvalid when the signature does not match or
    is older than five minutes, ValueError when the secret is empty or malformed, or the body is no such webhook.
    """
    verify(body, headers, secret, now=time.time())
    return decode(body, kind)


class Receiver:
    """Receiver of webhooks, in its own thread; other threads can wait for the end of a job.

    Use it in a `with` statement, and submit jobs with its `url` as their `state_webhook_url`. `secrets` are Foreman's
    signing secrets; with any given, webhooks signed with none of them are refused. `on` is called with each webhook,
    once, in a thread of the server; when it raises, Foreman sends that webhook again. `host` is the address to listen
    on; on the default, the loopback, only a Foreman on this machine reaches it. `port` 0 takes a free port. `url` is
    the URL for Foreman where it differs from the address, such as behind a proxy.

    Raise OSError when it cannot listen there, ValueError for a malformed secret.
    """

    def __init__(
        self,
        *secrets: str,
        host: str = LOOPBACK,
        port: int = 0,
        url: str | None = None,
        on: Callable[[Webhook], object] | None = None,
    ) -> None:
        for secret in secrets:
            key_of(secret)
        self._secrets = secrets
        self._on = on
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._ended: OrderedDict[str, tuple[Webhook, int]] = OrderedDict()  # with the size of its body in bytes
        self._kept = 0  # bytes
        self._news = threading.Condition()
        self._post = Post(host, port, self._take)
        self.url: str = url or self._post.url

    def __enter__(self) -> Self:
        self._post.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop receiving."""
        self._post.close()

    def wait(self, job_id: str, *, within: float | None = None) -> Webhook:
        """Wait for the final webhook of a job and return it, once; it may have come before.

        The last 10,000 final webhooks, up to 256 MiB, are kept until they are returned. Raise NotEnded after `within`
        seconds. A job whose `webhook_events` leave out its final state has no such webhook.
        """
        with self._news:
            if not self._news.wait_for(lambda: job_id in self._ended, within):
                raise NotEnded(job_id, within or 0.0)
            webhook, size = self._ended.pop(job_id)
            self._kept -= size
            return webhook

    def _take(self, received: Received) -> int:
        if self._secrets and judge(received, self._secrets)[0] != GOOD:
            return 401
        try:
            webhook = decode(received.body, Webhook)
        except msgspec.DecodeError:
            return 400
        with self._news:
            if received.id and received.id in self._seen:
                return 204
        if self._on is not None:
            self._on(webhook)
        with self._news:
            self._seen[received.id] = None
            if len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)
            if webhook.ended:
                self._keep(webhook, len(received.body))
                self._news.notify_all()
        return 204

    def _keep(self, webhook: Webhook, size: int) -> None:
        self._kept += size - self._ended.pop(webhook.job_id, (None, 0))[1]
        self._ended[webhook.job_id] = webhook, size
        while len(self._ended) > REMEMBERED or self._kept > ROOM:
            self._kept -= self._ended.popitem(last=False)[1][1]


@dataclass(frozen=True, slots=True)
class Received:
    """A received request, which may be a webhook."""

    headers: Mapping[str, str]  # by lower-case name
    body: bytes

    @property
    def id(self) -> str:
        """The id of the webhook, the same in every delivery; empty without one."""
        return self.headers.get("webhook-id", "")


GOOD, BAD, MISSING, UNCHECKED = "good", "bad", "missing", "not checked"


def judge(received: Received, secrets: Sequence[str]) -> tuple[str, str]:
    """Return the verdict on the signature, GOOD if made with one of the secrets, and the reason when it is BAD."""
    if not {"webhook-signature", "x-foreman-signature"} & received.headers.keys():
        return MISSING, ""
    why = ""
    for secret in secrets:
        try:
            verify(received.body, received.headers, secret, now=time.time())
            return GOOD, ""
        except SignatureInvalid as error:
            why = str(error)
    return (BAD, why) if secrets else (UNCHECKED, "")


class Post:
    """HTTP server that passes each POST to `take` and answers the status it returns, in a thread per connection.

    Raise OSError when it cannot listen on `host` and `port`; port 0 takes a free one.
    """

    def __init__(self, host: str, port: int, take: Callable[[Received], int]) -> None:
        self._server = _Server(host, port, take)
        self.url: str = f"http://{host}:{self._server.server_address[1]}/"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def start(self) -> None:
        """Start to serve, in a thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop the thread and close the socket."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


class _Server(ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, host: str, port: int, take: Callable[[Received], int]) -> None:
        super().__init__((host, port), _Handler)
        self.take = take
        self._connections = threading.Semaphore(SENDERS)
        self._lock = threading.Lock()
        self._room = ROOM

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._connections.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connections.release()

    @contextmanager
    def room(self, size: int) -> Iterator[bool]:
        """Reserve room for the bytes of a body; yield False when there is none."""
        with self._lock:
            fits = size <= self._room
            self._room -= size if fits else 0
        try:
            yield fits
        finally:
            with self._lock:
                self._room += size if fits else 0

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):  # a sender may disconnect at any time
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    timeout = REQUEST_TIMEOUT
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.rfile = io.BufferedReader(_Until(self.connection, REQUEST_TIMEOUT))

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            self._answer(411)
            return
        if len(length) > 10 or int(length) > MOST:
            self._answer(413)
            return
        with self.server.room(int(length)) as fits:
            if not fits:
                self._answer(503)
            elif len(body := self.rfile.read(int(length))) == int(length):
                headers = {name.lower(): value for name, value in self.headers.items()}
                self._answer(self.server.take(Received(headers, body)))

    def _answer(self, status: int) -> None:
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


class _Until(io.RawIOBase):
    """Reader of a socket that raises TimeoutError `seconds` after its creation."""

    def __init__(self, sock: socket.socket, seconds: float) -> None:
        self._sock = sock
        self._until = time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)
        return self._sock.recv_into(buffer)
