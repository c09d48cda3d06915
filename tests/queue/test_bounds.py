"""No job waits for ever: each starts within a bound that follows from the rules, whatever comes after it."""

from __future__ import annotations

import heapq
import math
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from foreman.domain.errors import Preempted
from foreman.domain.job import CallerKey, Priority, State
from foreman.domain.scheduling.choose import Rules, Spent
from foreman.domain.scheduling.credits import IN_A_ROW
from foreman.domain.scheduling.prefixes import SERVICES, TURN
from foreman.domain.scheduling.shares import Fairness
from foreman.queue.commands import Computed, Work
from foreman.queue.handlers.giving_way import MOST
from foreman.store.sqlite.writer import SqliteWriter
from tests.support.queue import QueueHarness, learn

SHORTEST, LONGEST = 4, 16  # seconds of a job
CALLERS: list[CallerKey] = [("alice", ""), ("alice", "x"), ("bob", "")]
PROMPTS = [b"", b"aaaa", b"aaaabbbb", b"cccc"]


@dataclass(frozen=True)
class Kind:
    """What the jobs of one kind are like."""

    priority: Priority = Priority.NORMAL
    key: str = "m"
    caller: CallerKey = CALLERS[0]
    prompt: bytes = b""
    seconds: int = LONGEST


@dataclass(frozen=True)
class Case:
    """The first jobs, oldest first, and the kinds of which newer jobs never end."""

    rules: Rules
    first: list[Kind]
    stream: list[Kind]
    load: int = 0  # seconds

    @property
    def callers(self) -> int:
        return len({kind.caller for kind in (*self.first, *self.stream)})

    def work(self, jobs: int) -> float:
        """Return the slot seconds that a lane works until so many first jobs of it have begun, loads apart.

        One caller's jobs go by age, but for a turn of prompts before each. Of several callers none begins a job while
        it was served more than another one that waits. So a caller whose first jobs have not all begun was served for
        `jobs` of them at most, and each other caller of its token for no more than that, one job, and one in each slot
        that is charged in full at its end. A token that waits was served for what its callers were, and each other
        token for no more than that and as many jobs again.
        """
        if self.callers == 1:
            turn = max(TURN, SERVICES * LONGEST) if self.rules.prefix_turns else 0
            return jobs * (turn + 2 * LONGEST)
        over = 1 + self.rules.slots
        return self.callers * (self.callers * (jobs + over) + over) * LONGEST


@dataclass
class Play:
    """The slots of one target that work through a queue in which each kind of the stream always waits."""

    harness: QueueHarness
    case: Case
    loaded: str = ""
    ends: list[tuple[float, str]] = field(default_factory=list)
    works: dict[str, tuple[Work, float, float]] = field(default_factory=dict)  # with its begin, and seconds of loading
    kinds: dict[str, Kind] = field(default_factory=dict)
    spent: deque[Spent] = field(default_factory=deque)
    started: dict[str, float] = field(default_factory=dict)  # the first jobs, seconds after they were submitted

    def run(self, most: float) -> None:
        """Work until all first jobs have started, or for so many seconds."""
        began, slots = self.harness.now, self.case.rules.slots
        first = [self._submit(kind) for kind in self.case.first]
        for kind in self.case.stream * 2:
            self._submit(kind)
        while len(self.started) < len(first) and self.harness.now <= began + most:
            while len(self.works) < slots and (work := self._claim()):
                if work.job.id in first:
                    self.started.setdefault(work.job.id, self.harness.now - began)
            self._go_on()

    def _submit(self, kind: Kind) -> str:
        name = f"{len(self.kinds):06}"
        self.kinds[name] = kind
        owner, caller = kind.caller
        self.harness.submit(
            1, id=name, model=kind.key, priority=kind.priority, owner=owner, caller=caller, prefix=kind.prompt
        )
        self._give_way()
        return name

    def _claim(self) -> Work | None:
        work = self.harness.claim(loaded=self.loaded, spent=self.spent.popleft() if self.spent else None)
        if work is None:
            return None
        job, now = work.job, self.harness.now
        assert not self.works or job.key == self.loaded
        loading = 0 if job.key == self.loaded else self.case.load
        self.loaded = job.key
        self.works[job.id] = work, now, loading
        heapq.heappush(self.ends, (now + loading + self.kinds[job.id].seconds, job.id))
        outlook = self.harness.handlers.outlook
        outlook.claimed(job, now)
        if job.state is State.WORKING:  # what has loaded its model is not reported to have begun, and does not give way
            outlook.began(job.id, now)
        if work.opens:
            self.harness.say(Computed(job_id=job.id, fence=job.fence))
        if int(job.id) >= len(self.case.first) and job.gave_way == 0:
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
            self.harness.commit = self.harness.handlers.tick()
            self._give_way()

    def _end(self, name: str) -> float:
        _, began, loading = self.works[name]
        return began + loading + self.kinds[name].seconds

    def _leave(self, name: str, error: Preempted | None) -> None:
        work, began, loading = self.works.pop(name)
        took = self.harness.now - began
        self.harness.handlers.outlook.ended(name)
        self.spent.append(work.spent(took, min(took, loading)))
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
            for key in {kind.key for kind in (*case.first, *case.stream)}:
                learn(harness.handlers.outlook, key, seconds=SHORTEST, load=case.load or None)
            yield Play(harness, case)
        finally:
            store.close()


