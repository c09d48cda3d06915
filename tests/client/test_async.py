"""The client on an event loop holds the conversations of the other one, generated from it, on asyncio and on Trio."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import TypeAlias

import anyio
import pytest

from foreman.client import AsyncClient, Chunk, ConnectFailed, JobFailed, NotForeman, NotFound, StartsOver, State
from tests.client.conftest import StaticAnswer
from tests.client.test_many import event, hello
from tests.client.test_sync import JOB

Run: TypeAlias = Callable[[Callable[[], Awaitable[None]]], None]


@pytest.fixture(params=["asyncio", "trio"])
def run(request: pytest.FixtureRequest) -> Run:
    return lambda test: anyio.run(test, backend=request.param)


def test_answers_and_faults_are_the_same(told: StaticAnswer, run: Run) -> None:
    told.answer("GET /jobs/J1", JOB)
    told.answer("GET /queue", b"<html>")

    async def test() -> None:
        async with AsyncClient() as client:
            job = await client.job("J1")
            assert (job.state, job.text) == (State.DONE, "hello")
            assert [artifact.content for artifact in await client.artifacts("J1")] == [b"\x00\x01"]
            with pytest.raises(NotFound):
                await client.job("J2")
            with pytest.raises(NotForeman):
                await client.queue()

    run(test)


def test_nobody_there_says_what_to_do(run: Run) -> None:
    with socket.socket() as probe:  # bound and not listening: refused for sure
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"

        async def test() -> None:
            async with AsyncClient(url) as client:
                with pytest.raises(ConnectFailed, match="start one with 'foreman serve'") as caught:
                    await client.ready()
                assert caught.value.nobody

        run(test)


def test_a_stream_that_breaks_is_taken_up_again_and_starts_over(told: StaticAnswer, run: Run) -> None:
    told.stream("GET /jobs/J1/stream", b'{"response":"on"}\n', media="application/x-ndjson", whole=False)
    told.stream("GET /jobs/J1/stream", b'{"response":"one"}\n', media="application/x-ndjson")
    told.answer("GET /jobs/J1", JOB)

    async def test() -> None:
        async with AsyncClient() as client:
            pieces = [piece async for piece in client.stream("J1")]
        assert pieces == [Chunk({"response": "on"}), StartsOver(1), Chunk({"response": "one"})]

    run(test)


def test_the_stream_of_a_job_that_is_not_done_ends_in_its_fault_after_what_came(told: StaticAnswer, run: Run) -> None:
    told.stream("GET /jobs/J1/stream", b'{"response":"one"}\n', media="application/x-ndjson")
    told.answer("GET /jobs/J1", JOB | {"state": "expired"})

    async def test() -> None:
        async with AsyncClient() as client:
            pieces = client.stream("J1")
            assert await anext(pieces) == Chunk({"response": "one"})
            with pytest.raises(JobFailed, match="job J1 expired"):
                await anext(pieces)

    run(test)


def test_the_feed_goes_on_where_its_connection_broke_and_may_be_left(told: StaticAnswer, run: Run) -> None:
    told.stream("GET /events", hello(7), b": ping\n\n" + event(8)[:-9], whole=False)
    told.stream("GET /events", hello(9), event(8), event(9), event(10))

    async def test() -> None:
        seqs: list[int] = []
        async with AsyncClient() as client, aclosing(client.feed(model=["a"])) as feed:
            async for event in feed:
                seqs.append(event.seq)
                if event.seq == 9:
                    break
        assert seqs == [8, 9]

    run(test)
    assert [path for path, _, _ in told.asked] == ["GET /events?model=a", "GET /events?model=a&after=7"]


def test_a_wait_may_be_cancelled(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"

        async def test() -> None:
            async with AsyncClient(url) as client:
                with anyio.move_on_after(0.05) as scope:
                    await client.wait("J1")
                assert scope.cancelled_caught

        run(test)
