"""How many tokens a request has: by the server's own route, by its tokenizer, or not at all; never by a guess."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from foreman.domain.errors import NotServed, TargetError, TargetGarbled, TargetRefused
from foreman.targets.counting import counted
from foreman.targets.http.pool import Client

MESSAGES: str = "/v1/messages/count_tokens"
RESPONSES: str = "/v1/responses/input_tokens"


class Server(ThreadingHTTPServer):
    """Answers the routes it has, and notes what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.routes: dict[str, tuple[int, Any]] = {}
        self.asked: list[tuple[str, Any]] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, body))
        status, value = self.server.routes.get(self.path, (404, {"error": "not found"}))
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


async def count(server: Server, path: str, *, by_tokenizer: bool = True, **asked: Any) -> Any:
    client = Client(f"http://127.0.0.1:{server.server_address[1]}", name="it")
    payload = json.dumps({"model": "m", **asked}).encode()
    try:
        return json.loads(await counted(client, path, payload, by_tokenizer=by_tokenizer))
    finally:
        client.close()


TURNS = [{"role": "user", "content": [{"type": "text", "text": "One "}, {"type": "text", "text": "two"}]}]
TOOL = {"name": "now", "description": "The time.", "input_schema": {"type": "object"}}


async def test_the_servers_own_route_has_its_say(server: Server) -> None:
    server.routes = {MESSAGES: (200, {"input_tokens": 7, "more": "said"}), RESPONSES: (200, {"input_tokens": 9})}
    assert await count(server, MESSAGES, messages=TURNS) == {"input_tokens": 7, "more": "said"}
    assert await count(server, RESPONSES, input="hi", unknown=1.0) == {"input_tokens": 9}
    assert server.asked[-1] == (RESPONSES, {"model": "m", "input": "hi", "unknown": 1.0})


async def test_llama_cpp_without_the_route_counts_by_template_and_tokenizer(server: Server) -> None:
    server.routes = {"/apply-template": (200, {"prompt": "<s>filled"}), "/tokenize": (200, {"tokens": [1, 2, 3]})}
    assert await count(server, MESSAGES, system="Be brief.", messages=TURNS, tools=[TOOL]) == {"input_tokens": 3}
    function = {"name": "now", "description": "The time.", "parameters": {"type": "object"}}
    asked = {
        "model": "m",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "One two"}],
    }
    tools = {"tools": [{"type": "function", "function": function}]}
    whole = {"model": "m", "content": "<s>filled", "add_special": True, "parse_special": True}
    assert server.asked[1:] == [("/apply-template", asked | tools), ("/tokenize", whole)]
    parts = [{"role": "developer", "content": [{"type": "input_text", "text": "Hi"}]}]
    found = await count(server, RESPONSES, instructions="Be kind.", input=parts)
    assert found == {"object": "response.input_tokens", "input_tokens": 3}
    told = [{"role": "system", "content": "Be kind."}, {"role": "system", "content": "Hi"}]
    assert server.asked[-2] == ("/apply-template", {"model": "m", "messages": told})


async def test_vllm_without_the_route_counts_by_its_tokenizer(server: Server) -> None:
    server.routes = {"/tokenize": (200, {"count": 12, "tokens": [1] * 12}), MESSAGES: (405, {})}
    assert await count(server, MESSAGES, messages=TURNS) == {"input_tokens": 12}
    assert server.asked[-1][1]["messages"] == [{"role": "user", "content": "One two"}]


@pytest.mark.parametrize(
    "routes",
    [
        {},
        {MESSAGES: (501, {})},
        {MESSAGES: (200, {"error": "Unexpected endpoint or method."}), "/tokenize": (200, {"error": "Unexpected"})},
        {"/apply-template": (200, {"prompt": "x"})},
        {"/tokenize": (200, {"tokens": [1]})},
    ],
)
async def test_without_means_it_is_said(server: Server, routes: dict[str, Any]) -> None:
    server.routes = routes
    with pytest.raises(NotServed, match="it does not serve /v1/messages/count_tokens"):
        await count(server, MESSAGES, messages=TURNS)


@pytest.mark.parametrize(
    "asked",
    [
        {"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]},
        {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1"}]}]},
        {"messages": TURNS, "tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        {"input": [{"type": "function_call_output", "call_id": "1", "output": "x"}]},
        {"messages": "hello"},
    ],
)
async def test_what_a_tokenizer_cannot_be_told_of_is_not_counted_wrong(server: Server, asked: dict[str, Any]) -> None:
    server.routes = {"/apply-template": (200, {"prompt": "x"}), "/tokenize": (200, {"tokens": [1]})}
    with pytest.raises(NotServed):
        await count(server, MESSAGES, **asked)


async def test_an_ollama_is_asked_for_its_own_route_only(server: Server) -> None:
    server.routes = {"/apply-template": (200, {"prompt": "x"}), "/tokenize": (200, {"tokens": [1]})}
    with pytest.raises(NotServed):
        await count(server, MESSAGES, by_tokenizer=False, messages=TURNS)
    assert [path for path, _ in server.asked] == [MESSAGES]


@pytest.mark.parametrize(
    ("status", "said", "error"),
    [(400, {"error": "no"}, TargetRefused), (500, {"error": "boom"}, TargetError), (200, b"<html>", TargetGarbled)],
)
async def test_a_fault_stays_one(server: Server, status: int, said: Any, error: type[Exception]) -> None:
    server.routes = {MESSAGES: (status, said)}
    with pytest.raises(error):
        await count(server, MESSAGES, messages=TURNS)
