"""The budget: how many bytes all bodies and answers in flight may take together."""

from __future__ import annotations

import sys
from types import TracebackType

from foreman.errors import MemoryFull

SMALL = 64 * 2**10  # bytes of one lease that are not counted, so that what is small passes when nothing else does


class Budget:
    """Bytes, of which whoever holds a body or an answer takes a lease.

    Nobody ever waits for room: what finds none is refused or put back, and gives up all that it holds. So nothing
    stands still, and of several that find no room together the last one goes on.
    """

    def __init__(self, limit: int = sys.maxsize) -> None:
        self.limit = limit
        self.used = 0  # bytes counted now

    def lease(self) -> Lease:
        """Begin to hold something, of which there is nothing yet."""
        return Lease(self)


class Lease:
    """What one request, attempt or answer holds. It ends with its context, or with itself."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._counted = 0
        self.size = 0  # bytes held

    def grow(self, more: int) -> None:
        """Hold `more` bytes than before. Raises MemoryFull, and then holds what it held."""
        self.resize(self.size + more)

    def resize(self, size: int) -> None:
        """Hold `size` bytes. Raises MemoryFull, and then holds what it held."""
        counted = size if size > SMALL else 0
        more = counted - self._counted
        if more > 0 and self._budget.used + more > self._budget.limit:
            raise MemoryFull(counted, self._budget.limit)
        self._budget.used += more
        self._counted, self.size = counted, size

    def free(self) -> None:
        """Hold nothing any more."""
        self.resize(0)

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.free()

    def __del__(self) -> None:
        self.free()
