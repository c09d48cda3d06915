"""The HTTP client against servers that behave, and servers that do not."""

from __future__ import annotations

import gzip
import ssl
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial

import pytest
import trio
import trio.lowlevel
import trio.testing
import trustme
import zstandard

from foreman.domain.errors import TargetGarbled, TargetLost, TargetUnavailable
from foreman.targets.http import connection, pool
from foreman.targets.http.pool import Client

Serve = Callable[[trio.SocketStream], Awaitable[None]]
Clients = Callable[..., Client]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def request_from(stream: trio.SocketStream) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = await stream.receive_some()
        if not piece:
            return b""
        data += piece
    return data


@asynccontextmanager
async def serving(serve: Serve) -> AsyncIterator[str]:
    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")

        async def guarded(stream: trio.SocketStream) -> None:
            async with stream:
                with suppress(trio.BrokenResourceError):  # clients leave in these tests
                    await serve(stream)

        nursery.start_soon(partial(trio.serve_listeners, guarded, [listener]))
        yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


@pytest.fixture
async def client_of() -> AsyncIterator[Clients]:
    """Makes clients that are closed when the test ends."""
    made: list[Client] = []

    def make(*args: str, **named: str) -> Client:
        made.append(Client(*args, **named))
        return made[-1]

    yield make
    for client in made:
        client.close()


def replies(*answers: bytes) -> Serve:
    """One of the answers for each request; then the connection closes."""

    async def serve(stream: trio.SocketStream) -> None:
        for answer in answers:
            if not await request_from(stream):
                return
            await stream.send_all(answer)

    return serve


