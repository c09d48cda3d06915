"""One replay of a trace: by the program itself, or in the order of arrival."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import trio
from trio.testing import MockClock

from foreman.actors.loads import Loads
from foreman.app import build
from foreman.config.settings import Settings
from foreman.domain.intake import make_draft, read_submission
from foreman.domain.job import TERMINAL, Draft, State
from foreman.queue.commands import Commit, SubmitMany
from foreman.store.sqlite.writer import SqliteWriter
from foreman.targets.protocol import Call
from tests.simulate.server import Log, ModelledServer, Served, Speed
from tests.simulate.trace import ENDPOINT, Trace
from tests.support.actors import START, InlineReaders, inline
from tests.support.same_order import same_order

AT_ONCE = 500  # jobs submitted together
RARELY = 1e6  # seconds between looks at servers that never change
LONG = 1e8  # seconds: a limit that nothing meets
MOST = 20  # times the time that one server would need without a cache, after which a replay is given up


Look: TypeAlias = Callable[[int, Callable[[int], float | None]], None]  # at the number of jobs done, and estimates


class Stuck(Exception):
    """Not all jobs were done."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What is played: the trace, and the servers that it meets."""

    trace: Trace
    speed: Speed
    servers: int = 1
    seed: int = 1
    bytes_per_token: float = 4.0

    @property
    def cold(self) -> float:
        """Return the seconds that the servers would be busy without a cache."""
        return sum(self.speed.cold(request) for request in self.trace.requests) / self.servers

    @property
    def names(self) -> list[str]:
        """Return the names of the servers."""
        return [f"server-{n}" for n in range(1, self.servers + 1)]


def at_load(trace: Trace, speed: Speed, servers: int, load: float) -> Trace:
    """Return the trace at a pace that is this part of what the servers can do without a cache. Raise ValueError."""
    span = trace.requests[-1].at
    if not span:
        raise ValueError("a load needs a trace with different times of arrival; in this one all come at once")
    return trace.timed(Setup(trace, speed, servers).cold / (load * span))


@dataclass(slots=True)
class Record:
    """What came of a replay."""

    log: Log
    done: dict[int, float] = field(default_factory=dict)  # by request: when its answer was complete

    def last(self) -> dict[int, Served]:
        """Return the attempt of each request that brought its answer."""
        return {served.number: served for served in self.log.served if served.done}


def by_foreman(setup: Setup, given: Mapping[str, Any], look: Look | None = None) -> Record:
    """Replay the trace through the program with these settings; `look` is called after each commit with a job done."""
    with TemporaryDirectory() as folder:
        settings = Settings.model_validate(
            {
                "data_dir": Path(folder),
                "slots": setup.speed.slots,
                "max_queue": len(setup.trace.requests) + 1,
                "poll_interval": RARELY,
                "attempt_timeout": LONG,
                "first_chunk_timeout": LONG,
                "stall_timeout": LONG,
                "targets": [
                    {
                        "name": name,
                        "openai_url": f"http://{name}.invalid",
                        "slots": setup.speed.slots,
                        "max_loaded": setup.speed.loaded,
                    }
                    for name in setup.names
                ],
                **given,
            }
        )
        return _played(partial(_by_foreman, setup, settings, look), setup.seed)


def by_arrival(setup: Setup) -> Record:
    """Replay the trace in the order of arrival: whatever server is free takes the oldest job."""
    return _played(partial(_by_arrival, setup), setup.seed)


def _played(main: Any, seed: int) -> Record:
    with same_order(seed):
        record: Record = trio.run(main, clock=MockClock(autojump_threshold=0))
    return record


class _Waiter:
    """Knows when all requests have been answered."""

    def __init__(self, setup: Setup) -> None:
        self.record = Record(Log())
        self._jobs = len(setup.trace.requests)
        self._most = setup.trace.requests[-1].at + MOST * setup.cold * setup.servers + RARELY
        self._over = trio.Event()
        self._error: str | None = None

    def done(self, number: int) -> None:
        self.record.done[number] = trio.current_time()
        if len(self.record.done) == self._jobs:
            self._over.set()

    def failed(self, error: str) -> None:
        self._error = self._error or error
        self._over.set()

    async def wait(self) -> None:
        with trio.move_on_after(self._most):
            await self._over.wait()

    def result(self) -> Record:
        """Return the record. Raise Stuck unless all requests were answered."""
        if self._error is None and (left := self._jobs - len(self.record.done)):
            self._error = f"{left} jobs were never done"
        if self._error is not None:
            raise Stuck(self._error)
        return self.record


