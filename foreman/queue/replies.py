"""The answers to messages: each is settled once, and awaited by at most one task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import trio

from foreman.domain.errors import ForemanError

T = TypeVar("T")


class Reply(Generic[T]):
    """The answer to one message: settled once, awaited by at most one task."""

    __slots__ = ("_done", "_given_up", "_outcome", "_taken", "_waiting")

    def __init__(self) -> None:
        self._done = False
        self._taken = self._given_up = False
        self._outcome: T | ForemanError | None = None
        self._waiting: trio.lowlevel.Task | None = None  # itself: an event for each message takes longer

    def settle(self, outcome: T | ForemanError) -> None:
        """Set the answer, or the error to raise, and wake the waiting task. A later answer takes its place."""
        self._outcome = outcome
        self._done = True
        self._wake()

    @property
    def outcome(self) -> T | ForemanError | None:
        """Return the answer or error it was settled with; None before that."""
        return self._outcome

    @property
    def settled(self) -> bool:
        """Return True once it has an answer."""
        return self._done

    @property
    def comes(self) -> bool:
        """Return True while the message is being applied, and may be stored, although its sender may have given up."""
        return self._taken and not self._done

    def take(self) -> bool:
        """Have the message applied; return False if its sender has given up. Call it in the writer's thread."""
        self._taken = True  # before the look at the other's mark, as in `give_up`: one of the two sees the other's
        return not self._given_up

    def give_up(self) -> bool:
        """Have the message not applied; return False if it may be all the same. Call it on the event loop."""
        self._given_up = True
        return not self._taken

    async def wait(self) -> T:
        """Return the answer. Raise the ForemanError it was settled with."""
        if self._done:
            await trio.lowlevel.checkpoint()
        else:
            await self._sleep()
        return self._answer()

    def _answer(self) -> T:
        if isinstance(self._outcome, ForemanError):
            raise self._outcome
        return self._outcome  # type: ignore[return-value]

    async def _sleep(self) -> None:
        self._waiting = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._leave)

    def _wake(self) -> None:
        if self._waiting is not None:
            trio.lowlevel.reschedule(self._waiting)
            self._waiting = None

    def _leave(self, _: object) -> trio.lowlevel.Abort:
        self._waiting = None
        return trio.lowlevel.Abort.SUCCEEDED


class ClaimReply(Reply[T | None]):
    """The answer to a claim, which may be lent while its commit is under way."""

    __slots__ = ("_lent", "undo", "undone", "waits_for_end")

    def __init__(self) -> None:
        super().__init__()
        self._lent: T | None = None
        self.waits_for_end = False  # True when the commit of a lent answer waits for the end of the attempt
        self.undone = False  # True once that commit has failed
        self.undo: Callable[[], None] | None = None  # called when the commit of a lent answer has failed

    def lend(self, work: T) -> None:
        """Give the work before it is on disk; `settle` decides whether it stays."""
        self._lent = work
        self._wake()

    def settle(self, outcome: T | ForemanError | None) -> None:
        """Set the answer: the work that was lent, or None when its commit has failed."""
        super().settle(outcome)
        if outcome is None and self.undo is not None:
            self.undo()

    async def first(self) -> T | None:
        """Return the answer, or the work that is lent until then; `wait` returns once it is on disk."""
        if not self._done and self._lent is None:
            await self._sleep()
        return self._answer() if self._done else self._lent

    async def stays(self) -> bool:
        """Return False when the commit of the work has failed; wait for it, unless it waits for the attempt."""
        if self.waits_for_end and not self._done:
            return True
        return (self._outcome or await self.wait()) is not None
