"""A reader that stops reading is closed, and costs nobody anything."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from pathlib import Path

import pytest
import trio

from foreman.http.routes.events import STOPPED
from tests.e2e.feed.conftest import Closed, following, joined
from tests.support.api import chat, submit_many
from tests.support.foreman import Daemon, Upstream

JOBS = 10_000  # their events are more than what sockets hold
TIMEOUT = 90  # seconds


async def test_a_reader_that_stops_is_closed_with_1013_and_slows_nobody(upstream: Upstream, tmp_path: Path) -> None:
    settings = {"ollama_url": upstream.url, "feed_history": 100}
    with Daemon(tmp_path / "data", **settings) as daemon, trio.fail_after(TIMEOUT):
        daemon.http.post("/queue/pause")

        async def submit() -> None:
            jobs = [chat("x", custom_id="c" * 64) for _ in range(JOBS)]
            while True:
                await trio.to_thread.run_sync(partial(submit_many, daemon, jobs))

        async with joined(daemon, buffer=4096) as stopped:
            async with following(daemon) as feed, trio.open_nursery() as nursery:
                nursery.start_soon(submit)
                seen = await feed.take(JOBS)
                while at(seen[-1]) - at(seen[JOBS - 1]) < 2 * STOPPED:  # for so long nobody could tell the other one
                    seen.append(await feed.next())
                nursery.cancel_scope.cancel()
            assert [event["seq"] for event in seen] == list(range(1, len(seen) + 1))
            with pytest.raises(Closed) as closed:
                await stopped.take(len(seen) + 2)
        assert closed.value.code == 1013
        assert not daemon.errors


def at(event: dict[str, str]) -> float:
    """When it happened, in epoch seconds."""
    return datetime.fromisoformat(event["timestamp"]).timestamp()
