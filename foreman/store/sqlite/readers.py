"""The reader threads: a few connections, each read on one of them, never on the event loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import trio

from foreman.domain.errors import StoreBroken, StoreLost, StoreUnavailable
from foreman.store.protocol import Reader

T = TypeVar("T")

READERS = 3  # enough that one long list does not hold up the short reads


class Source(Protocol):
    def reader(self) -> Reader: ...


class Readers:
    """Runs reads in threads, each with a connection that no other thread uses meanwhile."""

    def __init__(
        self, source: Source, count: int = READERS, *, broken: Callable[[StoreBroken], None] = lambda error: None
    ) -> None:
        """`broken` is told when a read finds the database broken."""
        self._broken = broken
        self._free = [source.reader() for _ in range(count)]
        self._limiter = trio.CapacityLimiter(count)

    async def read(self, question: Callable[[Reader], T]) -> T:
        """Ask one question; a cancelled one holds its connection until its thread has ended.

        Raises StoreBusy while another program keeps the database locked, StoreLost when it is broken.
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
        """Ask one question, again until the store can be read: for those who have nobody to tell."""
        while True:
            try:
                return await self.read(question)
            except StoreUnavailable as error:
                await trio.sleep(error.retry_after)
