"""Slow, hostile and very many clients: others are served, and what one may take is bounded."""

from __future__ import annotations

import contextlib
import resource
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.http.conftest import Api
from tests.support.foreman import until

Fresh = Callable[..., Api]

FILES = 4096  # descriptors
RESET = b"\x01\x00\x00\x00\x00\x00\x00\x00"  # SO_LINGER of no seconds: closing sends a reset
GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
HEAD = b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@contextmanager
def connected(api: Api) -> Iterator[socket.socket]:
    host, _, port = api.daemon.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=60) as raw:
        yield raw


def until_closed(raw: socket.socket) -> bytes:
    """What came until the other side ended it."""
    said = b""
    with contextlib.suppress(ConnectionError):
        while data := raw.recv(65536):
            said += data
    return said


def memory(api: Api) -> int:
    """Resident bytes of the process."""
    words = Path(f"/proc/{api.daemon.pid}/status").read_text().split()
    return int(words[words.index("VmRSS:") + 1]) * 1024


def descriptors(api: Api) -> int:
    return len(list(Path(f"/proc/{api.daemon.pid}/fd").iterdir()))


def test_a_head_that_never_ends_is_not_waited_for(fresh: Fresh) -> None:
    api = fresh(idle_timeout=0.5)
    with connected(api) as raw:
        raw.sendall(b"GET /healthz HTTP/1.1\r\nHost: local")
        assert until_closed(raw) == b""


def test_a_silent_connection_is_closed_after_its_time(fresh: Fresh) -> None:
    api = fresh(idle_timeout=0.5)
    with connected(api) as silent, connected(api) as done:
        done.sendall(GET)
        assert until_closed(done).startswith(b"HTTP/1.1 200 ")
        assert until_closed(silent) == b""


def test_a_request_that_is_answered_late_is_no_silence(fresh: Fresh) -> None:
    api = fresh(idle_timeout=0.3)
    answer = api.http.post("/api/chat", json={"model": "a", "stream": False, "messages": [{"content": "#slow=1"}]})
    assert answer.status_code == 200


def test_a_body_that_never_ends_is_not_waited_for(fresh: Fresh) -> None:
    api = fresh(body_timeout=0.5)
    with connected(api) as silent, connected(api) as slow, connected(api) as lines:
        silent.sendall(HEAD + b"Content-Length: 100\r\n\r\n{")
        assert silent.recv(65536).startswith(b"HTTP/1.1 408 ")
        slow.sendall(HEAD + b"Content-Length: 1000\r\n\r\n")
        for _ in range(100):  # each piece comes in time, but all of them would not
            slow.sendall(b" ")
            if select.select([slow], [], [], 0.1)[0]:
                break
        else:
            pytest.fail("it was still read")
        assert slow.recv(65536).startswith(b"HTTP/1.1 408 ")
        lines.sendall(HEAD.replace(b"/json", b"/x-ndjson") + b"Content-Length: 100\r\n\r\n{")
        assert lines.recv(65536).startswith(b"HTTP/1.1 422 ")


