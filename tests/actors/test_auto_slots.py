"""Slots that find their number, in a worker with a target whose speed depends on the jobs together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from foreman.actors.auto_slots import AutoSlots, note_of, read_note
from foreman.domain.answers.chunk import Chunk
from foreman.domain.errors import TargetBusy
from foreman.domain.job import State
from foreman.targets.protocol import Call
from tests.support.actors import App, FakeTarget, chunk, draft

Start = Callable[..., Awaitable[App]]
TOKENS = 10  # of each answer, a chunk each


class Server(FakeTarget):
    """A server with a speed for each number of jobs together, in tokens a second, and maybe room for only some."""

    def __init__(self, speed: Callable[[int], float], *, places: int = 1024) -> None:
        super().__init__([self.script])
        self.speed = speed
        self.places = places
        self.refused = 0

    async def script(self, call: Call) -> AsyncIterator[Chunk]:
        if self.together > self.places:
            self.refused += 1
            raise TargetBusy(self.name, 1)
        for _ in range(TOKENS):
            await trio.sleep(self.together / self.speed(self.together))
            yield chunk("x")
        yield Chunk(b'{"message":{"content":""},"done":true,"eval_count":%d}' % TOKENS, last=True)


def done(app: App) -> int:
    return sum(event.state is State.DONE for commit in app.commits for event in commit.events)


async def worked(start_app: Start, server: Server, jobs: int, auto: AutoSlots, model: str = "m") -> App:
    app = await start_app(target=server, auto=auto)
    await app.submit(*(draft(number, model) for number in range(1, jobs + 1)))
    await app.until(lambda: done(app) == jobs)
    return app


async def test_a_server_that_batches_gets_more_jobs_together(start_app: Start, autojump_clock: MockClock) -> None:
    app = await worked(start_app, Server(lambda jobs: 10.0 * min(jobs, 6)), 400, AutoSlots(on=True))
    assert 5 <= app.worker.auto.found <= 6
    assert app.worker.slots == app.worker.auto.slots <= 13
    assert app.target.most_together <= 13


async def test_a_server_that_does_not_gets_one_at_a_time(start_app: Start, autojump_clock: MockClock) -> None:
    app = await worked(start_app, Server(lambda jobs: 10.0), 400, AutoSlots(on=True, slots=4))
    assert app.worker.auto.found == 1


async def test_a_server_that_refuses_gets_about_as_many_as_it_takes(
    start_app: Start, autojump_clock: MockClock
) -> None:
    server = Server(lambda jobs: 10.0 * jobs, places=3)
    app = await worked(start_app, server, 400, AutoSlots(on=True, slots=64))
    assert app.worker.auto.found == 3
    assert server.refused < 400  # a few at each number on the way down, fewer and fewer tries later
    assert all(app.job(number).attempt == 1 for number in (1, 200, 400))


async def test_what_was_found_is_kept(start_app: Start, autojump_clock: MockClock) -> None:
    app = await worked(start_app, Server(lambda jobs: 10.0 * min(jobs, 6)), 300, AutoSlots(on=True))
    note = app.store.note(note_of(app.worker.name))
    assert read_note(note) == app.worker.auto.found > 1


@pytest.mark.parametrize("note", [None, "", "many", "-3", "0", "²", "99999999"])
def test_a_note_that_cannot_be_read_is_no_harm(note: str | None) -> None:
    assert 1 <= read_note(note) <= 1024


async def test_no_more_than_the_server_was_started_for(start_app: Start, autojump_clock: MockClock) -> None:
    auto = AutoSlots(on=True, most=lambda key: 2)
    app = await worked(start_app, Server(lambda jobs: 10.0 * jobs), 200, auto)
    assert (app.worker.auto.found, app.target.most_together) == (2, 2)


async def test_slots_without_enough_jobs_are_not_measured(start_app: Start, autojump_clock: MockClock) -> None:
    server = Server(lambda jobs: 10.0 * jobs)
    app = await start_app(target=server, auto=AutoSlots(on=True, slots=3))
    for number in range(1, 101):
        await app.submit(draft(number))
        await app.until_state(State.DONE, number)
    assert (app.worker.slots, server.most_together) == (3, 1)


async def test_fixed_slots_stay_as_they_are(start_app: Start, autojump_clock: MockClock) -> None:
    app = await worked(start_app, Server(lambda jobs: 10.0 * jobs), 100, AutoSlots(slots=2))
    assert app.worker.slots == app.target.most_together == 2


async def test_the_search_begins_at_the_fixed_number_and_ends_at_another(
    start_app: Start, autojump_clock: MockClock
) -> None:
    app = await worked(start_app, Server(lambda jobs: 10.0 * jobs), 100, AutoSlots(slots=2))
    app.worker.auto.change(None)
    await app.worker.resize(app.worker.auto.slots)
    assert app.worker.slots == 2
    await app.submit(*(draft(number) for number in range(101, 301)))
    await app.until(lambda: done(app) == 300)
    assert app.worker.slots > 2
    app.worker.auto.change(1)
    await app.worker.resize(app.worker.auto.slots)
    assert app.worker.slots == 1
