"""The feed itself: what it reads from memory, what from the store, and what it does when neither has it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
import trio

from foreman.actors.feed import PAGE, Feed, Subscription
from foreman.domain.errors import CursorGone, QueryInvalid
from foreman.domain.job import Draft, JobEvent
from foreman.queue.commands import Commit
from foreman.store.protocol import Reader
from foreman.store.readers import Readers
from foreman.store.sqlite.writer import SqliteWriter
from tests.support.queue import prune_now, writing

T = TypeVar("T")


class Inline:
    """In place of reader threads; `before` runs once, ahead of a read."""

    def __init__(self, store: SqliteWriter) -> None:
        self.store = store
        self.reads = 0
        self.before: Callable[[], None] | None = None

    async def read(self, question: Callable[[Reader], T]) -> T:
        self.reads += 1
        await trio.lowlevel.checkpoint()
        before, self.before = self.before, None
        if before:
            before()
        answer = question(self.store)
        await trio.lowlevel.checkpoint()
        return answer


class App:
    def __init__(self, store: SqliteWriter, history: int = 100) -> None:
        self.store = store
        self.readers = Inline(store)
        self.feed = Feed(cast(Readers, self.readers), history=history, newest=store.seqs().newest)

    def happen(self, count: int) -> list[JobEvent]:
        """That many jobs are submitted."""
        first = self.store.seqs().newest
        drafts = [_draft(first + n) for n in range(1, count + 1)]
        with writing(self.store, 1) as ledger:
            ledger.add(drafts)
        self.feed.on_commit(Commit(ledger.events))
        return ledger.events

    def follow(self, after: int = 0, wanted: Callable[[JobEvent], bool] = lambda _: True) -> Subscription:
        return Subscription(self.feed, after, wanted)


def _draft(number: int) -> Draft:
    return Draft(id=f"{number:06}", model="m", key="m", endpoint="/api/chat", payload=b"{}")


@pytest.fixture
def app(data_dir: Path) -> Iterator[App]:
    store = SqliteWriter(data_dir / "foreman.db")
    yield App(store)
    store.close()


async def seqs(subscription: Subscription, upto: int) -> list[int]:
    found: list[int] = []
    while not found or found[-1] < upto:
        found += [event.seq for event in await subscription.next()]
    return found


async def test_the_latest_come_from_memory_and_the_older_from_the_store(app: App) -> None:
    app.happen(250)
    assert await seqs(app.follow(200), 250) == list(range(201, 251))
    assert app.readers.reads == 0
    assert await seqs(app.follow(0), 250) == list(range(1, 251))
    assert app.readers.reads > 0


async def test_a_reader_crosses_from_the_store_to_memory_without_a_gap(app: App) -> None:
    app.happen(3 * PAGE)
    subscription = app.follow(0)
    found: list[int] = []
    while len(found) < 4 * PAGE:
        found += [event.seq for event in await subscription.next()]
        if app.feed.newest < 4 * PAGE:
            app.happen(PAGE // 5)
    assert found == list(range(1, 4 * PAGE + 1))


async def test_changes_that_go_while_a_reader_comes_to_them_are_a_fault_and_not_a_gap(app: App) -> None:
    app.happen(200)

    def prune() -> None:
        prune_now(app.store, [f"{n:06}" for n in range(1, 11)])

    app.readers.before = prune
    with pytest.raises(CursorGone):
        await app.follow(5).next()
    assert await seqs(app.follow(10), 200) == list(range(11, 201))


async def test_what_happens_during_a_read_that_finds_nothing_is_not_skipped(app: App) -> None:
    app.happen(150)
    with app.store.transaction():
        app.store.delete([f"{n:06}" for n in range(1, 151)])  # by their owners, so the horizon stays
    app.feed._kept.clear()
    subscription = app.follow(0)
    told: list[int] = []
    async with trio.open_nursery() as nursery:

        async def read() -> None:
            told.extend(await seqs(subscription, 155))

        nursery.start_soon(read)
        while not app.readers.reads:
            await trio.lowlevel.checkpoint()
        app.happen(5)
    assert told == [151, 152, 153, 154, 155]


async def test_a_cursor_is_checked_when_a_reader_comes(app: App) -> None:
    app.happen(10)
    prune_now(app.store, ["000003"])
    await app.feed.check(10)
    await app.feed.check(3)
    with pytest.raises(CursorGone):
        await app.feed.check(2)
    with pytest.raises(QueryInvalid):
        await app.feed.check(11)


async def test_too_far_behind_is_more_than_the_feed_remembers(app: App) -> None:
    app.happen(50)
    replaying, live = app.follow(0), app.follow(50)
    app.happen(100)
    assert (replaying.too_far_behind, live.too_far_behind) == (False, False)
    app.happen(1)
    assert (replaying.too_far_behind, live.too_far_behind) == (True, True)


async def test_a_cancelled_wait_loses_nothing(app: App, autojump_clock: Any) -> None:
    subscription = app.follow(0)
    with trio.move_on_after(1):
        await subscription.next()
    app.happen(3)
    assert await seqs(subscription, 3) == [1, 2, 3]
