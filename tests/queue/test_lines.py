"""The lines of a lane: many callers of one token take turns, and cost a claim no more than a few."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from foreman.domain.job import CallerKey
from foreman.domain.scheduling.choose import Head, OrderRules
from foreman.queue.lines import CALLERS, NONE, Lines, Numbers
from foreman.store.sqlite.writer import SqliteWriter
from tests.support.queue import QueueHarness

MANY = CALLERS + 50
ALICE: CallerKey = ("alice", "")


def head(caller: CallerKey, since: float) -> Head:
    return Head("m", 1, since, f"{caller}{since}", caller)


def test_a_claim_looks_at_a_bounded_number_however_many_wait() -> None:
    lines = Lines()
    for number in range(MANY):
        lines.put(("eve", str(number)), (head(("eve", str(number)), number), 1, 0))
    lines.put(ALICE, (head(ALICE, MANY), 1, 0))
    found = lines.callers()
    assert len(found) == CALLERS + 1 and ALICE in found
    assert lines.beyond(("eve", str(MANY - 1))) == MANY - CALLERS - 1  # without its own job
    assert lines.beyond(("eve", "new")) == MANY - CALLERS
    assert lines.beyond(("eve", "0")) == 0 == lines.beyond(ALICE)


def test_those_that_were_served_come_after_those_that_wait() -> None:
    lines = Lines()
    callers = [("eve", str(number)) for number in range(MANY)]
    for caller in callers:
        lines.put(caller, (head(caller, 0), 3, 0))
    served: Counter[CallerKey] = Counter()
    for turn in range(2 * MANY):
        caller = next(iter(lines.callers()))
        served[caller] += 1
        lines.put(caller, (head(caller, 1 + turn), 3, 0))
    assert set(served.values()) == {2}


def test_few_callers_stay_in_the_order_in_which_they_began_to_wait() -> None:
    lines = Lines()
    for name in "ab":
        lines.put(("eve", name), (head(("eve", name), 0), 2, 0))
    lines.put(("eve", "a"), (head(("eve", "a"), 1), 1, 0))
    assert list(lines.callers()) == [("eve", "a"), ("eve", "b")]


numbers = st.tuples(st.none() | st.integers(0, 5), st.integers(0, 2))
puts = st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from(["", "1", "2"]), numbers))


@given(puts)
def test_the_oldest_heads_are_those_of_all_lines(puts: list[tuple[str, str, tuple[int | None, int]]]) -> None:
    lines, known = Lines(), dict[CallerKey, Numbers]()
    for owner, name, (since, parked) in puts:
        caller = owner, name
        known[caller] = (None, 0, parked) if since is None else (head(caller, since), 1, parked)
        lines.put(caller, known[caller])
    heads = [one for one, _, _ in known.values() if one]
    assert dict(lines) == {caller: one for caller, one in known.items() if one != NONE}
    assert bool(lines) == bool(dict(lines))
    assert lines.oldest() == min(heads, key=lambda one: (one.since, one.id), default=None)
    others = [one for one in heads if one.caller[0] != "x"]
    assert lines.oldest({"x"}) == min(others, key=lambda one: (one.since, one.id), default=None)
    for owner in "xyz":
        own = [one for one in heads if one.caller[0] == owner]
        assert lines.oldest_of(owner) == min(own, key=lambda one: (one.since, one.id), default=None)


def test_all_jobs_of_many_callers_run_and_their_positions_count_all(store: SqliteWriter) -> None:
    harness = QueueHarness(store, order=OrderRules(limit=600))
    for number in range(MANY):
        harness.submit(number, owner="eve", caller=str(number))
    last = harness.submit(MANY, owner="eve", caller="last")
    expected = harness.handlers.outlook.of(store, last.job, harness.now)
    assert expected.position is not None and MANY <= expected.position <= MANY + 1
    seen = []
    while work := harness.claim():
        seen.append(work.job.id)
        harness.finish(work.job)
    assert len(seen) == len(set(seen)) == MANY + 1
