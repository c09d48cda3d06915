"""Usage figures per minute and hour, by model, caller, target and endpoint; no I/O, no clock."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import NamedTuple

from foreman.domain.job import RUNNING, Instant, Job, LoadKey, State, model_of

MINUTE, HOUR, DAY = 60, 3600, 86400  # seconds
SINCE = "usage_since"  # the note with the start of counting, seconds since the epoch
STORED = (MINUTE, HOUR)  # the steps that are stored; days are summed from hours
MINUTES_KEPT = 24 * HOUR  # seconds

# Upper bounds of the histogram of waits, in seconds; one more bucket holds longer waits.
WAITS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 28800, 86400)

# Models, callers and endpoints are few, but callers can make up names: further groups of a step share one row.
MOST_GROUPS = 500
OTHER = "other"

NO_FILTER: Mapping[str, str] = MappingProxyType({})


class Group(NamedTuple):
    """The dimensions of the figures."""

    model: str  # the target's own name for it
    caller: str  # the owner of its jobs, called as in the API; empty for an unnamed one
    target: str
    endpoint: str

    def others(self) -> Group:
        """Return the group that sums up surplus groups."""
        return self._replace(model=OTHER, caller=OTHER)


class Price(NamedTuple):
    """What one model's tokens and time cost."""

    prompt: float  # a token that was not cached
    cached: float
    answer: float
    second: float  # of a slot's time


REST = "*"  # the name under which all other models have their price
NO_PRICES: Mapping[str, Price] = MappingProxyType({})


class Slot(NamedTuple):
    """A step of time and a group: the key of a row of figures. Steps without activity have none."""

    step: int  # seconds
    at: int  # its beginning, seconds since the epoch
    group: Group


class Tokens(NamedTuple):
    """The token counts reported by an answer."""

    prompt: int = 0  # including the cached ones
    cached: int = 0
    answer: int = 0
    counts_cached: bool = False  # True when the server says how many tokens were cached


NO_TOKENS = Tokens()


@dataclass(slots=True)
class Figures:
    """The counts and sums of a step."""

    submitted: int = 0  # queued, including manual retries
    done: int = 0
    failed: int = 0
    cancelled: int = 0
    expired: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    answer_tokens: int = 0
    loads: int = 0
    busy_seconds: float = 0.0  # summed over all slots
    waits: list[int] = field(default_factory=lambda: [0] * (len(WAITS) + 1))  # histogram over WAITS of started jobs

    def add(self, other: Figures) -> None:
        """Add other figures to these."""
        for name in COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.waits = [one + more for one, more in zip(self.waits, other.waits, strict=True)]

    def wait(self, share: float) -> float | None:
        """Return the quantile of the waits in seconds, interpolated within a bucket; None if no job started."""
        rank = share * sum(self.waits)
        if not rank:
            return None
        below = 0
        for bucket, count in enumerate(self.waits[:-1]):
            if count and below + count >= rank:
                low = WAITS[bucket - 1] if bucket else 0.0
                return low + (WAITS[bucket] - low) * (rank - below) / count
            below += count
        return float(WAITS[-1])


COUNTS = tuple(one.name for one in fields(Figures) if one.name != "waits")


class Depth(NamedTuple):
    """The numbers of waiting and running jobs in a step."""

    step: int
    at: int
    first: int  # waiting at its beginning
    waiting: int  # maximum
    running: int  # maximum


class Row(NamedTuple):
    """A row of an answer: the figures of a step, for one group's name or for all."""

    at: int
    by: str | None
    figures: Figures
    cost: float | None = None  # None where no model has a price
    waiting: int | None = None  # maximum; None in a row for one name
    running: int | None = None


_ENDS: Mapping[State, str] = {
    State.DONE: "done",
    State.FAILED: "failed",
    State.CANCELLED: "cancelled",
    State.EXPIRED: "expired",
}


