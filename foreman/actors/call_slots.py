"""Call slots: bound the calls past the queue and share them fairly between models."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


class CallSlots:
    """`total` call slots; the next free one goes to the waiting model that holds the fewest.

    A model that holds none gets an extra slot even when all are taken, so that calls of a hanging model do not block
    the others. There are at most `total` extra slots.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._taken: Counter[str] = Counter()
        self._waiting: dict[str, deque[trio.Event]] = {}

    def resize(self, total: int) -> None:
        """Have `total` slots; a slot too many goes when its call has ended."""
        self._total = total
        self._give()

    @asynccontextmanager
    async def hold(self, model: str) -> AsyncIterator[None]:
        """Wait for a slot, and hold it within this context."""
        turn = trio.Event()
        self._waiting.setdefault(model, deque()).append(turn)
        self._give()
        try:
            await turn.wait()
            yield
        finally:
            if turn.is_set():
                self._taken[model] -= 1
                self._taken += Counter()  # drops models that hold no slot
                self._give()
            else:
                self._waiting[model].remove(turn)
                if not self._waiting[model]:
                    del self._waiting[model]

    def _give(self) -> None:
        taken = self._taken.total()
        while self._waiting:
            model = min(self._waiting, key=self._taken.__getitem__)
            if taken >= self._total and (self._taken[model] or taken >= 2 * self._total):
                return
            self._waiting[model].popleft().set()
            if not self._waiting[model]:
                del self._waiting[model]
            self._taken[model] += 1
            taken += 1
