"""Calls past the queue for models of other nodes; with the autojump clock, nothing here waits for real."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock

from foreman.domain.answers.chunk import Chunk
from foreman.domain.errors import TargetFailed, TargetRefused
from foreman.domain.job import State
from foreman.targets.protocol import Call
from tests.support.actors import FakeTarget, Script, failing, silent
from tests.support.nodes import LEASE, Node, Nodes

EMBEDDED = b'{"model":"b","embeddings":[[0.5]]}'


class Counting(FakeTarget):
    """A target that counts tokens."""

    async def count(self, path: str, call: Call) -> bytes:
        return b'{"input_tokens":7}'


class Displacing(FakeTarget):
    """A target on which each call would unload what is loaded."""

    def displaces(self, call: Call) -> bool:
        return True


def answering(data: bytes = EMBEDDED, seconds: float = 0) -> Script:
    async def script(call: Call) -> AsyncIterator[Chunk]:
        await trio.sleep(seconds)
        yield Chunk(data, last=True, value=msgspec.json.decode(data))

    return script


async def two(nodes: Nodes, target: FakeTarget) -> tuple[Node, Node]:
    """Two nodes; the second one alone has the model b."""
    target.inventory = ["b"]
    a, b = await nodes.start("a", FakeTarget(inventory=["own"])), await nodes.start("b", target)
    await trio.sleep(4)
    return a, b


async def post(node: Node, path: str, **fields: Any) -> tuple[int, Any, dict[str, str]]:
    response, body = await node.client.fetch("POST", path, msgspec.json.encode(fields), limit=10**7)
    return response.status, json.loads(body), response.headers


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/api/embed", {"model": "b", "embeddings": [[0.5]]}),
        ("/api/embeddings", {"embedding": [0.5]}),
    ],
)
async def test_embeddings_by_a_model_elsewhere(nodes: Nodes, path: str, answer: Any, autojump_clock: MockClock) -> None:
    a, b = await two(nodes, FakeTarget([answering()]))
    assert (await post(a, path, model="b", input="x", prompt="x"))[:2] == (200, answer)
    assert b.served == [f"POST /nodes/between/calls{path}"]
    assert not a.target.answered


async def test_tokens_counted_elsewhere(nodes: Nodes, autojump_clock: MockClock) -> None:
    a, b = await two(nodes, Counting())
    messages = [{"role": "user", "content": "hi"}]
    assert (await post(a, "/v1/messages/count_tokens", model="b", messages=messages))[:2] == (200, {"input_tokens": 7})
    assert b.served == ["POST /nodes/between/calls/v1/messages/count_tokens"]


async def test_a_large_answer_comes_whole(nodes: Nodes, autojump_clock: MockClock) -> None:
    large = msgspec.json.encode({"model": "b", "embeddings": [[0.5] * 500_000]})
    a, _ = await two(nodes, FakeTarget([answering(large)]))
    status, answer, _ = await post(a, "/api/embed", model="b", input="x")
    assert (status, len(answer["embeddings"][0])) == (200, 500_000)


@pytest.mark.parametrize("path", ["/api/embed", "/v1/embeddings"])
@pytest.mark.parametrize("error", [TargetRefused(413, "too long"), TargetFailed("it", "broken")])
async def test_an_error_is_the_same_as_at_the_other_node(
    nodes: Nodes, path: str, error: Any, autojump_clock: MockClock
) -> None:
    a, b = await two(nodes, FakeTarget([failing(error)]))
    there, here = [await post(node, path, model="b", input="x") for node in (b, a)]
    assert here[0] == there[0] >= 400
    assert here[1] == there[1]
    assert here[2].get("x-should-retry") == there[2].get("x-should-retry")


async def test_what_would_displace_a_model_there_is_a_job(nodes: Nodes, autojump_clock: MockClock) -> None:
    a, b = await two(nodes, Displacing([answering()]))
    assert (await post(a, "/api/embed", model="b", input="x"))[:2] == (200, json.loads(EMBEDDED))
    assert b.target.answered
    assert any(event.state is State.DONE for event in a.heard)


async def test_a_model_of_this_node_is_asked_here(nodes: Nodes, autojump_clock: MockClock) -> None:
    a, b = await two(nodes, FakeTarget([answering()]))
    a.target.scripts = [answering(b'{"model":"own","embeddings":[[1]]}')]
    assert (await post(a, "/api/embed", model="own", input="x"))[1]["embeddings"] == [[1]]
    assert b.served == []


async def test_the_next_node_is_asked_if_one_cannot_be_reached(nodes: Nodes, autojump_clock: MockClock) -> None:
    a, b = await two(nodes, FakeTarget([answering()]))
    c = await nodes.start("c", FakeTarget([answering()], inventory=["b"]))
    await trio.sleep(4)
    b.unplug()
    for _ in range(2):
        assert (await post(a, "/api/embed", model="b", input="x"))[0] == 200
    c.unplug()
    status, said, _ = await post(a, "/api/embed", model="b", input="x")
    assert (status, said["error"][:19]) == (503, "cannot reach the no")


async def test_a_node_that_takes_no_calls(nodes: Nodes, autojump_clock: MockClock) -> None:
    a, b = await two(nodes, FakeTarget([answering()]))
    b.worker.start_drained()
    await trio.sleep(4)
    status, said, _ = await post(a, "/api/embed", model="b", input="x")
    assert status == 503
    assert "none takes calls now" in said["error"]


async def test_a_caller_does_not_wait_for_a_node_that_dies(nodes: Nodes, autojump_clock: MockClock) -> None:
    a, b = await two(nodes, FakeTarget([silent()]))
    nodes.cut(b, silent=True)
    await trio.sleep(4)
    began = trio.current_time()
    found: list[Any] = []

    async def call() -> None:
        found.append(await post(a, "/api/embed", model="b", input="x"))

    async with trio.open_nursery() as calling:
        calling.start_soon(call)
        await trio.sleep(LEASE + 5)  # so that the others may judge
        b.stop.cancel()
    assert trio.current_time() - began < 2 * LEASE + 15
    assert (found[0][0], found[0][1]["error"]) == (502, "the node b broke off: it has left the fleet")


async def test_a_caller_does_not_wait_for_ever(nodes: Nodes, autojump_clock: MockClock) -> None:
    a, b = await two(nodes, FakeTarget([answering()]))
    nodes.cut(b, silent=True)
    await trio.sleep(4)
    began = trio.current_time()
    assert (await post(a, "/api/embed", model="b", input="x"))[0] == 504
    assert trio.current_time() - began == pytest.approx(300, abs=1)


async def test_a_call_is_passed_on_once(nodes: Nodes, autojump_clock: MockClock) -> None:
    a, b = await two(nodes, FakeTarget([answering()]))
    b.target.inventory = ["other"]
    await b.fleet.probe()  # what b has told is not true any more
    status, said, _ = await post(a, "/api/embed", model="b", input="x")
    assert (status, said["error"]) == (404, "model 'b' not found")
    assert a.served == ["POST /api/embed"]
    assert len(b.served) == 1


@pytest.mark.parametrize("path", ["/api/chat", "/jobs", "/api/tags", "/v1/chat/completions", ""])
async def test_only_calls_past_the_queue_are_passed_on(nodes: Nodes, path: str, autojump_clock: MockClock) -> None:
    a, b = await two(nodes, FakeTarget())
    async with a.others.request("b", "POST", f"/nodes/between/calls{path}", b'{"model":"b"}') as response:
        assert response.status == 404
    assert not b.target.answered


async def test_a_token_is_no_signature(nodes: Nodes, autojump_clock: MockClock) -> None:
    _, b = await two(nodes, FakeTarget([answering()]))
    assert (await post(b, "/nodes/between/calls/api/embed", model="b", input="x"))[0] == 401
