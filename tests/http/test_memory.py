"""What all bodies under way may take together: beyond it they are refused, and everything small goes on."""

from __future__ import annotations

import gzip
import json
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from foreman.http.framing import in_one_line
from foreman.http.stored import PIECE
from tests.http.conftest import IMPATIENT, Api
from tests.http.test_clients import HEAD, connected, memory
from tests.support.foreman import Daemon, an_upstream, until

MEMORY = 2**20
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A Foreman with a MiB for all that is under way."""
    folder = tmp_path_factory.mktemp("narrow") / "data"
    with (
        an_upstream("--kind", "ollama") as upstream,
        Daemon(folder, ollama_url=upstream.url, memory="1 MiB", **IMPATIENT) as daemon,
    ):
        yield Api(daemon, upstream)


def used(api: Api) -> float:
    """Bytes that are counted now, by the metrics."""
    lines = api.http.get("/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith('foreman_memory_bytes{kind="used"}')).split()[-1])


def idle(api: Api) -> bool:
    found = api.http.get("/queue").json()
    return not found["queued"] and not found["running"]


@contextmanager
def crowded(api: Api) -> Iterator[None]:
    """While the body of a request that takes all there is is waited for."""
    until(lambda: idle(api) and used(api) == 0)
    with connected(api) as raw:
        raw.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % MEMORY + b"{" * (MEMORY - 1))
        until(lambda: used(api) == MEMORY - 1)
        yield
    until(lambda: used(api) == 0)


def body_of(size: int) -> bytes:
    return json.dumps({"model": "a", "messages": [{"role": "user", "content": "x" * size}]}).encode()


def chunked(body: bytes) -> Iterator[bytes]:
    yield from (body[start : start + 50_000] for start in range(0, len(body), 50_000))


SHAPES: dict[str, Callable[[dict[str, Any]], object]] = {
    "/jobs": lambda said: said["code"],
    "/api/chat": lambda said: "memory_full" if isinstance(said["error"], str) else None,
    "/api/embed": lambda said: "memory_full" if isinstance(said["error"], str) else None,
    "/v1/chat/completions": lambda said: said["error"]["code"],
    "/v1/embeddings": lambda said: said["error"]["code"],
    "/v1/messages": lambda said: said["error"]["code"] if said["error"]["type"] == "overloaded_error" else None,
    "/api/unknown": lambda said: "memory_full" if isinstance(said["error"], str) else None,
}


def test_what_finds_no_room_is_refused_in_the_words_of_each_api(narrow: Api) -> None:
    with crowded(narrow):
        for path, code in SHAPES.items():
            for content in (body_of(200_000), chunked(body_of(200_000))):
                response = narrow.http.post(path, content=content, headers=JSON)
                assert response.status_code == 503, path
                assert int(response.headers["Retry-After"]) > 0
                assert code(response.json()) == "memory_full", path
        packed = gzip.compress(body_of(200_000))
        response = narrow.http.post("/jobs", content=packed, headers=JSON | {"Content-Encoding": "gzip"})
        assert (response.status_code, response.json()["code"]) == (503, "memory_full")
        response = narrow.http.post("/jobs", content=body_of(200_000), headers={"Content-Type": "application/x-ndjson"})
        assert (response.status_code, response.json()["code"]) == (503, "memory_full")
    assert narrow.http.post("/jobs", content=body_of(200_000), headers=JSON).status_code == 202


def test_what_is_small_goes_on_when_all_is_taken(narrow: Api) -> None:
    with crowded(narrow):
        assert narrow.healthy()
        job_id = narrow.submit("x" * 10_000)
        assert narrow.ended(job_id)["state"] == "done"
        assert narrow.http.post("/jobs/" + narrow.submit("#slow=60") + "/cancel").json()["state"] == "cancelled"
        chat = {"model": "a", "stream": False, "messages": [{"role": "user", "content": "hello"}]}
        assert narrow.http.post("/api/chat", json=chat).status_code == 200


def test_many_lines_may_be_more_than_there_is_room_for_at_a_time(narrow: Api) -> None:
    lines = b"\n".join([body_of(50_000)] * 40)
    assert len(lines) > 1.5 * MEMORY
    response = narrow.http.post("/jobs", content=lines, headers={"Content-Type": "application/x-ndjson"})
    assert (response.status_code, response.json()["accepted"]) == (202, 40)
    until(lambda: used(narrow) == 0)


def test_nobody_takes_room_by_a_promise(narrow: Api) -> None:
    until(lambda: idle(narrow) and used(narrow) == 0)
    with connected(narrow) as raw:
        raw.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % MEMORY + b"{" * 100_000)
        until(lambda: used(narrow) == 100_000)
        assert narrow.http.post("/jobs", content=body_of(500_000), headers=JSON).status_code == 202


class Hasty(Daemon):
    """A Foreman that waits for clients no more than a moment when others need the room."""

    command = (
        sys.executable,
        "-c",
        "import foreman.app; foreman.app.GRACE = 0.2; from foreman.__main__ import main; main()",
        "serve",
    )


ROOM = 28 * 2**20  # bytes
ECHO = " ".join(["y" * 8_000_000, "#echo"])
WORDS = " ".join(["y" * 40_000] * 200 + ["#echo"])


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    folder = tmp_path_factory.mktemp("hasty") / "data"
    with (
        an_upstream("--kind", "ollama") as upstream,
        Hasty(folder, ollama_url=upstream.url, memory=str(ROOM), idle_timeout=0.5, **IMPATIENT) as daemon,
    ):
        yield Api(daemon, upstream)


def reads_a_running_answer(api: Api, raw: socket.socket) -> None:
    job_id = api.submit(WORDS + " #slow=2")
    raw.sendall(f"GET /jobs/{job_id}/stream HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    api.until_state("done", job_id)


def reads_a_large_chunk(api: Api, raw: socket.socket) -> None:
    job_id = api.submit(ECHO + " #slow=2")
    raw.sendall(f"GET /jobs/{job_id}/stream HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n".encode())
    api.until_state("done", job_id)


def reads_a_call(api: Api, raw: socket.socket) -> None:
    calls(raw, "/api/chat", {"model": "a", "messages": [{"role": "user", "content": WORDS}]})
    until(lambda: idle(api))


def reads_a_call_of_another_api(api: Api, raw: socket.socket) -> None:
    calls(raw, "/v1/chat/completions", {"model": "a", "stream": True, "messages": [{"role": "user", "content": WORDS}]})
    until(lambda: idle(api))


def reads_embeddings(api: Api, raw: socket.socket) -> None:
    calls(raw, "/api/embed", {"model": "a", "input": ["x"] * 500_000})
    assert raw.recv(100).startswith(b"HTTP/1.1 200 ")


def sends_a_body(api: Api, raw: socket.socket) -> None:
    raw.sendall(HEAD + b"Content-Length: 8000000\r\n\r\n" + b"{" * 7_999_999)


def sends_a_line(api: Api, raw: socket.socket) -> None:
    head = HEAD.replace(b"application/json", b"application/x-ndjson")
    raw.sendall(head + b"Content-Length: 8000000\r\n\r\n" + b"{" * 7_999_999)


def is_open(raw: socket.socket) -> bool:
    """Return whether the other side of a connection has not closed it."""
    try:
        ports = f":{raw.getpeername()[1]:04X}", f":{raw.getsockname()[1]:04X}"
    except OSError:  # it was reset
        return False
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    return any((here[-5:], there[-5:], state) == (*ports, "01") for _, here, there, state, *_ in rows)


def calls(raw: socket.socket, path: str, asked: object) -> None:
    body = json.dumps(asked).encode()
    raw.sendall(HEAD.replace(b"/jobs", path.encode()) + b"Content-Length: %d\r\n\r\n" % len(body) + body)


SLOW = [
    reads_a_running_answer,
    reads_a_large_chunk,
    reads_a_call,
    reads_a_call_of_another_api,
    reads_embeddings,
    sends_a_body,
    sends_a_line,
]


@pytest.mark.parametrize("is_slow", SLOW)
def test_slow_clients_give_way_to_who_needs_room(hasty: Api, is_slow: Callable[[Api, socket.socket], None]) -> None:
    until(lambda: idle(hasty) and used(hasty) == 0)
    with connected(hasty) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        is_slow(hasty, raw)
        until(lambda: used(hasty) > ROOM / 4)
        body = body_of(int(ROOM - used(hasty)) + 1)
        until(lambda: hasty.http.post("/jobs", content=body, headers=JSON).status_code == 202)
        until(lambda: idle(hasty) and used(hasty) == 0 and not is_open(raw))
        assert hasty.healthy()


LARGE = 8_000_000  # bytes
READERS = 20


def test_slow_readers_of_a_large_answer_take_a_piece_each(fresh: Callable[..., Api]) -> None:
    api = fresh(forked=False)
    job_id = api.submit("y" * LARGE + " #echo")
    api.until_state("done", job_id)
    paths = [f"/jobs/{job_id}{end}" for end in ("", "/request", "/artifacts/completion", "/stream")]
    answers = [api.http.get(path).text for path in paths]
    assert all(len(answer) > LARGE for answer in answers)
    assert json.loads(answers[0])["result"] == json.loads(answers[2]) == json.loads(answers[3])
    before = memory(api)
    with ExitStack() as stack:
        for number in range(READERS):
            raw = stack.enter_context(connected(api))
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            raw.sendall(f"GET {paths[number % len(paths)]} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            assert raw.recv(1000).startswith(b"HTTP/1.1 200 ")
        assert api.healthy()
        assert memory(api) - before < READERS * LARGE / 2
        assert used(api) >= READERS * PIECE  # each is counted


def test_a_large_artifact_comes_in_any_range(fresh: Callable[..., Api]) -> None:
    api = fresh()
    job_id = api.submit("".join(map(str, range(300_000))) + " #echo")
    api.until_state("done", job_id)
    path = f"/jobs/{job_id}/artifacts/completion"
    whole = api.http.get(path).content
    for begin, end in [(PIECE - 1, PIECE), (0, 0), (PIECE, 2 * PIECE + 5), (17, len(whole) - 1)]:
        part = api.http.get(path, headers={"Range": f"bytes={begin}-{end}"})
        assert (part.status_code, part.content) == (206, whole[begin : end + 1])
    assert api.http.get(path, headers={"Range": "bytes=-5"}).content == whole[-5:]
    chat = {"model": "a", "stream": False, "messages": [{"role": "user", "content": "z" * 2_000_000 + " #echo"}]}
    assert len(api.http.post("/api/chat", json=chat).json()["message"]["content"]) >= 2_000_000


async def test_an_answer_in_pieces_is_one_line_wherever_it_is_cut() -> None:
    text = '{"a":\n"\u2028é\x85😀\u2029"\r\n}'.encode()

    async def cut(size: int) -> AsyncIterator[bytes]:
        for start in range(0, len(text), size):
            yield text[start : start + size]

    for size in range(1, len(text) + 1):
        line = b"".join([part async for part in in_one_line(cut(size))])
        assert len(line.decode().splitlines()) == 1
        assert json.loads(line) == json.loads(text)
