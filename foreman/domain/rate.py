"""How often a caller may do something: so many a minute, after a burst; no I/O, no clock."""

from __future__ import annotations

CALLERS = 10_000  # that are kept apart; what is more costs memory
SLACK = 1e-6  # seconds; sums of many small pauses are not exact


class Rate:
    """A bucket for each caller, which holds `burst` at most and is filled with `a_minute` a minute.

    Of each bucket only the time is kept at which it will be full again (ITU-T I.371, the generic cell rate algorithm).
    One that is full is like one that was never used, so that it can be forgotten.
    """

    def __init__(self, a_minute: int, burst: int, *, callers: int = CALLERS) -> None:
        self._pause = 60 / a_minute  # seconds until one more
        self._span = self._pause * burst
        self._most = callers
        self._full_at: dict[str, float] = {}

    def take(self, caller: str, now: float) -> float:
        """Take one and return 0.0; or return the seconds until there is one, with nothing taken.

        `now` is in seconds, of a clock that does not go back.
        """
        full_at = max(now, self._full_at.get(caller, now)) + self._pause
        wait = full_at - now - self._span
        if wait > SLACK:
            return wait
        if caller not in self._full_at and len(self._full_at) >= self._most:
            self._forget(now)
        self._full_at[caller] = full_at
        return 0.0

    def _forget(self, now: float) -> None:
        """Drop the buckets that are full; where that is not half of all, the fullest ones too."""
        kept = sorted((at, caller) for caller, at in self._full_at.items() if at > now)
        self._full_at = {caller: at for at, caller in kept[-(self._most // 2) :]}
