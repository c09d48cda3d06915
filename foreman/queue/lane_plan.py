"""The jobs of a lane in the order in which they will run, as far as positions go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import accumulate

from foreman.domain.job import CallerKey, Instant
from foreman.domain.scheduling.forecast import Kind
from foreman.domain.scheduling.prefixes import HASH
from foreman.domain.scheduling.rounds import Rounds
from foreman.domain.scheduling.scheduler_state import SchedulerState
from foreman.domain.scheduling.sequence import Following, Pace, Waiting, sequence
from foreman.queue.board import LaneKey
from foreman.queue.serving import Serving
from foreman.store.protocol import Reader

FAR = 1000  # the highest position shown; it stands for itself and more
CALLERS = 32  # of a lane, at most, whose jobs are put in order one by one
GROUPS = 32  # of prompts that begin alike, of which all jobs are read in a lane with more than FAR jobs
FRESH = 1.0  # seconds for which an order holds while nothing changes
LARGE = 300  # jobs of a lane from which on its order also holds while the queue changes, for as long as pays:
PAYS = 0.25 / FAR  # seconds for each of its jobs, so that making it takes a few hundredths of the time
LANES = 16  # whose order is kept


class LanePlan:
    """The order of a lane's jobs, and how long they take."""

    def __init__(self, jobs: Iterable[Following]) -> None:
        self.jobs = list(jobs)
        self._places = {one.job.id: place for place, one in enumerate(self.jobs)}
        self._sums = [0.0, *accumulate(one.seconds for one in self.jobs)]

    def place(self, job_id: str) -> int | None:
        """Return how many jobs of the lane go before a job; None for one further back."""
        return self._places.get(job_id)

    def before(self, place: int, owner: str) -> int:
        """Return how many jobs of a token go before a place."""
        return sum(one.caller[0] == owner for one in self.jobs[:place])

    def mean(self, begin: int, end: int) -> float | None:
        """Return the mean seconds of the jobs from one place up to another; None without any."""
        begin, end = min(begin, len(self.jobs)), min(end, len(self.jobs))
        return (self._sums[end] - self._sums[begin]) / (end - begin) if end > begin else None


class LanePlans:
    """Makes the plans, and keeps the latest ones while nothing changes."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._kept: Mapping[LaneKey, tuple[tuple[int, int, int, int], Instant, object, LanePlan]] = {}

    def of(self, store: Reader, lane: LaneKey, state: SchedulerState, slots: int, now: Instant) -> LanePlan | None:
        """Return the plan of a lane for a target, or None where too many callers share it."""
        serving = self._serving
        callers = serving.board.callers(*lane)
        if not callers or len(callers) > CALLERS:
            return None
        held = state, serving.forecasts  # so that no other object gets their ids
        version = serving.board.version, id(state), id(serving.forecasts), slots
        known = self._kept.get(lane)
        if known is not None:
            same, made, _, plan = known[0] == version, *known[1:]
            holds = FRESH if same else len(plan.jobs) * PAYS if len(plan.jobs) >= LARGE else 0.0
            if made <= now < made + holds:
                return plan
        plan = self._made(store, lane, {caller: size for caller, (_, size) in callers.items()}, state, slots, now)
        kept = {other: one for other, one in self._kept.items() if other != lane}
        while len(kept) >= LANES:
            del kept[next(iter(kept))]
        self._kept = {**kept, lane: (version, now, held, plan)}
        return plan

    def _made(
        self,
        store: Reader,
        lane: LaneKey,
        sizes: Mapping[CallerKey, int],
        state: SchedulerState,
        slots: int,
        now: Instant,
    ) -> LanePlan:
        serving, (key, _) = self._serving, lane
        standing, fairness = state.standing, serving.rules.fairness
        shares, turn = standing.shares_of(*lane), standing.turn(key)
        alike = serving.rules.prefix_turns and state.prompts.helps(key)
        alone = alike and all(site.slots == 1 for site in serving.serving(key))  # no two prompts are computed at once
        usual = serving.usual(key)
        if sum(sizes.values()) > FAR:
            first = Counter(Rounds(sizes, shares, fairness, usual / slots).order(0, FAR))
            lines = {caller: store.waiting(*lane, caller, limit=count) for caller, count in first.items()}
            lines = _completed(store, lane, lines) if alike else lines
        else:
            lines = {caller: store.waiting(*lane, caller, limit=size) for caller, size in sizes.items()}
        known: dict[tuple[Kind, bool | None], float] = {}

        def expected(caller: CallerKey, job: Waiting, follows: bool) -> float:
            again = follows if job.path and alone else None
            kind = Kind(key, caller, job.path[:HASH], job.most_tokens)
            if (kind, again) not in known:
                narrow = serving.forecasts.narrow(kind), again
                if narrow not in known:
                    known[narrow] = round(
                        serving.expected(narrow[0], "", again=again), 6
                    )  # so that like sums are equal
                known[kind, again] = known[narrow]
            return known[kind, again]

        jobs = sequence(
            lines,
            shares,
            turn.prefix if turn else None,
            fairness=fairness,
            pace=Pace(usual, slots, expected),
            now=now,
            alike=alike,
        )
        return LanePlan(one for _, one in zip(range(FAR), jobs, strict=False))


def _completed(
    store: Reader, lane: LaneKey, lines: Mapping[CallerKey, list[Waiting]]
) -> dict[CallerKey, list[Waiting]]:
    """Return the lines with all jobs whose prompts begin like the oldest ones."""
    groups = {
        (caller, job.path[:HASH]): job.since for caller, jobs in lines.items() for job in reversed(jobs) if job.path
    }
    found = {caller: {job.id: job for job in jobs} for caller, jobs in lines.items()}
    for caller, first in sorted(groups, key=groups.__getitem__)[:GROUPS]:
        found[caller].update((job.id, job) for job in store.alike(*lane, caller, first, limit=FAR))
    return {caller: sorted(jobs.values()) for caller, jobs in found.items()}
