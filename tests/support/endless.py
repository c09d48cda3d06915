"""A queue that never empties: each kind of job in a stream always waits. How long do other jobs?"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from foreman.domain.errors import Preempted
from foreman.domain.job import CallerKey, Priority, State
from foreman.domain.scheduling.choose import ONE, OrderRules, Spent
from foreman.domain.scheduling.room import Room
from foreman.queue.commands import Claim, Computed, Withdraw, Work
from foreman.store.sqlite.writer import SqliteWriter
from tests.support.queue import QueueHarness, learn
from tests.support.sites import FakeSite

SHORTEST, LONGEST = 4, 16  # seconds of a job


@dataclass(frozen=True)
class Kind:
    """What the jobs of one kind are like."""

    priority: Priority = Priority.NORMAL
    key: str = "m"
    caller: CallerKey = ("alice", "")
    prompt: bytes = b""
    seconds: int = LONGEST


@dataclass(frozen=True)
class Case:
    """Some jobs, oldest first, and the kinds of which newer ones never end.

    The stream may run for a while before; then two jobs of each of its kinds are older.
    """

    rules: OrderRules
    first: list[Kind]
    stream: list[Kind]
    after: int = 0  # seconds for which the stream has run
    load: int = 0  # seconds
    room: Room = ONE
    serves: tuple[str, ...] = ("mnok",)  # the keys that each target serves

    @property
    def kinds(self) -> list[Kind]:
        return [*self.first, *self.stream]

    @property
    def callers(self) -> int:
        return len({kind.caller for kind in self.kinds})

    @property
    def older(self) -> list[Kind]:
        """Those that no job of the stream is older than, and those of the stream that are older than they."""
        return [*self.first, *(self.stream * 2 if self.after else [])]


@dataclass
class Play:
    """The slots of the targets that work through a queue in which each kind of the stream always waits."""

    harness: QueueHarness
    case: Case
    sites: list[FakeSite]
    ends: list[tuple[float, str]] = field(default_factory=list)
    works: dict[str, tuple[Work, float, float]] = field(default_factory=dict)  # with its begin, and seconds of loading
    kinds: dict[str, Kind] = field(default_factory=dict)
    spent: dict[str, deque[Spent]] = field(default_factory=dict)
    first: list[str] = field(default_factory=list)
    started: dict[str, float] = field(default_factory=dict)  # the first jobs, seconds after they were submitted

    def run(self, most: float) -> None:
        """Work until all first jobs have started, or for so many seconds."""
        began = self.harness.now
        if not self.case.after:
            self.first = [self._submit(kind) for kind in self.case.first]
        for kind in self.case.stream * 2:
            self._submit(kind)
        while self.harness.now < began + self.case.after:
            self._fill()
            self._go_on()
        began = self.harness.now
        if self.case.after:
            self.first = [self._submit(kind) for kind in self.case.first]
        while len(self.started) < len(self.first) and self.harness.now <= began + most:
            for name in self._fill():
                if name in self.first:
                    self.started.setdefault(name, self.harness.now - began)
            self._go_on()

    def _fill(self) -> list[str]:
        """Give the free slots jobs, and return these."""
        names = []
        while work := next(filter(None, map(self._claim, self.sites)), None):
            names.append(work.job.id)
        return names

    def _submit(self, kind: Kind) -> str:
        name = f"{len(self.kinds):06}"
        self.kinds[name] = kind
        owner, caller = kind.caller
        self.harness.submit(
            1, id=name, model=kind.key, priority=kind.priority, owner=owner, caller=caller, prefix=kind.prompt
        )
        self._give_way()
        return name

    def _claim(self, site: FakeSite) -> Work | None:
        """Claim a job for a target with a free slot; None if there is none."""
        at_work = [work.job.key for work, _, _ in self.works.values() if (work.job.target or "") == site.name]
        if len(at_work) >= site.slots:
            return None
        spent = self.spent.setdefault(site.name, deque())
        work: Work | None = self.harness.say(
            Claim(target=site.name, loaded=site.is_loaded, spent=spent.popleft() if spent else None)
        )
        if work is None:
            self.harness.say(Withdraw(target=site.name))
            return None
        job, now = work.job, self.harness.now
        assert site.room().fits({*at_work, job.key})
        loading = 0 if site.is_loaded(job.key) else self.case.load
        kept = {job.key}
        for key in (*at_work, *sorted(site.memory)):
            kept |= {key} if site.room().fits({*kept, key}) else set()
        site.memory = kept
        self.works[job.id] = work, now, loading
        heapq.heappush(self.ends, (now + loading + self.kinds[job.id].seconds, job.id))
        outlook = self.harness.handlers.outlook
        outlook.claimed(job, now)
        if job.state is State.WORKING:  # what has loaded its model is not reported to have begun, and does not give way
            outlook.began(job.id, now)
        if work.opens:
            self.harness.say(Computed(job_id=job.id, fence=job.fence))
        if job.id not in self.first and job.gave_way == 0:
            self._submit(self.kinds[job.id])
        return work

    def _go_on(self) -> None:
        """Go to the next moment at which something happens, and end what ends then."""
        due = self.harness.handlers.next_due
        moments = [end for end, name in self.ends if name in self.works] + ([due] if due is not None else [])
        assert moments, "nothing runs, and nothing will"
        self.harness.now = max(self.harness.now, min(moments))
        while self.ends and self.ends[0][0] <= self.harness.now:
            end, name = heapq.heappop(self.ends)
            if name in self.works and end == self._end(name):
                work, began, loading = self.works[name]
                self.harness.handlers.outlook.learn(work.job, seconds=end - began - loading, tokens=0)
                self._leave(name, None)
        if due is not None and due <= self.harness.now:
            self.harness.commit = self.harness.handlers.apply([])[1]
            self._give_way()

    def _end(self, name: str) -> float:
        _, began, loading = self.works[name]
        return began + loading + self.kinds[name].seconds

    def _leave(self, name: str, error: Preempted | None) -> None:
        work, began, loading = self.works.pop(name)
        took = self.harness.now - began
        self.harness.handlers.outlook.ended(name)
        self.spent[work.job.target or ""].append(work.spent(took, min(took, loading)))
        self.harness.finish(work.job, *([error] if error else []))

    def _give_way(self) -> None:
        for name, urgent in dict(self.harness.commit.giving_way).items():
            if name in self.works:
                self._leave(name, Preempted(urgent))


@contextmanager
def playing(case: Case) -> Iterator[Play]:
    with TemporaryDirectory() as folder:
        store = SqliteWriter(Path(folder) / "foreman.db")
        try:
            store._db.execute("PRAGMA synchronous = OFF")  # nothing here outlives the test
            harness = QueueHarness(store, order=case.rules, job_ttl=1e9)
            names = [""] if len(case.serves) == 1 else [f"t{number}" for number in range(len(case.serves))]
            sites = [
                FakeSite(name, models=keys, slots=case.rules.slots, most=case.room)
                for name, keys in zip(names, case.serves, strict=True)
            ]
            outlook = harness.handlers.outlook
            outlook.own_sites = {site.name: site for site in sites}
            for key in {kind.key for kind in case.kinds}:
                learn(outlook, key, seconds=SHORTEST)
                for name in names if case.load else []:
                    outlook.load_times = outlook.load_times.learned(name, key, case.load)
            yield Play(harness, case, sites)
        finally:
            store.close()
