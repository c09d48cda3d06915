"""The feed: all events in order, recent ones from memory, older ones from the store. A subscriber is a cursor."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from weakref import WeakSet

import trio

from foreman.domain.errors import CursorGone, QueryInvalid
from foreman.domain.job import JobEvent
from foreman.queue.commands import Commit
from foreman.store.protocol import Reader
from foreman.store.readers import Readers
from foreman.turnstile import Turnstile

PAGE = 500  # events read at once


class Feed:
    """The event log; keeps the last `history` events in memory."""

    def __init__(self, readers: Readers, *, history: int, newest: int) -> None:
        """Begin at `newest`, the store's newest seq."""
        self._readers = readers
        self._kept: deque[JobEvent] = deque(maxlen=history)
        self._news: trio.Event | None = None  # made by the first that waits
        self._turns = Turnstile()
        self.subscriptions: WeakSet[Subscription] = WeakSet()  # the open ones
        self.history = history
        self.newest = newest

    def on_commit(self, commit: Commit) -> None:
        """Keep the events of a commit and wake the subscribers."""
        if events := commit.all_events:
            self._kept.extend(events)
            self.newest = events[-1].seq
            if self._news is not None:
                self._news.set()
                self._news = None

    async def wait_beyond(self, seq: int) -> None:
        """Return when there are events after `seq`; many waiters return a few at a time."""
        while self.newest <= seq:
            if self._news is None:
                self._news = trio.Event()
            await self._news.wait()
        await self._turns.enter()

    async def oldest(self) -> int:
        """Return the first seq after which nothing has been pruned."""
        return await self._readers.read(lambda store: store.seqs().pruned) + 1

    async def check(self, after: int) -> None:
        """Check the cursor `after`.

        Raises:
            CursorGone: Events after it were pruned.
            QueryInvalid: It is beyond the newest seq.
        """
        if after > self.newest:
            raise QueryInvalid("after", after, f"must be a seq up to {self.newest}, the newest")
        oldest = await self.oldest()
        if after < oldest - 1:
            raise CursorGone(after, oldest)

    async def read(self, after: int) -> list[JobEvent]:
        """Return up to a page of the events after `after`, oldest first; empty when there are none.

        Raise CursorGone when some of them were pruned.
        """
        if after >= self.newest:
            return []
        kept = self._kept
        if kept and kept[0].seq <= after + 1:
            # Indexing a deque is fast near its end, and most readers are there.
            start = bisect_right(kept, after, key=lambda event: event.seq)
            return [kept[index] for index in range(start, min(len(kept), start + PAGE))]

        def older(store: Reader) -> list[JobEvent]:
            if after < (pruned := store.seqs().pruned):  # since this subscription began
                raise CursorGone(after, pruned + 1)
            return store.events(after=after, limit=PAGE)

        return await self._readers.read(older)


class Subscription:
    """One reader's cursor in the feed, and its filter."""

    def __init__(self, feed: Feed, after: int, wanted: Callable[[JobEvent], bool]) -> None:
        feed.subscriptions.add(self)
        self._feed = feed
        self._wanted = wanted
        self._most_behind = (feed.newest - after) + feed.history
        self.newest = feed.newest  # when the subscription began
        self.after = after

    @property
    def too_far_behind(self) -> bool:
        """True once the reader is further behind than at its start, by more than the feed keeps in memory."""
        return self._feed.newest - self.after > self._most_behind

    async def next(self) -> list[JobEvent]:
        """Wait for events that pass the filter and return them in order. A cancelled call loses nothing.

        Raise CursorGone when events were pruned before they were read.
        """
        while True:
            await self._feed.wait_beyond(self.after)
            newest = self._feed.newest
            events = await self._feed.read(self.after)
            self.after = events[-1].seq if events else newest  # all were removed with their jobs
            if wanted := [event for event in events if self._wanted(event)]:
                return wanted
