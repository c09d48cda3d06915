"""Nodes that read each other's outputs over HTTP; with the autojump clock, nothing here waits for real."""

from __future__ import annotations

import gc
import json
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock

from foreman.actors import remote_output
from foreman.actors.output import OutputItem
from foreman.domain.answers.chunk import Chunk
from foreman.domain.errors import AnswerTooLarge, ForemanError, TargetLost, TargetRefused
from foreman.domain.job import JobEvent, State
from foreman.domain.node_auth import NodeAuth
from foreman.queue.commands import Cancel, Commit, Delete
from foreman.targets.protocol import Call
from tests.support.actors import FakeTarget, Script, chunk, failing, now, saying, silent
from tests.support.nodes import LEASE, SECRET, Node, Nodes


async def two(nodes: Nodes, *scripts: Script, **fields: Any) -> tuple[Node, Node]:
    """A node whose target takes no jobs, and one that runs all, which have heard of each other."""
    a = await nodes.start("a", held=True, **fields)
    b = await nodes.start("b", FakeTarget(list(scripts) or [saying("one", "two", seconds=3)]))
    await trio.sleep(4)
    return a, b


def texts(stream: bytes) -> list[Any]:
    """What is said in a stream: texts, numbers of attempts that begin, and states of an end."""
    found: list[Any] = []
    for line in map(json.loads, stream.splitlines()):
        status = line.get("foreman", {})
        found += [line["message"]["content"]] if "message" in line else [status.get("attempt") or status.get("state")]
    return found


async def test_a_job_that_runs_elsewhere_is_followed_as_one_here(nodes: Nodes, autojump_clock: MockClock) -> None:
    a, b = await two(nodes)
    job_id = await a.submit()
    came: list[float] = []
    began = trio.current_time()
    async with a.stream(job_id) as response:
        while await response.receive():
            came.append(round(trio.current_time() - began, 1))
    assert came == pytest.approx([3, 6, 6], abs=0.3)
    assert b.target.answered
    assert not a.target.answered


async def test_one_request_however_many_readers(nodes: Nodes, autojump_clock: MockClock) -> None:
    a, b = await two(nodes)
    job_id = await a.submit()
    found: list[bytes] = []

    async def read(after: float) -> None:
        await trio.sleep(after)
        found.append(await a.read_stream(job_id))

    async with trio.open_nursery() as readers:
        for after in (0, 1, 4, 5):
            readers.start_soon(read, after)
    assert [texts(one) for one in found] == [["one", "two", ""]] * 4
    assert b.served == [f"GET /nodes/between/outputs/{job_id}"]


async def test_a_job_without_readers_is_not_asked_for(nodes: Nodes, autojump_clock: MockClock) -> None:
    a, b = await two(nodes)
    job_id = await a.submit()
    await a.until_state(State.DONE)
    assert b.served == []
    assert texts(await a.read_stream(job_id)) == ["onetwo"]


async def test_a_call_is_answered_by_another_node(nodes: Nodes, autojump_clock: MockClock) -> None:
    a, b = await two(nodes)
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    _, streamed = await a.client.fetch("POST", "/api/chat", msgspec.json.encode(body), limit=10**6)
    assert texts(streamed) == ["one", "two", ""]
    _, whole = await a.client.fetch("POST", "/api/chat", msgspec.json.encode(body | {"stream": False}), limit=10**6)
    assert texts(whole) == ["onetwo"]
    assert len(b.served) == 1  # nothing is shown of an answer that is waited for


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions"])
@pytest.mark.parametrize("error", [TargetRefused(404, "no such thing"), AnswerTooLarge(5)])
async def test_an_error_is_the_same_as_at_the_node_that_ran_the_job(
    nodes: Nodes, path: str, error: ForemanError, autojump_clock: MockClock
) -> None:
    a, b = await two(nodes, failing(error))
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": False}
    there, here = [await node.client.fetch("POST", path, msgspec.json.encode(body), limit=10**6) for node in (b, a)]
    assert here[0].status == there[0].status
    assert here[1] == there[1]
    assert here[0].headers.get("x-should-retry") == there[0].headers.get("x-should-retry")