@pytest.mark.parametrize("path", ["", "/", "/proxy", "/proxy/"])
async def test_sends_prefix_token_host_and_json(path: str, client_of: Clients) -> None:
    seen: list[bytes] = []

    async def serve(stream: trio.SocketStream) -> None:
        seen.append(await request_from(stream))
        await stream.send_all(OK)

    async with serving(serve) as url:
        response, body = await client_of(url + path, " secret\n").fetch("POST", "/api/chat", b"{}", limit=10)
    assert (response.status, body) == (200, b"ok")
    prefix = path.rstrip("/").encode()
    assert seen[0].startswith(b"POST %s/api/chat HTTP/1.1\r\n" % prefix)
    host = url.removeprefix("http://").encode()
    for header in (b"Host: " + host, b"Authorization: Bearer secret", b"Content-Length: 2"):
        assert header.lower() in seen[0].lower()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections are used again the moment they are free."""
    monkeypatch.setattr(pool, "SETTLE", 0.0)


@pytest.mark.usefixtures("hasty")
async def test_connections_are_used_again(client_of: Clients) -> None:
    opened = 0

    async def serve(stream: trio.SocketStream) -> None:
        nonlocal opened
        opened += 1
        await replies(OK, OK, OK)(stream)

    async with serving(serve) as url:
        client = client_of(url)
        for _ in range(3):
            await client.fetch("GET", "/", limit=10)
    assert opened == 1


async def test_a_connection_closed_while_idle_is_replaced(client_of: Clients) -> None:
    async with serving(replies(OK)) as url:
        client = client_of(url)
        for _ in range(3):
            assert (await client.fetch("GET", "/", limit=10))[1] == b"ok"
            await trio.testing.wait_all_tasks_blocked()


async def test_an_old_idle_connection_is_not_trusted(monkeypatch: pytest.MonkeyPatch, client_of: Clients) -> None:
    opened = 0

    async def serve(stream: trio.SocketStream) -> None:
        nonlocal opened
        opened += 1
        await replies(OK, OK)(stream)

    monkeypatch.setattr(pool, "IDLE_LIMIT", -1.0)
    async with serving(serve) as url:
        client = client_of(url)
        await client.fetch("GET", "/", limit=10)
        await client.fetch("GET", "/", limit=10)
    assert opened == 2


@pytest.mark.usefixtures("hasty")
async def test_connections_beyond_the_need_expire(monkeypatch: pytest.MonkeyPatch, client_of: Clients) -> None:
    both, closed, opened = trio.Event(), trio.Event(), 0

    async def serve(stream: trio.SocketStream) -> None:
        nonlocal opened
        opened += 1
        while await request_from(stream):
            if opened == 2:
                both.set()
            await both.wait()
            await stream.send_all(OK)
        closed.set()

    async with serving(serve) as url:
        client = client_of(url)
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(partial(client.fetch, "GET", "/", limit=10))
        monkeypatch.setattr(pool, "IDLE_LIMIT", 0.05)
        with trio.fail_after(30):
            while not closed.is_set():  # one request after the other needs one connection only
                await client.fetch("GET", "/", limit=10)


async def test_a_server_that_hangs_up_right_after_its_answer_costs_nothing(client_of: Clients) -> None:
    async with serving(replies(OK)) as url:
        client = client_of(url)
        for _ in range(200):
            assert (await client.fetch("GET", "/", limit=10))[1] == b"ok"


@pytest.mark.usefixtures("hasty")
async def test_a_request_that_may_have_arrived_is_not_sent_twice(client_of: Clients) -> None:
    requests = 0

    async def serve(stream: trio.SocketStream) -> None:
        nonlocal requests
        await request_from(stream)
        await stream.send_all(OK)
        if await request_from(stream):
            requests += 1

    async with serving(serve) as url:
        client = client_of(url)
        await client.fetch("GET", "/", limit=10)
        with pytest.raises(TargetLost):
            await client.fetch("GET", "/", limit=10)
    assert requests == 1


async def test_an_answer_to_head_has_no_body(client_of: Clients) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n"
    async with serving(replies(answer, OK)) as url:
        with trio.fail_after(30):
            response, body = await client_of(url).fetch("HEAD", "/", limit=10)
    assert (response.status, response.headers["content-length"], body) == (200, "20", b"")


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("more", [b"x", OK])
async def test_what_nobody_asked_for_is_nobodys_answer(more: bytes, client_of: Clients) -> None:
    async with serving(replies(OK + more, OK + more)) as url:
        client = client_of(url)
        for _ in range(3):  # each on a connection of its own
            assert (await client.fetch("GET", "/", limit=10))[1] == b"ok"


@pytest.mark.parametrize("path", ["/a b", "/a\r\nX: y", "/\N{SNOWMAN}"])
async def test_a_path_cannot_end_its_line(path: str, client_of: Clients) -> None:
    with pytest.raises(ValueError, match="not fit for the head"):
        client_of("http://127.0.0.1:9").request("GET", path)


async def test_asking_past_the_end_of_a_body_waits_for_nothing(client_of: Clients) -> None:
    async with serving(replies(OK)) as url, client_of(url).request("GET", "/") as response:
        assert await response.receive() == b"ok"
        with trio.fail_after(30):
            assert [await response.receive() for _ in range(3)] == [b"", b"", b""]


@pytest.mark.parametrize(("length", "framing"), [(6, b"content-length: 6"), (None, b"transfer-encoding: chunked")])
async def test_an_upload_is_sent_as_it_comes(length: int | None, framing: bytes, client_of: Clients) -> None:
    arrived = b""
    seen = trio.Event()

    async def serve(stream: trio.SocketStream) -> None:
        nonlocal arrived
        while b"def" not in arrived:
            arrived += await stream.receive_some()
            if b"abc" in arrived:
                seen.set()
        await stream.send_all(OK)

    async def pieces() -> AsyncIterator[bytes]:
        yield b"abc"
        await seen.wait()
        yield b"def"

    async with serving(serve) as url:
        with trio.fail_after(30):
            async with client_of(url).request("POST", "/", pieces(), length=length) as response:
                assert response.status == 200
    assert framing in arrived.lower()


async def test_an_upload_that_breaks_its_word_is_a_fault(client_of: Clients) -> None:
    async def pieces() -> AsyncGenerator[bytes, None]:
        yield b"abc"

    async with serving(replies(OK)) as url, aclosing(pieces()) as upload:
        with pytest.raises(TargetLost, match="does not match its length"):
            async with client_of(url).request("POST", "/", upload, length=2):
                pass


async def test_an_early_answer_to_a_large_body_is_read(client_of: Clients) -> None:
    async def serve(stream: trio.SocketStream) -> None:
        await request_from(stream)
        await stream.send_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
        await stream.send_eof()
        while await stream.receive_some(1_000_000):
            pass

    async with serving(serve) as url:
        response, body = await client_of(url).fetch("POST", "/", bytes(20_000_000), limit=10)
    assert (response.status, body) == (413, b"no")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", TargetLost),
        (b"HTTP/1.1 200 OK\r\nContent-", TargetLost),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", TargetLost),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n", TargetLost),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", TargetGarbled),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", TargetGarbled),
        (b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nhello", TargetGarbled),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"T: x\r\n" * 50_000, TargetGarbled),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 300_000 + b"\r\n\r\n", TargetGarbled),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n" + b"x" * 20, TargetGarbled),  # beyond the limit asked for
    ],
)
async def test_what_goes_wrong_is_told_apart(answer: bytes, error: type[Exception], client_of: Clients) -> None:
    async with serving(replies(answer)) as url:
        with pytest.raises(error):
            await client_of(url).fetch("GET", "/", limit=10)


async def test_nonsense_costs_nothing_of_what_came_before_it(client_of: Clients) -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nsound\r\nzz\r\n"
    async with serving(replies(answer)) as url, client_of(url).request("GET", "/") as response:
        assert await response.receive() == b"sound"
        with pytest.raises(TargetGarbled):
            await response.receive()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK,
        b"HTTP/1.0 200 OK\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1;x=y\r\nk\r\n0\r\nT: x\r\n\r\n",
    ],
)
async def test_every_legal_way_to_answer(answer: bytes, client_of: Clients) -> None:
    async with serving(replies(answer)) as url:
        assert (await client_of(url).fetch("GET", "/", limit=10))[1] == b"ok"


async def test_every_byte_of_an_answer_is_heard(client_of: Clients) -> None:
    pieces = [
        b"HTTP/1.1 102 Processing\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n",
        b"1",
        b";x\r\n",
        b"o\r\n",
    ]
    heard = trio.Semaphore(0)

    async def serve(stream: trio.SocketStream) -> None:
        await request_from(stream)
        for piece in pieces:
            await stream.send_all(piece)
            await heard.acquire()
        await stream.send_all(b"0\r\n\r\n")

    with trio.fail_after(10):
        async with serving(serve) as url, client_of(url).request("GET", "/", heard=heard.release) as response:
            assert await response.read(10) == b"o"


async def test_a_port_nobody_listens_on(client_of: Clients) -> None:
    with trio.socket.socket() as held:
        await held.bind(("127.0.0.1", 0))
        client = client_of(f"http://127.0.0.1:{held.getsockname()[1]}", name="the server")
        with pytest.raises(TargetUnavailable, match=r"cannot reach the server: .*refused"):
            await client.fetch("GET", "/", limit=10)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "x" * 70 + ".invalid"])
async def test_a_name_nobody_has(host: str, client_of: Clients) -> None:
    with pytest.raises(TargetUnavailable), trio.fail_after(30):
        await client_of(f"http://{host}").fetch("GET", "/", limit=10)


async def test_connecting_has_a_deadline(monkeypatch: pytest.MonkeyPatch, client_of: Clients) -> None:
    async def never(*_: object) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(trio, "open_tcp_stream", never)
    monkeypatch.setattr(connection, "CONNECT_TIMEOUT", 0.05)
    with pytest.raises(TargetUnavailable, match="no connection within"):
        await client_of("http://127.0.0.1:9").fetch("GET", "/", limit=10)


async def test_closing_the_client_ends_running_answers(client_of: Clients) -> None:
    async with serving(replies(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", OK)) as url:
        client = client_of(url)
        async with client.request("GET", "/") as response:
            assert await response.receive() == b"short"
            client.close()
            with pytest.raises(TargetLost):
                await response.receive()


async def test_https_is_checked(monkeypatch: pytest.MonkeyPatch, client_of: Clients) -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    async def serve(stream: trio.SocketStream) -> None:
        tls = trio.SSLStream(stream, context, server_side=True)
        await replies(OK, OK)(tls)  # type: ignore[arg-type]

    async with serving(serve) as url:
        client = client_of(url.replace("http:", "https:"))
        with pytest.raises(TargetUnavailable, match="TLS"):
            await client.fetch("GET", "/", limit=10)
        trusting = ssl.create_default_context()
        authority.configure_trust(trusting)
        monkeypatch.setattr(connection, "_tls", lambda: trusting)
        for _ in range(2):
            assert (await client.fetch("GET", "/", limit=10))[1] == b"ok"


TEXT = b"".join(b"%d, " % number for number in range(5000))


def coded(coding: str, body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n%b" % (
        coding.encode(),
        len(body),
        body,
    )


COMPRESSED = {
    "gzip": gzip.compress(TEXT),
    "gzip of two members": gzip.compress(TEXT[:99]) + gzip.compress(TEXT[99:]),
    "X-GZIP": gzip.compress(TEXT),
    "identity, gzip": gzip.compress(TEXT),
    "deflate": zlib.compress(TEXT),
    "deflate, raw": zlib.compress(TEXT)[2:-4],
    "zstd": zstandard.compress(TEXT),
    "zstd of two frames": zstandard.compress(TEXT[:99]) + zstandard.compress(TEXT[99:]),
    "identity": TEXT,
}


@pytest.mark.parametrize("name", COMPRESSED)
async def test_an_answer_that_is_compressed_unasked_is_read(name: str, client_of: Clients) -> None:
    coding = name.partition(" of ")[0].removesuffix(", raw")
    seen: list[bytes] = []

    async def serve(stream: trio.SocketStream) -> None:
        seen.append(await request_from(stream))
        answer = coded(coding, COMPRESSED[name])
        for at in range(0, len(answer), 1000):  # so that it comes in pieces
            await stream.send_all(answer[at : at + 1000])
            await trio.lowlevel.checkpoint()

    async with serving(serve) as url:
        response, body = await client_of(url).fetch("GET", "/", limit=len(TEXT))
    assert body == TEXT
    assert b"accept-encoding: identity" in seen[0].lower()
    assert name == "identity" or not {"content-encoding", "content-length"} & response.headers.keys()


@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd"])
async def test_what_a_few_bytes_expand_to_counts_against_the_limit(coding: str, client_of: Clients) -> None:
    zeros = bytes(64 * 2**20)
    bodies = {"gzip": gzip.compress(zeros), "deflate": zlib.compress(zeros), "zstd": zstandard.compress(zeros)}
    async with serving(replies(coded(coding, bodies[coding]))) as url:
        with pytest.raises(TargetGarbled, match="larger than 1000 bytes"):
            await client_of(url).fetch("GET", "/", limit=1000)
        async with client_of(url).request("GET", "/") as response:
            assert max([len(await response.receive()) for _ in range(50)]) <= 2**20


@pytest.mark.parametrize(
    ("coding", "body", "words"),
    [("br", b"x", "compressed as 'br'"), ("gzip, zstd", b"x", "compressed as"), ("gzip", b"no gzip", "not gzip")],
)
async def test_what_cannot_be_decompressed_is_named(coding: str, body: bytes, words: str, client_of: Clients) -> None:
    async with serving(replies(coded(coding, body))) as url:
        with pytest.raises(TargetGarbled, match=words):
            await client_of(url).fetch("GET", "/", limit=1000)


async def test_the_answer_to_head_keeps_its_headers(client_of: Clients) -> None:
    async with serving(replies(b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 9\r\n\r\n")) as url:
        response, body = await client_of(url).fetch("HEAD", "/", limit=1000)
    assert response.headers["content-length"] == "9" and body == b""
