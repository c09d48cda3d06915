"""The memory budget for all bodies and answers in flight."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Protocol
from weakref import WeakKeyDictionary, ref

import trio

from foreman.domain.errors import MemoryFull

SMALL = 64 * 2**10  # bytes; leases up to this size are not counted, so that small requests pass a full budget
GRACE = 10.0  # seconds that memory may be held for a client alone while others need it


class Budget:
    """A budget of bytes, from which every body and answer takes a lease.

    A lease never waits for room. One that finds none is refused or requeued, and gives up all that it holds, so leases
    cannot deadlock. Memory held for a slow client alone is taken away when others need it.
    """

    def __init__(self, limit: int = sys.maxsize, *, grace: float = GRACE) -> None:
        """Create a budget of `limit` bytes; `grace` is the time in seconds that a slow client may keep its memory."""
        self.limit = limit
        self.grace = grace
        self.used = 0  # bytes counted now
        self._lent: WeakKeyDictionary[Lease, float] = WeakKeyDictionary()  # leases to give way, with the time, in order

    def lease(self) -> Lease:
        """Return a new lease of zero bytes."""
        return Lease(self)

    def lend(self, lease: Lease) -> None:
        """Let a lease give way after `grace` seconds."""
        self._lent.pop(lease, None)
        self._lent[lease] = trio.current_time()

    def keep(self, lease: Lease) -> None:
        """Stop a lease from giving way."""
        if self._lent:
            self._lent.pop(lease, None)

    def make_room(self, more: int, lease: Lease) -> None:
        """Take away the leases held longest for clients, until `lease` finds room for `more` bytes or none is left.

        The longest held belongs to the slowest client, since the size of each is bounded.
        """
        for other, since in list(self._lent.items()):
            if self.used + more <= self.limit or trio.current_time() - since < self.grace:
                break
            if other is not lease:
                other.take_away()


class Holder(Protocol):
    """What holds bytes for a client alone."""

    def let_go(self) -> None:
        """Drop what is held: its bytes are taken away."""


class Lease:
    """The bytes held by one request, attempt or answer. Freed at the end of its context, or with the object."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._counted = 0
        self._holder: ref[Holder] | None = None  # while it gives way
        self.size = 0  # bytes held

    @property
    def limit(self) -> int:
        """Return the limit in bytes for all leases together."""
        return self._budget.limit

    def grow(self, more: int) -> None:
        """Hold `more` bytes in addition. Raise MemoryFull, with the size unchanged, when there is no room."""
        self.resize(self.size + more)

    def resize(self, size: int, *, insist: bool = False) -> None:
        """Hold `size` bytes. Raise MemoryFull, with the size unchanged, when there is no room; `insist` exceeds it."""
        counted = size if size > SMALL else 0
        if counted > self._counted:
            try:
                self._find_room(counted)
            except MemoryFull:
                if not insist:
                    raise
        elif counted == self._counted == 0:
            self.size = size
            return
        before, self._counted, self.size = self._counted, counted, size
        self._budget.used += counted - before
        if self._holder and bool(counted) != bool(before):
            self._lend()

    def check(self, size: int) -> None:
        """Raise MemoryFull when there is no room for `size` bytes now."""
        self._find_room(size if size > SMALL else 0)

    def give_way(self, holder: Holder) -> None:
        """Hold the bytes for a client alone from now on; the holder lets go when they are taken away."""
        self._holder = ref(holder)
        if self._counted:
            self._budget.lend(self)

    def keep(self) -> None:
        """Stop giving way: the bytes serve more than a client again."""
        self._holder = None
        if self._counted:
            self._budget.keep(self)

    def take_away(self) -> None:
        """Free the bytes and have the holder of `give_way` let go."""
        holder = self._holder and self._holder()
        self.keep()
        self.free()
        if holder:
            holder.let_go()

    def free(self) -> None:
        """Free the bytes."""
        self.resize(0)

    def _lend(self) -> None:
        if self._counted:
            self._budget.lend(self)
        else:
            self._budget.keep(self)

    def _find_room(self, counted: int) -> None:
        more = counted - self._counted
        if more > 0 and self._budget.used + more > self._budget.limit >= counted:
            self._budget.make_room(more, self)
        if more > 0 and self._budget.used + more > self._budget.limit:
            raise MemoryFull(counted, self._budget.limit)

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.keep()
        self.free()

    def __del__(self) -> None:
        self._budget.used -= self._counted
