"""What is expected of jobs that wait: by load key and length, with loads, running jobs and slots."""

from __future__ import annotations

from dataclasses import replace as replace_rules
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from foreman.domain.job import Job, Priority, State
from foreman.domain.scheduling.choose import OrderRules, Standing
from foreman.domain.scheduling.scheduler_state import SchedulerState
from foreman.domain.scheduling.turns import Turn
from foreman.queue.lane_plan import FAR
from foreman.queue.outlook import Expected, Outlook
from foreman.store.sqlite.writer import SqliteWriter
from tests.support.actors import START, draft
from tests.support.queue import learn, ledger_of, writing
from tests.support.sites import only_site


def add(store: SqliteWriter, number: int, model: str = "a", **fields: Any) -> Job:
    with writing(store) as ledger:
        [job] = ledger.add([draft(number, model, **fields)])
    return job


def knowing(
    store: SqliteWriter, *, slots: int = 1, loaded: str | None = "a", **seconds: tuple[float, float]
) -> Outlook:
    """An outlook that has seen a job of each key, which took so long after so long a load."""
    outlook = only_site(OrderRules(slots=slots))
    outlook.board = ledger_of(store).outlook.board
    for key, (took, load) in seconds.items():
        learn(outlook, key, seconds=took, load=load)
    outlook.states = {"": SchedulerState(Standing((Turn(loaded, START),)) if loaded else Standing())}
    return outlook


def seconds(outlook: Outlook, store: SqliteWriter, *jobs: Job, now: float = START) -> list[float | None]:
    return [outlook.of(store, job, now).seconds for job in jobs]


def test_each_key_has_its_own_pace_and_loads_count(store: SqliteWriter) -> None:
    outlook = knowing(store, a=(2, 5), b=(60, 30))
    jobs = [add(store, 1, "b"), add(store, 2, "a"), add(store, 3, "b"), add(store, 4, "a")]
    assert [outlook.of(store, job, START).position for job in jobs] == [3, 1, 4, 2]
    assert seconds(outlook, store, *jobs) == [4 + 30 + 60, 2, 4 + 30 + 120, 4]


@pytest.mark.parametrize("others", [(), ("b",)])
@pytest.mark.parametrize("owner", ["", "else"])
@pytest.mark.parametrize("priority", [Priority.HIGH, Priority.LOW])
def test_the_position_of_the_next_job_is_the_same_with_its_time(
    store: SqliteWriter, priority: Priority, owner: str, others: tuple[str, ...]
) -> None:
    for number, model in enumerate(("a", "a", *others, "a"), 1):
        add(store, number, model, priority=Priority.LOW)
    outlook = knowing(store, a=(2, 5), b=(3, 5))
    new = draft(9, "a", priority=priority, owner=owner)
    alone = outlook.of_next(new, START + 1)
    assert alone.position == outlook.of_next(new, START + 1, up=True).position
    if not owner and not others and priority is Priority.LOW:
        assert alone.position == 4


def test_a_load_of_which_nothing_is_known_is_like_the_others(store: SqliteWriter) -> None:
    outlook = knowing(store, a=(2, 5), b=(3, 15))
    learn(outlook, "c", seconds=1)
    assert seconds(outlook, store, add(store, 1, "c")) == [10 + 1]


def test_what_runs_counts_with_what_is_left_of_it(store: SqliteWriter) -> None:
    outlook = knowing(store, a=(10, 5), b=(60, 30))
    running, waiting = add(store, 1, "b"), add(store, 2, "a")
    with writing(store) as ledger:
        ledger.put(replace(running, state=State.LOADING), running)
    outlook.claimed(running, START)
    outlook.states = {"": SchedulerState(Standing((Turn("b", START),)))}
    assert seconds(outlook, store, waiting) == [90 + 5 + 10]
    outlook.began("001", START + 30)
    assert seconds(outlook, store, waiting, now=START + 50) == [40 + 5 + 10]
    assert seconds(outlook, store, waiting, now=START + 130) == [30 + 5 + 10]  # longer than usual: three tenths more
    outlook.ended("001")
    outlook.states = {"": SchedulerState(Standing((Turn("a", START),)))}
    assert seconds(outlook, store, waiting) == [10]


def test_slots_share_the_jobs_of_a_key_and_wait_for_each_other_at_a_change(store: SqliteWriter) -> None:
    outlook = knowing(store, slots=3, a=(10, 5), b=(7, 4))
    jobs = [add(store, n, "a") for n in range(1, 5)] + [add(store, 5, "b")]
    assert seconds(outlook, store, *jobs) == [10, 10, 10, 20, 20 + 4 + 7]


def test_a_limited_answer_is_expected_by_its_length(store: SqliteWriter) -> None:
    outlook = knowing(store)
    for most, tokens in ((None, 400), (8, 8), (1000, 900)) * 9:
        learn(outlook, "a", seconds=tokens / 10, tokens=tokens, most=most)
    [short] = seconds(outlook, store, add(store, 1, most_tokens=8))
    [long] = seconds(outlook, store, add(store, 2, most_tokens=900))  # like those of a similar limit
    [usual] = seconds(outlook, store, add(store, 3, "b"))
    assert short == pytest.approx(0.8, abs=4) and usual is None
    assert short is not None and long is not None and 60 < long - short < 90


