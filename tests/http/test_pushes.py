"""Nodes that push news to each other: what waits at one is not late, and nothing depends on a push."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock

from foreman.actors import pushes
from foreman.actors.pushes import MOST, PATH, Pushes
from foreman.domain.job import State
from foreman.domain.node_auth import NodeAuth
from foreman.queue.commands import Cancel
from tests.support.actors import FakeTarget, Script, now, saying, silent
from tests.support.nodes import SECRET, Node, Nodes

SELDOM = 1000.0  # seconds between looks at the store, so that only pushes are in time


async def two(nodes: Nodes, *scripts: Script, looks_every: float = SELDOM) -> tuple[Node, Node]:
    """A node whose target takes no jobs, and one that runs all, which have heard of each other."""
    a = await nodes.start("a", held=True)
    b = await nodes.start("b", FakeTarget(list(scripts) or [saying("one", "two")]))
    a.store.looks_every = b.store.looks_every = looks_every
    await trio.sleep(4)
    return a, b


def chat(**fields: Any) -> bytes:
    return msgspec.json.encode({"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields})


def header(path: str = PATH, secret: bytes = SECRET) -> list[tuple[str, str]]:
    return [("Authorization", NodeAuth(secret).header("a", "POST", path, now()))]


async def push(node: Node, body: bytes, headers: list[tuple[str, str]]) -> int:
    async with node.client.request("POST", PATH, body, headers=headers) as response:
        return response.status


@pytest.mark.parametrize("stream", [True, False])
async def test_a_call_that_another_node_answers_waits_for_no_look(
    nodes: Nodes, autojump_clock: MockClock, stream: bool
) -> None:
    a, _ = await two(nodes, saying("one", "two", seconds=0.5))
    began = trio.current_time()
    _, answer = await a.client.fetch("POST", "/api/chat", chat(stream=stream), limit=10**6)
    assert trio.current_time() - began == pytest.approx(1, abs=0.05)
    said = [json.loads(line)["message"]["content"] for line in answer.splitlines()]
    assert said == (["one", "two", ""] if stream else ["onetwo"])


async def test_a_reader_of_a_job_that_waits_hears_of_its_claim(nodes: Nodes, autojump_clock: MockClock) -> None:
    a, b = await two(nodes, saying("first", seconds=1.5), saying("second"))
    await b.submit(1)
    job_id = await a.submit(2)
    began = trio.current_time()
    assert b"second" in await a.read_stream(job_id)
    assert trio.current_time() - began == pytest.approx(1.5, abs=0.05)


async def test_a_reader_of_a_job_that_runs_hears_of_its_end(nodes: Nodes, autojump_clock: MockClock) -> None:
    a, b = await two(nodes, silent("one"))
    job_id = await b.submit()
    await trio.sleep(3)  # a has heard of it
    async with trio.open_nursery() as nursery:
        with trio.fail_after(1):
            async with a.stream(job_id) as response:
                await response.receive()
                nursery.start_soon(b.queue.ask, Cancel(job_id=job_id))
                while await response.receive():
                    pass


async def test_somebody_who_waits_for_a_job_hears_of_its_end(nodes: Nodes, autojump_clock: MockClock) -> None:
    a, b = await two(nodes, saying("one", seconds=4.5))
    job_id = await b.submit()
    await trio.sleep(3)
    began = trio.current_time()
    async with a.client.request("GET", f"/jobs/{job_id}", headers=[("Prefer", "wait=9")]) as response:
        assert json.loads(await response.read(10**6))["state"] == "done"
    assert trio.current_time() - began == pytest.approx(1.5, abs=0.05)


async def test_only_nodes_with_a_free_slot_are_told_of_jobs_that_nobody_waits_for(
    nodes: Nodes, autojump_clock: MockClock
) -> None:
    a, b = await two(nodes, silent())
    before = b.pushed
    await a.submit(1)
    await b.until_state(State.LOADING)
    await trio.sleep(4)  # a has heard that the slot is taken
    for number in range(2, 9):
        await a.submit(number)
    await trio.sleep(1)
    assert b.pushed == before + 1


async def test_what_no_push_has_told_is_found_by_a_look(
    nodes: Nodes, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pushes, "on_commit", lambda self, commit: None)
    a, _ = await two(nodes, saying("one"), looks_every=0.1)
    began = trio.current_time()
    _, answer = await a.client.fetch("POST", "/api/chat", chat(), limit=10**6)
    assert b"one" in answer
    assert trio.current_time() - began < 0.5


async def test_a_node_that_hangs_takes_one_push_in_a_while(nodes: Nodes, autojump_clock: MockClock) -> None:
    a, b = await two(nodes, *[saying("one")] * 9, looks_every=0.1)
    nodes.cut(b, silent=True)
    await trio.sleep(4)
    nowhere = nodes._nowhere[-1]
    nowhere.setblocking(False)
    for number in range(1, 9):  # b runs them all, as it looks for itself
        await a.submit(number)
        await a.until(lambda number=number: sum(event.state is State.DONE for event in a.heard) == number)  # type: ignore[misc]
    nowhere.accept()[0].close()
    with pytest.raises(BlockingIOError):
        nowhere.accept()
    await trio.sleep(pushes.DEADLINE + pushes.REST)
    await a.submit(9)
    await trio.sleep(1)
    nowhere.accept()[0].close()


async def test_a_node_that_does_not_know_pushes_works_without(
    nodes: Nodes, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pushes, "PATH", "/nodes/between/later")
    a, _ = await two(nodes, saying("one", "two"), looks_every=0.1)
    _, answer = await a.client.fetch("POST", "/api/chat", chat(), limit=10**6)
    assert b"one" in answer


async def test_only_a_node_may_push(nodes: Nodes, autojump_clock: MockClock) -> None:
    _, b = await two(nodes)
    assert await push(b, b'{"watched":[]}', header()) == 204
    assert await push(b, b'{"watched":[]}', header(secret=b"another")) == 401
    assert await push(b, b'{"watched":[]}', []) == 401


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"watched":[1]}',
        b'{"watched":["%s"]}' % (b"0" * 27),
        b'{"watched":[%s]}' % b",".join([b'"1"'] * (MOST + 1)),
    ],
)
async def test_a_push_that_says_something_else_is_refused(nodes: Nodes, autojump_clock: MockClock, body: bytes) -> None:
    _, b = await two(nodes)
    assert await push(b, body, header()) == 400


async def test_no_more_jobs_are_watched_than_there_is_room_for(
    nodes: Nodes, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pushes, "MOST_WATCHED", 2)
    a, b = await two(nodes, silent())
    before = a.pushed
    assert await push(b, b'{"watched":["001","002","003"]}', header()) == 204
    for number in range(1, 4):
        await b.submit(number)
        await trio.sleep(0.1)
        await b.queue.ask(Cancel(job_id=f"00{number}"))
        await trio.sleep(0.1)
        assert (a.pushed > before) is (number > 1)
    assert b.pushes._watched == {}
