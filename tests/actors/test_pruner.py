"""The pruner: what is past its time goes away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from foreman.actors import pruner
from foreman.domain.errors import StoreFull
from foreman.domain.job import State
from foreman.domain.usage import DAY, MINUTE, STORED
from foreman.queue.handlers.job_rules import JobRules
from tests.support.actors import START, App, blobs_of, draft, saying

Start = Callable[..., Awaitable[App]]


async def test_a_job_is_removed_within_a_round_of_its_time(start_app: Start, autojump_clock: MockClock) -> None:
    app = await start_app(saying("x"), rules=JobRules(job_ttl=100))
    await app.nursery.start(pruner.run, app.queue, blobs_of(app.queue, app.store))
    await app.submit(draft())
    await app.until_state(State.DONE)
    await trio.sleep(99)
    assert app.store.job("001") is not None
    await trio.sleep(pruner.ROUND)
    assert app.store.job("001") is None


async def test_a_sweep_removes_everything_in_small_batches(
    start_app: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruner, "BATCH", 2)
    app = await start_app(saying("x"), rules=JobRules(job_ttl=1))
    await app.submit(*(draft(n) for n in range(5)))
    await app.until(lambda: all(app.job(n).state is State.DONE for n in range(5)))
    await trio.sleep(2)
    assert await pruner.sweep(app.queue, blobs_of(app.queue, app.store)) == 5
    assert app.store.jobs(limit=9) == []
    assert app.store.checkpoint() == 0


async def test_a_job_that_runs_for_long_is_told_of_in_every_minute(start_app: Start, autojump_clock: MockClock) -> None:
    app = await start_app(saying("x", seconds=350))
    await app.nursery.start(pruner.run, app.queue, blobs_of(app.queue, app.store))
    await app.submit(draft())
    await app.until_state(State.DONE)
    await trio.sleep(200)
    depths = app.store.depths(step=MINUTE, begin=0, end=int(START) + 3600)
    first = int(START) // MINUTE * MINUTE
    assert [(depth.at - first, depth.running) for depth in depths] == [(n * MINUTE, 1) for n in range(7)]
    rows = app.store.usage(step=MINUTE, begin=0, end=int(START) + 3600, by=None, limit=99)
    assert all(row.figures.busy_seconds <= MINUTE for row in rows)
    assert sum(row.figures.busy_seconds for row in rows) == pytest.approx(350)


async def test_figures_of_minutes_go_after_a_day_and_those_of_hours_after_their_history(
    start_app: Start, autojump_clock: MockClock
) -> None:
    app = await start_app(saying("x"), rules=JobRules(usage_history=3 * DAY))
    await app.submit(draft())
    await app.until_state(State.DONE)

    async def kept(days: float) -> list[int]:
        """How many steps have figures so many days after the start."""
        await trio.sleep_until(days * DAY)
        await pruner.sweep(app.queue, blobs_of(app.queue, app.store))
        return [len(app.store.usage(step=step, begin=0, end=2 * 10**6, by=None, limit=9)) for step in STORED]

    assert await kept(0.9) == [1, 1]
    assert await kept(1.1) == [0, 1]
    assert await kept(2.9) == [0, 1]
    assert await kept(5.1) == [0, 0]


async def test_a_full_disk_does_not_stop_the_pruner(
    start_app: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = await start_app()

    def full() -> int:
        raise StoreFull

    monkeypatch.setattr(app.store, "checkpoint", full)
    assert await pruner.sweep(app.queue, blobs_of(app.queue, app.store)) == 0
