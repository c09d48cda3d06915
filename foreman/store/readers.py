"""The reader threads: reads run on a few connections, never on the event loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import trio

from foreman.domain.errors import StoreBroken, StoreLost, StoreUnavailable
from foreman.store.protocol import Reader

T = TypeVar("T")

READERS = 3  # enough that a long list does not block short reads


class Source(Protocol):
    """A source of readers."""

    def reader(self) -> Reader:
        """Return a reader with a connection of its own."""
        ...


class Readers:
    """A pool of readers that run in threads, one connection per read."""

    def __init__(
        self, source: Source, count: int = READERS, *, broken: Callable[[StoreBroken], None] = lambda error: None
    ) -> None:
        """Open `count` readers; `broken` is called when a read finds the database broken."""
        self._broken = broken
        self._free = [source.reader() for _ in range(count)]
        self._limiter = trio.CapacityLimiter(count)

    async def read(self, question: Callable[[Reader], T]) -> T:
        """Return the result of `question`, called with a reader. A cancelled read keeps its connection until it ends.

        Raises:
            StoreBusy: Another program keeps the database locked.
            StoreLost: The database is broken.
        """

        def ask() -> T:
            reader = self._free.pop()
            try:
                with reader.snapshot():
                    return question(reader)
            finally:
                self._free.append(reader)

        try:
            return await trio.to_thread.run_sync(ask, limiter=self._limiter)
        except StoreBroken as error:
            self._broken(error)
            raise StoreLost from error

    async def insist(self, question: Callable[[Reader], T]) -> T:
        """Return the result of `question`, retried until the store can be read; for tasks without a caller."""
        while True:
            try:
                return await self.read(question)
            except StoreUnavailable as error:
                await trio.sleep(error.retry_after)