def test_nothing_is_said_of_what_nobody_knows(store: SqliteWriter) -> None:
    outlook = knowing(store, a=(2, 5))
    new, after, known = add(store, 1, "new"), add(store, 2, "a", priority=Priority.LOW), add(store, 3, "a", priority=0)
    assert seconds(outlook, store, known, new, after) == [2, None, None]
    assert outlook.of(store, new, START).position == 2
    outlook.claimed(new, START)  # runs, for as long as it likes
    assert seconds(outlook, store, known) == [None]


def test_a_job_that_waits_for_a_time_has_no_place(store: SqliteWriter) -> None:
    outlook = knowing(store, a=(2, 5))
    assert outlook.of(store, add(store, 1, not_before=START + 5), START) == Expected()
    assert outlook.of_next(draft(2, "a", not_before=START + 5), START).position is None
    assert outlook.of_next(draft(2, "a", not_before=START - 5), START).position == 1
    outlook.states = {"": outlook.state_of().let_rest("a", START, START + 5)}
    assert outlook.of(store, add(store, 3), START) == Expected()
    assert outlook.of_next(draft(2, "a"), START).position is None


def test_while_the_target_is_away_there_are_positions_and_no_times(store: SqliteWriter) -> None:
    outlook = knowing(store, a=(2, 5))
    job = add(store, 1)
    assert outlook.of(store, job, START, up=False) == Expected(1, None)
    assert [expected for _, expected in outlook.line(store, START, 9, up=False)] == [Expected(1, None)]


def test_keys_that_rest_hold_up_nobody(store: SqliteWriter) -> None:
    outlook = knowing(store, a=(2, 5), b=(3, 4), loaded="b")
    add(store, 1, "a", priority=Priority.HIGH)
    job = add(store, 2, "b")
    assert outlook.of(store, job, START) == Expected(2, 5 + 2 + 4 + 3, 5 + 2 + 4)
    outlook.states = {"": outlook.state_of().let_rest("a", START, START + 5)}
    assert outlook.of(store, job, START) == Expected(1, 3, 0)
    assert [job.id for job, _ in outlook.line(store, START, 9)] == ["002"]


def test_a_class_that_starves_is_expected_before_the_end_of_the_higher_ones(store: SqliteWriter) -> None:
    outlook = knowing(store, a=(1, 5))
    low = add(store, 999, "a", priority=Priority.LOW)
    with writing(store, START + 700) as ledger:
        ledger.add([draft(n, "a", priority=Priority.HIGH) for n in range(1, 101)])
    assert outlook.of(store, low, START + 700) == Expected(2, 2, 1)
    outlook.states = {"": SchedulerState(Standing((Turn("a", START + 700),), credits=(0.0, 0.0, -5.05)))}
    assert outlook.of(store, low, START + 700) == Expected(52, 52, 51)
    assert outlook.of(store, low, START + 1).position == 101


def test_far_back_nothing_is_counted(store: SqliteWriter) -> None:
    outlook = knowing(store, a=(2, 5))
    with writing(store) as ledger:
        *_, last = ledger.add([draft(n, "a", id=f"{n:05}") for n in range(1, FAR + 50)])
    assert outlook.of(store, last, START) == Expected(FAR, None)
    assert outlook.of_next(draft(5000, "a"), START).position == FAR


@given(
    jobs=st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(list(Priority)), st.none() | st.integers(1, 900)),
        min_size=1,
        max_size=10,
    ),
    slots=st.integers(1, 3),
)
def test_the_line_says_the_same_as_each_job(
    tmp_path_factory: pytest.TempPathFactory, jobs: list[tuple[str, Priority, int | None]], slots: int
) -> None:
    store = SqliteWriter(tmp_path_factory.mktemp("line") / "foreman.db")
    try:
        outlook = knowing(store, slots=slots, a=(2, 5), b=(3, 1), c=(11, 20))
        for number, (model, priority, most) in enumerate(jobs):
            add(store, number, model, priority=priority, most_tokens=most)
        line = outlook.line(store, START, 99)
        assert [expected.position for _, expected in line] == list(range(1, len(jobs) + 1))
        for job, expected in line:
            assert outlook.of(store, job, START) == expected
    finally:
        store.close()


def test_a_full_quota_of_running_jobs_holds_the_estimates_of_its_token_only(store: SqliteWriter) -> None:
    outlook = knowing(store, slots=3, a=(10, 5))
    running, *own = [add(store, number, owner="batch") for number in (1, 2, 3)]
    other = add(store, 4, owner="alice")
    with writing(store) as ledger:
        ledger.put(replace(running, state=State.WORKING), running)
    outlook.claimed(running, START)
    outlook.began("001", START)
    assert seconds(outlook, store, *own, other) == [10, 20, 10]
    outlook.rules = replace_rules(outlook.rules, most_running={"batch": 1})
    held = seconds(outlook, store, *own, other)
    assert held == [20, 30, 10]
    line = {job.id: expected.seconds for job, expected in outlook.line(store, START, 9)}
    assert [line[job.id] for job in (*own, other)] == held
    assert outlook.of_next(draft(5, "a", owner="batch"), START, up=True).seconds == 40
