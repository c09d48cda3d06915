"""The janitor: what is past its time goes away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from foreman.actors import janitor
from foreman.actors.desk import Rules
from foreman.errors import StoreFull
from foreman.job import State
from tests.actors.conftest import House, draft, saying

Start = Callable[..., Awaitable[House]]


async def test_a_job_is_removed_within_a_round_of_its_time(start_house: Start, autojump_clock: MockClock) -> None:
    house = await start_house(saying("x"), rules=Rules(job_ttl=100))
    await house.nursery.start(janitor.run, house.queue)
    await house.submit(draft())
    await house.until_state(State.DONE)
    await trio.sleep(99)
    assert house.store.job("001") is not None
    await trio.sleep(janitor.ROUND)
    assert house.store.job("001") is None


async def test_a_sweep_removes_everything_in_small_batches(
    start_house: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(janitor, "BATCH", 2)
    house = await start_house(saying("x"), rules=Rules(job_ttl=1))
    await house.submit(*(draft(n) for n in range(5)))
    await house.until(lambda: all(house.job(n).state is State.DONE for n in range(5)))
    await trio.sleep(2)
    assert await janitor.sweep(house.queue) == 5
    assert house.store.jobs(limit=9) == []
    assert house.store.checkpoint() == 0


async def test_a_full_disk_does_not_stop_the_janitor(
    start_house: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = await start_house()

    def full() -> int:
        raise StoreFull

    monkeypatch.setattr(house.store, "checkpoint", full)
    assert await janitor.sweep(house.queue) == 0
