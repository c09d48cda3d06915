"""What answers may have no end, or come a byte at a time: every client has limits, and says which one was met."""

from __future__ import annotations

import json
import socket
import threading
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from foreman.client import (
    AnswerTooLarge,
    AnswerTooSlow,
    ArgumentInvalid,
    Client,
    ConnectFailed,
    NotEnded,
    NotForeman,
    operations,
    reading,
)
from tests.client.conftest import StaticAnswer
from tests.client.scripted import (
    CHUNKED,
    EVENTS,
    KINDS,
    MANY,
    NDJSON,
    Script,
    a_server,
    call,
    chunk,
    dripping,
    endless,
    head,
)

MIB = 2**20
SMALL: dict[str, Any] = {"max_answer": 256 * 1024, "timeout": 60.0}
SHORT: dict[str, Any] = {"timeout": 0.2, "silence": 0.2}
X = b"x" * 65536
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HELLO = b'data: {"type":"hello","seq":1}\n\n'

FLOODS: dict[str, Script] = {
    "a length without measure": endless(head("Content-Length: 99999999999"), X),
    "no length": endless(head("Connection: close"), X),
    "chunks": endless(CHUNKED, chunk(X)),
    "tiny chunks": endless(CHUNKED, chunk(b"x") * 1000),
    "continuing": endless(b"", CONTINUE * 1000),
    "early hints": endless(b"", head("Link: </a>", status="103 Early Hints") * 1000),
    "chunk extensions": endless(CHUNKED, b"1;" + b"a=b;" * 10_000 + b"\r\nx\r\n"),
    "one chunk extension": endless(CHUNKED + b"1;a=", X),
    "a name of a header": endless(b"HTTP/1.1 200 OK\r\n", X),
    "headers": endless(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 1000),
    "a reason": endless(b"HTTP/1.1 200 ", X),
    "trailers": endless(CHUNKED + b"0\r\n", b"X: y\r\n" * 1000),
    "a fault": endless(head("Content-Length: 99999999999", status="500 Oh"), X),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("script", FLOODS.values(), ids=FLOODS)
def test_an_answer_without_end_is_too_large(script: Script, kind: str) -> None:
    with a_server(script) as url, pytest.raises(AnswerTooLarge, match="too large") as caught:
        call(kind, url, "queue", limits=SMALL)
    assert caught.value.url == url


DRIPS: dict[str, Script] = {
    "nothing": dripping(b"", b""),
    "a reason": dripping(b"HTTP/1.1 200 ", b"x"),
    "headers": dripping(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    "continuing": dripping(b"", CONTINUE),
    "a body": dripping(head("Content-Length: 9999"), b" "),
    "chunks": dripping(CHUNKED, chunk(b" ")),
    "a chunk extension": dripping(CHUNKED + b"1;", b"a"),
    "trailers": dripping(CHUNKED + chunk(b"{}") + b"0\r\n", b"X: y\r\n"),
    "a fault": dripping(head("Content-Length: 9999", status="503 Oh"), b" "),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("script", DRIPS.values(), ids=DRIPS)
def test_an_answer_that_drips_is_too_slow(script: Script, kind: str) -> None:
    with a_server(script) as url, pytest.raises(AnswerTooSlow, match=r"no whole answer within 0\.2 s"):
        call(kind, url, "queue", limits=SHORT)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("script", [DRIPS["nothing"], DRIPS["chunks"], DRIPS["continuing"]])
def test_within_holds_whatever_the_timeout(script: Script, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "LATE", 0.1)
    with a_server(script) as url:
        with pytest.raises(NotEnded, match=r"J has not ended within 0\.1 s"):
            call(kind, url, "wait", "J", within=0.1)
        with pytest.raises(AnswerTooSlow):  # whether it is stored nobody knows
            call(kind, url, "run", "m", "hi", within=0.1, retry_for=60)


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_hardly_reads_is_not_waited_for(kind: str) -> None:
    read: list[bytes] = []
    with a_server(dripping(b"", b""), slow=read) as url, pytest.raises(AnswerTooSlow):
        call(kind, url, "submit", "m", "hi" * 8 * MIB, limits=SHORT)
    assert len(read) < MANY  # it could go on


@pytest.mark.parametrize("kind", KINDS)
def test_nor_is_one_that_never_greets(kind: str) -> None:
    with a_server(dripping(b"", b"")) as url, pytest.raises(ConnectFailed, match="no answer in time"):
        call(kind, url.replace("http:", "https:"), "queue", limits=SHORT)


def test_nor_are_name_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    over, real = threading.Event(), socket.getaddrinfo

    def slow(*args: Any, **given: Any) -> Any:
        over.wait(20)
        return real("127.0.0.1", 1)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    with pytest.raises(ConnectFailed, match="no answer in time"), Client("http://slow.example", timeout=0.2) as client:
        client.queue()
    over.set()


def test_each_address_of_a_name_is_tried(told: StaticAnswer, monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def several(host: str, port: int, *rest: Any, **given: Any) -> Any:
        names = ["127.0.0.2", "127.0.0.1"] if host == "two.example" else [host]
        return [entry for name in names for entry in real(name, port, *rest, **given)]

    monkeypatch.setattr(socket, "getaddrinfo", several)
    told.answer("GET /queue", {"queued": 7})
    with Client(told.url.replace("127.0.0.1", "two.example")) as client:
        assert client.queue().queued == 7


STREAMED: dict[str, tuple[bytes, bytes]] = {
    "a line": (EVENTS, chunk(X)),
    "a line of JSON": (NDJSON, chunk(X)),
    "comments": (EVENTS, chunk(b": hm\n\n" * 1000)),
    "empty lines": (EVENTS, chunk(b"\n" * 1000)),
    "empty lines of JSON": (NDJSON, chunk(b"\n" * 1000)),
    "lines of one event": (EVENTS, chunk(b"data: {}\n" * 1000)),
    "fields that are not known": (EVENTS, chunk(b"retry: 1\n" * 1000)),
    "chunk extensions": (EVENTS, b"1;" + b"a=b;" * 10_000 + b"\r\n\n\r\n"),
}
NO_NEWS = {"feed": HELLO, "stream": b'data: {"foreman":{}}\n\n'}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("method", "sent"),
    [(method, sent) for method in NO_NEWS for sent in (*STREAMED, "no news") if "JSON" not in sent or method != "feed"],
)
def test_a_stream_that_tells_nothing_is_too_large(method: str, sent: str, kind: str) -> None:
    start, piece = STREAMED.get(sent, (EVENTS, chunk(NO_NEWS[method] * 100)))
    given: dict[str, Any] = {"job_id": ["J"]} if method == "feed" else {"job_id": "J"}
    with a_server(endless(start, piece)) as url, pytest.raises(AnswerTooLarge, match="262,144 bytes"):
        call(kind, url, method, limits=SMALL, retry_for=0, **given)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "script",
    [dripping(EVENTS, b""), dripping(EVENTS, chunk(b"x")), dripping(EVENTS + b"1;", b"a"), dripping(b"", CONTINUE)],
    ids=["silence", "a line", "a chunk extension", "continuing"],
)
def test_a_stream_without_whole_lines_is_too_slow(script: Script, kind: str) -> None:
    for method, given in (("stream", ["J"]), ("feed", [])):
        with a_server(script) as url, pytest.raises(AnswerTooSlow, match=r"within 0\.2 s"):
            call(kind, url, method, *given, limits=SHORT, retry_for=0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_may_be_longer_than_an_answer_and_be_silent_but_for_comments(kind: str) -> None:
    words = b'data: {"response":"' + b"x" * 1000 + b'"}\n\n'

    def script() -> Iterator[bytes]:
        yield EVENTS
        for _ in range(150):  # one second and a half
            yield b""
            yield chunk(b":\n")
            yield chunk(words * 20)
        yield b"0\r\n\r\n"

    told: list[Any] = []
    with a_server(script) as url, pytest.raises(AnswerTooLarge):  # which the answer to how the job ended is
        call(kind, url, "stream", "J", told=told, limits=SMALL | {"timeout": 1.0, "silence": 1.0})
    assert len(told) == 3000


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_packed_is_not_unfolded(kind: str) -> None:
    bomb = zlib.compress(b"[" * 64 * MIB, 9, 31)
    answer = head("Content-Encoding: gzip", f"Content-Length: {len(bomb)}") + bomb
    with a_server(lambda: iter([answer])) as url:
        for method, given in (("queue", []), ("stream", ["J"])):
            with pytest.raises(NotForeman, match="compresses its answers with gzip"):
                call(kind, url, method, *given)


def test_nothing_packed_is_asked_for_and_no_cookies_are_kept(told: StaticAnswer) -> None:
    told.answer("GET /queue", {"queued": 0}, Set_Cookie="a=b")
    with Client() as client:
        client.queue()
        client.queue()
    assert [heard["accept-encoding"] for _, heard, _ in told.asked] == ["identity"] * 2
    assert not any(heard["cookie"] for _, heard, _ in told.asked)


@pytest.mark.parametrize("kind", KINDS)
def test_redirects_are_not_followed(told: StaticAnswer, kind: str) -> None:
    told.answer("GET /queue", {}, 302, Location=f"{told.url}/queue")
    with pytest.raises(NotForeman, match="status 302"):
        call(kind, told.url, "queue")
    assert len(told.asked) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_many_values_are_told_before_they_are_built(
    told: StaticAnswer, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MOST_VALUES", 1000)
    many: list[list[int]] = [[]] * 1001
    told.answer("GET /jobs/J/request", {"a": many})
    told.stream("GET /jobs/J/stream", b"data: " + json.dumps({"a": many}).encode() + b"\n\n")
    for method in ("payload", "stream"):
        with pytest.raises(AnswerTooLarge, match="more than 1,000 values"):
            call(kind, told.url, method, "J")


@pytest.mark.parametrize("limit", ["timeout", "silence", "max_answer"])
@pytest.mark.parametrize("given", [0, -1, float("nan"), None, "1"])
def test_a_limit_that_is_none_is_refused(limit: str, given: Any) -> None:
    with pytest.raises(ArgumentInvalid, match=f"{limit} is .*: give a number of (seconds|bytes) above 0"):
        Client(**{limit: given})
