"""Claims among callers, and among prompts that begin alike."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest

from foreman.domain.job import CallerKey, Job, Priority
from foreman.domain.scheduling import prefixes
from foreman.domain.scheduling.choose import OrderRules, Spent
from foreman.domain.scheduling.shares import Fairness
from foreman.domain.usage import Tokens
from foreman.queue.commands import Answered, Claim, Computed, Delete, Finished, Withdraw, Work
from foreman.store.sqlite.writer import SqliteWriter
from tests.support.queue import ANSWER, QueueHarness

A: CallerKey = ("alice", "")
B: CallerKey = ("bob", "")


@dataclass
class Line:
    """One slot that works through the queue; jobs last as long as `seconds` says."""

    harness: QueueHarness
    seconds: Callable[[Job], float] = lambda job: 4.0
    order: list[Job] = field(default_factory=list)
    spent: Spent | None = None

    def work(self, most: int = 10_000, *, until: float = float("inf")) -> list[Job]:
        begun = len(self.order)
        while len(self.order) - begun < most and self.harness.now < until:
            work = self.harness.claim(spent=self.spent)
            self.spent = None
            if work is None:
                break
            job, took = work.job, self.seconds(work.job)
            self.order.append(job)
            self.harness.now += took
            self.harness.handlers.outlook.learn(job, seconds=took, tokens=0)
            self.harness.finish(job)
            self.spent = Spent(job.priority, took, work.reserved, job.key, job.caller_key, took - work.charge)
        return self.order[begun:]


def add(harness: QueueHarness, *callers: CallerKey, prefix: bytes = b"", start: int = 0) -> None:
    for number, (owner, caller) in enumerate(callers, start or len(harness.store.jobs(limit=9999)) + 1):
        harness.submit(number, owner=owner, caller=caller, prefix=prefix)


def by_caller(jobs: list[Job], seconds: Callable[[Job], float]) -> Counter[CallerKey]:
    found: Counter[CallerKey] = Counter()
    for job in jobs:
        found[job.caller_key] += seconds(job)  # type: ignore[assignment]
    return found


def jain(shares: Mapping[CallerKey, float], callers: int) -> float:
    return sum(shares.values()) ** 2 / (callers * sum(share**2 for share in shares.values()))


@pytest.fixture
def harness(store: SqliteWriter) -> QueueHarness:
    return QueueHarness(store, order=OrderRules(limit=600))


def test_who_asks_now_and_then_waits_for_a_few_jobs_of_a_flood(harness: QueueHarness) -> None:
    line = Line(harness)
    add(harness, *[A] * 150)
    for _ in range(10):
        line.work(9)
        add(harness, B)
        between = [job.owner for job in line.work(4)].index("bob")
        assert between <= 3
    assert [job.owner for job in line.work()] == ["alice"] * 30


def test_a_newcomer_goes_next_even_when_the_flood_shares_a_prompt(harness: QueueHarness) -> None:
    line = Line(harness)
    add(harness, *[A] * 50, prefix=b"aaaa")
    line.work(9)
    for _ in range(5):
        add(harness, B)
        assert "bob" in [job.owner for job in line.work(2)]


@pytest.mark.parametrize("alike", [False, True])
def test_twelve_callers_that_all_wait_get_equal_shares_of_the_time(harness: QueueHarness, alike: bool) -> None:
    chance = random.Random(7)
    callers: list[CallerKey] = [(f"caller-{n}", "") for n in range(12)]
    usual = {caller: 2.0 + n for n, caller in enumerate(callers)}
    lasting: dict[str, float] = {}

    def seconds(job: Job) -> float:
        return lasting.setdefault(job.id, usual[job.caller_key] * chance.uniform(0.5, 1.5))

    for n, caller in enumerate(callers):
        add(harness, *[caller] * int(500 / usual[caller]), prefix=b"%04d" % n if alike else b"")
    line = Line(harness, seconds)
    began = harness.now
    line.work(until=began + 2400)
    for window in range(18):
        at, some = began, []
        for job in line.order:
            at += seconds(job)
            if began + 100 * window < at <= began + 100 * window + 600:
                some.append(job)
        assert jain(by_caller(some, seconds), 12) >= 0.95


def test_weights_divide_the_time(store: SqliteWriter) -> None:
    harness = QueueHarness(store, order=OrderRules(fairness=Fairness(weights={"alice": 3.0})))
    add(harness, *[A] * 60, *[B] * 60)
    shares = by_caller(Line(harness).work(60), lambda job: 4.0)
    assert shares[A] / shares[B] == pytest.approx(3, rel=0.1)


def test_nobody_gains_by_many_names_under_one_token(harness: QueueHarness) -> None:
    add(harness, *[("alice", f"name-{n}") for n in range(30)], *[B] * 30)
    owners = Counter(job.owner for job in Line(harness).work(40))
    assert abs(owners["alice"] - owners["bob"]) <= 2


def test_calls_that_come_one_by_one_get_no_more_than_a_share(harness: QueueHarness) -> None:
    line = Line(harness)
    add(harness, *[A] * 100, *[("carol", "")] * 100)
    owners: Counter[str] = Counter()
    for _ in range(60):
        if not any(job.owner == "bob" for job in harness.store.jobs(limit=999) if job.state == "queued"):
            add(harness, B)
        owners.update(job.owner for job in line.work(1))
    assert owners["bob"] <= 60 / 3 + 6  # a third, and what a newcomer is ahead at most


def shuffled(harness: QueueHarness, templates: int, each: int, *, group: int = 6000) -> dict[str, bytes]:
    """Jobs with prompts of templates, in a random order; the prompts by job."""
    prompts = [
        (b"%04d " % template) * (group // 5) + b"question %06d of its own" % number
        for template in range(templates)
        for number in range(each)
    ]
    random.Random(1).shuffle(prompts)
    for number, prompt in enumerate(prompts, 1):
        harness.submit(number, prefix=prefixes.path([prompt]))
    return {f"{number:03}": prompt for number, prompt in enumerate(prompts, 1)}


def cached(order: list[Job], prompts: dict[str, bytes]) -> float:
    """The part of the prompts that a server which remembers one prompt need not compute."""
    last, found = b"", 0
    for job in order:
        prompt = prompts[job.id]
        found += next((n for n, (a, b) in enumerate(zip(last, prompt, strict=False)) if a != b), len(last))
        last = prompt
    return found / sum(map(len, prompts.values()))


@pytest.mark.parametrize(("on", "least", "most"), [(True, 0.8, 1.0), (False, 0.0, 0.15)])
def test_like_prompts_follow_each_other(store: SqliteWriter, on: bool, least: float, most: float) -> None:
    harness = QueueHarness(store, order=OrderRules(prefix_turns=on))
    prompts = shuffled(harness, 16, 8)
    order = Line(harness).work()
    assert len(order) == 128
    assert least <= cached(order, prompts) <= most


def test_the_oldest_job_begins_each_turn_of_prompts_so_that_nobody_waits_for_ever(harness: QueueHarness) -> None:
    line = Line(harness)
    add(harness, *[A] * 3, prefix=b"aaaa")
    add(harness, A, prefix=b"bbbb")
    line.work(1)
    for _ in range(60):  # new ones of the first prompt go on coming
        add(harness, A, prefix=b"aaaa")
        if b"bbbb" in [job.prefix for job in line.work(1)]:
            break
    else:
        raise AssertionError("it never ran")
    assert len(line.order) <= 2 + max(prefixes.TURN, prefixes.SERVICES * 4) / 4


def claims(harness: QueueHarness, count: int) -> list[Claim]:
    return [Claim() for _ in range(count)]


def test_the_first_of_a_group_goes_alone_until_its_answer_begins(store: SqliteWriter) -> None:
    harness = QueueHarness(store, order=OrderRules(slots=3))
    for number in (1, 2, 3):
        harness.submit(number, prefix=b"aaaabbbb")
    waiting = claims(harness, 3)
    first, *others = harness.answers(*waiting)
    assert isinstance(first, Work) and others == [None, None]
    answers = harness.apply(Computed(job_id=first.job.id, fence=first.job.fence))
    started = [answers[id(claim)] for claim in waiting[1:]]
    assert [work.job.id for work in started] == ["002", "003"]


def test_an_urgent_job_does_not_wait_for_the_first_of_its_group(store: SqliteWriter) -> None:
    harness = QueueHarness(store, order=OrderRules(slots=3))
    harness.submit(1, prefix=b"aaaabbbb")
    assert harness.claimed().id == "001"
    for number, priority in ((2, Priority.NORMAL), (3, Priority.HIGH), (4, Priority.LOW)):
        harness.submit(number, prefix=b"aaaacccc", priority=priority)
    harness.submit(5, priority=Priority.LOW)
    assert [harness.claimed().id for _ in range(2)] == ["003", "005"]
    assert harness.claim() is None


def test_another_prompt_starts_beside_the_first_of_a_group(store: SqliteWriter) -> None:
    harness = QueueHarness(store, order=OrderRules(slots=2))
    for number, prefix in ((1, b"aaaa"), (2, b"aaaa"), (3, b"bbbb"), (4, b"")):
        harness.submit(number, prefix=prefix)
    works = harness.answers(*claims(harness, 3))
    assert [work.job.id for work in works] == ["001", "003", "004"]
    harness.finish(works[1].job)
    assert harness.claim() is None
    harness.say(Computed(job_id="001", fence=1))
    assert harness.claimed().id == "002"


def test_the_others_of_a_group_start_when_its_first_one_fails(store: SqliteWriter) -> None:
    harness = QueueHarness(store, order=OrderRules(slots=2))
    for number in (1, 2):
        harness.submit(number, prefix=b"aaaa", max_attempts=1)
    [first, nothing] = harness.answers(*claims(harness, 2))
    assert nothing is None
    harness.handlers.apply([Withdraw()])
    harness.finish(first.job)
    assert harness.claimed().id == "002"


@pytest.mark.parametrize(("share", "follows"), [(0.05, False), (0.5, True)])
def test_the_order_of_prompts_is_given_up_where_the_server_caches_nothing(
    harness: QueueHarness, share: float, follows: bool
) -> None:
    told = Answered(ANSWER.artifacts, tokens=Tokens(1000, int(1000 * share), 10, counts_cached=True))
    add(harness, *[A] * 60, prefix=b"aaaa")
    for _ in range(60):
        harness.finish(harness.claimed(), told)
    harness.now += 1000
    for prefix in (b"aaaa", b"bbbb", b"aaaa"):
        add(harness, A, prefix=prefix)
    order = [harness.claimed() for _ in "abc" if True]
    for job in order:
        harness.say(Finished(job_id=job.id, fence=job.fence, outcome=told))
    assert [job.prefix for job in order] == ([b"aaaa", b"aaaa", b"bbbb"] if follows else [b"aaaa", b"bbbb", b"aaaa"])


@pytest.mark.parametrize("started", [0, 3])
def test_positions_are_the_order_in_which_callers_are_served(harness: QueueHarness, started: int) -> None:
    add(harness, *[A] * 6, *[B] * 3, *[("carol", "x")] * 2, *[("carol", "y")] * 2)
    line = Line(harness)
    line.work(started)
    outlook, now = harness.handlers.outlook, harness.now
    waiting = [job for job in harness.store.jobs(limit=99) if job.state == "queued"]
    places = {job.id: outlook.of(harness.store, job, now).position for job in waiting}
    shown = [job.id for job, _ in outlook.line(harness.store, now, most=99)]
    assert shown == sorted(places, key=lambda job_id: places[job_id] or 0)
    assert sorted(places.values(), key=int) == list(range(1, len(waiting) + 1))  # type: ignore[arg-type]
    assert [job.id for job in line.work()] == shown


@pytest.mark.parametrize("started", [1, 7])
@pytest.mark.parametrize("callers", [[A], [A, B], [A, B, ("bob", "x"), ("carol", "y")]])
def test_positions_are_the_order_in_which_prompts_follow_each_other(
    harness: QueueHarness, callers: list[CallerKey], started: int
) -> None:
    dice = random.Random(3)
    paths = [b"", *(first + second for first in (b"aaaa", b"bbbb", b"cccc") for second in (b"", b"dddd", b"eeee"))]
    for _ in range(60):
        add(harness, dice.choice(callers), prefix=dice.choice(paths))
    line = Line(harness, lambda job: 3.7)  # no multiple of it is the quantum
    line.work(started)
    outlook, now = harness.handlers.outlook, harness.now
    waiting = [job for job in harness.store.jobs(limit=99) if job.state == "queued"]
    places = {outlook.of(harness.store, job, now).position: job.id for job in waiting}
    shown = [job.id for job, _ in outlook.line(harness.store, now, most=99)]
    assert shown == [places[position] for position in range(1, len(waiting) + 1)]
    assert [job.id for job in line.work()] == shown


def test_a_new_callers_position_counts_what_goes_first(harness: QueueHarness) -> None:
    add(harness, *[A] * 9)
    harness.claimed()
    accepted = harness.submit(99, owner="bob")
    assert accepted.position == harness.handlers.outlook.of(harness.store, accepted.job, harness.now).position == 2


@pytest.mark.parametrize(
    ("priority", "waited", "first"),
    [(Priority.HIGH, 2, "002"), (Priority.HIGH, 300, "001"), (Priority.NORMAL, 2, "001"), (Priority.LOW, 2, "001")],
)
def test_a_short_answer_goes_before_a_long_one_of_a_person_who_has_not_waited_long(
    store: SqliteWriter, priority: Priority, waited: float, first: str
) -> None:
    harness = QueueHarness(store)
    short, long = {"priority": priority, "most_tokens": 16}, {"priority": priority, "most_tokens": 4096}
    for fields, seconds in ((short, 2.0), (long, 60.0)):
        harness.submit(9, **fields)
        job = harness.claimed()
        for _ in range(20):
            harness.handlers.outlook.learn(job, seconds=seconds, tokens=0)
        harness.finish(job)
        harness.handlers.apply([Delete(job_id=job.id)])
    harness.submit(1, **long)
    harness.now += waited
    harness.submit(2, **short)
    harness.now += 2
    assert harness.claimed().id == first


def test_a_long_answer_of_a_person_does_not_starve_behind_short_ones(store: SqliteWriter) -> None:
    harness = QueueHarness(store)
    line = Line(harness, seconds=lambda job: 60.0 if job.most_tokens == 4096 else 2.0)
    for number, most in enumerate([16, 4096] * 10, 800):
        harness.submit(number, priority=Priority.HIGH, most_tokens=most)
    line.work()
    harness.submit(1, priority=Priority.HIGH, most_tokens=4096)
    for number in range(2, 200):
        harness.submit(number, priority=Priority.HIGH, most_tokens=16)
        harness.submit(number + 200, priority=Priority.HIGH, most_tokens=16)
        harness.now += 1
        if any(job.id == "001" for job in line.work(1)):
            break
    assert 5 < number <= 22  # a round takes three seconds, and a minute is the limit


def test_new_names_under_one_token_do_not_hold_an_older_job_back(store: SqliteWriter) -> None:
    harness = QueueHarness(store)
    line = Line(harness)
    add(harness, A, A)
    for number in range(3, 100):
        harness.submit(number, owner=A[0], caller=f"new {number}")
        if any(job.id == "002" for job in line.work(1)):
            break
    assert number <= 3 + prefixes.TURN / 4 + 1


@pytest.mark.parametrize("seconds", [4.0, 5.0, 10.0])
def test_a_prompt_of_its_own_is_not_held_back_by_like_ones_of_two_callers(store: SqliteWriter, seconds: float) -> None:
    harness = QueueHarness(store)
    line = Line(harness, seconds=lambda job: seconds)
    like, other = b"aaaa", b"bbbb"
    add(harness, B, prefix=like)
    add(harness, A, prefix=like)
    add(harness, A, prefix=other)
    add(harness, *[A, B] * 4, prefix=like)
    for number in range(100, 300):
        [job] = line.work(1)
        if job.prefix == other:
            break
        harness.submit(number, owner=job.owner, caller=job.caller, prefix=like)
    assert number < 100 + 6 * prefixes.SERVICES
