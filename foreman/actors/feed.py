"""The feed: every change in order, the latest from memory and the older from the store. A subscriber is a cursor."""

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
from foreman.store.sqlite.readers import Readers
from foreman.turnstile import Turnstile

PAGE = 500  # changes read at once


class Feed:
    """Keeps the last `history` changes in memory."""

    def __init__(self, readers: Readers, *, history: int, newest: int) -> None:
        """`newest` is the store's newest seq."""
        self._readers = readers
        self._kept: deque[JobEvent] = deque(maxlen=history)
        self._news = trio.Event()
        self._turns = Turnstile()
        self.subscriptions: WeakSet[Subscription] = WeakSet()  # the readers there are
        self.history = history
        self.newest = newest

    def on_commit(self, commit: Commit) -> None:
        if commit.events:
            self._kept.extend(commit.events)
            self.newest = commit.events[-1].seq
            self._news.set()
            self._news = trio.Event()

    async def wait_beyond(self, seq: int) -> None:
        """Return when there are changes after `seq`; of many who wait, some at a time."""
        while self.newest <= seq:
            await self._news.wait()
        await self._turns.enter()

    async def oldest(self) -> int:
        """The first seq after which nothing has been pruned."""
        return await self._readers.read(lambda store: store.horizon()) + 1

    async def check(self, after: int) -> None:
        """Raises CursorGone when changes after `after` were pruned, QueryInvalid when there never was such a seq."""
        if after > self.newest:
            raise QueryInvalid("after", after, f"must be a seq up to {self.newest}, the newest")
        oldest = await self.oldest()
        if after < oldest - 1:
            raise CursorGone(after, oldest)

    async def read(self, after: int) -> list[JobEvent]:
        """Up to a page of the changes after `after`, oldest first; empty when there are none yet, or no longer any.

        Raises CursorGone when some of them were pruned.
        """
        if after >= self.newest:
            return []
        kept = self._kept
        if kept and kept[0].seq <= after + 1:
            # Near its end a deque is found into at once, and that is where most readers are.
            start = bisect_right(kept, after, key=lambda event: event.seq)
            return [kept[place] for place in range(start, min(len(kept), start + PAGE))]

        def older(store: Reader) -> list[JobEvent]:
            if after < store.horizon():  # pruned since this reader came
                raise CursorGone(after, store.horizon() + 1)
            return store.events(after=after, limit=PAGE)

        return await self._readers.read(older)


class Subscription:
    """One reader's place in the feed, with what it wants to hear of."""

    def __init__(self, feed: Feed, after: int, wanted: Callable[[JobEvent], bool]) -> None:
        feed.subscriptions.add(self)
        self._feed = feed
        self._wanted = wanted
        self._timeout = (feed.newest - after) + feed.history
        self.newest = feed.newest  # when the reader came
        self.after = after

    @property
    def too_far_behind(self) -> bool:
        """Whether the reader has fallen further behind than it was when it came, by more than the feed remembers."""
        return self._feed.newest - self.after > self._timeout

    async def next(self) -> list[JobEvent]:
        """The next changes this reader wants, in order; waits for some. A cancelled call loses nothing.

        Raises CursorGone when they were pruned before it came to them.
        """
        while True:
            await self._feed.wait_beyond(self.after)
            newest = self._feed.newest
            events = await self._feed.read(self.after)
            self.after = events[-1].seq if events else newest  # all of them went with the jobs they were of
            if wanted := [event for event in events if self._wanted(event)]:
                return wanted
