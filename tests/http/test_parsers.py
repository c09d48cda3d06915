"""HTTP/1 by httptools and by h11: the same requests, however they are cut, are read and answered the same."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from trio.testing import wait_all_tasks_blocked

from foreman.budget import Budget
from foreman.http.server.asgi_stream import WHOLE
from foreman.http.server.guard import PARSERS
from foreman.http.server.inflow import BODY, Inflow
from foreman.http.server.server_logs import LateErrors

HOST = b"Host: localhost\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST
POST = b"POST / HTTP/1.1\r\n" + HOST
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
END = b"\r\n"
NEXT = b"GET /next HTTP/1.1\r\nHost: localhost\r\n\r\n"
UPGRADE = (
    b"GET /socket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
FRAME = b"\x81\x82\x00\x00\x00\x00hi"  # text, masked with zeros
EOF = b"EOF"  # at the end of a case: the client closes its side

SAME = {
    # what is right
    "a request": GET + END,
    "a request and the next": GET + END + NEXT,
    "five requests": GET + END + NEXT * 4,
    "a query": b"GET /a%20b?c=d&e HTTP/1.1\r\n" + HOST + END,
    "a head apart from its body": b"GET /apart HTTP/1.1\r\n" + HOST + END + NEXT,
    "an unknown method": b"BREW / HTTP/1.1\r\n" + HOST + END + NEXT,
    "a method of another protocol": b"DESCRIBE / HTTP/1.1\r\n" + HOST + END + NEXT,
    "a method in lower case": b"get / HTTP/1.1\r\n" + HOST + END + NEXT,
    "a strange method": b"!#$%&'*+-.^_`|~09 / HTTP/1.1\r\n" + HOST + END + NEXT,
    "a fragment": b"GET /a#b HTTP/1.1\r\n" + HOST + END + NEXT,
    "an absolute target": b"GET http://localhost/a HTTP/1.1\r\n" + HOST + END + NEXT,
    "a target in asterisk form": b"OPTIONS * HTTP/1.1\r\n" + HOST + END + NEXT,
    "CONNECT": b"CONNECT localhost:1 HTTP/1.1\r\n" + HOST + END,
    "HEAD": b"HEAD / HTTP/1.1\r\n" + HOST + END + NEXT,
    "HEAD of a stream": b"HEAD /stream HTTP/1.1\r\n" + HOST + END + NEXT,
    "a stream": b"GET /stream HTTP/1.1\r\n" + HOST + END + NEXT,
    "no content": b"GET /204 HTTP/1.1\r\n" + HOST + END + NEXT,
    "not modified": b"GET /304 HTTP/1.1\r\n" + HOST + END + NEXT,
    "the server closes": b"GET /close HTTP/1.1\r\n" + HOST + END,
    "the client wants to close": GET + b"Connection: close\r\n\r\n",
    "the client wants to close, in a list": GET + b"Connection: x,  CLOSE ,y\r\n\r\n",
    "the client wants to keep": GET + b"Connection: Keep-Alive\r\n\r\n" + NEXT,
    "HTTP/1.0": b"GET / HTTP/1.0\r\n\r\n",
    "HTTP/1.0 with a host": b"GET / HTTP/1.0\r\n" + HOST + END,
    "HTTP/1.0 that wants to keep": b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "HTTP/1.0 of a stream": b"GET /stream HTTP/1.0\r\n\r\n",
    "HTTP/1.0 HEAD of a stream": b"HEAD /stream HTTP/1.0\r\n\r\n",
    "HTTP/1.0 with a body": b"POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc",
    "HTTP/1.0 with chunks": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "a body": POST + b"Content-Length: 5\r\n\r\nhello" + NEXT,
    "a body of nothing": POST + b"Content-Length: 0\r\n\r\n" + NEXT,
    "a body of GET": GET + b"Content-Length: 5\r\n\r\nhello" + NEXT,
    "a length with zeros": POST + b"Content-Length: 005 \r\n\r\nhello" + NEXT,
    "a body longer than declared": POST + b"Content-Length: 5\r\n\r\nhelloGARBAGE\r\n\r\n",
    "a long body": POST + b"Content-Length: 5000\r\n\r\n" + b"x" * 5000 + NEXT,
    "chunks": CHUNKED + b"3\r\nabc\r\n1A\r\n" + b"y" * 26 + b"\r\n0\r\n\r\n" + NEXT,
    "no chunks": CHUNKED + b"0\r\n\r\n" + NEXT,
    "chunks with zeros": CHUNKED + b"0003\r\nabc\r\n000\r\n\r\n" + NEXT,
    "chunks in upper case": POST + b"TRANSFER-ENCODING: CHUNKED\r\n\r\nA\r\n0123456789\r\n0\r\n\r\n" + NEXT,
    "extensions of chunks": CHUNKED + b'3;a=b;c="d;e"\r\nabc\r\n0;x\r\n\r\n' + NEXT,
    "spaces after a size": CHUNKED + b"3 \t\r\nabc\r\n0 \r\n\r\n" + NEXT,
    "trailers": CHUNKED + b"3\r\nabc\r\n0\r\nX-A: b\r\nX-C:\r\n\r\n" + NEXT,
    "spaces around a value": GET + b"X: \t a  b \t \r\nY:\r\nZ: \r\n\r\n" + NEXT,
    "a header twice": GET + b"X: a\r\nX: b\r\n\r\n",
    "bytes above 127": GET + b"X: \xc3\xbc\xff\r\n\r\n",
    "strange names": GET + b"!#$%&'*+-.^_`|~09: a\r\n\r\n",
    "100-continue": POST + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\nhello" + NEXT,
    "100-continue in a list": POST + b"Content-Length: 5\r\nExpect: x, 100-Continue\r\n\r\nhello",
    "100-continue without a body": GET + b"Expect: 100-continue\r\n\r\n" + NEXT,
    "100-continue in HTTP/1.0": b"POST / HTTP/1.0\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
    "another expectation": POST + b"Content-Length: 5\r\nExpect: 200-ok\r\n\r\nhello" + NEXT,
    "an upgrade to nothing known": GET + b"Connection: upgrade\r\nUpgrade: foo/2\r\n\r\n" + NEXT,
    "h2c": GET + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n\r\n" + NEXT,
    "an answer before the body": b"POST /early HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\n",
    "websocket": UPGRADE + FRAME,
    "websocket, closed by the client": UPGRADE + FRAME + EOF,
    "websocket without a key": UPGRADE.replace(b"Sec-WebSocket-Key", b"X"),
    "websocket by POST": UPGRADE.replace(b"GET", b"POST"),
    "websocket in HTTP/1.0": UPGRADE.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "websocket that is refused": UPGRADE.replace(b"/socket", b"/refused"),
    # what ends early
    "nothing": EOF,
    "half a line": b"GET / HT" + EOF,
    "half a head": GET + EOF,
    "half a body": POST + b"Content-Length: 5\r\n\r\nhe" + EOF,
    "half a chunk": CHUNKED + b"5\r\nhe" + EOF,
    "chunks without an end": CHUNKED + b"2\r\nhe\r\n" + EOF,
    "half a trailer": CHUNKED + b"0\r\nX: y\r\n" + EOF,
    "a request, then the end": GET + END + EOF,
    # what is refused
    "an empty line first": b"\r\n" + GET + END,
    "a space first": b" " + GET + END,
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 40,
    "no version": b"GET /\r\n\r\n",
    "another protocol": b"GET / RTSP/1.0\r\n" + HOST + END,
    "a protocol in lower case": b"GET / http/1.1\r\n" + HOST + END,
    "a version of two digits": b"GET / HTTP/1.10\r\n" + HOST + END,
    "two spaces": b"GET  / HTTP/1.1\r\n" + HOST + END,
    "two spaces before the version": b"GET /  HTTP/1.1\r\n" + HOST + END,
    "a space in the target": b"GET /a b HTTP/1.1\r\n" + HOST + END,
    "a tab in the line": b"GET\t/ HTTP/1.1\r\n" + HOST + END,
    "a space after the version": b"GET / HTTP/1.1 \r\n" + HOST + END,
    "a target that is not ASCII": b"GET /\xff HTTP/1.1\r\n" + HOST + END,
    "NUL in the target": b"GET /\x00 HTTP/1.1\r\n" + HOST + END,
    "a method with a slash": b"GE/T / HTTP/1.1\r\n" + HOST + END,
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": GET + HOST + END,
    "a space before the colon": GET + b"X : y\r\n\r\n",
    "a space in a name": GET + b"X Y: z\r\n\r\n",
    "no name": GET + b": y\r\n\r\n",
    "no colon": GET + b"xyz\r\n\r\n",
    "a name that is not ASCII": GET + b"\xc3\xbc: y\r\n\r\n",
    "NUL in a value": GET + b"X: a\x00b\r\n\r\n",
    "NUL in a name": GET + b"X\x00: b\r\n\r\n",
    "CR in a value": GET + b"X: a\rb\r\n\r\n",
    "form feed in a value": GET + b"X: a\x0cb\r\n\r\n",
    "a fold before any header": b"GET / HTTP/1.1\r\n X: a\r\n" + HOST + END,
    "two lengths": POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "two lengths in a list": POST + b"Content-Length: 5, 6\r\n\r\nhello!",
    "a signed length": POST + b"Content-Length: +5\r\n\r\nhello",
    "a negative length": POST + b"Content-Length: -5\r\n\r\nhello",
    "a length in hex": POST + b"Content-Length: 0x5\r\n\r\nhello",
    "no length": POST + b"Content-Length: \r\n\r\nhello",
    "a length of 21 digits": POST + b"Content-Length: 999999999999999999999\r\n\r\nhello",
    "an unknown coding": POST + b"Transfer-Encoding: gzip\r\n\r\n",
    "a coding before chunks": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a coding after chunks": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunks twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks with a parameter": POST + b"Transfer-Encoding: chunked;a=b\r\n\r\n0\r\n\r\n",
    "a coding split by a vertical tab": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "both framings": POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "both framings, the other way round": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "a size that is no number": CHUNKED + b"zz\r\nhello\r\n",
    "a size of nothing": CHUNKED + b"\r\nhello\r\n",
    "a signed size": CHUNKED + b"+3\r\nabc\r\n0\r\n\r\n",
    "a size with 0x": CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n",
    "a size of 21 digits": CHUNKED + b"0" * 20 + b"3\r\nabc\r\n0\r\n\r\n",
    "a space before a size": CHUNKED + b" 3\r\nabc\r\n0\r\n\r\n",
    "a space before an extension": CHUNKED + b"3 ;a\r\nabc\r\n0\r\n\r\n",
    "a chunk longer than its size": CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n",
    "a chunk ended by LF": CHUNKED + b"3\r\nabc\n0\r\n\r\n",
    "a trailer without a colon": CHUNKED + b"0\r\nxyz\r\n\r\n",
    "a trailer with NUL": CHUNKED + b"0\r\nX: \x00\r\n\r\n",
    "an endless target": b"GET /" + b"x" * 20_000,
    "an endless header": GET + b"X: " + b"y" * 20_000,
    "an endless extension": CHUNKED + b"3;" + b"x" * 20_000,
    "endless trailers": CHUNKED + b"0\r\n" + b"X: y\r\n" * 4000,
}

# Requests that only one of the two takes: name, request, statuses by h11 and by httptools.
STRICTER = {
    "line ends without CR": (GET.replace(b"\r", b"") + b"\n", [200], [400]),
    "a line end without CR": (GET + b"X: y\n\r\n", [200], [400]),
    "a folded value": (GET + b"X: a\r\n b\r\n\r\n", [200], [400]),
    "a target without a slash": (b"GET a HTTP/1.1\r\n" + HOST + END, [200], [400]),
    "HTTP/1.2": (b"GET / HTTP/1.2\r\n" + HOST + END, [200], [400]),
    "HTTP/0.9": (b"GET / HTTP/0.9\r\n" + HOST + END, [200], [400]),
    "HTTP/2.0": (b"GET / HTTP/2.0\r\n" + HOST + END, [200], [400]),
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [200, 400], [400]),
    "a control character in a value": (GET + b"X: a\x01b\r\n\r\n", [200], [400]),
    "the same length twice": (POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", [200], [400]),
    "the same length in a list": (POST + b"Content-Length: 5, 5\r\n\r\nhello", [200], [400]),
    "CR in an extension": (CHUNKED + b"3;a\rb\r\nabc\r\n0\r\n\r\n", [200], [400]),
    "a folded trailer": (CHUNKED + b"0\r\nX: y\r\n z\r\n\r\n", [200], [400]),
    "a length as a trailer": (CHUNKED + b"0\r\nContent-Length: 9\r\n\r\n", [200], [400]),
    "a coding as a trailer": (CHUNKED + b"0\r\nTransfer-Encoding: x\r\n\r\n", [501], [400]),
    # RFC 9112, 9.6: what follows a request that closes is not to be read. By h11 it takes the place of the answer.
    "data after a request that closes": (GET + b"Connection: close\r\n\r\n" + NEXT, [400], [200]),
    "an empty line after HTTP/1.0": (b"GET / HTTP/1.0\r\n\r\n\r\n", [400], [200]),
}


@dataclass
class Outcome:
    """What both sides see of one connection."""

    said: bytes = b""
    closed: bool = False
    seen: list[Any] = field(default_factory=list)

    @property
    def statuses(self) -> list[int]:
        return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) ", self.said)]

    def comparable(self) -> tuple[bytes, bool, list[Any]]:
        """The outcome without dates, and with sorted headers, whose order means nothing here."""
        said = re.sub(rb"HTTP/1\.1 .*?\r\n\r\n", _sorted, self.said, flags=re.DOTALL)
        return said, self.closed, self.seen


def _sorted(head: re.Match[bytes]) -> bytes:
    first, *headers = head[0].lower().split(b"\r\n")
    return b"\r\n".join([first, *sorted(line for line in headers if not line.startswith(b"date:"))]) + b"\r\n"


def an_app(seen: list[Any]) -> Callable[..., Any]:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        parts = ("type", "method", "http_version", "scheme", "path", "raw_path", "query_string", "headers")
        seen.append([scope.get(part) for part in parts])
        if scope["type"] == "websocket":
            await converse(scope, receive, send)
            return
        body = b""
        inflow: Inflow = scope["state"][BODY]
        inflow.admit(Budget().lease(), 60)
        try:
            while scope["path"] != "/early":
                body += await anext(inflow)
        except StopAsyncIteration:
            pass
        except trio.Cancelled:
            seen.append("gone")  # with as much of the body as was read by then
            raise
        seen.append(body)
        await answer("/405" if scope["method"] == "CONNECT" else scope["path"], body, send)

    async def converse(scope: Any, receive: Any, send: Any) -> None:
        seen.append(await receive())
        if scope["path"] == "/refused":
            await send({"type": "websocket.close"})
            return
        await send({"type": "websocket.accept"})
        seen.append(message := await receive())
        if message["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": "ho"})
            seen.append(await receive())

    async def answer(path: str, body: bytes, send: Any) -> None:
        async def start(status: int, *headers: tuple[bytes, bytes]) -> None:
            await send({"type": "http.response.start", "status": status, "headers": headers})

        async def piece(data: bytes, more: bool = False) -> None:
            await send({"type": "http.response.body", "body": data, "more_body": more})

        if path == "/stream":
            await start(200, (b"x-a", b"b"))
            await piece(b"first", True)
            await piece(b"", True)
            await piece(b"second", True)
        elif path in ("/204", "/304", "/405"):
            await start(int(path[1:]))
        elif path == "/close":
            await start(200, (b"content-length", b"0"), (b"connection", b"close"))
        else:
            told = b"%d bytes" % len(body)
            headers = [(b"content-length", b"%d" % len(told))]
            await send({"type": "http.response.start", "status": 200, "headers": headers, WHOLE: path != "/apart"})
            await piece(told)
            return
        await piece(b"")

    return app


async def through(parser: str, request: bytes, size: int) -> Outcome:
    """The outcome of a connection on which a request comes in pieces of `size` bytes."""
    outcome = Outcome()
    config = Config()
    config.include_server_header = False
    config.logger_class = LateErrors
    config.accesslog = config.errorlog = None

    async def send(event: Event) -> None:
        if isinstance(event, RawData):
            assert not outcome.closed
            outcome.said += event.data
        elif isinstance(event, Closed):
            outcome.closed = True
            await protocol.handle(event)

    with trio.fail_after(10):
        async with TaskGroup() as tasks:
            ends = ("127.0.0.1", 1)
            app = ASGIWrapper(an_app(outcome.seen))
            state = ConnectionState({})
            protocol = PARSERS[parser](app, config, WorkerContext(None), tasks, state, False, ends, ends, send)
            data = request.removesuffix(EOF)
            pieces = [data[start : start + size] for start in range(0, len(data), size)]
            for piece in pieces + [b""] * request.endswith(EOF):
                if not outcome.closed:
                    await protocol.handle(RawData(piece))
            if request.endswith(EOF):
                await protocol.handle(Closed())
            await wait_all_tasks_blocked()
            assert tasks._nursery is not None
            tasks._nursery.cancel_scope.cancel()
    return outcome


@pytest.mark.parametrize("size", [2**20, 2, 1])
@pytest.mark.parametrize("name", SAME)
async def test_both_read_and_answer_a_request_the_same(name: str, size: int) -> None:
    by_h11 = (await through("h11", SAME[name], size)).comparable()
    assert (await through("httptools", SAME[name], size)).comparable() == by_h11


@pytest.mark.parametrize("size", [2**20, 2, 1])
@pytest.mark.parametrize("name", STRICTER)
async def test_what_only_one_of_them_takes_is_known(name: str, size: int) -> None:
    request, by_h11, by_httptools = STRICTER[name]
    assert (await through("h11", request, size)).statuses == by_h11
    ours = await through("httptools", request, size)
    assert ours.statuses == by_httptools
    assert ours.closed


@pytest.mark.parametrize("size", [2**20, 1000])
async def test_a_long_head_is_refused_however_it_is_cut(size: int) -> None:
    assert (await through("httptools", GET + b"X: " + b"y" * 20_000 + b"\r\n\r\n", size)).statuses == [431]
