"""Forecasts learned from successful jobs: durations of jobs and loads, and the times at which slots are free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

WEIGHT = 0.2  # of the newest job in each average
OVERTIME = 0.1  # expected rest of an overdue job, as a fraction of its time so far
LENGTHS = 4096  # pairs of load key and length kept
RECENT = 200  # of them in the typical values


@dataclass(frozen=True, slots=True)
class Pace:
    """Averages over the jobs of one load key, or over those of similar length."""

    seconds: float  # from the request to the end of the answer
    load: float | None = None  # seconds to load it; None: never loaded yet
    tokens: float | None = None  # of an answer
    rate: float | None = None  # tokens per second of an answer


Paces = dict[tuple[str, int | None], Pace]  # by load key and length; None: of any length


def learn(
    paces: Paces, key: str, *, most_tokens: int | None, seconds: float, load: float | None, tokens: int
) -> dict[tuple[str, int | None], Pace]:
    """Return the paces updated with one more successful job.

    `most_tokens` limited its answer, `tokens` is the length of the answer (0: unknown), `seconds` excludes `load`.
    """
    known = dict(paces)
    for name in {(key, None), (key, _length(most_tokens))}:
        last = known.pop(name, None) or Pace(seconds)  # popped and added again: the least recently used stay first
        pace = Pace(
            seconds=last.seconds + WEIGHT * (seconds - last.seconds),
            load=last.load if load is None else _average(last.load, load),
            tokens=_average(last.tokens, tokens) if tokens else last.tokens,
            rate=_average(last.rate, tokens / seconds) if tokens and seconds > 0 else last.rate,
        )
        known[name] = pace
    while len(known) > LENGTHS:
        del known[next(iter(known))]
    return known


def service(paces: Paces, key: str, most_tokens: int | None = None) -> float | None:
    """Return the expected seconds of a job once its model is loaded, or None when its key is unknown."""
    if most_tokens is not None and (alike := paces.get((key, _length(most_tokens)))):
        return alike.seconds
    pace = paces.get((key, None))
    if pace is None:
        return None
    if most_tokens is None or pace.tokens is None or not pace.rate or most_tokens >= pace.tokens:
        return pace.seconds
    return max(0.0, pace.seconds - (pace.tokens - most_tokens) / pace.rate)


def loading(paces: Paces, key: str, *, otherwise: float) -> float:
    """Return the seconds to load a key, or `otherwise` when they are unknown."""
    pace = paces.get((key, None))
    return otherwise if pace is None or pace.load is None else pace.load


@dataclass(frozen=True, slots=True)
class Typical:
    """The expectations for an unknown key."""

    seconds: float | None  # per job; None: no key is known yet
    load: float  # seconds


def typical(paces: Paces) -> Typical:
    """Return the averages over the most recently used keys."""
    recent = [pace for (_, length), pace in islice(reversed(paces.items()), RECENT) if length is None]
    loads = [pace.load for pace in recent if pace.load is not None]
    seconds = sum(pace.seconds for pace in recent) / len(recent) if recent else None
    return Typical(seconds, sum(loads) / len(loads) if loads else 0.0)


def remaining(expected: float, took: float) -> float:
    """Return the remaining seconds of a job expected to take `expected` seconds that has run for `took`."""
    return max(expected - took, OVERTIME * took)


@dataclass(frozen=True, slots=True)
class Slots:
    """The seconds until each slot is free, in ascending order, and the key loaded then."""

    free: Sequence[float]
    loaded: str | None

    def switch(self, key: str, load: float) -> Slots:
        """Return the slots after loading `key` in `load` seconds, which waits until all of them are free."""
        return self if key == self.loaded else Slots([self.free[-1] + load] * len(self.free), key)

    def starts(self, number: int, seconds: float) -> float:
        """Return the seconds until the start of a job behind `number` others of `seconds` each."""
        turns, slot = divmod(number, len(self.free))
        return self.free[slot] + turns * seconds

    def take(self, count: int, seconds: float) -> Slots:
        """Return the slots after taking `count` jobs of `seconds` each."""
        turns, more = divmod(count, len(self.free))
        taken = (at + (turns + (slot < more)) * seconds for slot, at in enumerate(self.free))
        return replace(self, free=sorted(taken))


def _average(last: float | None, value: float) -> float:
    return value if last is None else last + WEIGHT * (value - last)


def _length(most_tokens: int | None) -> int | None:
    """Return the class of a length; each class spans a factor of two."""
    return most_tokens.bit_length() if most_tokens is not None and most_tokens >= 0 else None
