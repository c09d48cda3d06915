"""Documents are ranked past the queue, by servers that have /v1/rerank; what goes wrong has the API's shape."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

import msgspec
import pytest

from tests.support.foreman import Daemon, an_upstream

RERANK = "/v1/rerank"
ASKED = {"model": "r", "query": "cats", "documents": ["a dog", "a cat"], "top_n": 1, "return_documents": True}
SAID = (
    b'{"id": "rerank-1", "model": "r", "usage": {"total_tokens": 7},\n'
    b' "results": [{"index": 1, "document": {"text": "a cat"}, "relevance_score": 0.98700}]}'
)


class Ranker(BaseHTTPRequestHandler):
    """A server that ranks; the query says how else to answer."""

    server: Server

    def do_GET(self) -> None:
        self._say(200, b'{"object": "list", "data": [{"id": "r"}]}')

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, asked))
        match asked["query"]:
            case "teapot":
                self._say(418, b'{"error": {"message": "no ranking in a teapot"}}')
            case "failing":
                self._say(200, b'{"message": "the engine stopped"}')
            case "page":
                self._say(200, b"<html>")
            case "silent":
                self.server.closing.wait()
            case _:
                self._say(200, SAID)

    def _say(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Ranker)
        self.asked: list[tuple[str, Any]] = []
        self.closing = Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def a_ranker() -> Iterator[Server]:
    with Server() as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.closing.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def ranker() -> Iterator[Server]:
    with a_ranker() as server:
        yield server


def test_documents_are_ranked_past_the_queue(serve: Callable[..., Daemon], ranker: Server) -> None:
    api = serve(openai_url=ranker.url).http
    api.post("/queue/pause")  # nothing waits for the queue
    answer = api.post(RERANK, json=ASKED)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.content.strip() == msgspec.json.format(SAID, indent=-1)  # its numbers as they were written
    assert ranker.asked == [(RERANK, ASKED)]  # nothing is added
    assert "x-foreman-job-id" not in answer.headers
    assert api.get("/jobs").json()["jobs"] == []


@pytest.mark.parametrize(
    ("query", "status", "code", "words"),
    [
        ("teapot", 418, "target_refused", "no ranking in a teapot"),
        ("failing", 502, "target_failed", "the engine stopped"),
        ("page", 502, "target_garbled", "not the JSON of /v1/rerank"),
    ],
)
def test_what_goes_wrong_has_the_shape_of_the_api(
    serve: Callable[..., Daemon], ranker: Server, query: str, status: int, code: str, words: str
) -> None:
    answer = serve(openai_url=ranker.url).http.post(RERANK, json=ASKED | {"query": query})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code)
    assert words in error["message"] and set(error) == {"message", "type", "param", "code"}


def test_a_bad_call_is_refused_before_the_target_is_asked(serve: Callable[..., Daemon], ranker: Server) -> None:
    api = serve(openai_url=ranker.url).http
    for body, status, code in [
        (b"", 400, "invalid_json"),
        (b'{"query": "x"}', 400, "model_required"),
        (b'{"model": "nope", "query": "x"}', 404, "model_not_found"),
    ]:
        answer = api.post(RERANK, content=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert ranker.asked == []


def test_a_silent_target_costs_the_timeout(serve: Callable[..., Daemon], ranker: Server) -> None:
    api = serve(openai_url=ranker.url, first_chunk_timeout=0.2).http
    answer = api.post(RERANK, json=ASKED | {"query": "silent"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "target_silent")
    assert api.post(RERANK, json=ASKED).status_code == 200  # its call slot is free again


def test_an_ollama_does_not_rank(serve: Callable[..., Daemon]) -> None:
    with an_upstream("--kind", "ollama") as upstream:
        api = serve(ollama_url=upstream.url).http
        answer = api.post(RERANK, json=ASKED | {"model": "a"})
    assert answer.status_code == 501
    assert answer.json()["error"]["code"] == "not_served" and RERANK in answer.json()["error"]["message"]


def test_it_is_no_endpoint_of_jobs(serve: Callable[..., Daemon], ranker: Server) -> None:
    answer = serve(openai_url=ranker.url).http.post("/jobs", json=ASKED | {"endpoint": RERANK})
    assert (answer.status_code, answer.json()["code"]) == (422, "field_invalid")
