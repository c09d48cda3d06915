"""Queue positions and expected times of jobs, by the same rules that claims follow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from foreman.domain.errors import JobUnreadable
from foreman.domain.job import CallerKey, Draft, Instant, Job, LoadKey, State
from foreman.domain.scheduling import choose
from foreman.domain.scheduling.capacity import Capacity, Slots
from foreman.domain.scheduling.choose import OTHERS, Head
from foreman.domain.scheduling.forecast import Kind
from foreman.domain.scheduling.positions import Run, order
from foreman.domain.scheduling.room import Room
from foreman.domain.scheduling.rounds import Rounds
from foreman.domain.scheduling.scheduler_state import SchedulerState
from foreman.queue.board import LaneKey, Near
from foreman.queue.lane_plan import FAR, LanePlan, LanePlans
from foreman.queue.serving import NO_SITES, Serving
from foreman.queue.sites import Site
from foreman.store.protocol import Reader

NEAR = 10  # lanes of each class that are ordered one by one; further lanes count only by their number of jobs


@dataclass(frozen=True, slots=True)
class Expected:
    """A job's position and expected time; both are None when it is not waiting for its turn."""

    position: int | None = None  # 1 is next, FAR means that or more
    seconds: float | None = None  # until it is ready; None also when there is no estimate
    starts: float | None = None  # seconds until it starts, where there is an estimate

    def late(self, job: Job, now: Instant) -> float | None:
        """Return by how many seconds the job will miss its `start_by`; None if it will not, or nothing is known."""
        if self.starts is None or job.start_by is None or now + self.starts <= job.start_by:
            return None
        return now + self.starts - job.start_by


@dataclass(frozen=True, slots=True)
class _Pool:
    """The targets that share the jobs of a load key, taken as one with the slots of all."""

    sites: Sequence[Site]
    state: SchedulerState
    rules: choose.OrderRules
    room: Room
    resting: Collection[LoadKey]  # keys that none of them takes now


