"""No job waits for ever: each starts within a bound that follows from the rules, whatever comes after it."""

from __future__ import annotations

import math
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from foreman.domain.job import CallerKey, Priority
from foreman.domain.scheduling.choose import ONE, OrderRules
from foreman.domain.scheduling.credits import IN_A_ROW
from foreman.domain.scheduling.prefixes import SERVICES, TURN
from foreman.domain.scheduling.room import Room
from foreman.domain.scheduling.shares import Fairness
from foreman.queue.handlers.giving_way import MOST
from tests.support.endless import LONGEST, SHORTEST, Case, Kind, playing

CALLERS: list[CallerKey] = [("alice", ""), ("alice", "x"), ("bob", "")]
PROMPTS = [b"", b"aaaa", b"aaaabbbb", b"cccc"]


def work(case: Case, jobs: int) -> float:
    """Return the slot seconds that a lane works until so many first jobs of it have begun, loads apart.

    One caller's jobs go by age, but for a turn of prompts before each. Of several callers none begins a job while it
    was served more than another one that waits. So a caller whose first jobs have not all begun was served for `jobs`
    of them at most, and each other caller of its token for no more than that, one job, and one in each slot that is
    charged in full at its end. A token that waits was served for what its callers were, and each other token for no
    more than that and as many jobs again.
    """
    if case.callers == 1:
        turn = max(TURN, SERVICES * LONGEST) if case.rules.prefix_turns else 0
        return jobs * (turn + 2 * LONGEST)
    over = 1 + case.rules.slots
    return case.callers * (case.callers * (jobs + over) + over) * LONGEST


rules = st.builds(
    OrderRules,
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
rooms = st.sampled_from([ONE, Room.count(2), Room.memory(6, {"m": 1, "n": 3, "o": 5, "k": 6})])
fleets = st.sampled_from([("mnok",), ("mnok",), ("mnok", "mnok"), ("mno", "nok"), ("mnok", "m", "no")])  # keys of each


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
    stream = draw(st.lists(kinds, min_size=1, max_size=5))
    return Case(draw(rules), first, stream, load=draw(st.sampled_from([0, 3, 15])))


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
        started = [play.started.get(name, math.inf) for name in play.first]
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
    if len({kind.key for kind in case.kinds}) == 1:
        most = case.load + work(case, len(case.first)) + LONGEST
    elif case.callers == 1:
        most = 2 * sum(jobs.values()) * turn
    else:
        least = max(limit - case.load, case.load, SHORTEST)
        most = 2 * sum(math.ceil(work(case, number) / least) for number in jobs.values()) * turn
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
        starts = (1 + MOST) * (number if case.callers == 1 else math.ceil(work(case, number) / SHORTEST))
        owed_more = share * limit + share * slots * LONGEST + slots * LONGEST
        higher = LONGEST * (owed_more / SHORTEST / IN_A_ROW + 2)
        before_each = (1 - share) * LONGEST / share + owed_more + higher + slots * LONGEST + IN_A_ROW * LONGEST
        slot_seconds = slots * limit + limit / 10 + starts * (before_each + LONGEST)
        bounds.append(slot_seconds / slots + 2 * LONGEST)
    assert_started(case, bounds)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Classes, keys, callers and prompts of all kinds, on one target or several, where they fit together or not."""
    alone = draw(st.booleans())
    kinds = st.builds(
        Kind,
        priority=classes,
        key=st.sampled_from("mnok"),
        caller=st.just(CALLERS[0]) if alone else callers,
        prompt=st.sampled_from(PROMPTS) if alone else st.just(b""),
        seconds=seconds,
    )
    first = draw(st.lists(kinds, min_size=1, max_size=4))
    stream = draw(st.lists(kinds, min_size=1, max_size=7))
    after, load = draw(st.sampled_from([0, 100, 333])), draw(st.sampled_from([0, 3, 15]))
    return Case(draw(rules), first, stream, after, load, draw(rooms), draw(fleets))


def goes(case: Case, priority: Priority) -> int:
    """Return how many jobs of a class start until all first ones of it have, at most."""
    lanes = Counter(kind.key for kind in case.older if kind.priority == priority)
    jobs = sum(lanes.values())
    if case.callers == 1 and all(not kind.prompt for kind in case.kinds):
        return (1 + MOST) * jobs
    return (1 + MOST) * sum(math.ceil(work(case, number) / SHORTEST) for number in lanes.values())


@given(cases())
def test_nobody_waits_for_ever(case: Case) -> None:
    """Bound the wait by how often the class of a job is due, and by the share that it earns until then.

    - A class is due once its oldest job has waited, and the turn that it began last has lasted, for the longest time
      of a turn. Each job that it starts then is the oldest, or of the oldest one's lane.
    - Before each of them it earns its share, as in the test above, and what the load costs.
    - Then the jobs that run end before the load begins.
    """
    rules, job = case.rules, LONGEST + case.load
    share, limit, slots = rules.share, rules.limit, rules.slots
    due = max(limit, 2 * case.load)
    owed_more = share * limit + 2 * slots * job
    higher = job * (owed_more / SHORTEST / IN_A_ROW + 2)
    earned = (1 - share) * job / share + owed_more + higher + slots * job + IN_A_ROW * job + limit / 10
    each = due + earned + 3 * job
    assert_started(case, [2 * due + goes(case, kind.priority) * each for kind in case.first])