rules = st.builds(
    Rules,
    limit=st.sampled_from([20, 60]),
    share=st.sampled_from([0.1, 0.2, 0.5]),
    slots=st.integers(1, 3),
    fairness=st.builds(Fairness, quantum=st.sampled_from([0.0, 20.0])),
    prefix_turns=st.booleans(),
    give_way=st.booleans(),
)
seconds = st.integers(SHORTEST, LONGEST)
callers = st.sampled_from(CALLERS)
classes = st.sampled_from(list(Priority))


@st.composite
def cases_of_one_class(draw: st.DrawFn) -> Case:
    """Many keys; the prompts of one caller, or several callers."""
    alone = draw(st.booleans())
    kinds = st.builds(
        Kind,
        priority=st.just(draw(classes)),
        key=st.sampled_from("mno"),
        caller=st.just(CALLERS[0]) if alone else callers,
        prompt=st.sampled_from(PROMPTS) if alone else st.just(b""),
        seconds=seconds,
    )
    first = draw(st.lists(kinds, min_size=1, max_size=5))
    return Case(draw(rules), first, draw(st.lists(kinds, min_size=1, max_size=5)), draw(st.sampled_from([0, 3, 15])))


@st.composite
def cases_of_one_key(draw: st.DrawFn) -> Case:
    """All classes; one caller or several."""
    alone = draw(st.booleans())
    kinds = st.builds(Kind, priority=classes, caller=st.just(CALLERS[0]) if alone else callers, seconds=seconds)
    first = draw(st.lists(kinds, min_size=1, max_size=5))
    return Case(draw(rules), first, draw(st.lists(kinds, min_size=1, max_size=5)))


def assert_started(case: Case, bounds: list[float]) -> None:
    with playing(case) as play:
        play.run(max(bounds))
        started = [play.started.get(f"{number:06}", math.inf) for number in range(len(case.first))]
    late = [(kind, at, most) for kind, at, most in zip(case.first, started, bounds, strict=True) if at > most]
    assert not late


@given(cases_of_one_class())
def test_in_a_class_each_job_starts_after_the_turns_of_the_older_ones(case: Case) -> None:
    """Bound the wait by turns of load keys.

    A turn ends after `limit`, or twice its load, and the jobs that run then. The next one is that of the oldest job
    among the other keys. So until a job has started, every other turn at least is of a key that has one of the first
    jobs. With one caller each turn begins with the oldest job of its key, so a key needs no more turns than it has
    first jobs. With several it needs as many as its work is longer than what a turn leaves beside the load, of which
    a turn does one job at least.
    """
    limit, busiest = case.rules.limit, LONGEST + case.load
    turn = max(limit, 2 * case.load) + 2 * busiest
    jobs = Counter(kind.key for kind in case.first)
    if len({kind.key for kind in (*case.first, *case.stream)}) == 1:
        most = case.load + case.work(len(case.first)) + LONGEST
    elif case.callers == 1:
        most = 2 * sum(jobs.values()) * turn
    else:
        least = max(limit - case.load, case.load, SHORTEST)
        most = 2 * sum(math.ceil(case.work(number) / least) for number in jobs.values()) * turn
    assert_started(case, [most] * len(case.first))


@given(cases_of_one_key())
def test_each_class_gets_its_share_so_that_each_job_of_it_starts(case: Case) -> None:
    """Bound the wait by the slot time that the class of a job earns.

    - After `limit` the class starves, and may owe what a tenth of it earns.
    - Before each start of it the class may have to earn what the longest job costs beyond its share.
    - Then another class that starves may be owed more: its credit at most and what runs unpaid. Its jobs, and one of a
      higher class after each IN_A_ROW of them, go first.
    - A job of the class that runs may be all that its share allows: all slots work until it ends.
    - While no higher class waits, IN_A_ROW lower jobs go before each.

    A job that gives way starts over MOST times.
    """
    rules = case.rules
    share, limit, slots = rules.share, rules.limit, rules.slots
    jobs = Counter(kind.priority for kind in case.first)
    bounds = []
    for kind in case.first:
        number = jobs[kind.priority]
        work = LONGEST * number if case.callers == 1 else case.work(number)
        starts = (1 + MOST) * (number if case.callers == 1 else math.ceil(work / SHORTEST))
        owed_more = share * limit + share * slots * LONGEST + slots * LONGEST
        higher = LONGEST * (owed_more / SHORTEST / IN_A_ROW + 2)
        before_each = (1 - share) * LONGEST / share + owed_more + higher + slots * LONGEST + IN_A_ROW * LONGEST
        slot_seconds = slots * limit + limit / 10 + starts * (before_each + LONGEST)
        bounds.append(slot_seconds / slots + 2 * LONGEST)
    assert_started(case, bounds)
