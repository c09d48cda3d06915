"""What all bodies under way may take together: beyond it they are refused, and everything small goes on."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.daemon import Daemon, an_upstream, until
from tests.http.conftest import IMPATIENT, Api
from tests.http.test_clients import HEAD, connected

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


@contextmanager
def crowded(api: Api) -> Iterator[None]:
    """While the body of a request that takes almost all there is is waited for."""
    with connected(api) as raw:
        raw.sendall(HEAD + b"Content-Length: %d\r\n\r\n{" % (MEMORY - 100_000))
        until(lambda: used(api) == MEMORY - 100_000)
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


def test_answers_beside_which_there_is_no_room_are_waited_for(narrow: Api) -> None:
    """What is followed by readers who read nothing is held once for all of them."""
    with crowded(narrow):
        job_id = narrow.submit("y" * 40_000 + " #echo")
        assert narrow.ended(job_id)["state"] == "done"
