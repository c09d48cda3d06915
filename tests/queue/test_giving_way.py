"""Jobs that give way to urgent ones: who, when, and how often."""

from __future__ import annotations

from typing import Any

import pytest

from foreman.domain.errors import Preempted
from foreman.domain.job import Job, Priority, State
from foreman.domain.scheduling.choose import OrderRules
from foreman.queue.commands import Claim, Work
from foreman.store.sqlite.writer import SqliteWriter
from tests.support.queue import QueueHarness

LOW, NORMAL, HIGH = Priority.LOW, Priority.NORMAL, Priority.HIGH


@pytest.fixture
def harness(store: SqliteWriter) -> QueueHarness:
    return QueueHarness(store, order=OrderRules(limit=600))


def run(harness: QueueHarness, number: int, *, began: bool = True, shown: bool = False, **fields: Any) -> Job:
    """Have a job at work: its target has the request."""
    harness.submit(number, **{"priority": LOW, **fields})
    work = harness.claim(loaded=fields.get("model", "m"))
    assert work is not None and work.job.id == f"{number:03}"
    harness.handlers.outlook.claimed(work.job, harness.now, lambda: shown)
    if began:
        harness.handlers.outlook.began(work.job.id, harness.now)
    return work.job


def asked(harness: QueueHarness, number: int = 99, **fields: Any) -> dict[str, str]:
    """The jobs that are told to give way once an urgent one is submitted."""
    harness.submit(number, **{"priority": HIGH, **fields})
    return dict(harness.commit.giving_way)


def test_an_urgent_job_gets_the_slot_of_a_lower_one_which_starts_over_unspent(harness: QueueHarness) -> None:
    low = run(harness, 1)
    since = low.since
    harness.now += 5
    waiting = Claim(loaded="m".__eq__)
    assert asked(harness) == {"001": "099"}
    harness.finish(low, Preempted("099"))
    stopped = harness.job(1)
    assert (stopped.state, stopped.attempt, stopped.since, stopped.gave_way) == (State.QUEUED, 0, since, 1)
    assert (stopped.error, stopped.error_code) == ("gave way to 099", "preempted")
    work = harness.say(waiting)
    assert isinstance(work, Work) and work.job.id == "099"
    harness.finish(work.job)
    assert harness.claimed().id == "001"


@pytest.mark.parametrize(("owner", "named"), [("bob", ""), ("ann", "099")])
def test_with_private_jobs_it_does_not_hear_of_another_callers_job(store: SqliteWriter, owner: str, named: str) -> None:
    harness = QueueHarness(store, private_jobs=True)
    run(harness, 1, owner="ann")
    assert asked(harness, owner=owner) == {"001": named}
    assert str(Preempted("")) == "gave way to an urgent job"


def test_it_is_told_once_for_one_urgent_job_and_more_jobs_for_more(store: SqliteWriter) -> None:
    harness = QueueHarness(store, order=OrderRules(slots=3))
    for number in (1, 2, 3):
        run(harness, number)
    assert len(asked(harness, 97)) == 1
    assert not harness.handlers.apply([])[1].giving_way
    told = {**asked(harness, 98), **asked(harness, 99)}
    assert len(told) == 2


@pytest.mark.parametrize(
    "why", ["not begun", "shown", "urgent itself", "nearly done", "twice before", "switched off", "paused"]
)
def test_a_job_does_not_give_way(store: SqliteWriter, why: str) -> None:
    harness = QueueHarness(store, order=OrderRules(give_way=why != "switched off"))
    job = run(
        harness, 1, began=why != "not begun", shown=why == "shown", priority=HIGH if why == "urgent itself" else LOW
    )
    if why == "nearly done":
        harness.handlers.outlook.learn(job, seconds=10, tokens=0)
        harness.now += 8
    if why == "twice before":
        for number in (2, 3):
            assert asked(harness, number) == {"001": f"00{number}"}
            harness.finish(job, Preempted("x"))
            urgent = harness.claimed()
            harness.finish(urgent)
            work = harness.claim(loaded="m")
            assert work is not None
            job = work.job
            harness.handlers.outlook.claimed(job, harness.now)
            harness.handlers.outlook.began(job.id, harness.now)
    harness.handlers.outlook.paused = why == "paused"
    assert asked(harness) == {}


