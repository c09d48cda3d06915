"""The guard around the server: what one connection does ends that connection and nothing else."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.http.conftest import Api
from tests.support.foreman import until

Fresh = Callable[..., Api]

UPGRADE = (
    b"GET /events HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
H2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
H2_SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
H2C = (
    b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n"
)
# HEADERS of stream 1 (indexed :method GET, :scheme http, literal :path with a byte above 127), END_HEADERS.
H2_BAD_PATH = b"\x00\x00\x06\x01\x04\x00\x00\x00\x01" + b"\x82\x86\x04\x02/\xff"
H2_GET = b"\x00\x00\x0d\x01\x05\x00\x00\x00\x01" + b"\x82\x86\x84\x41\x08localhos"
H2_DATA_AFTER_THE_END = b"\x00\x00\x04\x00\x00\x00\x00\x00\x01more"

CRASHES = {
    "stray bytes after a websocket upgrade": [UPGRADE, b"\xff" * 64 + b"stray"],
    "stray bytes with a websocket upgrade": [UPGRADE + b"GET / HTTP/1.1\r\n\r\n"],
    "a websocket upgrade with a header that is not ASCII": [UPGRADE[:-2] + b"Sec-WebSocket-Protocol: \xff\r\n\r\n"],
    "h2c with a path that is not ASCII": [
        (
            b"GET /\xff HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
            b"HTTP2-Settings: AAMAAABk\r\n\r\n"
        )
    ],
    "HTTP/2 with a path that is not ASCII": [H2_PREFACE + H2_SETTINGS, H2_BAD_PATH],
    "HTTP/2 data after the end": [H2_PREFACE + H2_SETTINGS + H2_GET, H2_DATA_AFTER_THE_END * 3],
    "h2c, then nonsense": [H2C, H2_PREFACE + b"\x00" * 40],
    "no HTTP at all": [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100],
    "a head without an end": [b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 100_000],
    "two lengths": [b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"],
    "a broken chunk": [
        (
            b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n"
        )
    ],
    "nothing": [b""],
}


@contextmanager
def connected(api: Api) -> Iterator[socket.socket]:
    host, _, port = api.daemon.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=60) as raw:
        yield raw


def answered(raw: socket.socket, seconds: float = 0.3) -> bytes:
    """What comes within a moment."""
    raw.settimeout(seconds)
    try:
        return raw.recv(65536)
    except (TimeoutError, ConnectionError):
        return b""


@pytest.mark.parametrize("name", CRASHES)
def test_a_malformed_client_ends_its_own_connection_and_nothing_else(api: Api, name: str) -> None:
    with api.daemon.client() as bystander:
        assert bystander.get("/healthz").status_code == 200
        with connected(api) as raw:
            for packet in CRASHES[name]:
                try:
                    raw.sendall(packet)
                except ConnectionError:
                    break
                answered(raw)
        for _ in range(3):
            assert bystander.get("/healthz").status_code == 200
        assert api.ended(api.submit("still at work"))["state"] == "done"


def test_clients_that_vanish_in_the_middle_do_not_matter(api: Api) -> None:
    job_id = api.submit("#chunks=20 #every=0.02")
    for _ in range(5):
        with connected(api) as raw:
            raw.sendall(f"GET /jobs/{job_id}/stream HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            raw.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00"
            )  # close with a reset
        with connected(api) as raw:
            raw.sendall(b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
    assert api.ended(job_id)["state"] == "done"


def test_who_has_sent_the_next_request_already_is_missed_all_the_same(api: Api) -> None:
    parked = api.submit(not_before="2090-01-01T00:00:00Z")
    body = b'{"model":"a","stream":false,"messages":[{"role":"user","content":"#slow=30"}]}'
    after = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with connected(api) as raw:
        head = b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
        raw.sendall(head + body + after)
        until(lambda: any(job["state"] == "working" for job in api.http.get("/queue").json()["running"]))
    until(lambda: not api.http.get("/queue").json()["running"])
    files = Path(f"/proc/{api.daemon.pid}/fd")
    before = len(list(files.iterdir()))
    for _ in range(20):
        with connected(api) as raw:
            raw.sendall(f"GET /jobs/{parked}/stream HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() + after)
            assert answered(raw, 5).startswith(b"HTTP/1.1 200")
    until(lambda: len(list(files.iterdir())) <= before)
    api.http.post(f"/jobs/{parked}/cancel")


def test_requests_sent_ahead_are_answered_in_their_order(api: Api) -> None:
    asked = [b"/healthz", b"/nowhere", b"/readyz"] * 5
    with connected(api) as raw:
        raw.sendall(b"".join(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path for path in asked))
        said = b""
        raw.settimeout(10)
        while said.count(b"HTTP/1.1 ") < len(asked):
            said += raw.recv(65536)
    assert re.findall(rb"HTTP/1.1 (\d+)", said) == [b"200", b"404", b"200"] * 5


def test_a_long_request_may_follow_before_the_last_is_answered(api: Api) -> None:
    body = json.dumps(
        {"model": "a", "stream": False, "messages": [{"role": "user", "content": "x" * 300_000}]}
    ).encode()
    head = b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    with connected(api) as raw:
        raw.sendall(2 * (head % len(body) + body))
        said = b""
        raw.settimeout(10)
        while said.count(b"HTTP/1.1 ") < 2:
            said += raw.recv(65536) or pytest.fail("the connection ended")
    assert re.findall(rb"HTTP/1.1 (\d+)", said) == [b"202", b"202"]


@pytest.mark.parametrize("packet", [H2C, H2_PREFACE])
def test_http_2_is_not_spoken(api: Api, packet: bytes) -> None:
    with connected(api) as raw:
        raw.sendall(packet)
        assert re.match(rb"HTTP/1.1 [24]\d\d", answered(raw, 5))


def test_a_refused_handshake_ends_the_connection(api: Api) -> None:
    with connected(api) as raw:
        raw.sendall(UPGRADE + b"\xff\xff\xff\xff")
        raw.settimeout(10)
        while raw.recv(65536):
            pass


def test_refused_handshakes_take_no_connections_for_ever(fresh: Fresh) -> None:
    api = fresh(max_connections=5)
    for _ in range(10):
        with connected(api) as raw:
            raw.sendall(UPGRADE + b"GET / HTTP/1.1\r\n\r\n")
            assert answered(raw, 5)

    def let_in() -> bool:
        with connected(api) as raw:
            raw.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            return answered(raw, 5).startswith(b"HTTP/1.1 200")

    until(let_in)


def test_a_client_that_never_reads_does_not_hold_up_the_shutdown(fresh: Fresh) -> None:
    api = fresh(shutdown_grace=1, send_timeout=600)
    job_id = api.submit("y" * 9_000_000 + " #echo")
    api.until_state("done", job_id)
    with connected(api) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.sendall(f"GET /jobs/{job_id}/artifacts/completion HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert raw.recv(10)
        api.daemon.terminate()
        assert api.daemon.wait() == 0


def test_a_client_that_keeps_its_connection_does_not_hold_up_the_shutdown(fresh: Fresh) -> None:
    api = fresh(shutdown_grace=600, idle_timeout=600, body_timeout=600)
    with connected(api) as idle, connected(api) as half:
        idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert answered(idle, 5).startswith(b"HTTP/1.1 200")
        half.sendall(
            b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
        )
        api.daemon.terminate()
        assert api.daemon.wait() == 0


@pytest.mark.parametrize(("parser", "status"), [("h11", b"200"), ("httptools", b"400")])
def test_the_parser_can_be_chosen(fresh: Fresh, parser: str, status: bytes) -> None:
    api = fresh(http_parser=parser)
    assert api.ended(api.submit("hello"))["state"] == "done"
    assert api.lines(api.submit("#chunks=5"))[-1]["done"] is True
    with connected(api) as raw:
        raw.sendall(b"GET /healthz HTTP/1.1\nHost: localhost\n\n")  # which h11 takes
        assert answered(raw, 5).startswith(b"HTTP/1.1 " + status)