class Tally:
    """The figures added by a transaction, and the depth of the queue as of the last commit."""

    def __init__(self, target: str, *, waiting: int) -> None:
        self.figures: dict[Slot, Figures] = {}
        self._target = target
        self._waiting = waiting
        self._others = 0  # running jobs that were not claimed here
        self._claims: dict[str, Instant] = {}  # of running jobs, except those of an earlier process
        self._claimed: dict[str, Instant] = {}  # in this transaction
        self._left: set[str] = set()
        self._most = 0  # jobs that ran at once in this transaction
        self._more = 0
        self._now: Instant | None = None  # of the transaction, once it has something to record
        self._pairs: dict[tuple[Instant, Group], Sequence[Figures]] = {}  # of the minute and the hour
        self._depths: dict[int, Depth] = {}  # as of the last commit, by step

    def submitted(self, jobs: Iterable[Job], now: Instant) -> None:
        """Count new jobs."""
        counts: dict[tuple[LoadKey, str, str], int] = {}
        for job in jobs:
            alike = job.key, job.owner, job.endpoint
            counts[alike] = counts.get(alike, 0) + 1
        self._now = now
        for (key, owner, endpoint), count in counts.items():
            self._more += count
            for figures in self._at(Group(model_of(key), owner, self._target, endpoint), now):
                figures.submitted += count

    def changed(self, job: Job, previous: State, now: Instant, *, first: bool = False) -> None:
        """Count a transition from `previous` to the job's state. `first` means that a start is its first one."""
        self._now = now
        group = self._group(job)
        if previous is State.QUEUED:
            self._more -= 1
        if job.state is State.QUEUED:
            self._more += 1
        if job.state in RUNNING and previous is State.QUEUED:
            self._claimed[job.id] = now
            self._left.discard(job.id)
            self._most = max(self._most, self._running())
            if first:
                bucket = bisect_left(WAITS, now - job.since)
                for figures in self._at(group, now):
                    figures.waits[bucket] += 1
        elif job.state not in RUNNING and previous in RUNNING:
            self._leave(job.id, group, now)
        if job.state in _ENDS:
            name = _ENDS[job.state]
            for figures in self._at(group, now):
                setattr(figures, name, getattr(figures, name) + 1)
        elif job.state is State.QUEUED and previous not in RUNNING:
            for figures in self._at(group, now):
                figures.submitted += 1

    def follow(self, *, waiting: int, running: int) -> None:
        """Count the jobs that wait and run, all in all, after commits of other nodes."""
        self._waiting, self._others = waiting, max(0, running - len(self._claims))

    def set_aside(self, now: Instant) -> None:
        """Count an unreadable job that has left the queue."""
        self._now = now
        self._more -= 1

    def used(self, job: Job, now: Instant, *, tokens: Tokens = NO_TOKENS, loads: int = 0) -> None:
        """Count the tokens and loads of an attempt."""
        self._now = now
        for figures in self._at(self._group(job), now):
            figures.prompt_tokens += tokens.prompt
            figures.cached_tokens += tokens.cached
            figures.answer_tokens += tokens.answer
            figures.loads += loads

    def sample(self, now: Instant) -> None:
        """Record a row for this minute if any job runs, since a missing row means that none did."""
        if self._claims:
            self._now = now

    def depths(self) -> list[Depth]:
        """Return the depths changed by the transaction; each replaces a lower stored one."""
        if self._now is None:
            return []
        before, running = self._waiting, len(self._claims) + self._others
        after, runs = before + self._more, max(self._most, self._running())
        found = []
        for step in STORED:
            at = _floor(self._now, step)
            known = self._depths.get(step)
            if known is None or known.at != at:
                found.append(Depth(step, at, before, max(before, after), max(running, runs)))
            elif after > known.waiting or runs > known.running:
                found.append(known._replace(waiting=max(known.waiting, after), running=max(known.running, runs)))
        return found

    def _running(self) -> int:
        return len((self._claims.keys() | self._claimed.keys()) - self._left) + self._others

    def commit(self, depths: Iterable[Depth]) -> None:
        """Accept the counts, and what `depths` returned for them: the transaction is on disk."""
        self._depths |= {depth.step: depth for depth in depths}
        self._claims |= self._claimed
        for job_id in self._left:
            self._claims.pop(job_id, None)
        self._waiting += self._more
        self.forget()

    def forget(self) -> None:
        """Discard the counts of the transaction, after its commit or rollback."""
        self.figures = {}
        self._pairs = {}
        self._claimed, self._left, self._most, self._more, self._now = {}, set(), 0, 0, None

    def _leave(self, job_id: str, group: Group, now: Instant) -> None:
        began = self._claimed.get(job_id, self._claims.get(job_id))
        self._left.add(job_id)
        if began is None:  # claimed by an earlier process, which died at an unknown time
            return
        for step in STORED:
            since = max(began, now - MINUTES_KEPT) if step == MINUTE else began
            for at, seconds in _stretches(since, now, step):
                self._figures(Slot(step, at, group)).busy_seconds += seconds

    def _group(self, job: Job) -> Group:
        return Group(model_of(job.key), job.owner, job.target or self._target, job.endpoint)

    def _at(self, group: Group, now: Instant) -> Sequence[Figures]:
        found = self._pairs.get((now, group))
        if found is None:
            found = [self._figures(Slot(step, _floor(now, step), group)) for step in STORED]
            self._pairs[now, group] = found
        return found

    def _figures(self, slot: Slot) -> Figures:
        found = self.figures.get(slot)
        if found is None:
            found = self.figures[slot] = Figures()
        return found