def test_a_job_that_has_just_been_claimed_is_looked_at_again(harness: QueueHarness) -> None:
    run(harness, 1, began=False)
    assert asked(harness) == {}
    assert harness.handlers.next_due == pytest.approx(harness.now + 0.1)
    harness.handlers.outlook.began("001", harness.now)
    harness.now += 0.1
    assert dict(harness.handlers.apply([])[1].giving_way) == {"001": "099"}


def test_a_slot_that_becomes_free_meanwhile_costs_nothing(harness: QueueHarness) -> None:
    """Attempts end on the event loop while the queue's thread decides which of them give way."""
    job = run(harness, 1)
    outlook = harness.handlers.outlook

    def shown() -> bool:
        outlook.ended(job.id)
        return False

    outlook.claimed(job, harness.now, shown)
    outlook.began(job.id, harness.now)
    harness.now += 5
    assert asked(harness) == {"001": "099"}
    assert not outlook.at_work
    harness.finish(job)
    assert harness.claimed().id == "099"


@pytest.mark.parametrize(
    ("usual", "took", "gives"),
    [
        (10, 5, True),
        (10, 6.5, True),
        (10, 7, False),
        (1, 0.3, True),
        (1, 0.6, False),
        (300, 280, True),
        (300, 295, False),
    ],
)
def test_the_wait_that_is_spared_must_be_worth_the_work_that_is_lost(
    harness: QueueHarness, usual: float, took: float, gives: bool
) -> None:
    job = run(harness, 1)
    harness.handlers.outlook.learn(job, seconds=usual, tokens=0)
    harness.now += took
    assert bool(asked(harness)) is gives


def test_no_job_is_stopped_where_another_is_about_to_leave_its_slot(store: SqliteWriter) -> None:
    harness = QueueHarness(store, order=OrderRules(slots=2))
    first = run(harness, 1)
    harness.handlers.outlook.learn(first, seconds=10, tokens=0)
    harness.now += 9.7
    second = run(harness, 2)
    assert asked(harness, 98) == {}
    assert asked(harness, 99) == {second.id: "098"}  # the other one gets the slot that is soon free


def test_a_job_that_should_have_ended_is_looked_at_again(harness: QueueHarness) -> None:
    job = run(harness, 1)
    for seconds in (40, *[4] * 30):
        harness.handlers.outlook.learn(job, seconds=seconds, tokens=0)
    harness.now += 3.9
    assert asked(harness) == {}
    due = harness.handlers.next_due
    assert due is not None and harness.now < due < harness.now + 3
    harness.now = due
    assert dict(harness.handlers.apply([])[1].giving_way) == {"001": "099"}  # it is one of the long ones


def test_the_lowest_class_and_the_youngest_gives_way(store: SqliteWriter) -> None:
    harness = QueueHarness(store, order=OrderRules(slots=3))
    run(harness, 1, priority=NORMAL)
    run(harness, 2)
    harness.now += 4
    run(harness, 3)
    harness.handlers.outlook.learn(harness.job(1), seconds=20, tokens=0)
    assert asked(harness) == {"003": "099"}


def test_another_model_gets_the_whole_target_or_nothing(store: SqliteWriter) -> None:
    harness = QueueHarness(store, order=OrderRules(slots=2))
    run(harness, 1)
    run(harness, 2)
    assert set(asked(harness, model="n")) == {"001", "002"}


@pytest.mark.parametrize(("load", "gives"), [(1.0, True), (3.0, True), (5.0, False), (60.0, False)])
def test_what_is_spared_beside_the_load_of_another_model_must_be_worth_it(
    harness: QueueHarness, load: float, gives: bool
) -> None:
    job = run(harness, 1)
    harness.handlers.outlook.learn(job, seconds=2, tokens=0)
    outlook = harness.handlers.outlook
    outlook.load_times = outlook.load_times.learned("", "n", load)
    assert bool(asked(harness, model="n")) is gives


def test_another_model_does_not_stop_one_of_two_that_run_together(store: SqliteWriter) -> None:
    harness = QueueHarness(store, order=OrderRules(slots=2))
    run(harness, 1)
    run(harness, 2, shown=True)
    assert asked(harness, model="n") == {}


def test_a_cancelled_job_that_was_told_to_give_way_is_counted_no_more(harness: QueueHarness) -> None:
    low = run(harness, 1)
    assert asked(harness, 98) == {"001": "098"}
    harness.finish(low)
    urgent = harness.claimed()
    harness.finish(urgent)
    run(harness, 2)
    assert asked(harness) == {"002": "099"}
