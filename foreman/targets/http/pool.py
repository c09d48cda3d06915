"""An HTTP/1.1 client for one inference server: a pool of kept connections, and requests over them."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from operator import attrgetter
from types import TracebackType
from urllib.parse import urlsplit

import trio

from foreman.domain.errors import TargetLost
from foreman.targets.http.connection import ClosedEarly, Connection, Response, connect
from foreman.targets.http.parser import Body, Header, header_text, headers_for

SETTLE = 0.02  # seconds before a connection is used again; llama.cpp closes it after a streamed answer unannounced
ACCEPT = "Accept: */*"
IDLE_LIMIT = 4.0  # seconds; shorter than the 5 s after which common servers close an idle connection
SECRET = 8  # characters; a shorter token is a word such as EMPTY
MAX_IDLE = 64  # connections kept; further ones are closed when their answer ends


class Client:
    """Connections to one server. Proxies and other settings of the environment are ignored."""

    def __init__(self, url: str, token: str = "", *, name: str = "") -> None:
        """Take a `url` with an optional path prefix; send `token` as a bearer.

        `name` stands for the server in errors, which callers see.
        """
        parts = urlsplit(url)
        self.name = name or "the server"
        self._prefix = parts.path.rstrip("/")
        self._host = parts.hostname or ""
        self._secure = parts.scheme == "https"
        self._port = parts.port or (443 if self._secure else 80)
        headers = [f"Host: {parts.netloc.rpartition('@')[2]}", "User-Agent: foreman", ACCEPT]
        headers.append("Accept-Encoding: identity")
        if token.strip():
            headers.append(f"Authorization: Bearer {token.strip()}")
        self._headers = "\r\n".join(header_text(header) for header in headers)
        self._token = token.strip().encode()
        self._idle: deque[Connection] = deque()  # the longest idle first
        self._busy: set[Connection] = set()

    def request(
        self,
        method: str,
        path: str,
        body: Body | None = None,
        *,
        length: int | None = None,
        content_type: str | None = None,
        headers: Sequence[Header] = (),
        heard: Callable[[], None] = lambda: None,
    ) -> Request:
        """Return a request; `async with` sends it and gives the Response.

        `path` is percent-encoded. `body` is JSON, or the pieces of an upload of `length` bytes (None if unknown), or of
        the `content_type` given. `headers` are sent besides; one for `Accept` replaces the client's own. `heard` is
        called whenever bytes of the answer come, its head and framing included.
        """
        lines = f"{method} {header_text(self._prefix + path, spaces=False)} HTTP/1.1\r\n{self._with(headers)}\r\n"
        head = f"{lines}{headers_for(body, length, content_type)}\r\n".encode("latin-1")
        return Request(self, method == "HEAD", head, body, length, heard)

    def _with(self, headers: Sequence[Header]) -> str:
        if not headers:
            return self._headers
        own = self._headers
        if any(name.lower() == "accept" for name, _ in headers):
            own = own.replace(f"{ACCEPT}\r\n", "")
        return "\r\n".join([own, *(header_text(f"{name}: {value}") for name, value in headers)])

    async def fetch(self, method: str, path: str, body: bytes | None = None, *, limit: int) -> tuple[Response, bytes]:
        """Send a request and return the response with its body.

        Raise as `Request` does, and TargetGarbled when the body is larger than `limit` bytes.
        """
        async with self.request(method, path, body) as response:
            return response, await response.read(limit)

    def without_token(self, said: bytes) -> bytes:
        """Return the words of the server without the token that it was sent: callers see its errors."""
        if len(self._token) < SECRET:
            return said
        return said.replace(self._token, b"***").replace(self._token.replace(b"/", b"\\/"), b"***")

    def close(self) -> None:
        """Close every connection, even with an answer running."""
        for connection in (*self._idle, *self._busy):
            connection.close()
        self._idle.clear()

    async def _exchange(self, request: Request) -> Connection:
        body = request.body
        while True:
            # A body in pieces cannot be sent twice, so it needs a new connection, which the server has not closed.
            kept = self._take_idle() if body is None or isinstance(body, bytes) else None
            connection = kept or await connect(self._host, self._port, secure=self._secure, name=self.name)
            self._busy.add(connection)
            try:
                whole = await connection.send(
                    request.head, body, request.length, bodiless=request.bodiless, heard=request.heard
                )
                await connection.receive_head()
                return connection
            except ClosedEarly:
                self._discard(connection)
                # The server had closed a kept connection: an incomplete request never arrived in whole and is sent
                # again. A complete one may have arrived, so only the caller can decide about a retry.
                if not (kept and not whole):
                    raise TargetLost(self.name, "the connection closed before an answer") from None
            except BaseException:
                self._discard(connection)
                raise

    def _release(self, connection: Connection) -> None:
        self._busy.discard(connection)
        if connection.can_serve_again() and len(self._idle) < MAX_IDLE:
            self._idle.append(connection)
        else:
            connection.close()

    def _discard(self, connection: Connection) -> None:
        self._busy.discard(connection)
        connection.close()

    def _take_idle(self) -> Connection | None:
        """Return the last used connection that has settled, so that those beyond the need expire and are closed."""
        now = trio.current_time()
        while self._idle and self._idle[0].idle_since < now - IDLE_LIMIT:
            self._idle.popleft().close()
        settled = bisect_right(self._idle, now - SETTLE, key=attrgetter("idle_since"))
        while settled:
            settled -= 1
            connection = self._idle[settled]
            del self._idle[settled]
            if connection.still_open():
                return connection
            connection.close()
        return None


class Request:
    """One request as a context manager.

    Entering it sends the request and waits for the head of the answer, whatever its status. Leaving it before the body
    has ended closes the connection at once. Connecting is the only step with a deadline. Entering raises
    TargetUnavailable or Shortage before anything was sent, TargetLost or TargetGarbled afterwards.
    """

    __slots__ = ("_client", "_connection", "bodiless", "body", "head", "heard", "length")

    def __init__(
        self,
        client: Client,
        bodiless: bool,
        head: bytes,
        body: Body | None,
        length: int | None,
        heard: Callable[[], None],
    ) -> None:
        self._client = client
        self._connection: Connection | None = None
        self.bodiless = bodiless  # True if its answer ends with the head
        self.head = head
        self.body = body
        self.length = length
        self.heard = heard

    async def __aenter__(self) -> Response:
        self._connection = await self._client._exchange(self)
        return Response(self._connection)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()

    def leave(self) -> None:
        """Leave the context; the connection is kept or closed."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._client._release(connection)
