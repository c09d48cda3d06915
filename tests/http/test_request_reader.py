"""What httptools is laxer about than h11 is refused: a request that is taken is read by both the same."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, TypeAlias

import h11
import pytest

from foreman.http.server.request_reader import Head, Refused, RequestReader, Signal
from tests.http.test_parsers import CHUNKED, END, GET, HOST, NEXT, POST, SAME

Read: TypeAlias = list[Any]  # heads as tuples, bodies joined, and signals at the end of each

PIECES = [
    b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b",", b";", b"\x00", b"\x0b", b"\x7f", b"\xff", b"0", b"5", b"a", b"/",
    b"?", b"#", b"%", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"GET ", b"Host: x\r\n", b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n", b"chunked", b"identity", b"Connection: close\r\n", b"Connection: upgrade\r\n",
    b"Upgrade: x\r\n", b"Expect: 100-continue\r\n", b"0\r\n\r\n", b"\r\n\r\n", b"3\r\nabc\r\n",
]  # fmt: skip


def by_us(data: bytes) -> Iterator[Any]:
    reader = RequestReader()
    reader.feed(data)
    kept = True
    while True:
        found = reader.next()
        if found is Signal.MORE:
            return
        if found is Signal.PAUSED:
            if not kept:
                return
            reader.restart()
        elif isinstance(found, Head):
            kept = found.kept
            yield found.method, found.target, found.version, found.headers
        else:
            yield found


def by_h11(data: bytes) -> Iterator[Any]:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            return
        if event is h11.PAUSED:
            connection.send(h11.Response(status_code=400, headers=[(b"content-length", b"0")]))
            connection.send(h11.EndOfMessage())
            if connection.our_state is not h11.DONE:
                return
            connection.start_next_cycle()
        elif isinstance(event, h11.Request):
            yield event.method.decode().upper(), event.target, event.http_version.decode(), list(event.headers)
        elif isinstance(event, h11.Data):
            yield bytes(event.data)
        else:
            yield Signal.END


def read(events: Iterator[Any], refused: type[Exception]) -> tuple[Read, bool]:
    """What was read, with bodies joined, and whether it was read without a refusal."""
    found: Read = []
    try:
        for event in events:
            if isinstance(event, bytes) and found and isinstance(found[-1], bytes):
                found[-1] += event
            else:
                found.append(event)
    except refused:
        return found, False
    return found, True


def assert_no_laxer(data: bytes) -> None:
    ours, _ = read(by_us(data), Refused)
    theirs, _ = read(by_h11(data), h11.RemoteProtocolError)
    if ours and isinstance(ours[-1], bytes):  # of a chunked body, as far as it was sound
        last = ours.pop()
        assert len(theirs) > len(ours) and isinstance(theirs[len(ours)], bytes) and theirs[len(ours)].startswith(last)
    assert theirs[: len(ours)] == ours, data


@pytest.mark.parametrize("number", range(256))
def test_no_byte_is_taken_anywhere_that_h11_refuses(number: int) -> None:
    byte = bytes([number])
    for data in (
        b"G%bT / HTTP/1.1\r\n" + HOST + END,
        b"GET%b/ HTTP/1.1\r\n" + HOST + END,
        b"GET /%bx HTTP/1.1\r\n" + HOST + END,
        b"GET /?%bx HTTP/1.1\r\n" + HOST + END,
        b"GET / HTTP%b1.1\r\n" + HOST + END,
        b"GET / HTTP/1.%b\r\n" + HOST + END,
        b"GET / HTTP/1.1%b\n" + HOST + END,
        b"%b" + GET + END,
        GET + b"X%bY: z\r\n\r\n",
        GET + b"X: y%bz\r\n\r\n",
        GET + b"X: y\r%b\r\n\r\n",
        GET + b"X: y%b\n\r\n",
        GET + b"%bX: y\r\n\r\n",
        GET + b"X%b y\r\n\r\n",
        POST + b"Content-Length: %b\r\n\r\n123456789",
        POST + b"Content-Length: 1%b\r\n\r\n" + b"x" * 20,
        POST + b"Transfer-Encoding: %bchunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked%b\r\n\r\n0\r\n\r\n",
        CHUNKED + b"1%b\r\nabc\r\n0\r\n\r\n",
        CHUNKED + b"1;%bx\r\na\r\n0\r\n\r\n",
        CHUNKED + b"1%b\na\r\n0\r\n\r\n",
        CHUNKED + b"1\r\na%b\n0\r\n\r\n",
        CHUNKED + b"1\r\na\r\n0\r\nX%b: y\r\n\r\n",
        CHUNKED + b"1\r\na\r\n0\r\nX: y%b\r\n\r\n",
    ):
        assert_no_laxer(data.replace(b"%b", byte) + NEXT)


@pytest.mark.parametrize("seed", range(40))
def test_what_is_taken_of_mangled_requests_is_read_as_h11_reads_it(seed: int) -> None:
    chance = random.Random(seed)
    table = [data for data in SAME.values() if len(data) < 1000]
    for _ in range(100):
        data = b"".join(chance.choices(table, k=2))
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(data) + 1)
            data = data[:at] + chance.choice([*PIECES, b""]) + data[at + chance.choice([0, 0, 1, 2, 5]) :]
        assert_no_laxer(data)