def test_a_client_that_reads_nothing_is_not_sent_to_for_ever(fresh: Fresh) -> None:
    api = fresh(send_timeout=0.5)
    job_id = api.submit("y" * 9_000_000 + " #echo")
    api.until_state("done", job_id)
    with connected(api) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.sendall(f"GET /jobs/{job_id}/artifacts/completion HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert raw.recv(10)
        before = descriptors(api)
        until(lambda: descriptors(api) < before)


def test_connections_beyond_the_limit_are_turned_away_with_words(fresh: Fresh) -> None:
    api = fresh(max_connections=10)
    with ExitStack() as stack:
        for _ in range(9):  # and the one of the api itself
            stack.enter_context(connected(api)).sendall(b"GET")
        with connected(api) as one_more:
            one_more.sendall(GET)
            said = until_closed(one_more)
        head, _, body = said.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ") and b"Retry-After: 5" in head
        assert body == b'{"error":"all 10 connections are taken","code":"too_many_connections"}\n'
        assert api.http.get("/healthz").status_code == 200

    def let_in() -> bool:
        with connected(api) as raw:
            raw.sendall(GET)
            return raw.recv(65536).startswith(b"HTTP/1.1 200 ")

    until(let_in)


@pytest.fixture
def many_files() -> Iterator[None]:
    """Lets this process and its children have 4,096 descriptors each, where less is the custom (ulimit -n 1024)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < FILES:
        if hard != resource.RLIM_INFINITY and hard < FILES:
            pytest.skip(f"needs {FILES} descriptors, and ulimit -Hn allows {hard}")
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
def test_two_thousand_idle_connections_are_held_beside_the_work(fresh: Fresh) -> None:
    api = fresh(max_connections=3000, idle_timeout=600, forked=False)
    api.ended(api.submit("warm"))
    before = memory(api)
    with ExitStack() as stack:
        for _ in range(2000):
            stack.enter_context(connected(api))
        until(lambda: descriptors(api) > 2000)
        assert api.ended(api.submit("beside them"))["state"] == "done"
        assert memory(api) - before < 150_000_000
        api.daemon.terminate()
        assert api.daemon.wait() == 0


def test_connections_whose_client_is_gone_without_a_word_leave_no_descriptors(fresh: Fresh) -> None:
    """Half-open ones look like idle ones from here: nothing comes, and nothing says that nothing ever will."""
    api = fresh(idle_timeout=0.5)
    before = descriptors(api)
    with ExitStack() as stack:
        for _ in range(50):
            raw = stack.enter_context(connected(api))
            raw.sendall(GET)
            assert raw.recv(65536).startswith(b"HTTP/1.1 200 ")  # so it was accepted
        until(lambda: descriptors(api) <= before)


def test_two_hundred_resets_harm_nobody(api: Api) -> None:
    job_id = api.submit("#chunks=20 #every=0.02")
    for number in range(200):
        with connected(api) as raw:
            raw.sendall((GET, HEAD, HEAD + b"Content-Length: 9\r\n\r\n{", b"\x16\x03")[number % 4])
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    assert api.ended(job_id)["state"] == "done"
    assert api.http.get("/healthz").status_code == 200


def test_a_declared_length_beyond_the_limit_is_refused_unread(api: Api) -> None:
    with connected(api) as raw:
        raw.settimeout(60)
        raw.sendall(HEAD + b"Content-Length: 99999999999\r\n\r\n{")
        assert raw.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_chunks_beyond_the_limit_are_refused_before_they_are_all_there(fresh: Fresh) -> None:
    api = fresh(max_body=100_000)
    with connected(api) as raw:
        raw.settimeout(60)
        raw.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(4):
                raw.sendall(b"%x\r\n%b\r\n" % (50_000, b"x" * 50_000))
        assert raw.recv(65536).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "framed",
    [
        b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        b"transfer-encoding: Chunked\r\ncontent-length: 37\r\n",
        b"TRANSFER-ENCODING: chunked\r\nX: y\r\nContent-Length: 0, 0\r\n",
    ],
)
@pytest.mark.parametrize("path", [b"POST /jobs", b"POST /nowhere", b"GET /healthz"])
def test_a_length_beside_chunks_ends_the_connection(api: Api, path: bytes, framed: bytes) -> None:
    head = path + b" HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with connected(api) as raw:
        raw.sendall(head + framed + b"\r\n0\r\n\r\n" + GET)
        said = until_closed(raw).lower()
    assert said.count(b"http/1.1 ") == 1
    assert b"\r\nconnection: close\r\n" in said


def test_an_address_or_a_header_of_any_length_is_refused(api: Api) -> None:
    for head in (
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\nX-Long: " + b"y" * 100_000 + b"\r\n",
    ):
        with connected(api) as raw:
            with contextlib.suppress(ConnectionError):
                raw.sendall(head + b"Host: localhost\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                assert raw.recv(65536)[:10] in (b"HTTP/1.1 4", b"")
    assert api.http.get("/healthz").status_code == 200


def test_hundreds_that_send_requests_ahead_of_their_answers_take_turns_with_others(fresh: Fresh) -> None:
    api, clients, each = fresh(), 150, 100
    with ExitStack() as stack:
        eager = [stack.enter_context(connected(api)) for _ in range(clients)]
        for raw in eager:
            raw.sendall(GET * each)
        for raw in eager:
            raw.recv(1, socket.MSG_PEEK)  # all of them are at it
        with connected(api) as raw:
            raw.sendall(GET)
            assert raw.recv(65536).startswith(b"HTTP/1.1 200")
        answered = 0
        for raw in eager:
            with contextlib.suppress(BlockingIOError):
                answered += raw.recv(2**20, socket.MSG_DONTWAIT).count(b"HTTP/1.1 200")
        assert answered < 5 * clients
        for raw in eager:
            raw.shutdown(socket.SHUT_WR)
