"""The desk and a server that fails one call after the other."""

from __future__ import annotations

import pytest

from foreman.domain.errors import Drained, ForemanError, LoadTimeout, TargetLost, TargetRefused, TargetSilent
from foreman.domain.job import Job, State
from foreman.domain.scheduling.breaker import FREE
from foreman.queue import handlers as desk_module
from foreman.queue.commands import Cancel
from foreman.store.sqlite.writer import SqliteWriter
from tests.actors.office import Office

LOST = TargetLost("t", "it closed")


@pytest.fixture
def office(store: SqliteWriter) -> Office:
    return Office(store)


def opened(office: Office, models: str = "aaaaab", fault: ForemanError = LOST) -> None:
    """Submit jobs, and have the first three, all of model a, fail."""
    for number, model in enumerate(models, start=1):
        office.submit(number, model=model)
    for _ in range(3):
        office.finish(office.claimed(), fault)


def wait(office: Office) -> None:
    """Until something is due."""
    assert office.desk.next_due is not None
    office.now = office.desk.next_due
    office.desk.tick()


def tried(office: Office) -> Job:
    """The next job of model a that is let through."""
    while (work := office.claim()) is None:
        wait(office)
    assert work.job.key == "a"
    return work.job


def test_a_model_whose_calls_fail_rests_and_others_go_on(office: Office) -> None:
    opened(office)
    assert list(office.desk.outlook.failing()) == ["a"]
    other = office.claimed()
    assert other.key == "b"
    office.finish(other)
    assert office.claim() is None
    assert office.submit(7, model="a").position is None
    assert office.submit(8, model='a {"num_ctx":9}', key='a {"num_ctx":9}').position is None
    assert office.claim() is None


def test_only_so_many_models_that_fail_are_remembered(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk_module, "MODELS", 2)
    opened(office, "aaaaabc")
    for model in "bc":
        job = office.claimed()
        assert job.key == model
        office.finish(job, LOST)
    assert list(office.desk.outlook.breakers) == ["b", "c"]
    assert office.claimed().key == "a"


@pytest.mark.parametrize("fault", [LOST, TargetSilent("t", 600), TargetRefused(500, "boom")])
def test_an_outage_costs_three_attempts_and_no_more(office: Office, fault: ForemanError) -> None:
    opened(office, fault=fault)
    spent = [office.job(n).attempt for n in range(1, 6)]
    office.finish(office.claimed())  # b
    for _ in range(12):
        office.finish(tried(office), LOST)
        assert office.claim() is None
    assert [office.job(n).attempt for n in range(1, 6)] == spent == [1, 1, 1, 0, 0]
    left = [n for n in range(1, 6) if office.job(n).state is State.QUEUED]
    for _ in left:
        office.finish(tried(office))
    assert {office.job(n).state for n in left} == {State.DONE}
    assert not office.desk.outlook.breakers


def test_an_answer_lets_all_go_on_at_once(office: Office) -> None:
    opened(office, "aaaaa")
    wait(office)
    first = tried(office)
    assert office.claim() is None  # one at a time
    office.finish(first)
    assert office.commit.stirred
    assert office.claim() is not None


def test_a_bad_job_in_front_does_not_keep_the_model_closed(office: Office) -> None:
    opened(office, "aaaa")
    bad = tried(office)
    office.finish(bad, LOST)
    assert tried(office).id != bad.id


def test_failures_with_answers_between_them_open_nothing(office: Office) -> None:
    for number in range(1, 9):
        office.submit(number, model="a", max_attempts=1)
        office.finish(office.claimed(), *([LOST] if number % 3 else []))
    assert not office.desk.outlook.failing()


def test_loads_that_take_too_long_are_tried_with_one_job_after_the_other(office: Office) -> None:
    for number in (1, 2, 3):
        office.submit(number, model="a")
    tried_ones = []
    for _ in range(3):
        tried_ones.append(tried(office).id)
        office.now += 180
        office.finish(office.job(int(tried_ones[-1])), LoadTimeout("t", "a", 180))
    assert tried_ones == ["001", "002", "003"]
    assert office.desk.outlook.failing()


def test_one_job_that_always_fails_is_its_own_fault(office: Office) -> None:
    office.submit(1, model="a", max_attempts=9)
    for _ in range(9):
        office.finish(tried(office), LOST)
    assert office.job(1).state is State.FAILED
    assert not office.desk.outlook.failing()


@pytest.mark.parametrize("way", ["cancelled", "drained", "refused"])
def test_a_try_without_a_verdict_is_followed_by_another(office: Office, way: str) -> None:
    opened(office, "aaaaa")
    trying = tried(office)
    if way == "cancelled":
        office.say(Cancel(job_id=trying.id))
    else:
        office.finish(trying, Drained() if way == "drained" else TargetRefused(400, "bad prompt"))
    assert office.claim() is not None
    assert office.claim() is None


def test_after_an_hour_jobs_that_nothing_can_answer_end(office: Office) -> None:
    opened(office, "aaa")
    office.now += FREE
    office.desk.tick()
    for _ in range(6):
        office.finish(tried(office), LOST)
    assert {office.job(n).state for n in (1, 2, 3)} == {State.FAILED}
