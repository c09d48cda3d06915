"""Rate limits by caller: a number per minute plus a burst; no I/O, no clock."""

from __future__ import annotations

CALLERS = 10_000  # callers tracked one by one, to bound memory
SLACK = 1e-6  # seconds; sums of many small floats are not exact


class Rate:
    """A token bucket per caller: it holds `burst` tokens and gains `a_minute` tokens a minute; 0 is no limit.

    Each bucket is stored as the time at which it will be full again (ITU-T I.371, the generic cell rate algorithm). A
    full bucket equals an unused one and can be dropped.
    """

    def __init__(self, a_minute: int, burst: int, *, callers: int = CALLERS) -> None:
        self._most = callers
        self._full_at: dict[str, float] = {}
        self.change(a_minute, burst)

    def change(self, a_minute: int, burst: int) -> None:
        """Go on with other limits; a `burst` of 0 is as much as `a_minute`."""
        self.a_minute = a_minute
        self._pause = 60 / a_minute if a_minute else 0.0  # seconds until one more
        self._span = self._pause * (burst or a_minute)

    def take(self, caller: str, now: float) -> float:
        """Take one token and return 0.0, or take none and return the seconds until the next.

        `now` is in seconds of a monotonic clock.
        """
        if not self._pause:
            return 0.0
        full_at = max(now, self._full_at.get(caller, now)) + self._pause
        wait = full_at - now - self._span
        if wait > SLACK:
            return wait
        if caller not in self._full_at and len(self._full_at) >= self._most:
            self._forget(now)
        self._full_at[caller] = full_at
        return 0.0

    def left(self, caller: str, now: float) -> int:
        """Return how many tokens `take` would give at once; 0 also where there is no limit."""
        if not self._pause:
            return 0
        taken = max(0.0, self._full_at.get(caller, now) - now)
        return int((self._span - taken + SLACK) / self._pause)

    @property
    def burst(self) -> int:
        """Return how many tokens a full bucket holds."""
        return round(self._span / self._pause) if self._pause else 0

    def _forget(self, now: float) -> None:
        """Drop the full buckets, then the fullest ones until half of the limit is free."""
        kept = sorted((at, caller) for caller, at in self._full_at.items() if at > now)
        self._full_at = {caller: at for at, caller in kept[-(self._most // 2) :]}