def kept_since(step: int, now: Instant, history: float) -> int:
    """Return the time from which rows are kept: hours in whole days, for `history` seconds (0: unlimited).

    One extra step is kept for queries that were computed a moment earlier.
    """
    kept, unit = (MINUTES_KEPT, MINUTE) if step == MINUTE else (history, DAY)
    return _floor(now - kept, unit) - unit if kept else 0


def every_step(
    rows: Sequence[Row],
    depths: Sequence[Depth] | None,
    *,
    begin: int,
    end: int,
    step: int,
    now: Instant,
    live: tuple[int, int],
) -> list[Row]:
    """Return a row for every step from `begin` up to `end`, with the numbers of waiting and running jobs.

    `depths` are those from `begin` on, including the first one at or after `end`; None leaves the numbers out. `live`
    are the numbers waiting and running now. A step without a depth takes its waiting number from the beginning of the
    next one and has no running jobs.
    """
    found = {row.at: row for row in rows}
    every = [found.get(at, Row(at, None, Figures())) for at in range(begin, end, step)]
    if depths is None:
        return every
    stored = MINUTE if step == MINUTE else HOUR
    known = {depth.at: depth for depth in depths}
    waiting: dict[int, int] = {}
    running: dict[int, int] = {}
    later = [depth for depth in depths if end <= depth.at <= now]  # a clock that was ahead leaves depths after `now`
    carried = later[0].first if later else live[0]
    for at in range(end - stored, begin - stored, -stored):
        depth = known.get(at, Depth(stored, at, carried, carried, 0))
        carried = depth.first
        most, runs = depth.waiting, depth.running
        if at == _floor(now, stored):
            most, runs = max(most, live[0]), max(runs, live[1])
        slot = at // step * step
        waiting[slot], running[slot] = max(most, waiting.get(slot, 0)), max(runs, running.get(slot, 0))
    return [row._replace(waiting=waiting[row.at], running=running[row.at]) for row in every]


def _floor(at: Instant, step: int) -> int:
    return int(at // step * step)


def _stretches(begin: Instant, end: Instant, step: int) -> Iterator[tuple[int, float]]:
    """Yield the steps of a time span: the beginning of each, and the seconds in it."""
    at = _floor(begin, step)
    while begin < end:
        upto = min(end, at + step)
        yield at, upto - begin
        begin, at = upto, at + step
