"""The scheduler's state for one target: whose turn it is, and which load keys and models rest.

It is a value: each change returns another one, and a transaction that is rolled back gets its old one again. What the
target has loaded is not part of it; the target says that.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
from msgspec.structs import replace

from foreman.domain.job import Instant, LoadKey, model_of
from foreman.domain.scheduling.breaker import Breaker, Breakers
from foreman.domain.scheduling.choose import Standing
from foreman.domain.scheduling.prompts import Prompts

MODELS = 1000  # models whose failures are remembered


@dataclass(frozen=True, slots=True)
class Rest:
    """A pause of a load key whose server is busy. A clock that is set back ends it too."""

    since: Instant
    until: Instant


class SchedulerState(msgspec.Struct, frozen=True):
    """The state that a claim is decided by, as the last command left it."""

    standing: Standing = msgspec.field(default_factory=Standing)
    resting: Mapping[LoadKey, Rest] = msgspec.field(default_factory=dict)
    breakers: Breakers = msgspec.field(default_factory=dict)
    prompts: Prompts = msgspec.field(default_factory=Prompts)

    @property
    def keys(self) -> Sequence[LoadKey]:
        """Return the load keys whose turn it is, that of the job claimed last at the end."""
        return self.standing.keys

    def rests(self, key: LoadKey) -> bool:
        """Return True when no job of the key may be claimed: its server is busy, or its breaker is open."""
        if key in self.resting:
            return True
        breaker = self.breakers.get(model_of(key)) if self.breakers else None
        return breaker is not None and breaker.rests

    def at_rest(self, waiting: Callable[[], Iterable[LoadKey]]) -> Collection[LoadKey]:
        """Return the resting keys; `waiting` returns the keys that jobs wait for, and is called only when needed."""
        models = {model for model, breaker in self.breakers.items() if breaker.rests}
        return {*self.resting, *(key for key in waiting() if model_of(key) in models)} if models else self.resting

    def failing(self) -> dict[str, Breaker]:
        """Return the open breakers by model."""
        return {model: breaker for model, breaker in self.breakers.items() if breaker.is_open}

    def with_standing(self, standing: Standing) -> SchedulerState:
        """Return the state with another standing."""
        return SchedulerState(standing, self.resting, self.breakers, self.prompts)

    def with_prompts(self, prompts: Prompts) -> SchedulerState:
        """Return the state with other knowledge of prompts."""
        return self if prompts is self.prompts else replace(self, prompts=prompts)

    def let_rest(self, key: LoadKey, since: Instant, until: Instant) -> SchedulerState:
        """Return the state in which the key rests, until the later time if it rests already."""
        if known := self.resting.get(key):
            until = max(until, known.until)
        return replace(self, resting={**self.resting, key: Rest(since, until)})

    def with_breaker(self, model: str, breaker: Breaker | None) -> SchedulerState:
        """Return the state with the breaker of a model; None closes it with no failures counted."""
        if self.breakers.get(model) == breaker:
            return self
        others = {name: one for name, one in self.breakers.items() if name != model}
        while len(others) >= MODELS:
            del others[next(iter(others))]
        return replace(self, breakers=others if breaker is None else {**others, model: breaker})

    def at(self, now: Instant) -> SchedulerState:
        """Return the state after the pauses that are over."""
        state = self
        if not self.resting and not self.breakers:
            return state
        still = {key: rest for key, rest in self.resting.items() if rest.since <= now < rest.until}
        if len(still) < len(self.resting):
            state = replace(state, resting=still)
        for model, breaker in self.breakers.items():
            state = state.with_breaker(model, breaker.at(now))
        return state

    def next_end(self) -> Instant | None:
        """Return the time at which the next pause ends, or None."""
        if not self.resting and not self.breakers:
            return None
        ends = [rest.until for rest in self.resting.values()]
        ends += [breaker.until for breaker in self.breakers.values() if breaker.until is not None]
        return min(ends, default=None)
