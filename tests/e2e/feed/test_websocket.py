"""The feed over a websocket: every event once and in order, however often a reader comes and goes."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path

import pytest
import trio

from foreman.store.sqlite.writer import SqliteWriter
from tests.e2e.feed.conftest import Closed, following, joined
from tests.support.api import chat, submit, submit_many
from tests.support.foreman import Daemon, Upstream
from tests.support.queue import prune_now

TIMEOUT = 60  # seconds
SUBSCRIBERS = 20
JOBS = 300
STATES = ["queued", "loading", "working", "done"]
KEYS = {
    "type",
    "seq",
    "job_id",
    "state",
    "previous_state",
    "timestamp",
    "model",
    "attempt",
    "error",
    "custom_id",
    "target",
}


async def in_thread(function: partial[list[str]] | partial[str]) -> list[str] | str:
    return await trio.to_thread.run_sync(function)


async def test_twenty_readers_that_come_and_go_each_see_every_event_once_in_order(
    upstream: Upstream, tmp_path: Path
) -> None:
    seen: list[list[int]] = [[] for _ in range(SUBSCRIBERS)]

    async def read(number: int) -> None:
        """Read for a random while, leave, come back with the last seq."""
        chance, mine = random.Random(number), seen[number]
        while len(mine) < 4 * JOBS:
            async with following(daemon, f"?after={mine[-1] if mine else 0}") as feed:
                for _ in range(min(chance.randint(1, 400), 4 * JOBS - len(mine))):
                    mine.append((await feed.next())["seq"])

    with Daemon(tmp_path / "data", ollama_url=upstream.url) as daemon, trio.fail_after(TIMEOUT):
        async with trio.open_nursery() as nursery:
            for number in range(SUBSCRIBERS):
                nursery.start_soon(read, number)
            await in_thread(partial(submit_many, daemon, [chat(f"n{n}") for n in range(JOBS)]))
        assert not daemon.errors
    assert seen == [list(range(1, 4 * JOBS + 1))] * SUBSCRIBERS


async def test_hello_then_the_changes_from_now_on(daemon: Daemon) -> None:
    with trio.fail_after(TIMEOUT):
        async with following(daemon) as feed:
            job_id = await in_thread(partial(submit, daemon, custom_id="mine"))
            events = await feed.take(4)
    assert set(feed.hello) == {"type", "seq", "oldest"}
    assert [event["seq"] for event in events] == [feed.hello["seq"] + n for n in (1, 2, 3, 4)]
    assert [event["state"] for event in events] == STATES
    assert [event["previous_state"] for event in events] == ["", *STATES[:3]]
    assert all(set(event) == KEYS and event["type"] == "state" for event in events)
    assert all((event["job_id"], event["custom_id"], event["model"]) == (job_id, "mine", "a") for event in events)


async def test_only_what_a_filter_wants_is_told(daemon: Daemon) -> None:
    with trio.fail_after(TIMEOUT):
        async with following(daemon) as feed:
            start = feed.hello["seq"]
        ids = [str(await in_thread(partial(submit, daemon, "#slow=0.01", model=name))) for name in "abc"]
        async with following(daemon, f"?after={start}&state=done") as feed:
            assert [(await feed.next())["job_id"] for _ in ids] == ids
        async with following(daemon, f"?after={start}&model=a&model=c&state=queued&state=done") as feed:
            told = await feed.take(4)
            assert sorted((e["model"], e["state"]) for e in told) == [
                (name, state) for name in "ac" for state in ("done", "queued")
            ]
        async with following(daemon, f"?after={start}&job_id={ids[1]}") as feed:
            assert [event["state"] for event in await feed.take(4)] == STATES


@pytest.mark.parametrize(
    "query", ["after=x", "after=-1", "after=999999999", "after=" + "9" * 40, "state=sleeping", "color=red"]
)
async def test_garbage_is_told_so(daemon: Daemon, query: str) -> None:
    with trio.fail_after(TIMEOUT):
        async with joined(daemon, f"?{query}") as feed:
            with pytest.raises(Closed) as closed:
                await feed.next()
    assert closed.value.code == 4400
    assert query.partition("=")[0] in closed.value.reason


@pytest.mark.alone  # the test itself prunes
async def test_a_pruned_cursor_is_told_so_and_a_later_one_goes_on(upstream: Upstream, tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "data", ollama_url=upstream.url)
    with daemon, trio.fail_after(TIMEOUT):
        ids = [daemon.http.post("/jobs", json=chat(), headers={"Prefer": "wait=30"}).json()["job_id"] for _ in "12"]
        daemon.kill()
        store = SqliteWriter(tmp_path / "data" / "foreman.db")
        prune_now(store, ids[:1])
        store.close()
        daemon.start()
        async with joined(daemon, "?after=3") as feed:
            with pytest.raises(Closed) as closed:
                await feed.next()
        assert closed.value.code == 4410
        gone = daemon.http.get("/events?after=3", headers={"Accept": "text/event-stream"})
        assert (gone.status_code, gone.json()["code"]) == (410, "cursor_gone")
        async with following(daemon, "?after=4") as feed:
            assert feed.hello == {"type": "hello", "seq": 8, "oldest": 5}
            assert [(event["seq"], event["job_id"]) for event in await feed.take(4)] == [
                (n, ids[1]) for n in range(5, 9)
            ]


async def test_readers_are_told_to_come_back_when_foreman_stops(upstream: Upstream, tmp_path: Path) -> None:
    with Daemon(tmp_path / "data", ollama_url=upstream.url) as daemon, trio.fail_after(TIMEOUT):
        async with following(daemon) as feed:
            daemon.terminate()
            with pytest.raises(Closed) as closed:
                await feed.next()
        code = await trio.to_thread.run_sync(daemon.wait)
    assert closed.value.code == 1012
    assert code == 0


async def test_the_feed_takes_the_token_like_every_route(upstream: Upstream, tmp_path: Path) -> None:
    with Daemon(tmp_path / "data", ollama_url=upstream.url, token="secret") as daemon, trio.fail_after(TIMEOUT):
        with pytest.raises(Closed) as refused:
            async with joined(daemon):
                raise AssertionError("it was let in")
        assert refused.value.code == 401
        async with joined(daemon, headers={"Authorization": "Bearer secret"}) as feed:
            assert (await feed.next())["type"] == "hello"
