"""Where a job stands in the queue and when it will be ready, as things are: by the rules that claims follow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from foreman import forecast, schedule
from foreman.breaker import Breaker, Breakers
from foreman.job import Draft, DrainKey, Instant, Job, State, model_of
from foreman.schedule import Head, Run
from foreman.store.protocol import Reader

FAR = 1000  # positions end here
USUAL = 1.0  # seconds that a job takes of which nothing is known


@dataclass(frozen=True, slots=True)
class Expected:
    """Where a job stands; both are None when it does not wait for its turn."""

    position: int | None = None  # 1 is next, FAR means that or more
    seconds: float | None = None  # until it is ready; None also when that cannot be known


@dataclass(frozen=True, slots=True)
class AtWork:
    """A job that a slot has."""

    key: DrainKey
    most_tokens: int | None
    claimed_at: Instant
    began_at: Instant | None = None  # when its target got the request


@dataclass(frozen=True, slots=True)
class Rest:
    """While the server of a load key is busy. A clock that is set back ends it too."""

    since: Instant
    until: Instant


class Outlook:
    """What claims are decided by, and what is expected of the jobs.

    The queue's thread and the worker write, any thread reads: what is here is replaced as a whole, never changed.
    """

    def __init__(self, rules: schedule.Rules | None = None) -> None:
        self.rules = rules or schedule.Rules()
        self.standing = schedule.Standing()  # as the last claim left it
        self.resting: Mapping[DrainKey, Rest] = {}
        self.breakers: Breakers = {}
        self.paces: forecast.Paces = {}
        self.at_work: Mapping[str, AtWork] = {}  # by job
        self.loaded: DrainKey | None = None  # what the target had when it was last used

    def heads(self, store: Reader) -> list[Head]:
        """Return the jobs that a claim chooses from: the oldest of every lane whose key does not rest."""
        return [head for head in store.heads() if not self.rests(head.key)]

    def rests(self, key: DrainKey) -> bool:
        """Return whether no job of the key may be claimed: its server is busy, or fails one call after the other."""
        breaker = self.breakers.get(model_of(key))
        return key in self.resting or (breaker is not None and breaker.rests)

    def failing(self) -> dict[str, Breaker]:
        """Return the models whose server fails one call after the other."""
        return {model: breaker for model, breaker in self.breakers.items() if breaker.is_open}

    def of(self, store: Reader, job: Job, now: Instant, *, up: bool = True) -> Expected:
        """Return the job's position and when it will be ready, which nobody knows while the target is not `up`."""
        if job.state is not State.QUEUED or job.ready_at is not None or self.rests(job.key):
            return Expected()
        rank = store.rank(job, most=FAR)
        position, slots, number = self._find(self._lanes(store), job.key, job.priority, rank, now)
        return Expected(position, self._ready(slots, number, job) if up else None)

    def of_next(self, store: Reader, draft: Draft, now: Instant) -> int | None:
        """Return the position of a job about to be added: the last of its lane, so no rows are counted."""
        if (draft.not_before is not None and draft.not_before > now) or self.rests(draft.key):
            return None
        lanes = self._lanes(store)
        head, before = next(
            (lane for lane in lanes if (lane[0].key, lane[0].priority) == (draft.key, draft.priority)),
            (Head(draft.key, draft.priority, now, draft.id), 0),
        )
        others = [lane for lane in lanes if lane[0] is not head]
        return self._find([*others, (head, before + 1)], draft.key, draft.priority, before, now)[0]

    def line(
        self, store: Reader, now: Instant, most: int, *, up: bool = True, wanted: Callable[[Job], bool] | None = None
    ) -> list[tuple[Job, Expected]]:
        """Return the jobs that would run next with what is expected of them, in their order; up to `most`.

        With `wanted`, those that it takes out of the first FAR.
        """
        found: list[tuple[Job, Expected]] = []
        ahead, furthest = 0, most if wanted is None else FAR
        taken: dict[tuple[str, int], int] = {}
        slots: forecast.Slots | None = self._slots(now) if up else None
        for run in self._order(self._lanes(store), now):
            lane = run.key, run.priority
            skip, count = taken.get(lane, 0), min(run.count, furthest - ahead)
            taken[lane] = skip + run.count
            jobs = store.line(run.key, run.priority, skip=skip, most=count)
            slots = self._load(slots, run)
            for number, job in enumerate(jobs):
                if wanted is None or wanted(job):
                    found.append((job, Expected(ahead + number + 1, self._ready(slots, number, job))))
            ahead += len(jobs)
            slots = self._take(slots, run)
            if ahead >= furthest or len(found) >= most:
                break
        return found[:most]

    def claimed(self, job: Job, now: Instant) -> None:
        """Note that a slot has the job."""
        self.at_work = {**self.at_work, job.id: AtWork(job.key, job.most_tokens, now)}
        self.loaded = job.key

    def began(self, job_id: str, now: Instant) -> None:
        """Note that the target has the job's request, its model being loaded."""
        if job_id in self.at_work:
            self.at_work = {**self.at_work, job_id: replace(self.at_work[job_id], began_at=now)}

    def ended(self, job_id: str) -> None:
        """Note that no slot has the job any more."""
        self.at_work = {name: at_work for name, at_work in self.at_work.items() if name != job_id}

    def learn(self, job: Job, *, seconds: float, load: float | None, tokens: int) -> None:
        """Learn from a job that ended well: it took `seconds` after `load`, its answer has `tokens`."""
        self.paces = forecast.learn(
            self.paces, job.key, most_tokens=job.most_tokens, seconds=seconds, load=load, tokens=tokens
        )

    def _lanes(self, store: Reader) -> list[tuple[Head, int]]:
        ready: dict[tuple[str, int], int] = {}
        for lane in store.lanes():
            ready[lane.key, lane.priority] = ready.get((lane.key, lane.priority), 0) + lane.ready
        return [(head, ready[head.key, head.priority]) for head in self.heads(store)]

    def _order(self, lanes: Sequence[tuple[Head, int]], now: Instant) -> Iterator[Run]:
        return schedule.order(lanes, self.standing, now=now, rules=self.rules, seconds=self._usual)

    def _usual(self, key: DrainKey) -> float:
        known = forecast.service(self.paces, key)
        return USUAL if known is None else known

    def _find(
        self, lanes: Sequence[tuple[Head, int]], key: DrainKey, priority: int, rank: int, now: Instant
    ) -> tuple[int, forecast.Slots | None, int]:
        """Return the position of the job with `rank` others of its lane before it, and what gives its time.

        That is the slots as they are when a run of its lane begins, and how many jobs of the run go before it.
        """
        before = 0
        slots = self._slots(now)
        for run in self._order(lanes, now):
            if before + rank >= FAR:
                break
            slots = self._load(slots, run)
            if (run.key, run.priority) == (key, priority):
                if run.count > rank:
                    return before + rank + 1, slots, rank
                rank -= run.count
            slots = self._take(slots, run)
            before += run.count
        return FAR, None, 0

    # When slots are free: None once that depends on what nobody knows.

    def _slots(self, now: Instant) -> forecast.Slots | None:
        free = [0.0] * self.rules.slots
        at_work = list(self.at_work.values())
        for slot, job in enumerate(at_work[: self.rules.slots]):
            expected = forecast.service(self.paces, job.key, job.most_tokens)
            if expected is None:
                return None
            if job.began_at is None:
                expected += forecast.loading(self.paces, job.key)
            free[slot] = forecast.remaining(expected, max(0.0, now - (job.began_at or job.claimed_at)))
        return forecast.Slots(sorted(free), self.loaded)

    def _load(self, slots: forecast.Slots | None, run: Run) -> forecast.Slots | None:
        return slots and slots.change(run.key, forecast.loading(self.paces, run.key))

    def _take(self, slots: forecast.Slots | None, run: Run) -> forecast.Slots | None:
        seconds = forecast.service(self.paces, run.key)
        return None if slots is None or seconds is None else slots.take(run.count, seconds)

    def _ready(self, slots: forecast.Slots | None, number: int, job: Job) -> float | None:
        own = forecast.service(self.paces, job.key, job.most_tokens)
        if slots is None or own is None:
            return None
        return slots.starts(number, self._usual(job.key)) + own