class Outlook(Serving):
    """The state that claims are decided by, and the expectations for waiting jobs."""

    def __init__(self, rules: choose.OrderRules | None = None, sites: Mapping[str, Site] = NO_SITES) -> None:
        """Start with these targets of this node, by name, in order."""
        super().__init__(rules, sites)
        self._plans = LanePlans(self)

    def of(self, store: Reader, job: Job, now: Instant, *, up: bool = True, roughly: bool = False) -> Expected:
        """Return the job's position and expected time; without a time unless the target is `up`.

        With `roughly` the order of prompts is left out, which costs no plan of the lane.
        """
        if job.state is not State.QUEUED or job.ready_at is not None or self.rests(job.key):
            return Expected()
        pool, lane = self._pool(job.key), (job.key, int(job.priority))
        plan = None if roughly else self._plan(store, pool, lane, now)
        if plan is None:
            rank = self._ahead(pool, job.key, int(job.priority), job.caller_key, store.rank(job, most=FAR))
        elif (place := plan.place(job.id)) is not None:
            rank = place
        else:
            rank = min(FAR, max(0, self.board.size(*lane) - 1))
        head = Head(job.key, job.priority, job.since, job.id)
        near = self._near(pool, head, rank + 1)
        slots = self._slots(pool, now) if up else None
        position, slots, number = self._find(pool, near, head, rank, now, slots)
        each = None if plan is None else plan.mean(rank - number, rank)
        quota = self._under_quota(job.owner, job.key, now, lambda: plan.before(rank, job.owner) if plan else 0)
        return self._expected(position, slots, number, job, each, quota)

    def of_next(self, draft: Draft, now: Instant, *, up: bool = False) -> Expected:
        """Return the position of a job about to be added, and its expected time if its targets are `up`.

        It is the last of its lane, so no rows are counted.
        """
        if (draft.not_before is not None and draft.not_before > now) or self.rests(draft.key):
            return Expected()
        head = Head(draft.key, draft.priority, now, draft.id, (draft.owner, draft.caller))
        if not up and self.board.is_all_of(head.key, head.priority, head.caller):
            return Expected(min(self.board.ready + 1, FAR))
        position, slots, number = self._find_next(head, now, up=up)
        quota = self._under_quota(
            draft.owner, draft.key, now, lambda: self.board.ready_of[draft.owner, int(draft.priority)]
        )
        return self._expected(position, slots, number, draft, quota=quota)

    def of_retried(self, job: Job, now: Instant, *, up: bool) -> Expected:
        """Return the position and expected time of a job about to be queued again, the last of its lane."""
        if self.rests(job.key):
            return Expected()
        head = Head(job.key, job.priority, job.since, job.id, job.caller_key)
        position, slots, number = self._find_next(head, now, up=up)
        return self._expected(position, slots, number, job)

    def line(
        self, store: Reader, now: Instant, most: int, *, up: bool = True, wanted: Callable[[Job], bool] | None = None
    ) -> list[tuple[Job, Expected]]:
        """Return up to `most` of the jobs that would run next, in order, each with its position and time.

        With `wanted`, return those of the first FAR jobs for which it is true.
        """
        found: list[tuple[Job, Expected]] = []
        ahead, furthest = 0, most if wanted is None else FAR
        taken: dict[tuple[str, int], int] = {}
        pool = self._pool(None)
        slots: Capacity | None = self._slots(pool, now) if up else None
        near = self.board.near(furthest, besides=pool.state.keys, resting=pool.resting)
        left = _left(near)
        for run in self._order(pool, near, now):
            lane = run.key, run.priority
            skip, count = taken.get(lane, 0), min(run.count, furthest - ahead)
            taken[lane] = skip + run.count
            plan = self._plan(store, pool, lane, now)
            jobs = self._jobs(store, pool, lane, skip, count) if plan is None else _planned(store, plan, skip, count)
            slots = self._load(slots, run, near, left)
            for number, job in enumerate(jobs):
                if job is not None and (wanted is None or wanted(job)):
                    each = None if plan is None else plan.mean(skip, skip + number)
                    own = partial(plan.before, skip + number, job.owner) if plan else int
                    quota = self._under_quota(job.owner, job.key, now, own)
                    found.append((job, self._expected(ahead + number + 1, slots, number, job, each, quota)))
            ahead += len(jobs)
            slots = self._take(slots, run)
            if ahead >= furthest or len(found) >= most:
                break
        return found[:most]

    def _pool(self, key: LoadKey | None) -> _Pool:
        """Return the targets that share the jobs of the key; those of all keys for None."""
        sites = list(self.sites.values()) if key is None else self.serving(key)
        with_key = [site for site in sites if key in self.state_of(site.name).keys]
        state = self.state_of((with_key or sites)[0].name)
        rules = self.rules_of(sum(site.slots for site in sites))
        resting = state.at_rest(self.board.keys_waiting)
        if len(self.sites) > 1:
            waiting = self.board.keys_waiting()
            resting = {one for one in waiting if self.rests(one)}
            if key is not None:
                resting |= {one for one in waiting if not any(site.serves(one) for site in sites)}
        return _Pool(sites, state, rules, sites[0].room(), resting)

    def _rounds(self, pool: _Pool, lane: LaneKey, sizes: Mapping[CallerKey, int]) -> Rounds:
        shares = pool.state.standing.shares_of(*lane)
        return Rounds(sizes, shares, self.rules.fairness, self.usual(lane[0]) / pool.rules.slots)

    def _ahead(self, pool: _Pool, key: LoadKey, priority: int, caller: CallerKey, rank: int) -> int:
        """Return about how many jobs of a lane go before the one that has `rank` older ones of its caller."""
        sizes = {other: size for other, (_, size) in self.board.callers(key, priority).items()}
        if not sizes.keys() - {caller}:
            return rank
        sizes[caller] = max(rank + 1, sizes.get(caller, 0))
        ahead = self._rounds(pool, (key, priority), sizes).ahead(caller, rank)
        return ahead + self.board.beyond(key, priority, caller)

    def _plan(self, store: Reader, pool: _Pool, lane: LaneKey, now: Instant) -> LanePlan | None:
        return self._plans.of(store, lane, pool.state, pool.rules.slots, now)

    def _jobs(self, store: Reader, pool: _Pool, lane: LaneKey, skip: int, count: int) -> Sequence[Job | None]:
        """Return jobs of a lane in about the order in which they will run, after the first `skip`."""
        sizes = {caller: size for caller, (_, size) in self.board.callers(*lane).items()}
        if len(sizes) == 1:
            return store.line(*lane, next(iter(sizes)), skip=skip, limit=count)
        rounds = self._rounds(pool, lane, sizes)
        before, wanted = Counter(rounds.order(0, skip)), list(rounds.order(skip, count))
        lines = {
            caller: iter(store.line(*lane, caller, skip=before[caller], limit=number))
            for caller, number in Counter(wanted).items()
        }
        return [job for caller in wanted if (job := next(lines[caller], None))]

    def _near(self, pool: _Pool, own: Head, least: int) -> Near:
        """Return the lanes that go next and the lane of `own`, with at least `least` jobs in the latter."""
        keys, lane = (*pool.state.keys, own.key), (own.key, own.priority)
        near = self.board.near(NEAR, besides=keys, resting=pool.resting, ahead_of=lane)
        lanes = {(head.key, head.priority): (head, count) for head, count in near.lanes}
        head, count = lanes.get(lane, (own, 0))
        lanes[lane] = head, max(count, least)
        return Near(list(lanes.values()), near.others)

    def _order(self, pool: _Pool, near: Near, now: Instant) -> Iterator[Run]:
        standing = pool.state.standing
        return order(near.lanes, standing, now=now, rules=pool.rules, seconds=self.usual, room=pool.room)

    def _find_next(self, own: Head, now: Instant, *, up: bool) -> tuple[int, Capacity | None, int]:
        """Return what `_find` does for a job that is about to join its lane."""
        pool, size = self._pool(own.key), self.board.size(own.key, own.priority)
        _, own_size = self.board.callers(own.key, own.priority).get(own.caller, (None, 0))
        before = min(size, self._ahead(pool, own.key, own.priority, own.caller, own_size))
        slots = self._slots(pool, now) if up else None
        return self._find(pool, self._near(pool, own, before + 1), own, before, now, slots)

    def _find(
        self, pool: _Pool, near: Near, own: Head, rank: int, now: Instant, slots: Capacity | None
    ) -> tuple[int, Capacity | None, int]:
        """Return the position of the job behind `rank` others of its lane, then two values to estimate its time.

        These are the slots at the beginning of its run, and the number of jobs of that run before it.
        """
        before, left = 0, _left(near)
        for run in self._order(pool, near, now):
            if before + rank >= FAR:
                break
            slots = self._load(slots, run, near, left)
            if (run.key, run.priority) == (own.key, own.priority):
                if run.count > rank:
                    return before + rank + 1, slots, rank
                rank -= run.count
            slots = self._take(slots, run)
            before += run.count
        return FAR, None, 0

    # The free times of slots: None once they depend on an unknown duration.

    def _slots(self, pool: _Pool, now: Instant) -> Capacity | None:
        targets = []
        for site in pool.sites:
            free = [0.0] * site.slots
            at_work = [job for job in self.at_work.values() if job.target == site.name]
            for slot, job in enumerate(at_work[: site.slots]):
                rest = self.rest(job, now)
                if rest is None:
                    return None
                loading = self._loading(job.key) - (now - job.claimed_at) if job.began_at is None else 0.0
                free[slot] = rest + max(0.0, loading)
            keys = self.state_of(site.name).keys
            targets.append(Slots(sorted(free), next(iter(reversed(keys)), None)))
        return Capacity(targets)

    def _load(self, slots: Capacity | None, run: Run, near: Near, left: Counter[LoadKey]) -> Capacity | None:
        if slots is None:
            return None
        loads = near.others[run.priority] if run.key == OTHERS else 1
        loaded = {one.loaded for one in slots.targets}
        last = not any(count > 0 and key != run.key and key not in loaded for key, count in left.items())
        left[run.key] -= run.count
        work = run.count * (self._service(run.key) or 0.0)
        return slots.switch(run.key, loads * self._loading(run.key), work, last=last or run.key == OTHERS)

    def _take(self, slots: Capacity | None, run: Run) -> Capacity | None:
        seconds = None if slots is None else self._service(run.key)
        return None if slots is None or seconds is None else slots.take(run.count, seconds)

    def _under_quota(self, owner: str, key: LoadKey, now: Instant, ahead: Callable[[], int]) -> float:
        """Return the seconds until a token's quota lets one more of its jobs run, after as many others as `ahead` says.

        `ahead` is called only for a token with a quota.
        """
        most = self.rules.most_running.get(owner)
        if most is None:
            return 0.0
        rests = sorted(self.rest(job, now) or 0.0 for job in self.at_work.values() if job.kind.caller[0] == owner)
        free = [0.0] * (most - len(rests)) + rests[-most:]
        return Slots(free, None).starts(ahead(), self.usual(key))

    def _service(self, key: LoadKey) -> float | None:
        return self.typical() if key == OTHERS else self.forecasts.usual(key)

    def _loading(self, key: LoadKey) -> float:
        return self.load_times.usual(key) or 0.0

    def _expected(
        self,
        position: int,
        slots: Capacity | None,
        number: int,
        job: Job | Draft,
        each: float | None = None,
        quota: float = 0.0,
    ) -> Expected:
        """Return what is expected of a job behind `number` others of its lane, each of which takes so many seconds."""
        own = self.forecasts.seconds(Kind.of(job))
        if slots is None or own is None:
            return Expected(position)
        starts = max(quota, slots.starts(number, each or self.usual(job.key)))
        return Expected(position, starts + own, starts)


def _left(near: Near) -> Counter[LoadKey]:
    """Return the numbers of jobs by load key."""
    left: Counter[LoadKey] = Counter()
    for head, count in near.lanes:
        left[head.key] += count
    return left


def _planned(store: Reader, plan: LanePlan, skip: int, count: int) -> list[Job | None]:
    """Return jobs of a plan after the first `skip`; None for one that waits no more or must not be shown."""
    found: list[Job | None] = []
    for one in plan.jobs[skip : skip + count]:
        try:
            job = store.job(one.job.id)
        except JobUnreadable:
            job = None
        found.append(job if job is not None and job.state is State.QUEUED and job.ready_at is None else None)
    return found
