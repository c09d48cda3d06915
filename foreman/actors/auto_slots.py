"""Slots that find their own number: measures how fast a target works, and steers the climb."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import structlog
import trio

from foreman.actors.attempt import Attempt
from foreman.actors.metrics import Attempted
from foreman.domain.errors import ForemanError, NotLoaded, TargetBusy
from foreman.domain.job import LoadKey
from foreman.domain.scheduling.climb import FULL, MOST, Climb, Window, size
from foreman.queue.commands import Note

log = structlog.get_logger()

NOTE = "slots"  # and the target's name: the note with the number found


def note_of(target: str) -> str:
    """Return the name of the note in which the number found for a target outlives restarts."""
    return f"{NOTE} {target}"


def read_note(note: str | None) -> int:
    """Return the number of a note; 1 without one that can be read."""
    return max(1, min(MOST, int(note))) if note and note.isascii() and note.isdigit() else 1


@dataclass(slots=True)
class _Open:
    """A window under way."""

    key: LoadKey
    since: float
    chunks: int  # that the jobs running at its beginning had got by then
    seen: float  # until when `held` is summed
    together: int  # jobs since then
    held: float = 0.0  # slot seconds with a job
    jobs: int = 0  # that have ended
    tokens: int = 0  # of these
    said: int = 0  # chunks of these
    firsts: list[float] = field(default_factory=list)

    def pass_to(self, now: float, together: int) -> None:
        self.held += self.together * (now - self.seen)
        self.seen, self.together = now, together

    def close(self, slots: int, chunks: int) -> Window | None:
        """Return what was measured, with the chunks of the jobs that still run; None if slots were empty."""
        seconds = self.seen - self.since
        if seconds <= 0 or not self.said or self.held < FULL * slots * seconds:
            return None
        # Jobs end in lumps. What those under way have got counts too, a chunk for as much as in the jobs that ended.
        each = self.tokens / self.said if self.tokens else 1.0
        answered = (self.tokens or self.said) + each * (chunks - self.chunks)
        ordered = sorted(self.firsts)
        return Window(max(0.0, answered) / seconds, ordered[math.ceil(0.9 * len(ordered)) - 1])


class AutoSlots:
    """The number of slots of one target: a fixed one, or, while `on`, one that it finds.

    A window begins when as many jobs run as there are slots, and counts if these were full from then on, with jobs of
    one load key and no load among them.
    """

    def __init__(
        self,
        name: str = "",
        *,
        on: bool = False,
        slots: int = 1,
        most: Callable[[LoadKey], int | None] = lambda key: None,
    ) -> None:
        """Begin with a number of slots for the target `name`.

        `most` returns how many jobs of a key its server takes together, where that is known.
        """
        self.name = name
        self.on = on
        self._most = most
        self._climb = Climb.at(slots)
        self._fixed = slots
        self._key: LoadKey | None = None  # of the window before
        self._window: _Open | None = None
        self._braked_at = -math.inf
        self._noted = self.found

    @property
    def slots(self) -> int:
        """Return how many slots the target is to have now."""
        return self._climb.slots if self.on else self._fixed

    @property
    def found(self) -> int:
        """Return the best number known."""
        return self._climb.home if self.on else self._fixed

    def change(self, slots: int | None) -> None:
        """Have a fixed number of slots; None finds one, from the number before on."""
        if slots is None and not self.on:
            self._climb = Climb.at(self._fixed)
        self.on = slots is None
        self._fixed = slots or self._fixed
        self._window = None

    def news(self) -> Note | None:
        """Return the command that keeps a number found since the last one; None without such a number."""
        if not self.on or self.found == self._noted:
            return None
        self._noted = self.found
        return Note(name=note_of(self.name), value=str(self.found))

    def began(self, running: Collection[Attempt]) -> None:
        """Record that a job has got a slot; `running` has all that run."""
        if self.on:
            self._look(running)

    def ended(
        self, attempt: Attempt, figures: Attempted, error: ForemanError | None, left: Collection[Attempt]
    ) -> None:
        """Take an attempt that has ended into account; `left` has those that still run."""
        if not self.on:
            return
        before = self.slots
        if isinstance(error, TargetBusy):
            if not isinstance(error, NotLoaded):
                self._refused(attempt)
        elif self._window is not None:
            self._count(self._window, attempt, figures, left)
        self._look(left)
        if self.slots != before:
            log.debug("other number of slots", target=self.name, slots=self.slots, best=self.found)

    def _refused(self, attempt: Attempt) -> None:
        """Brake, once for all jobs that were sent before it could have an effect."""
        self._window = None
        if attempt.started > self._braked_at:
            self._braked_at = trio.current_time()
            self._climb = self._climb.refused()

    def _count(
        self,
        window: _Open,
        attempt: Attempt,
        figures: Attempted,
        left: Collection[Attempt],
    ) -> None:
        if attempt.had_to_load or attempt.job.key != window.key:
            self._window = None
            return
        window.pass_to(trio.current_time(), len(left))
        if figures.outcome != "done" or attempt.first_chunk is None:
            window.chunks -= attempt.chunks  # as if it were still there
            return
        window.jobs += 1
        window.tokens += figures.answer_tokens
        window.said += attempt.chunks
        window.firsts.append(attempt.first_chunk)
        if window.jobs < size(self.slots):
            return
        self._window = None
        measured = window.close(self.slots, sum(one.chunks for one in left))
        if measured is not None:
            most = self._most(window.key)
            self._climb = self._climb.measured(measured, MOST if most is None else most)

    def _look(self, running: Collection[Attempt]) -> None:
        """Go on with the window, or begin one if exactly as many jobs run as there are slots."""
        now = trio.current_time()
        if self._window is not None:
            self._window.pass_to(now, len(running))
            return
        keys = {attempt.job.key for attempt in running}
        if len(running) != self.slots or len(keys) != 1:
            return
        key = keys.pop()
        if key != self._key:
            self._climb, self._key = self._climb.forget(), key
            if len(running) != self.slots:  # it measures at home first
                return
        self._window = _Open(key, now, sum(one.chunks for one in running), now, len(running))