async def _by_foreman(setup: Setup, settings: Settings, look: Look | None) -> Record:
    waiter, names, dice = _Waiter(setup), _names(setup), random.Random(setup.seed)

    def now() -> float:
        return START + trio.current_time()

    def on_commit(commit: Commit) -> None:
        for event in commit.events:
            if event.state in TERMINAL:
                number = names[event.job_id]
                if event.state is State.DONE:
                    waiter.done(number)
                else:
                    waiter.failed(f"job {number} became {event.state}: {event.error}")
        if look and any(event.state is State.DONE for event in commit.events):
            look(len(waiter.record.done), expected)

    def expected(number: int) -> float | None:
        job = store.job(_name(number))
        return app.context.outlook.of(store, job, now()).seconds if job else None

    store = SqliteWriter(settings.data_dir / "foreman.db")
    try:
        store._db.execute("PRAGMA synchronous = OFF")  # nothing here outlives the process
        app = build(
            settings,
            store,
            now,
            targets={name: ModelledServer(name, setup.trace, setup.speed, waiter.record.log) for name in setup.names},
            make_readers=partial(InlineReaders, count=1),
            in_thread=inline,
            chance=dice.random,
        )
        app.queue.add_listener(on_commit)
        async with trio.open_nursery() as nursery:
            await app.start(nursery, None)
            began = trio.current_time()
            for at, numbers in _arrivals(setup):
                await trio.sleep_until(began + at)
                await app.queue.ask(SubmitMany(drafts=[_draft(setup, number, now()) for number in numbers]))
            await waiter.wait()
            nursery.cancel_scope.cancel()
    finally:
        store.close()
    return waiter.result()


def _names(setup: Setup) -> dict[str, int]:
    return {_name(number): number for number in range(len(setup.trace.requests))}


def _name(number: int) -> str:
    return f"{number:026}"


def _draft(setup: Setup, number: int, now: float) -> Draft:
    request = setup.trace.requests[number]
    submission = read_submission(setup.trace.body(number, setup.bytes_per_token), now=now)
    return make_draft(submission, _name(number), canonical=request.model, max_attempts=3, owner=request.caller)


def _arrivals(setup: Setup) -> Iterator[tuple[float, list[int]]]:
    """Yield the times of arrival with the requests of each, in groups of AT_ONCE."""
    requests = setup.trace.requests
    for at, together in groupby(range(len(requests)), key=lambda number: requests[number].at):
        numbers = list(together)
        for first in range(0, len(numbers), AT_ONCE):
            yield at, numbers[first : first + AT_ONCE]


async def _by_arrival(setup: Setup) -> Record:
    waiter = _Waiter(setup)
    waiting: deque[int] = deque()
    news = trio.lowlevel.ParkingLot()

    async def slot(server: ModelledServer, loads: Loads, at_work: list[str]) -> None:
        while True:
            while not (waiting and server.room().fits({*at_work, setup.trace.requests[waiting[0]].model})):
                await news.park()
            number = waiting.popleft()
            model = setup.trace.requests[number].model
            at_work.append(model)
            payload = setup.trace.body(number, 0)
            call = Call(model=model, key=model, endpoint=ENDPOINT, payload=payload)
            await loads.load(call)
            async with server.answer(call) as chunks:
                async for _ in chunks:
                    pass
            at_work.remove(model)
            waiter.done(number)
            news.unpark_all()

    async with trio.open_nursery() as nursery:
        for name in setup.names:
            server = ModelledServer(name, setup.trace, setup.speed, waiter.record.log)
            await nursery.start(server.run)
            loads, at_work = Loads(server, trio.current_time), list[str]()
            for _ in range(setup.speed.slots):
                nursery.start_soon(slot, server, loads, at_work)
        began = trio.current_time()
        for at, numbers in _arrivals(setup):
            await trio.sleep_until(began + at)
            waiting.extend(numbers)
            news.unpark_all()
        await waiter.wait()
        nursery.cancel_scope.cancel()
    return waiter.result()