async def test_a_stream_that_has_begun_ends_with_the_error(nodes: Nodes, autojump_clock: MockClock) -> None:
    a, _ = await two(nodes, failing(TargetRefused(404, "no such thing"), "one"))
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    response, said = await a.client.fetch("POST", "/api/chat", msgspec.json.encode(body), limit=10**6)
    assert (response.status, json.loads(said.splitlines()[-1])) == (200, {"error": "no such thing"})


async def test_an_error_that_its_node_cannot_say_any_more(nodes: Nodes, autojump_clock: MockClock) -> None:
    a, b = await two(nodes, failing(TargetRefused(404, "no such thing")))
    nodes.cut(b, silent=True)
    await trio.sleep(4)
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": False}
    began = trio.current_time()
    response, said = await a.client.fetch("POST", "/api/chat", msgspec.json.encode(body), limit=10**6)
    assert (response.status, json.loads(said)["error"]) == (409, "no such thing")
    assert trio.current_time() - began < remote_output.REST + 1


async def test_a_model_that_only_another_node_has(nodes: Nodes, autojump_clock: MockClock) -> None:
    a = await nodes.start("a", FakeTarget(inventory=["own"]))
    b = await nodes.start("b", FakeTarget([saying("one", "two", seconds=3)], inventory=["b"]))
    await trio.sleep(4)
    body = {"model": "b", "messages": [{"role": "user", "content": "hi"}]}
    _, streamed = await a.client.fetch("POST", "/api/chat", msgspec.json.encode(body), limit=10**6)
    assert texts(streamed) == ["one", "two", ""]
    shown = await a.get("/api/tags"), await a.get("/v1/models"), await a.get("/api/ps")
    assert [model["name"] for model in shown[0]["models"]] == ["own", "b"]
    assert [model["id"] for model in shown[1]["data"]] == ["own", "b"]
    await trio.sleep(4)
    assert [model["name"] for model in (await a.get("/api/ps"))["models"]] == ["b"]
    b.stop.cancel()
    await trio.sleep(2 * LEASE)
    assert [model["name"] for model in (await a.get("/api/tags"))["models"]] == ["own", "b"]  # it may come back
    assert (await a.get("/api/ps"))["models"] == []
    response, said = await a.client.fetch("POST", "/jobs", msgspec.json.encode(body), limit=10**6)
    assert (response.status, json.loads(said)["state"]) == (202, "queued")
    response, said = await a.client.fetch("POST", "/api/embed", b'{"model":"b","input":"x"}', limit=10**6)
    assert response.status == 503
    assert "none takes calls now" in json.loads(said)["error"]


async def test_the_stored_answer_stands_for_chunks_that_nobody_gets(nodes: Nodes, autojump_clock: MockClock) -> None:
    a, _ = await two(nodes, saying("at once"))
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    _, streamed = await a.client.fetch("POST", "/api/chat", msgspec.json.encode(body), limit=10**6)
    assert texts(streamed) in (["at once"], ["at once", ""])


async def test_nodes_without_an_address_have_their_answers_read_from_the_store(
    nodes: Nodes, autojump_clock: MockClock
) -> None:
    a = await nodes.start("a", held=True)
    b = await nodes.start("b", FakeTarget([saying("one", "two", seconds=3)]), reachable=False)
    await trio.sleep(4)
    job_id = await a.submit()
    assert texts(await a.read_stream(job_id)) == ["onetwo"]
    assert b.served == []


async def test_an_attempt_that_starts_over_elsewhere(nodes: Nodes, autojump_clock: MockClock) -> None:
    a, b = await two(nodes, failing(TargetLost("it", "away"), "one"), saying("two", "three", seconds=3))
    job_id = await a.submit()
    found = texts(await a.read_stream(job_id))
    assert found in ([2, "two", "three", ""], ["one", 2, "two", "three", ""], ["two", "three", ""])
    assert b.target.answered


