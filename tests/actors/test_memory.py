"""Answers that find no room in memory: their jobs are put back, and all of them end."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import cast

import pytest
import trio
from trio.testing import MockClock

from foreman.actors.output import OutputLog
from foreman.budget import Budget
from foreman.domain.job import Job, JobEvent, State
from foreman.http.framing import SLICE, Ndjson
from foreman.http.routes.stream import live
from foreman.store.readers import Readers
from tests.support.actors import App, draft, saying

Start = Callable[..., Awaitable[App]]

SIZE = 4000  # bytes; all of an answer is little enough to need no thread, which the clock would not wait for
PIECE = "x" * SIZE
ROOM = 10 * SIZE


@pytest.fixture(autouse=True)
def _all_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foreman.budget.SMALL", 0)


async def test_a_job_without_room_is_put_back_unspent_and_done_once_there_is_some(
    start_app: Start, autojump_clock: MockClock
) -> None:
    budget = Budget(ROOM)
    held = budget.lease()
    held.grow(ROOM - 2 * SIZE)
    app = await start_app(saying(*[PIECE] * 4), saying(*[PIECE] * 4), budget=budget)
    await app.submit(draft(max_attempts=1))
    job = await app.until_state(State.QUEUED)
    while job.error_code is None:
        await trio.sleep(0.1)
        job = app.job()
    assert (job.error_code, job.attempt, budget.used) == ("memory_full", 0, held.size)
    held.free()
    assert (await app.until_state(State.DONE)).attempt == 1


async def test_an_answer_that_would_not_fit_alone_fails_its_job(start_app: Start, autojump_clock: MockClock) -> None:
    app = await start_app(saying(*[PIECE] * 11), budget=Budget(ROOM))
    await app.submit(draft())
    job = await app.until_state(State.FAILED)
    assert job.error_code == "memory_full" and "setting" not in str(job.error)


async def test_a_request_that_would_not_fit_alone_fails_its_job(start_app: Start, autojump_clock: MockClock) -> None:
    app = await start_app(saying("x"), budget=Budget(ROOM))
    await app.submit(draft(payload=b'{"x":"' + b"x" * ROOM + b'"}'))
    assert (await app.until_state(State.FAILED)).error_code == "memory_full"


async def test_jobs_that_want_more_than_there_is_together_all_end(start_app: Start, autojump_clock: MockClock) -> None:
    """Each is followed by somebody who reads nothing, so what it has said is held for as long as it runs or waits."""
    jobs = 8
    budget = Budget(ROOM)
    app = await start_app(*[saying(*[PIECE] * 6, seconds=1) for _ in range(1000)], slots=4, budget=budget)
    followed = {number: app.hub.output(f"{number:03}") for number in range(1, jobs + 1)}
    for number in followed:
        await app.submit(draft(number))
    with trio.fail_after(3600):
        while followed:
            await trio.sleep(1)
            for number in [one for one in followed if app.job(one).state is State.DONE]:
                del followed[number]  # who has all of the answer goes
    assert budget.used == 0


async def test_who_reads_an_ended_answer_too_slowly_loses_it_when_others_need_room(
    start_app: Start, autojump_clock: MockClock
) -> None:
    budget = Budget(ROOM)
    app = await start_app(*[saying(*[PIECE] * 6)] * 100, budget=budget)
    slow, quick = (app.hub.output("001").follow() for _ in range(2))
    await app.submit(draft(1))
    first, *_, last = [piece async for piece in quick]
    assert first.chunk is not None and last.ended is not None
    assert (await slow.next()).chunk == first.chunk
    await app.submit(draft(2))
    with trio.fail_after(600):
        await app.until_state(State.DONE, 2)
    assert budget.used < 6 * SIZE  # though the first one is still followed
    *_, cut = [piece async for piece in slow]
    assert cut.cut is not None and cut.cut.code == "too_slow" and cut.ended is not None


async def test_a_reader_that_is_cut_is_told_so() -> None:
    output = OutputLog("001")
    reader = output.follow()
    output.append(b'{"x":1}')
    output.append(b'{"x":"%s"}' % (b"y" * 3 * SLICE))
    ended = JobEvent(seq=1, job_id="001", at=0, state=State.DONE, previous=State.WORKING, model="m", attempt=1)
    output.on_commit(ended)
    lines = live(cast(Job, draft()), cast(Readers, None), reader, Ndjson())
    assert json.loads(await anext(lines)) == {"x": 1}
    assert await anext(lines) == b""
    await anext(lines)
    output.let_go()
    rest = b"".join([line async for line in lines])
    broken_off, told = rest.splitlines()
    assert broken_off.count(b"y") < 3 * SLICE
    assert json.loads(told)["code"] == "too_slow"
    assert json.loads(told)["foreman"] == {"state": "done"}
