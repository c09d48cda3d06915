"""Many readers of one event: they go on a few at a time, and everybody else has turns in between."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio
import trio.testing
from trio.abc import Instrument

from foreman.actors.feed import Feed, Subscription
from foreman.actors.output import OutputHub
from foreman.domain.job import JobEvent, State
from foreman.queue.commands import Commit

READERS = 900
FEW = 20
CHANGE = JobEvent(seq=1, job_id="1", state=State.QUEUED, previous=None, at=0, model="m", attempt=0)


class Passes(Instrument):
    """How many readers went on in each pass of the event loop."""

    def __init__(self) -> None:
        self.told = 0
        self._before = 0
        self.most = 0

    def before_io_wait(self, timeout: float) -> None:
        self.most = max(self.most, self.told - self._before)
        self._before = self.told


async def many(read: Callable[[], Awaitable[object]], tell: Callable[[], None]) -> Passes:
    passes = Passes()

    async def follow() -> None:
        await read()
        passes.told += 1

    trio.lowlevel.add_instrument(passes)
    try:
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for _ in range(READERS):
                    nursery.start_soon(follow)
                await trio.testing.wait_all_tasks_blocked()
                assert passes.told == 0
                tell()
    finally:
        trio.lowlevel.remove_instrument(passes)
    assert passes.told == READERS
    return passes


async def test_readers_of_the_feed_go_on_a_few_at_a_time() -> None:
    feed = Feed(None, history=10, newest=0)  # type: ignore[arg-type]  # nothing is read from the store
    subscriptions = iter([Subscription(feed, 0, lambda _: True) for _ in range(READERS)])
    passes = await many(lambda: next(subscriptions).next(), lambda: feed.on_commit(Commit([CHANGE])))
    assert passes.most <= FEW


async def test_followers_of_a_job_go_on_a_few_at_a_time() -> None:
    output = OutputHub().output("1")
    passes = await many(lambda: output.follow().next(), lambda: output.append(b"{}"))
    assert passes.most <= FEW
