"""Forecasts learned from successful jobs: how long answers are, and how fast targets write them.

Lengths are known by load key, by limit of the answer, by caller, and by what the prompt begins with. What is known of
the more special group counts as soon as it has some answers; until then all answers of the key do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

import msgspec

from foreman.domain.job import NOBODY, CallerKey, Draft, Job, LoadKey
from foreman.domain.scheduling.beginnings import Beginnings
from foreman.domain.scheduling.lengths import Class, Lengths
from foreman.domain.scheduling.prefixes import HASH

OVERTIME = 0.3  # expected rest of a job that took longer than any before, as a fraction of its time so far
LATE = 4.0  # times the usual seconds until an answer begins
GROUPS = 1000  # of which lengths are known; those that ended a job last
RECENT = 200  # of them in the usual values
MEMORY = 0.95  # the part of an answer's weight in a rate that is left after another one
A_MOMENT = 0.001  # seconds
PLAIN = 50.0  # tokens per second that a server is taken to write which does not count them


class Kind(NamedTuple):
    """What is known of a job before it runs."""

    key: LoadKey
    caller: CallerKey = NOBODY
    prefix: bytes = b""
    most_tokens: int | None = None  # limit of the answer

    @classmethod
    def of(cls, job: Job | Draft) -> Kind:
        """Return the kind of a job."""
        return cls(job.key, (job.owner, job.caller), job.prefix, job.most_tokens)


class _Group(NamedTuple):
    """Jobs whose answers are expected to be alike."""

    key: LoadKey
    limit: int | None = None  # class of `most_tokens`; each spans a factor of two
    caller: CallerKey = NOBODY
    prefix: bytes = b""

    @classmethod
    def all_of(cls, kind: Kind) -> list[_Group]:
        """Return the groups of a job, the most general one first."""
        limit = kind.most_tokens.bit_length() if kind.most_tokens is not None and kind.most_tokens >= 0 else None
        groups = [cls(kind.key)]
        if limit is not None:
            groups.append(cls(kind.key, limit))
        if kind.caller != NOBODY:
            groups.append(cls(kind.key, limit, kind.caller))
        if kind.prefix:
            groups.append(cls(kind.key, limit, kind.caller, kind.prefix[:HASH]))
        return groups


class Rate(NamedTuple):
    """Tokens of answers and the seconds that writing them took; the latest answers count most."""

    tokens: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """The expected course of a job; times are seconds from its request."""

    begins: float  # when its answer begins
    lengths: Lengths
    most: float  # tokens of the answer
    rate: float  # tokens per second
    slow: float  # how many times longer its target takes than the key's targets on average

    @property
    def seconds(self) -> float:
        """Return how long the job takes."""
        return self.slow * (self.begins + (self.lengths.expected(self.most) or 0.0) / self.rate)

    def rest(self, took: float, first: float | None = None) -> float:
        """Return how much longer the job takes that has run for `took` seconds: as those do that took longer.

        `first` are the seconds after which its answer began. None where none has come; one that is very late is taken
        to come in one piece.
        """
        begins, rate = self.slow * self.begins, self.rate / self.slow
        if first is None and took >= LATE * begins:
            first = begins
        if first is None:
            begins = begins - took if took < begins else OVERTIME * took
            return begins + (self.lengths.expected(self.most) or 0.0) / rate
        left = self.lengths.expected(self.most, done=(took - first) * rate)
        return OVERTIME * took if left is None else left / rate


@dataclass(frozen=True, slots=True)
class Forecasts:
    """What the jobs that ended well have taught. A value: each change returns another one."""

    lengths: dict[_Group, Lengths] = field(default_factory=dict)  # those learned last at the end; never mutated
    rates: Mapping[tuple[str | None, LoadKey], Rate] = field(default_factory=dict)  # by target, and of all of them
    beginnings: Mapping[LoadKey, Beginnings] = field(default_factory=dict)

    def learned(
        self,
        kind: Kind,
        target: str,
        *,
        seconds: float,
        before: float = 0.0,
        tokens: int = 0,
        again: bool = False,
    ) -> Forecasts:
        """Return them with one more job.

        Args:
            kind: What the job was.
            target: Where it ran.
            seconds: From the request to the end of the answer.
            before: Those of them until the answer began; 0 where it came in one piece.
            tokens: Of the answer; 0 where they were not counted.
            again: True if the beginning of the prompt was in the server's cache.
        """
        rates = self.rates
        before = min(before, seconds)
        if tokens and seconds > A_MOMENT:
            writing = seconds - before
            if writing < A_MOMENT:
                before, writing = 0.0, seconds
            rates = dict(rates)
            for name in (target, None):
                known = rates.pop((name, kind.key), Rate(0.0, 0.0))
                rates[name, kind.key] = Rate(known.tokens * MEMORY + tokens, known.seconds * MEMORY + writing)
            while len(rates) > GROUPS:
                del rates[next(iter(rates))]
        length = tokens or (seconds - before) * self._rate(None, kind.key)
        lengths = dict(self.lengths)
        for group in reversed(_Group.all_of(kind)):
            lengths[group] = (lengths.pop(group, None) or Lengths()).learned(length, before)
        while len(lengths) > GROUPS:
            del lengths[next(iter(lengths))]
        beginnings = self.beginnings
        if before:
            beginnings = dict(beginnings)
            beginnings[kind.key] = beginnings.pop(kind.key, Beginnings()).learned(before, again=again)
            while len(beginnings) > GROUPS:
                del beginnings[next(iter(beginnings))]
        return Forecasts(lengths, rates, beginnings)

    def of(self, kind: Kind, target: str | None = None, *, again: bool | None = None) -> Forecast | None:
        """Return the forecast for a job on a target, or on any; None when nothing is known of its key.

        `again` says whether the server has the beginning of the prompt in its cache; None if that is not known.
        """
        general, *groups = _Group.all_of(kind)
        known = self.lengths.get(general)
        if known is None:
            return None
        for group in groups:
            if own := self.lengths.get(group):
                known = own.within(known)
        counted = (None, kind.key) in self.rates
        most = kind.most_tokens if counted and kind.most_tokens is not None and kind.most_tokens >= 0 else math.inf
        rate = self._rate(None, kind.key)
        begins = known.begins
        if again is not None and kind.key in self.beginnings:
            begins = self.beginnings[kind.key].of(begins, again=again)
        return Forecast(begins, known, most, rate, rate / self._rate(target, kind.key))

    def narrow(self, kind: Kind) -> Kind:
        """Return a kind of which as much is known; fewer kinds are different then."""
        *_, group = _Group.all_of(kind)
        return kind._replace(prefix=b"") if group not in self.lengths else kind

    def seconds(self, kind: Kind, target: str | None = None, *, again: bool | None = None) -> float | None:
        """Return how long a job is expected to take; see `of`."""
        found = self.of(kind, target, again=again)
        return None if found is None else found.seconds

    def usual(self, key: LoadKey) -> float | None:
        """Return the usual seconds of a job of the key, or None when nothing is known of it."""
        known = self.lengths.get(_Group(key))
        return None if known is None else known.begins + known.mean / self._rate(None, key)

    def typical(self) -> float | None:
        """Return the usual seconds of a job of the keys that were used last, or None."""
        latest = islice(reversed(self.lengths.keys()), RECENT)
        recent = [group.key for group in latest if group == _Group(group.key)]
        return sum(self.usual(key) or 0.0 for key in recent) / len(recent) if recent else None

    def encoded(self) -> str:
        """Return what is kept over a restart as text, for `decoded`."""
        lengths = [
            (*group[:3], group.prefix.hex(), round(known.before, 3), [_rounded(one) for one in known.classes])
            for group, known in self.lengths.items()
        ]
        rates = [
            (target, key, round(rate.tokens, 1), round(rate.seconds, 3)) for (target, key), rate in self.rates.items()
        ]
        beginnings = {key: [round(one, 3) for one in known] for key, known in self.beginnings.items()}
        return msgspec.json.encode((lengths, rates, beginnings)).decode()

    def _rate(self, target: str | None, key: LoadKey) -> float:
        rate = self.rates.get((target, key)) or self.rates.get((None, key))
        return rate.tokens / rate.seconds if rate else PLAIN


class _Kept(msgspec.Struct, array_like=True):
    key: str
    limit: int | None
    caller: CallerKey
    prefix: str
    before: float
    classes: tuple[Class, ...]


class _All(msgspec.Struct, array_like=True):
    lengths: list[_Kept]
    rates: list[tuple[str | None, LoadKey, float, float]]
    beginnings: dict[LoadKey, tuple[float, float, float, float]] = {}


def decoded(text: str | None) -> Forecasts:
    """Return what `encoded` made; nothing is known if it is unreadable, since every job teaches anew."""
    try:
        kept = msgspec.json.decode(text or "[[],[]]", type=_All)
        lengths = {
            _Group(one.key, one.limit, one.caller, bytes.fromhex(one.prefix)): Lengths(one.classes, one.before)
            for one in kept.lengths
            if one.classes and all(weight > 0 and total >= 0 for _, weight, total in one.classes)
        }
    except (msgspec.DecodeError, ValueError):
        return Forecasts()
    known = {
        (target, key): Rate(tokens, seconds)
        for target, key, tokens, seconds in kept.rates
        if tokens > 0 and seconds > 0
    }
    beginnings = {key: Beginnings(*sums) for key, sums in kept.beginnings.items() if all(one >= 0 for one in sums)}
    return Forecasts(lengths, known, beginnings)


def _rounded(one: Class) -> Class:
    number, weight, total = one
    return number, round(weight, 4), round(total, 2)
