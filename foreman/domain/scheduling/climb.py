"""The climb: how many jobs a target should run together, found from its speed; no I/O, no clock.

The numbers are rungs of a ladder: each one up to 8, then a quarter more each time. The target's speed is measured over
windows of ended jobs, at one rung each. `home` is the lowest rung whose speed is nearly the best one known. Rungs next
to it are tried: unknown ones at once, known ones again after pauses that grow while nothing changes. Where speed falls
steeply above home, numbers between two rungs are tried too.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

MOST = 1024  # jobs together
LEAST_JOBS = 20  # ended jobs of a window; as many as there are slots, if these are more
FULL = 0.8  # the part of the slots that had a job, on average, in a window that counts
NEARLY = 0.98  # of the best speed: fewer jobs together at this speed are better, since each one is answered sooner
UPWARDS, DOWNWARDS = 0.9, 0.8  # of the speed of the rung before, at which the search for unknown rungs goes on
FLOOR = 0.75  # of the best speed, at which it goes on too
BEYOND = 3  # rungs above home up to which it goes on
NARROW = 0.05  # of home: the width of a gap below a steep fall that is not searched any more
STANDSTILL = 1e-3  # tokens a second: a slower speed is compared with nothing
KEPT = 0.5  # of a known speed when its rung is measured again
SLOW = 3.0  # times the best wait for the first chunk: a brake
UNNOTICED = 1.0  # seconds: a first chunk that comes sooner is never a brake
EASED = 1.1  # by which the best wait for the first chunk grows with each window, as prompts may have become longer
LONGEST_PAUSE = 32  # windows


def _ladder() -> Sequence[int]:
    rungs = list(range(1, 9))
    while rungs[-1] < MOST:
        rungs.append(min(MOST, -(-rungs[-1] * 5 // 4)))
    return rungs


RUNGS = _ladder()


def above(slots: int) -> int:
    """Return the rung above a number; MOST has none and is returned itself."""
    return RUNGS[min(bisect_right(RUNGS, slots), len(RUNGS) - 1)]


def below(slots: int) -> int:
    """Return the rung below a number; 1 has none and is returned itself."""
    return RUNGS[max(0, bisect_left(RUNGS, slots) - 1)]


def size(slots: int) -> int:
    """Return how many jobs end in a window."""
    return max(LEAST_JOBS, slots)


@dataclass(frozen=True, slots=True)
class Window:
    """What was measured while all slots had jobs of the same model."""

    speed: float  # answer tokens per second, of all jobs together
    first: float  # seconds until the first chunk, which nine of ten jobs did not exceed


@dataclass(frozen=True, slots=True)
class Climb:
    """The state of the search for one target. It is a value: each step returns another one."""

    slots: int = 1  # to have now
    home: int = 1  # the best number known
    speeds: Mapping[int, float] = field(default_factory=dict)  # by number
    ceiling: int | None = None  # the number at which the target braked; not tried until the pause is over
    first: float | None = None  # the best wait for the first chunk, in seconds
    slow: bool = False  # the latest window had to wait too long for the first chunk
    pause: int = 1  # windows at home between two tries
    wait: int = 1  # windows until the next try
    upwards: bool = True  # the next try goes up

    @classmethod
    def at(cls, slots: int) -> Climb:
        """Return a climb that begins at a number, as far as there may be so many."""
        slots = max(1, min(MOST, slots))
        return cls(slots, slots)

    def forget(self) -> Climb:
        """Return the climb for jobs of another model, whose speeds cannot be compared: it measures anew at home."""
        return replace(self, slots=self.home, speeds={}, first=None, slow=False)

    def refused(self) -> Climb:
        """Return the climb after the target has refused a job: fewer jobs, down to 1."""
        return self._brake()

    def measured(self, window: Window, most: int = MOST) -> Climb:
        """Return the climb after a full window; it never goes up beyond `most`."""
        too_slow = self._too_slow(window)
        if too_slow and not self.slow and self.slots > 1:
            return replace(self._brake(), slow=True)
        # Fewer jobs have not helped against a slow beginning: the prompts are longer, and that is the usual wait now.
        best = window.first if too_slow or self.first is None else min(window.first, self.first * EASED)
        speeds = self._learned(window.speed)
        peak = max(speeds, key=lambda slots: (speeds[slots], -slots))
        home = min(slots for slots in speeds if speeds[slots] >= NEARLY * speeds[peak])
        moved = home != self.home
        learned = replace(
            self,
            speeds=speeds,
            home=home,
            ceiling=None if self.slots > self.home else self.ceiling,  # more went well: there may be even more
            first=best,
            slow=False,
            pause=1 if moved else self.pause,
        )
        return learned._go_on(min(most, MOST), tried=self.slots != self.home and not moved)

    def _too_slow(self, window: Window) -> bool:
        return self.first is not None and window.first > max(UNNOTICED, SLOW * self.first)

    def _learned(self, speed: float) -> dict[int, float]:
        """Return the speeds with a new one. At home, what has changed there is taken to have changed everywhere."""
        known = self.speeds.get(self.slots)
        if known is None or min(known, speed) < STANDSTILL:
            return {**self.speeds, self.slots: speed}
        mean = KEPT * known + (1 - KEPT) * speed
        if self.slots != self.home:
            return {**self.speeds, self.slots: mean}
        return {slots: other * mean / known for slots, other in self.speeds.items()}

    def _go_on(self, most: int, *, tried: bool) -> Climb:
        """Return the climb with its next number; `tried` means that a try has just changed nothing."""
        if new := self._unknown(most):
            return replace(self, slots=new)
        if tried:
            pause = min(LONGEST_PAUSE, 2 * self.pause)
            return replace(self, slots=self.home, pause=pause, wait=pause)
        if self.wait > 1:
            return replace(self, slots=self.home, wait=self.wait - 1)
        return self._try(most)

    def _unknown(self, most: int) -> int | None:
        """Return a number to measure for the first time: further up, further down, or just below a steep fall."""
        limit = most if self.ceiling is None else min(most, self.ceiling - 1)
        up = self._walk(above, UPWARDS, BEYOND)
        if up is not None and up <= limit:
            return up
        if (down := self._walk(below, DOWNWARDS, len(RUNGS))) is not None:
            return down
        higher = min((slots for slots in self.speeds if slots > self.home), default=self.home)
        falls = self.speeds.get(higher, 0.0) < UPWARDS * self.speeds[self.home]
        if falls and higher - self.home > max(1.0, NARROW * self.home):
            return min((self.home + higher) // 2, most)
        return None

    def _walk(self, step: Callable[[int], int], least: float, most: int) -> int | None:
        """Return the first unknown rung from home on, up to `most` rungs further than home while speed hardly falls."""
        slots, floor = self.home, FLOOR * max(self.speeds.values())
        for _ in range(most + 1):
            following = step(slots)
            if following == slots:
                return None
            if following not in self.speeds:
                return following
            if self.speeds[following] < max(floor, least * self.speeds[slots]):
                return None
            slots = following
        return None

    def _try(self, most: int) -> Climb:
        """Return the climb that tries a number next to home once more, up and down by turns."""
        again = replace(self, wait=self.pause)
        up = min((slots for slots in self.speeds if slots > self.home), default=above(self.home))
        down = max((slots for slots in self.speeds if slots < self.home), default=below(self.home))
        if self.ceiling is not None and up >= self.ceiling:
            up = max(self.home + 1, (self.home + self.ceiling) // 2)
        if self.home < up <= most and (self.upwards or down == self.home):
            return replace(again, slots=up, upwards=False)
        return replace(again, slots=down, upwards=True)

    def _brake(self) -> Climb:
        """Return the climb with fewer slots, and without what was learned of as many or more."""
        if self.slots == 1:
            return self
        pause = min(LONGEST_PAUSE, 2 * self.pause)
        fewer = below(self.slots)
        home = min(self.home, fewer)
        speeds = {slots: speed for slots, speed in self.speeds.items() if slots < self.slots}
        return replace(
            self,
            slots=home,
            home=home,
            speeds=speeds,
            ceiling=self.slots,
            pause=pause,
            wait=pause,
            upwards=True,
        )
