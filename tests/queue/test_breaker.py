"""The command handlers beside a server that fails one call after the other."""

from __future__ import annotations

import pytest

from foreman.domain.errors import Drained, ForemanError, LoadTimeout, TargetLost, TargetRefused, TargetSilent
from foreman.domain.job import Job, State
from foreman.domain.scheduling import scheduler_state
from foreman.domain.scheduling.breaker import FREE
from foreman.queue.commands import Cancel
from foreman.store.sqlite.writer import SqliteWriter
from tests.support.queue import QueueHarness

LOST = TargetLost("t", "it closed")


@pytest.fixture
def harness(store: SqliteWriter) -> QueueHarness:
    return QueueHarness(store)


def opened(harness: QueueHarness, models: str = "aaaaab", error: ForemanError = LOST) -> None:
    """Submit jobs, and have the first three, all of model a, fail."""
    for number, model in enumerate(models, start=1):
        harness.submit(number, model=model)
    for _ in range(3):
        harness.finish(harness.claimed(), error)


def wait(harness: QueueHarness) -> None:
    """Until something is due."""
    assert harness.handlers.next_due is not None
    harness.now = harness.handlers.next_due
    harness.handlers.apply([])[1]


def tried(harness: QueueHarness) -> Job:
    """The next job of model a that is let through."""
    while (work := harness.claim()) is None:
        wait(harness)
    assert work.job.key == "a"
    return work.job


def test_a_model_whose_calls_fail_rests_and_others_go_on(harness: QueueHarness) -> None:
    opened(harness)
    assert list(harness.handlers.outlook.state_of().failing()) == ["a"]
    other = harness.claimed()
    assert other.key == "b"
    harness.finish(other)
    assert harness.claim() is None
    assert harness.submit(7, model="a").position is None
    assert harness.submit(8, model='a {"num_ctx":9}', key='a {"num_ctx":9}').position is None
    assert harness.claim() is None


def test_only_so_many_models_that_fail_are_remembered(harness: QueueHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler_state, "MODELS", 2)
    opened(harness, "aaaaabc")
    for model in "bc":
        job = harness.claimed()
        assert job.key == model
        harness.finish(job, LOST)
    assert list(harness.handlers.outlook.state_of().breakers) == ["b", "c"]
    assert harness.claimed().key == "a"


@pytest.mark.parametrize("error", [LOST, TargetSilent("t", 600), TargetRefused(500, "boom")])
def test_an_outage_costs_three_attempts_and_no_more(harness: QueueHarness, error: ForemanError) -> None:
    opened(harness, error=error)
    spent = [harness.job(n).attempt for n in range(1, 6)]
    harness.finish(harness.claimed())  # b
    for _ in range(12):
        harness.finish(tried(harness), LOST)
        assert harness.claim() is None
    assert [harness.job(n).attempt for n in range(1, 6)] == spent == [1, 1, 1, 0, 0]
    left = [n for n in range(1, 6) if harness.job(n).state is State.QUEUED]
    for _ in left:
        harness.finish(tried(harness))
    assert {harness.job(n).state for n in left} == {State.DONE}
    assert not harness.handlers.outlook.state_of().breakers


def test_an_answer_lets_all_go_on_at_once(harness: QueueHarness) -> None:
    opened(harness, "aaaaa")
    wait(harness)
    first = tried(harness)
    assert harness.claim() is None  # one at a time
    harness.finish(first)
    assert harness.claim() is not None


def test_a_bad_job_in_front_does_not_keep_the_model_closed(harness: QueueHarness) -> None:
    opened(harness, "aaaa")
    bad = tried(harness)
    harness.finish(bad, LOST)
    assert tried(harness).id != bad.id


def test_failures_with_answers_between_them_open_nothing(harness: QueueHarness) -> None:
    for number in range(1, 9):
        harness.submit(number, model="a", max_attempts=1)
        harness.finish(harness.claimed(), *([LOST] if number % 3 else []))
    assert not harness.handlers.outlook.state_of().failing()


def test_loads_that_take_too_long_are_tried_with_one_job_after_the_other(harness: QueueHarness) -> None:
    for number in (1, 2, 3):
        harness.submit(number, model="a")
    tried_ones = []
    for _ in range(3):
        tried_ones.append(tried(harness).id)
        harness.now += 180
        harness.finish(harness.job(int(tried_ones[-1])), LoadTimeout("t", "a", 180))
    assert tried_ones == ["001", "002", "003"]
    assert harness.handlers.outlook.state_of().failing()


def test_one_job_that_always_fails_is_its_own_fault(harness: QueueHarness) -> None:
    harness.submit(1, model="a", max_attempts=9)
    for _ in range(9):
        harness.finish(tried(harness), LOST)
    assert harness.job(1).state is State.FAILED
    assert not harness.handlers.outlook.state_of().failing()


@pytest.mark.parametrize("way", ["cancelled", "drained", "refused"])
def test_a_try_without_a_verdict_is_followed_by_another(harness: QueueHarness, way: str) -> None:
    opened(harness, "aaaaa")
    trying = tried(harness)
    if way == "cancelled":
        harness.say(Cancel(job_id=trying.id))
    else:
        harness.finish(trying, Drained() if way == "drained" else TargetRefused(400, "bad prompt"))
    assert harness.claim() is not None
    assert harness.claim() is None


def test_after_an_hour_jobs_that_nothing_can_answer_end(harness: QueueHarness) -> None:
    opened(harness, "aaa")
    harness.now += FREE
    harness.handlers.apply([])[1]
    for _ in range(6):
        harness.finish(tried(harness), LOST)
    assert {harness.job(n).state for n in (1, 2, 3)} == {State.FAILED}