async def test_a_claim_elsewhere_that_is_heard_of_with_its_end(nodes: Nodes, autojump_clock: MockClock) -> None:
    """What an attempt before it has said is not the answer."""
    a = await nodes.start("a", held=True)
    output = a.hub.output("001")
    output.begin(1)
    output.append(b"one")
    reader = output.follow()
    assert (await reader.next()).chunk == b"one"
    states = [State.QUEUED, State.LOADING, State.WORKING, State.DONE]
    happened = [
        JobEvent(seq=seq, job_id="001", state=state, previous=before, at=now(), model="m", attempt=2, target="t@b")
        for seq, (before, state) in enumerate(pairwise(states), 1)
    ]
    for listener in (a.hub.on_commit, a.outputs.on_commit):
        listener(Commit([], others=happened))
    assert (await reader.next()).attempt == 2
    assert await reader.next() == OutputItem(ended=happened[-1])


async def test_a_job_that_moves_while_it_is_read(nodes: Nodes, autojump_clock: MockClock) -> None:
    a, b = await two(nodes, silent("one"))
    c = await nodes.start("c", FakeTarget([saying("two", "three", seconds=3)]), held=True)
    job_id = await a.submit()
    found: list[bytes] = []

    async def read() -> None:
        found.append(await a.read_stream(job_id))

    async with trio.open_nursery() as readers:
        readers.start_soon(read)
        await trio.sleep(5)
        c.worker.claim_again()
        await b.membership.drain()
        await b.worker.drain(grace=1)
    assert texts(found[0]) == ["one", 1, "two", "three", ""]
    assert len(c.served) == 1


async def test_a_node_that_dies_while_its_job_is_read(nodes: Nodes, autojump_clock: MockClock) -> None:
    a, b = await two(nodes, silent("one"))
    c = await nodes.start("c", FakeTarget([saying("two", "three", seconds=3)]), held=True)
    job_id = await a.submit()
    found: list[bytes] = []

    async def read() -> None:
        found.append(await a.read_stream(job_id))

    async with trio.open_nursery() as readers:
        readers.start_soon(read)
        await trio.sleep(LEASE + 5)  # so that the others may judge
        c.worker.claim_again()
        b.stop.cancel()
    assert texts(found[0]) == ["one", 2, "two", "three", ""]


async def test_a_lost_connection_is_made_again_without_a_gap(nodes: Nodes, autojump_clock: MockClock) -> None:
    words = [f"{number}," for number in range(20)]
    a, b = await two(nodes, saying(*words, seconds=1))
    job_id = await a.submit()

    async def cut() -> None:
        for _ in range(3):
            await trio.sleep(4.5)
            a.others.close()

    async with trio.open_nursery() as cutting:
        cutting.start_soon(cut)
        found = texts(await a.read_stream(job_id))
    assert found == [*words, ""]
    assert len(b.served) == 4


