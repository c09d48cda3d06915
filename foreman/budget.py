"""The budget: how many bytes all bodies and answers in flight may take together."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import TracebackType
from weakref import WeakKeyDictionary, WeakMethod

import trio

from foreman.domain.errors import MemoryFull

SMALL = 64 * 2**10  # bytes of one lease that are not counted, so that what is small passes when nothing else does
GRACE = 10.0  # seconds that room may be held for a client alone while others find none


class Budget:
    """Bytes, of which whoever holds a body or an answer takes a lease.

    Nobody ever waits for room: what finds none is refused or put back, and gives up all that it holds. So nothing
    stands still, and of several that find no room together the last one goes on. Nor does anybody wait for a slow
    client: what is held for one alone is taken away when others need it.
    """

    def __init__(self, limit: int = sys.maxsize, *, grace: float = GRACE) -> None:
        """`grace` is for how many seconds a client may take its time whatever others need."""
        self.limit = limit
        self.grace = grace
        self.used = 0  # bytes counted now
        self._lent: WeakKeyDictionary[Lease, float] = WeakKeyDictionary()  # that give way, since when, in this order

    def fence(self) -> Lease:
        """Begin to hold something, of which there is nothing yet."""
        return Lease(self)

    def lend(self, fence: Lease) -> None:
        """Have a lease give way once `grace` is over."""
        self._lent.pop(fence, None)
        self._lent[fence] = trio.current_time()

    def keep(self, fence: Lease) -> None:
        """Have it give way no more."""
        self._lent.pop(fence, None)

    def make_room(self, more: int, fence: Lease) -> None:
        """Take away what was held for clients the longest, until `lease` finds room for `more` bytes or none is left.

        Who held it the longest is the slowest: there is a bound to the size of all of them.
        """
        for other, since in list(self._lent.items()):
            if self.used + more <= self.limit or trio.current_time() - since < self.grace:
                break
            if other is not fence:
                other.take_away()


class Lease:
    """What one request, attempt or answer holds. It ends with its context, or with itself."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._counted = 0
        self._cut: WeakMethod[Callable[[], None]] | None = None
        self.size = 0  # bytes held

    @property
    def limit(self) -> int:
        """Bytes that all may hold together."""
        return self._budget.limit

    def grow(self, more: int) -> None:
        """Hold `more` bytes than before. Raises MemoryFull, and then holds what it held."""
        self.resize(self.size + more)

    def resize(self, size: int, *, insist: bool = False) -> None:
        """Hold `size` bytes. Raises MemoryFull, and then holds what it held; to `insist` is to hold them anyhow."""
        counted = size if size > SMALL else 0
        try:
            self._find_room(counted)
        except MemoryFull:
            if not insist:
                raise
        before, self._counted, self.size = self._counted, counted, size
        self._budget.used += counted - before
        if self._cut and bool(counted) != bool(before):
            self._lend()

    def check(self, size: int) -> None:
        """Raise MemoryFull when there is no room for `size` bytes now."""
        self._find_room(size if size > SMALL else 0)

    def give_way(self, cut: Callable[[], None]) -> None:
        """Hold it for the sake of a client alone from now on: `cut`, a method, is called when others took it away."""
        self._cut = WeakMethod(cut)
        self._lend()

    def keep(self) -> None:
        """Hold it for more than a client again."""
        self._cut = None
        self._budget.keep(self)

    def take_away(self) -> None:
        """Hold nothing any more, and tell whoever held it."""
        cut = self._cut and self._cut()
        self.keep()
        self.free()
        if cut:
            cut()

    def free(self) -> None:
        """Hold nothing any more."""
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
