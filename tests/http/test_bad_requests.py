"""Ids, names, queries, headers and websocket frames that cannot be taken: each is told why, and nobody else notices."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.api import NDJSON, chat, error, submit
from tests.support.foreman import Daemon, Upstream, an_upstream

LONG = "9" * 5000
SSE = {"Accept": "text/event-stream"}

IDS = ["x", "%00", "..", "%ff", "a" * 300, "'%20OR%201=1", "8" + "Z" * 25, "%0d%0aX:1", "%F0%9F%A6%99"]
ROUTES = [
    ("GET", ""),
    ("DELETE", ""),
    ("POST", "/cancel"),
    ("POST", "/retry"),
    ("GET", "/events"),
    ("GET", "/stream"),
    ("GET", "/deliveries"),
    ("POST", "/deliveries/1/redeliver"),
    ("GET", "/artifacts/completion"),
]
NAMES = ["..", "%2e%2e", "%00", "completion%00", "%ff", "image-7.png", "x" * 5000]
PATHS = ["../x", "..%2f..%2fetc%2fpasswd", "a/b", "a%2fb", "completion%2f", ""]
DELIVERIES = ["x", "0", "-1", "1.5", "9" * 18, "9" * 19, LONG, "%00", "%D9%A1"]
RANGES = ["bytes=", "bytes=x", "bytes=5-2", "bytes=-", "bytes=99999999-", "bytes=-0", "bytes=--5", f"bytes={LONG}-"]
IGNORED = ["lines=1-2", "5-9", "bytes=1-2,4-5", "bytes=\u00e9,", ""]  # RFC 9110, 14.2

FILTERS = (
    "id, custom_id, state, model, priority, endpoint, error_code, batch_id, target, caller, metadata.NAME, "
    "created_after, created_before, ended_after, q, order, limit, after"
)
NEXT = "must be the `next` of the previous page, in the same order"
STATES = "queued, loading, working, done, failed, cancelled, expired"
PAGE = "must be a whole number from 1 to 500"
FROM = f"must be a whole number from 0 to {10**15 - 1}"
QUERIES: list[tuple[str, str, str]] = [
    ("/jobs", "after=x", f"after: {NEXT}; given: x"),
    ("/jobs", "after=", f"after: {NEXT}; given: "),
    ("/jobs", "after=" + "I" * 26, f"after: {NEXT}; given: {'I' * 26}"),
    ("/jobs", "after=" + "%EF%BC%91" * 26, f"after: {NEXT}; given: {'１' * 26}"),
    ("/jobs", f"after={LONG}", f"after: {NEXT}; given: {'9' * 77}..."),
    ("/jobs", "state=Done", f"state: must be one of {STATES}; given: Done"),
    ("/jobs", "priority=1", "priority: must be one of high, normal, low; given: 1"),
    ("/jobs", "limit=0", f"limit: {PAGE}; given: 0"),
    ("/jobs", "limit=501", f"limit: {PAGE}; given: 501"),
    ("/jobs", "limit=1e2", f"limit: {PAGE}; given: 1e2"),
    ("/jobs", "limit=true", f"limit: {PAGE}; given: true"),
    ("/jobs", "limit=%D9%A1", f"limit: {PAGE}; given: ١"),
    ("/jobs", "stat=done&a=b", f"query: must be one of {FILTERS}; given: a, stat"),
    ("/jobs", "q=%ff", "q: must be UTF-8, percent-encoded; given: %ff"),
    ("/jobs", "model=a&custom_id=a%e9b", "custom_id: must be UTF-8, percent-encoded; given: a%e9b"),
    ("/jobs", "metadata.a=%c3", "metadata.a: must be UTF-8, percent-encoded; given: %c3"),
    ("/jobs/export", "%ff=1", "query: must be UTF-8, percent-encoded; given: %ff=1"),
    ("/usage", "caller=%ed%a0%80", "caller: must be UTF-8, percent-encoded; given: %ed%a0%80"),
    ("/queue/jobs", "first=5", "query: must be one of limit; given: first"),
    ("/jobs/JOB/events", "since=5", "query: must be one of after; given: since"),
    ("/jobs/JOB/events", "after=x", f"after: {FROM}; given: x"),
    ("/jobs/JOB/events", "after=-1", f"after: {FROM}; given: -1"),
    ("/jobs/JOB/events", "after=1.0", f"after: {FROM}; given: 1.0"),
    ("/jobs/JOB/events", f"after={LONG}", f"after: {FROM}; given: {'9' * 77}..."),
    ("/events", "after=x", f"after: {FROM}; given: x"),
    ("/events", "after=-1", f"after: {FROM}; given: -1"),
    ("/events", "after=" + "9" * 16, f"after: {FROM}; given: {'9' * 16}"),
    ("/events", f"after={LONG}", f"after: {FROM}; given: {'9' * 77}..."),
    ("/events", "state=x&state=y", f"state: must be one of {STATES}; given: x, y"),
    ("/events", "model=%ff", "model: must be UTF-8, percent-encoded; given: %ff"),
    ("/events", "color=red", "query: must be one of after, job_id, model, state; given: color"),
]
WAIT = "Prefer: wait: must be a whole number from 1 to 300; given: "
KEY = "Idempotency-Key: must be 1 to 255 visible ASCII characters; given: "
TYPE = "Content-Type must be application/json or application/x-ndjson; given: "
HEADERS: list[tuple[str, str, int, str]] = [
    ("Prefer", "wait", 422, WAIT),
    ("Prefer", "wait=soon", 422, f"{WAIT}soon"),
    ("Prefer", "wait=-1", 422, f"{WAIT}-1"),
    ("Prefer", "wait=301", 422, f"{WAIT}301"),
    ("Prefer", "wait=1.5", 422, f"{WAIT}1.5"),
    ("Prefer", f"respond-async, wait={LONG}", 422, f"{WAIT}{'9' * 77}..."),
    ("Idempotency-Key", "", 422, KEY),
    ("Idempotency-Key", "a b", 422, f"{KEY}a b"),
    ("Idempotency-Key", "ü", 422, f"{KEY}ü"),
    ("Idempotency-Key", "k" * 256, 422, f"{KEY}{'k' * 77}..."),
    ("Content-Type", "", 415, f"{TYPE}none"),
    ("Content-Type", "text/plain", 415, f"{TYPE}text/plain"),
    ("Content-Type", "application/x-www-form-urlencoded", 415, f"{TYPE}application/x-www-form-urlencoded"),
    ("Content-Type", "application/jsonx", 415, f"{TYPE}application/jsonx"),
]
OF_CALLS = {
    "X-Foreman-Priority": "X-Foreman-Priority: must be one of high, normal, low; given: urgent",
    "X-Foreman-On-Disconnect": "X-Foreman-On-Disconnect: must be cancel or keep; given: urgent",
}


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with an_upstream("--kind", "both") as upstream:
        yield upstream


@pytest.fixture(scope="module")
def served(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("bad") / "data", ollama_url=upstream.url, forked=False) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def done(served: Daemon) -> str:
    """The one job there is."""
    job = submit(served, "#echo nothing but this")
    served.http.get(f"/jobs/{job}/stream")
    return job


@pytest.fixture
def daemon(served: Daemon, done: str) -> Iterator[Daemon]:
    """One that after each test still serves, and has stored nothing."""
    yield served
    assert [(job["job_id"], job["state"]) for job in served.http.get("/jobs").json()["jobs"]] == [(done, "done")]
    assert served.errors == []


@pytest.mark.parametrize("job_id", IDS)
def test_a_malformed_id_is_nobodys(daemon: Daemon, job_id: str) -> None:
    for method, rest in ROUTES:
        answer = raw(daemon, f"{method} /jobs/{job_id}{rest}")
        status, body = answer
        told = json.loads(body)
        assert (status, told["error"], told["code"]) == (404, "job not found", "job_not_found"), rest
        assert "GET /jobs?id=" in told["hint"]


def test_a_malformed_name_is_no_artifact_and_a_path_is_no_name(daemon: Daemon, done: str) -> None:
    for name in NAMES:
        answer = raw(daemon, f"GET /jobs/{done}/artifacts/{name}")
        assert answer == (404, b'{"error":"artifact not found","code":"artifact_not_found"}\n'), name
    for path in PATHS:
        answer = raw(daemon, f"GET /jobs/{done}/artifacts/{path}")
        assert answer == (404, b'{"error":"not found","code":"not_found"}\n'), path


def test_a_malformed_delivery_is_none(daemon: Daemon, done: str) -> None:
    for delivery in DELIVERIES:
        answer = daemon.http.post(f"/jobs/{done}/deliveries/{delivery}/redeliver")
        assert (answer.status_code, answer.json()["error"]) == (404, "delivery not found"), delivery


def test_a_bad_range_is_told_how_much_there_is(daemon: Daemon, done: str) -> None:
    url = f"/jobs/{done}/artifacts/completion"
    whole = daemon.http.get(url)
    size = len(whole.content)
    for asked in RANGES:
        answer = daemon.http.get(url, headers={"Range": asked})
        assert error(answer) == (416, "requested_range_not_satisfiable"), asked
        allowed = f"Range: must be a range such as bytes=0-99 within the {size} bytes there are; given: {asked[:77]}"
        assert answer.json()["error"].startswith(allowed)
        assert answer.headers["Content-Range"] == f"bytes */{size}"
    for asked in IGNORED:
        answer = daemon.http.get(url, headers=[(b"Range", asked.encode())])
        assert (answer.status_code, answer.content) == (200, whole.content), asked


@pytest.mark.parametrize(("path", "query", "words"), QUERIES, ids=[f"{p}?{q[:24]}" for p, q, _ in QUERIES])
def test_a_bad_query_is_told_what_is_allowed(daemon: Daemon, done: str, path: str, query: str, words: str) -> None:
    answer = daemon.http.get(f"{path.replace('JOB', done)}?{query}", headers=SSE)
    assert error(answer) == ((400, "query_invalid") if path == "/events" else (422, "field_invalid"))
    assert answer.json()["error"] == words


def test_numbers_of_events_may_be_as_large_as_they_get(daemon: Daemon, done: str) -> None:
    for path in ("events", "deliveries"):
        answer = daemon.http.get(f"/jobs/{done}/{path}?after={10**12}")
        assert (answer.status_code, answer.json()) == (200, {path: [], "next": None})


@pytest.mark.parametrize(("name", "value", "status", "words"), HEADERS, ids=[f"{n}={v[:16]}" for n, v, *_ in HEADERS])
def test_a_bad_header_is_told_what_is_allowed(daemon: Daemon, name: str, value: str, status: int, words: str) -> None:
    headers = [(b"Content-Type", b"application/json")] if name != "Content-Type" else []
    headers += [(name.encode(), value.encode("latin-1"))]
    answer = daemon.http.post("/jobs", content=b'{"model":"a"}', headers=headers)
    assert error(answer) == (status, "wrong_content_type" if status == 415 else "field_invalid")
    assert answer.json()["error"] == words


def test_a_bad_header_of_a_call_is_told_what_is_allowed(daemon: Daemon) -> None:
    for header, words in OF_CALLS.items():
        for path in ("/api/chat", "/api/generate"):
            answer = daemon.http.post(path, json=chat(), headers={header: "urgent"})
            assert (answer.status_code, answer.json()) == (400, {"error": words})
        for path in ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"):
            answer = daemon.http.post(path, json=chat(), headers={header: "urgent"})
            assert (answer.status_code, answer.json()["error"]["message"]) == (400, words)
    key = daemon.http.post("/jobs", content=b"{}", headers=NDJSON | {"Idempotency-Key": "k"})
    assert key.json()["error"] == "Idempotency-Key: is for single jobs; leave it out for NDJSON; given: k"


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("X-Foreman-Prioritty", "did you mean X-Foreman-Priority?"),
        ("x-foreman-prio", "did you mean X-Foreman-Priority?"),
        ("X-FOREMAN-DISCONNECT", "did you mean X-Foreman-On-Disconnect?"),
        ("X-Foreman-Colour", "there are X-Foreman-Priority, X-Foreman-On-Disconnect, X-Foreman-Caller"),
        ("X-Foreman-", "there are X-Foreman-Priority, X-Foreman-On-Disconnect, X-Foreman-Caller"),
    ],
)
def test_an_unknown_header_of_foremans_is_refused_with_the_nearest_name(
    daemon: Daemon, name: str, nearest: str
) -> None:
    words = f"{name.lower()} is no request header of Foreman's: {nearest}"
    for path in ("/jobs", "/queue", "/healthz", "/nowhere"):
        answer = daemon.http.get(path, headers={name: "low"})
        assert (error(answer), answer.json()["error"]) == ((422, "header_unknown"), words)
    native = daemon.http.post("/api/chat", json=chat(), headers={name: "low"})
    assert (native.status_code, native.json()) == (400, {"error": words})
    spoken = daemon.http.post("/v1/messages", json=chat(), headers={name: "low"})
    assert (spoken.status_code, spoken.json()["error"]["message"]) == (400, words)
    with connected(daemon) as client:
        client.sendall(UPGRADE.replace(b"Host:", f"{name}: low\r\nHost:".encode()))
        assert client.recv(65536).startswith(b"HTTP/1.1 422 ")


def test_a_header_of_foremans_may_come_with_every_request(daemon: Daemon) -> None:
    every = {"X-Foreman-Priority": "low", "x-foreman-on-disconnect": "keep", "X-Forwarded-For": "10.0.0.1"}
    for path in ("/jobs", "/queue", "/v1/models", "/api/tags"):
        assert daemon.http.get(path, headers=every).status_code == 200


UPGRADE = (
    b"GET /events HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
)
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
FIN = 0x80


def frame(opcode: int, data: bytes = b"", *, bits: int = FIN, masked: bool = True, length: int | None = None) -> bytes:
    """One frame as a client sends it; a mask of zeros leaves the data as they are."""
    size = len(data) if length is None else length
    mask = FIN if masked else 0
    if size < 126:
        head = struct.pack(">BB", bits | opcode, mask | size)
    elif size < 2**16:
        head = struct.pack(">BBH", bits | opcode, mask | 126, size)
    else:
        head = struct.pack(">BBQ", bits | opcode, mask | 127, size)
    return head + (bytes(4) if masked else b"") + data


def closing(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, struct.pack(">H", code) + reason)


FRAMES: dict[str, tuple[bytes, int]] = {  # and the code that ends the connection (RFC 6455, 7.4.1)
    "text that is no UTF-8": (frame(TEXT, b"\xff"), 1007),
    "a continuation of nothing": (frame(0, b"x"), 1002),
    "text in the midst of text": (frame(TEXT, b"x", bits=0) + frame(TEXT, b"x"), 1002),
    "a message too long": (frame(TEXT, b"x" * 70_000), 1009),
    "fragments too long": (frame(BINARY, b"x" * 40_000, bits=0) + frame(0, b"x" * 40_000), 1009),
    "a length beyond 63 bits": (frame(TEXT, length=2**63 + 1), 1002),
    **{f"opcode {n}": (frame(n), 1002) for n in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "a first reserved bit": (frame(TEXT, b"x", bits=FIN | 0x40), 1002),
    "a last reserved bit": (frame(TEXT, b"x", bits=FIN | 0x10), 1002),
    "no mask": (frame(TEXT, b"x", masked=False), 1002),
    "a long ping": (frame(PING, b"x" * 126), 1002),
    "a ping in pieces": (frame(PING, b"x", bits=0), 1002),
    "half a code": (frame(CLOSE, b"\x03"), 1002),
    **{f"code {n}": (closing(n), 1002) for n in (0, 999, 1005, 1006, 1015, 1016, 2999, 5000, 65535)},
    "a reason that is no UTF-8": (closing(1000, b"\xff"), 1007),
    "HTTP": (b"GET / HTTP/1.1\r\n\r\n", 1002),
    "code 1000": (closing(1000), 1000),
    "code 3000": (closing(3000, b"enough"), 3000),
    "what is not asked for, then a code": (
        frame(TEXT, b"hello") + frame(BINARY, b"\0\xff") + frame(PONG, b"?") + frame(PING, b"!") + closing(1001),
        1001,
    ),
}


@contextmanager
def feeding(daemon: Daemon) -> Iterator[socket.socket]:
    """A connection of which the hello was read."""
    with connected(daemon) as client:
        client.sendall(UPGRADE)
        head = b""
        while b'"hello"' not in head:
            head += client.recv(65536)
        assert b"sec-websocket-extensions" not in head.lower()
        yield client


def close_code(client: socket.socket) -> int:
    """The code of the first close that comes; pongs before it are left out."""
    said = b""
    while len(said) < 4 or said[0] == FIN | PONG:
        if len(said) >= 3 and said[0] == FIN | PONG:
            said = said[2 + said[1] :]
            continue
        said += client.recv(65536) or pytest.fail(f"closed without a code, after {said!r}")
    assert said[0] == FIN | CLOSE
    return int.from_bytes(said[2:4], "big")


@pytest.mark.parametrize("name", FRAMES)
def test_a_bad_frame_ends_its_connection_with_a_code_and_no_other(daemon: Daemon, name: str) -> None:
    sent, code = FRAMES[name]
    with feeding(daemon) as bystander:
        with feeding(daemon) as client:
            client.sendall(sent)
            assert close_code(client) == code
        bystander.sendall(frame(PING, b"still there") + closing(1000))
        assert close_code(bystander) == 1000


def test_what_a_client_goes_on_sending_after_a_message_too_long_is_not_kept(daemon: Daemon) -> None:
    piece = frame(0, b"x" * 60_000, bits=0)
    with feeding(daemon) as client:
        client.sendall(frame(TEXT, b"x" * 60_000, bits=0) + piece)
        assert close_code(client) == 1009
        before = memory(daemon)
        for _ in range(1000):
            client.sendall(piece)
        assert memory(daemon) - before < 30_000_000
        client.sendall(frame(0) + closing(1000))
        assert client.recv(10) == b""


def memory(daemon: Daemon) -> int:
    """Resident bytes of the process."""
    words = Path(f"/proc/{daemon.pid}/status").read_text().split()
    return int(words[words.index("VmRSS:") + 1]) * 1024


@contextmanager
def connected(daemon: Daemon) -> Iterator[socket.socket]:
    host, _, port = daemon.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=60) as client:
        yield client


def raw(daemon: Daemon, request: str) -> tuple[int, bytes]:
    """Status and body for a path as it is written: clients would tidy it."""
    with connected(daemon) as client:
        client.sendall(f"{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        said = b"".join(iter(lambda: client.recv(65536), b""))
    head, _, body = said.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def test_what_is_not_there_is_said_with_a_code(daemon: Daemon) -> None:
    assert error(daemon.http.get("/nowhere")) == (404, "not_found")
    wrong = daemon.http.put("/jobs")
    assert error(wrong) == (405, "method_not_allowed")
    assert "POST" in wrong.headers["Allow"]
    assert error(daemon.http.get("/events")) == (406, "not_acceptable")