async def test_a_node_that_cannot_be_reached_any_more(
    nodes: Nodes, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = await two(nodes, saying("one", "two", "three", seconds=3))
    job_id = await a.submit()
    found: list[bytes] = []

    async def read() -> None:
        found.append(await a.read_stream(job_id))

    async with trio.open_nursery() as readers:
        readers.start_soon(read)
        await trio.sleep(4)
        nodes.cut(b)
        await trio.sleep(0.2)
        b.unplug()
        await b.until_state(State.DONE)
        ended = trio.current_time()
    assert trio.current_time() - ended < remote_output.REST + 1
    assert texts(found[0]) == ["one", 1, "onetwothree"]


async def test_a_node_that_stands_still_holds_no_reader(nodes: Nodes, autojump_clock: MockClock) -> None:
    a, b = await two(nodes, saying("one", "two", seconds=3))
    nodes.cut(b, silent=True)
    await trio.sleep(4)
    job_id = await a.submit()
    began = trio.current_time()
    assert texts(await a.read_stream(job_id)) == ["onetwo"]
    assert trio.current_time() - began < 6 + remote_output.REST + 1


async def test_a_node_that_has_just_started_knows_what_runs(nodes: Nodes, autojump_clock: MockClock) -> None:
    b = await nodes.start("b", FakeTarget([saying("one", "two", seconds=8)]))
    job_id = await b.submit()
    await b.until_state(State.WORKING)
    a = await nodes.start("a", held=True)
    assert texts(await a.read_stream(job_id)) == ["one", "two", ""]


async def test_a_cancelled_job_ends_its_readers(nodes: Nodes, autojump_clock: MockClock) -> None:
    a, _ = await two(nodes, silent("one"))
    job_id = await a.submit()
    async with a.stream(job_id) as response:
        assert texts(await response.receive()) == ["one"]
        await a.queue.ask(Cancel(job_id=job_id))
        assert texts(await response.read(10**6)) == ["cancelled"]


@pytest.mark.parametrize("held", [True, False])
async def test_a_job_that_is_deleted_at_once_ends_its_readers(
    nodes: Nodes, held: bool, autojump_clock: MockClock
) -> None:
    """The node of the reader hears of the job's end no more: its events are deleted with it."""
    a = await nodes.start("a", held=True)
    b = await nodes.start("b", FakeTarget(scripts=[silent("one")]), held=held)
    job_id = await a.submit()
    if not held:
        await a.until_state(State.WORKING)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_deleted_soon, b, job_id)
        said = await a.read_stream(job_id)
    assert json.loads(said.splitlines()[-1])["foreman"] == {"state": "cancelled"}
    assert a.target.together == b.target.together == 0


async def _deleted_soon(node: Node, job_id: str) -> None:
    await trio.sleep(1)
    await node.queue.tell(Cancel(job_id=job_id))
    await node.queue.ask(Delete(job_id=job_id))


async def test_an_answer_that_breaks_off_is_not_taken_for_whole(nodes: Nodes, autojump_clock: MockClock) -> None:
    """The connection is lost as the job ends: the store says that it is done before this node has heard of it."""
    a, b = await two(nodes, saying("one", "two", seconds=3))
    job_id = await a.submit()
    a.store.looks_every = 30.0
    async with a.stream(job_id) as response:
        assert texts(await response.receive()) == ["one"]
        await trio.sleep(2)
        b.unplug()
        await b.until_state(State.DONE)
        said = await response.read(10**6)
    assert texts(said)[-1] == "onetwo"


async def test_a_reader_that_leaves_ends_the_request(nodes: Nodes, autojump_clock: MockClock) -> None:
    a, b = await two(nodes, silent("one"))
    job_id = await a.submit()
    async with a.stream(job_id) as response:
        assert await response.receive()
    assert len(b.hub.followed()) == 1
    await trio.sleep(6)
    gc.collect()
    assert b.hub.followed() == []
    assert a.hub.find(job_id) is None


async def test_what_another_node_has_shown_does_not_give_way(nodes: Nodes, autojump_clock: MockClock) -> None:
    a, b = await two(nodes, silent("one"))
    job_id = await a.submit()
    await trio.sleep(1)
    output = b.hub.output(job_id)
    assert not output.shown
    async with a.stream(job_id) as response:
        assert await response.receive()
        assert output.shown


async def test_a_large_answer_beyond_the_memory_comes_from_the_store(nodes: Nodes, autojump_clock: MockClock) -> None:
    async def large(call: Call) -> AsyncIterator[Chunk]:
        for _ in range(8):
            await trio.sleep(1)
            yield chunk("x" * 300_000)
        yield chunk(last=True)

    a, b = await two(nodes, large, memory=2_000_000)
    job_id = await a.submit()
    found: list[bytes] = []

    async def read() -> None:
        found.append(await a.read_stream(job_id))

    with trio.fail_after(100):
        await read()
    assert len("".join(text for text in texts(found[0])[-1:])) == 2_400_000
    assert b.target.left_early == 0


