"""Fair shares of a lane's slot time between the callers that wait in it.

The slot time that each caller got is summed, divided by its weight, and the caller that was served least goes next. A
caller that begins to wait counts as served as little as the least one, and goes next. What it was given in the recent
past is remembered, so calls that come one by one get no more than a share.

The caller that went last may go on while its prompts begin alike, since the server has the beginning cached. It may get
`quantum` seconds ahead of callers with a backlog, or less where many wait, but not ahead of one with few jobs.

Tokens share the time; the callers under one token share the time of the token. So nobody gains by using many names.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from foreman.domain.job import CallerKey, Instant
from foreman.domain.scheduling.prefixes import lasts

A_LITTLE = 1e-6  # seconds
ROUND = 150.0  # seconds of slot time in which each caller has had its turn of prompts that begin alike
FEW = 2  # jobs of a caller that somebody may be waiting for

_Path = tuple[str, ...]  # a token, or a token and a caller under it


@dataclass(frozen=True, slots=True)
class Fairness:
    """The settings for sharing between callers."""

    quantum: float = 20.0  # seconds of slot time
    weights: Mapping[str, float] = field(default_factory=dict)  # by name of a token; 1 for the others

    def weight(self, token: str) -> float:
        """Return a token's weight."""
        return self.weights.get(token, 1.0)


@dataclass(frozen=True, slots=True)
class Shares:
    """The weighted seconds that callers of a lane were served."""

    served: Mapping[_Path, float] = field(default_factory=dict)
    last: CallerKey | None = None  # the caller that was served last
    aged: Instant = 0.0  # when the lane's oldest job last began

    def next(self, waiting: Collection[CallerKey]) -> CallerKey:
        """Return the caller to serve next of those that wait; of several served alike, the first one."""
        tokens = self._levels({(token,) for token, _ in waiting})
        token = min(waiting, key=lambda caller: tokens[caller[0],])[0]
        names = [caller for caller in waiting if caller[0] == token]
        callers = self._levels(names)
        return min(names, key=lambda caller: callers[caller])

    def may_go_on(self, caller: CallerKey, waiting: Mapping[CallerKey, int], seconds: float, quantum: float) -> bool:
        """Return True if a caller may be served so many seconds more before others that it is ahead of.

        `waiting` has the numbers of jobs of the callers that wait, this one among them; a new one goes first.
        """
        if any(other not in self.served for other in waiting):
            return False
        tokens = self._levels({(token,) for token, _ in waiting})
        callers = self._levels(waiting)
        most = min(quantum, ROUND / len(waiting)) - seconds
        for other, jobs in waiting.items():
            apart = other[0] != caller[0]
            lead = tokens[caller[0],] - tokens[other[0],] if apart else callers[caller] - callers[other]
            if lead > (most if jobs > FEW else 0.0):
                return False
        return True

    def is_due(self, now: Instant, usual: float) -> bool:
        """Return True when the lane's oldest job goes next, since none has for as long as a turn of prompts lasts.

        So a job also begins that newer ones overtake for ever: those of new callers, or those with another prompt.
        """
        return not self.aged <= now < self.aged + lasts(usual)

    def charge(self, caller: CallerKey, seconds: float, waiting: Collection[CallerKey], fairness: Fairness) -> Shares:
        """Return the shares after the caller was served for so many seconds; less than 0 gives some back.

        Callers that do not wait are forgotten once that makes no difference.
        """
        token = (caller[0],)
        tokens = self._levels({token, *((name,) for name, _ in waiting)})
        names = self._levels({caller, *(other for other in waiting if other[0] == caller[0])})
        served = dict(self.served)
        served[token] = tokens[token] + seconds / fairness.weight(caller[0])
        served[caller] = names[caller] + seconds
        return Shares(_remembered(served, {caller, *waiting}), caller, self.aged)

    def levels(self, waiting: Collection[CallerKey]) -> tuple[dict[str, float], dict[CallerKey, float]]:
        """Return what the tokens were served, and the callers in comparison to the others of their token."""
        names: dict[str, list[CallerKey]] = {}
        for caller in waiting:
            names.setdefault(caller[0], []).append(caller)
        callers: dict[CallerKey, float] = {}
        for some in names.values():
            served = self._levels(some)
            callers.update((caller, served[caller]) for caller in some)
        return {path[0]: served for path, served in self._levels({(token,) for token in names}).items()}, callers

    def leads(self, waiting: Collection[CallerKey]) -> tuple[dict[str, float], dict[CallerKey, float]]:
        """Return how much more the tokens were served than the least one, and the callers than the least of theirs."""
        tokens, callers = self.levels(waiting)
        least = min(tokens.values(), default=0.0)
        of_token: dict[str, float] = {}
        for caller in waiting:
            of_token[caller[0]] = min(of_token.get(caller[0], math.inf), callers[caller])
        return (
            {token: served - least for token, served in tokens.items()},
            {caller: callers[caller] - of_token[caller[0]] for caller in waiting},
        )

    @property
    def callers(self) -> set[CallerKey]:
        """Return the callers that something is known of."""
        return {(path[0], path[1]) for path in self.served if len(path) > 1}

    def _levels(self, paths: Collection[_Path]) -> dict[_Path, float]:
        """Return what each of these was served; new ones count as served a little less than the least."""
        served = self.served
        floor = min((served[path] for path in paths if path in served), default=0.0) - A_LITTLE
        return {path: served.get(path, floor) for path in paths}


def _remembered(served: Mapping[_Path, float], waiting: Collection[CallerKey]) -> dict[_Path, float]:
    """Return what is still worth knowing: nothing of callers that are away and would count as newcomers anyway."""
    least: dict[str, float] = {}  # by token, of its callers that wait
    of_tokens = min(served.get((token,), math.inf) for token, _ in waiting)
    for caller in waiting:
        least[caller[0]] = min(least.get(caller[0], math.inf), served.get(caller, math.inf))
    waits: set[_Path] = {*waiting, *((token,) for token in least)}
    kept = {
        path: seconds
        for path, seconds in served.items()
        if path in waits or seconds > (of_tokens if len(path) == 1 else least.get(path[0], -math.inf))
    }
    return {path: seconds for path, seconds in kept.items() if (path[0],) in kept}