async def test_chunks_of_all_sizes_come_as_they_are(nodes: Nodes, autojump_clock: MockClock) -> None:
    words = ["x" * size for size in (0, 1, 65_000, 66_000, 1_000_000, 10)]
    a, _ = await two(nodes, saying(*words, seconds=1))
    job_id = await a.submit()
    assert texts(await a.read_stream(job_id)) == [*words, ""]


async def test_a_slow_reader_delays_nobody(nodes: Nodes, autojump_clock: MockClock) -> None:
    words = ["x" * 500_000] * 20
    a, b = await two(nodes, saying(*words, seconds=0.1))
    job_id = await a.submit()
    async with a.stream(job_id) as slow:
        assert await slow.receive()
        assert texts(await a.read_stream(job_id)) == [*words, ""]
        await b.until_state(State.DONE)
        rest = await slow.read(10**8)
    assert len(rest) > 9_000_000


@pytest.mark.parametrize("query", ["?fence=2", "?fence=0", ""])
async def test_only_the_claim_that_runs_is_shown(nodes: Nodes, autojump_clock: MockClock, query: str) -> None:
    a, b = await two(nodes, silent("one"))
    job_id = await a.submit()
    await a.until_state(State.WORKING)
    assert await ask(a, b, f"/nodes/between/outputs/{job_id}{query}") == 404
    assert await ask(b, a, f"/nodes/between/outputs/{job_id}?fence=1") == 404
    assert await ask(a, b, "/nodes/between/outputs/none?fence=1") == 404


async def ask(asking: Node, asked: Node, path: str) -> int:
    async with asking.others.request(asked.name, "GET", path) as response:
        return response.status


def header(
    secret: bytes = SECRET,
    method: str = "GET",
    path: str = "/nodes/between/outputs/001?fence=1",
    later: float = 0,
) -> str:
    return NodeAuth(secret).header("a", method, path, now() + later)


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({}, 200),
        ({"later": -59}, 200),
        ({"later": 59}, 200),
        ({"later": -62}, 401),
        ({"later": 62}, 401),
        ({"secret": b"another"}, 401),
        ({"method": "POST"}, 401),
        ({"path": "/nodes/between/outputs/001?fence=2"}, 401),
        ({"path": "/nodes/between/outputs/001"}, 401),
    ],
)
async def test_only_what_the_fleet_has_signed_lately_is_shown(
    nodes: Nodes, autojump_clock: MockClock, given: dict[str, Any], status: int
) -> None:
    _, b = await two(nodes, silent("one"))
    await b.submit()
    await b.until_state(State.WORKING)
    headers = [("Authorization", header(**given))]
    async with b.client.request("GET", "/nodes/between/outputs/001?fence=1", headers=headers) as response:
        assert response.status == status


@pytest.mark.parametrize(
    "sent",
    [
        "",
        "Bearer secret",
        "Foreman-Fleet",
        "Foreman-Fleet a",
        "Foreman-Fleet a:b:c",
        "Foreman-Fleet a:9999999999999999999999:",
        "Foreman-Fleet ::",
    ],
)
async def test_a_token_opens_no_route_of_nodes_nor_a_signature_one_of_callers(
    nodes: Nodes, autojump_clock: MockClock, sent: str
) -> None:
    b = await nodes.start("b", FakeTarget([silent("one")]), token=["secret"])
    await b.submit()
    await b.until_state(State.WORKING)
    headers = [("Authorization", sent)] if sent else []
    async with b.client.request("GET", "/nodes/between/outputs/001?fence=1", headers=headers) as response:
        assert response.status == 401
    signed = [("Authorization", header(path="/jobs/001"))]
    async with b.client.request("GET", "/jobs/001", headers=signed) as response:
        assert response.status == 401


async def test_a_foreman_without_others_has_no_routes_of_nodes(nodes: Nodes, autojump_clock: MockClock) -> None:
    b = await nodes.start("b")
    b.auth._nodes = None
    headers = [("Authorization", header())]
    async with b.client.request("GET", "/nodes/between/outputs/001?fence=1", headers=headers) as response:
        assert response.status == 401
