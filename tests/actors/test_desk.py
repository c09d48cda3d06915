"""The desk: every message, decided and written."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

from foreman.domain.errors import (
    IdempotencyMismatch,
    IllegalStep,
    JobNotFound,
    LoadTimeout,
    ModelNotFound,
    QueueFull,
    StoreFull,
    TargetBusy,
    TargetLost,
    TargetRefused,
    TargetUnavailable,
)
from foreman.domain.job import Priority, State
from foreman.domain.scheduling.choose import Rules as Order
from foreman.domain.scheduling.choose import Spent
from foreman.queue import handlers as desk_module
from foreman.queue.commands import Accepted, Began, Cancel, Claim, Note, Retry, Submit, SubmitMany, TakeBack
from foreman.queue.positions import FAR
from foreman.store.sqlite.writer import SqliteWriter
from tests.actors.conftest import START, draft
from tests.actors.office import ANSWER, Office
from tests.steps import steps


@pytest.fixture
def office(store: SqliteWriter) -> Office:
    return Office(store)


def test_a_job_is_accepted_with_its_place_in_the_queue(office: Office) -> None:
    assert [office.submit(n).position for n in (1, 2, 3)] == [1, 2, 3]
    assert office.submit(4, priority=0).position == 1
    assert office.steps() == [("", "queued")]


def test_places_are_right_within_one_transaction(office: Office) -> None:
    answers, commit = office.desk.apply([Submit(draft=draft(n)) for n in (1, 2, 3)])
    assert [answer.position for answer in answers if isinstance(answer, Accepted)] == [1, 2, 3]
    assert [change.seq for change in commit.changes] == [1, 2, 3]


def test_a_place_beyond_a_thousand_is_a_thousand(store: SqliteWriter) -> None:
    office = Office(store)
    with store.transaction():
        store.add([draft(n) for n in range(1, FAR + 20)], now=START)
    assert office.submit(9999).position == FAR


def test_the_same_key_and_body_give_the_same_job(office: Office) -> None:
    first = office.submit(1, idempotency_key="k", fingerprints=(b"f",))
    again = office.submit(2, idempotency_key="k", fingerprints=(b"f",))
    assert (again.job.id, again.position) == (first.job.id, 1)
    assert office.store.job("002") is None
    assert office.commit.changes == []


def test_the_same_key_with_another_body_is_refused(office: Office) -> None:
    office.submit(1, idempotency_key="k", fingerprints=(b"f",))
    with pytest.raises(IdempotencyMismatch):
        office.submit(2, idempotency_key="k", fingerprints=(b"g",))
    assert office.store.job("002") is None


def test_the_same_key_of_two_owners_is_two_keys(office: Office) -> None:
    for number, owner in enumerate(["alice", "bob", ""], start=1):
        said = office.submit(number, owner=owner, idempotency_key="k", fingerprints=(b"%d" % number,))
        assert said.job.id == f"{number:03}"
    assert office.submit(9, owner="bob", idempotency_key="k", fingerprints=(b"2",)).job.id == "002"


def test_a_fingerprint_of_any_version_is_found(office: Office) -> None:
    office.submit(1, idempotency_key="k", fingerprints=(b"old",))
    assert office.submit(2, idempotency_key="k", fingerprints=(b"new", b"also", b"old")).job.id == "001"


def test_a_refusal_is_for_new_keys_only(office: Office) -> None:
    refused = Submit(draft=draft(1, idempotency_key="k", fingerprints=(b"f",)), refusal=ModelNotFound("m"))
    with pytest.raises(ModelNotFound):
        office.say(refused)
    office.submit(1, idempotency_key="k", fingerprints=(b"f",))
    again = draft(2, idempotency_key="k", fingerprints=(b"f",))
    assert office.say(Submit(draft=again, refusal=ModelNotFound("m"))).job.id == "001"
    other = draft(3, idempotency_key="k", fingerprints=(b"g",))
    with pytest.raises(IdempotencyMismatch):
        office.say(Submit(draft=other, refusal=ModelNotFound("m")))


def test_a_retry_has_no_more_room_than_a_new_job(store: SqliteWriter) -> None:
    office = Office(store, max_queue=2)
    for number in (1, 2, 3):
        office.submit(number)
        if number < 3:
            office.say(Cancel(job_id=f"{number:03}"))
    office.say(Retry(job_id="001"))
    for _ in range(2):
        with pytest.raises(QueueFull):
            office.say(Retry(job_id="002"))
    assert office.job(2).state is State.CANCELLED
    office.claimed()
    assert office.say(Retry(job_id="002")).state is State.QUEUED


def test_a_retry_adds_no_key_beyond_the_limit(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk_module, "LANES", 2)
    office.submit(1, model="a")
    office.say(Cancel(job_id="001"))
    office.submit(2, model="b")
    office.submit(3, model="c")
    with pytest.raises(QueueFull, match="different models and load options"):
        office.say(Retry(job_id="001"))
    office.submit(4, model="b")
    office.say(Cancel(job_id="004"))
    assert office.say(Retry(job_id="004")).state is State.QUEUED  # its key waits already


def test_many_retries_in_one_transaction_keep_the_limit(store: SqliteWriter) -> None:
    office = Office(store, max_queue=5)
    for number in range(1, 9):
        office.submit(number)
        office.say(Cancel(job_id=f"{number:03}"))
    answers, _ = office.desk.apply([Retry(job_id=f"{number:03}") for number in range(1, 9)])
    assert [isinstance(answer, QueueFull) for answer in answers] == [False] * 5 + [True] * 3


def test_a_full_queue_refuses_and_takes_again_when_there_is_room(store: SqliteWriter) -> None:
    office = Office(store, max_queue=2)
    office.submit(1)
    office.submit(2, not_before=START + 50)
    with pytest.raises(QueueFull):
        office.submit(3)
    office.claimed()
    assert office.submit(3).position == 1


def test_a_full_queue_refuses_within_one_transaction_too(store: SqliteWriter) -> None:
    answers, _ = Office(store, max_queue=2).desk.apply([Submit(draft=draft(n)) for n in range(1, 5)])
    assert [type(answer) for answer in answers] == [Accepted, Accepted, QueueFull, QueueFull]


def test_a_full_queue_still_knows_an_idempotency_key(store: SqliteWriter) -> None:
    office = Office(store, max_queue=1)
    office.submit(1, idempotency_key="k", fingerprints=(b"f",))
    assert office.submit(2, idempotency_key="k", fingerprints=(b"f",)).job.id == "001"


def test_only_so_many_drain_keys_may_wait_and_those_that_do_go_on(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk_module, "LANES", 2)
    office.submit(1, model="a")
    office.submit(2, model="b")
    with pytest.raises(QueueFull, match="different models and load options"):
        office.submit(3, model="c")
    assert office.submit(4, model="b").position is not None


def costs(office: Office, keys: int) -> dict[str, int]:
    """Return the lines of Python and the steps of SQLite that messages take where 3,000 jobs of so many keys wait."""
    each = range(1000 // keys)
    drafts = [
        draft(1000 + n, f"k{key}", priority=priority)
        for n, (_, key, priority) in enumerate(product(each, range(keys), Priority))
    ]
    office.say(SubmitMany(drafts=drafts))
    found: dict[str, int] = {}
    machine = [0]
    office.store._db.set_progress_handler(lambda: machine.__setitem__(0, machine[0] + 1), 10)

    def count(name: str, work: Callable[[], object]) -> None:
        machine[0] = 0
        found[name] = steps(work)
        found[f"{name}, in SQLite"] = machine[0]

    for number in (1, 11):  # the second time everything is at hand
        office.submit(number, model=f"k{keys - 1}", priority=Priority.HIGH)
        more = draft(number + 1, f"k{keys - 1}", priority=Priority.HIGH)
        count("submit", lambda more=more: office.say(Submit(draft=more)))  # type: ignore[misc]
        count("cancel", lambda number=number: office.say(Cancel(job_id=f"{number:03}")))  # type: ignore[misc]
        count("retry", lambda number=number: office.say(Retry(job_id=f"{number:03}")))  # type: ignore[misc]
        count("claim", office.claim)
        [job] = office.store.running()
        count("finish", lambda job=job: office.finish(job))  # type: ignore[misc]
    office.store._db.set_progress_handler(None, 0)
    return found


def test_a_thousand_keys_cost_each_message_no_more_than_ten_do(data_dir: Path) -> None:
    stores = [SqliteWriter(data_dir / name / "foreman.db") for name in ("few", "many")]
    few, many = (costs(Office(store), keys) for store, keys in zip(stores, (10, 1000), strict=True))
    assert {name: (few[name], many[name]) for name in few if many[name] > 1.5 * few[name] + 50} == {}
    for store in stores:
        store.close()


def test_a_cancel_makes_room_for_another_key(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk_module, "LANES", 2)
    office.submit(1, model="a")
    office.submit(2, model="a", not_before=START + 5)
    office.submit(3, model="b")
    office.say(Cancel(job_id="001"))
    with pytest.raises(QueueFull):  # a job of that key still waits for its time
        office.submit(4, model="c")
    office.say(Cancel(job_id="002"))
    office.submit(4, model="c")
    with pytest.raises(QueueFull):
        office.say(Retry(job_id="001"))
    office.say(Cancel(job_id="004"))
    assert office.say(Retry(job_id="001")).state is State.QUEUED


def test_many_retries_in_one_transaction_add_no_key_beyond_the_limit(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk_module, "LANES", 2)
    for number in range(1, 6):
        office.submit(number, model=f"m{number}")
        office.say(Cancel(job_id=f"{number:03}"))
    answers, _ = office.desk.apply([Retry(job_id=f"{number:03}") for number in range(1, 6)])
    assert [isinstance(answer, QueueFull) for answer in answers] == [False] * 2 + [True] * 3


def test_a_claim_spends_an_attempt_and_gives_a_new_lease(office: Office) -> None:
    office.submit(1, payload=b"the payload")
    office.now += 5
    work = office.claim()
    assert work is not None
    assert (work.payload, work.job) == (b"the payload", office.job())
    assert (work.job.state, work.job.attempt, work.job.lease, work.job.started_at) == (
        State.LOADING,
        1,
        1,
        START + 5,
    )


def test_a_claim_for_a_warm_key_begins_at_once(office: Office) -> None:
    office.submit(1)
    work = office.claim(loaded="m")
    assert work is not None and work.job.state is State.WORKING
    assert office.steps() == [("queued", "loading"), ("loading", "working")]


def test_nothing_is_claimed_from_an_empty_or_paused_queue(office: Office) -> None:
    assert office.claim() is None
    office.submit(1)
    office.say(Note(name="paused", value="true"))
    assert office.claim() is None
    office.say(Note(name="paused", value="false"))
    assert office.claimed().id == "001"


def test_another_key_is_not_claimed_while_jobs_of_the_first_run(office: Office) -> None:
    office.submit(1, model="a")
    office.submit(2, model="b")
    office.submit(3, model="a")
    first, second = office.claim(), office.claim()
    assert first and second and (first.job.id, second.job.id) == ("001", "003")
    assert office.claim() is None
    office.finish(first.job)
    assert office.claim() is None
    office.finish(second.job)
    last = office.claim()
    assert last and last.job.id == "002"


def test_began_is_told_once_and_only_by_the_current_lease(office: Office) -> None:
    office.submit(1)
    job = office.claimed()
    office.say(Began(job_id=job.id, lease=job.lease + 1))
    assert office.job().state is State.LOADING
    for _ in range(2):
        office.say(Began(job_id=job.id, lease=job.lease))
    assert office.job().state is State.WORKING
    assert len(office.store.changes(limit=9)) == 3


def test_an_answer_ends_the_job_and_is_kept(office: Office) -> None:
    office.submit(1)
    job = office.claimed()
    office.now += 7
    office.finish(job)
    done = office.job()
    assert (done.state, done.completed_at, done.expires_at) == (State.DONE, START + 7, START + 107)
    assert office.store.artifact("001", "completion") == ANSWER.artifacts[0]
    assert office.steps() == [("loading", "working"), ("working", "done")]


def test_what_an_attempt_says_that_is_no_longer_current_is_dropped(office: Office) -> None:
    office.submit(1)
    first = office.claimed()
    office.finish(first, TargetLost("t", "reset"))
    office.now += 2
    second = office.claimed()
    before = len(office.store.changes(limit=99))
    for late in (ANSWER, TargetRefused(400, "no"), TargetLost("t", "reset")):
        office.finish(first, late)
    assert office.job() == second
    assert len(office.store.changes(limit=99)) == before
    office.finish(second)
    office.finish(second, TargetLost("t", "reset"))
    assert office.job().state is State.DONE


def test_a_lease_is_never_given_twice_even_when_the_attempt_was_not_spent(office: Office) -> None:
    office.submit(1)
    first = office.claimed()
    office.finish(first, TargetUnavailable("t", "refused"))
    second = office.claimed()
    assert (first.attempt, second.attempt) == (1, 1)
    assert second.lease > first.lease


def test_a_fault_that_spends_the_attempt_parks_the_job_for_its_backoff(office: Office) -> None:
    office.submit(1)
    office.finish(office.claimed(), TargetLost("t", "reset"))
    job = office.job()
    assert (job.state, job.attempt, job.ready_at) == (State.QUEUED, 1, START + 2)
    assert (job.error, job.error_code) == ("t broke off: reset", "target_lost")
    assert (office.claim(), office.desk.next_due) == (None, START + 2)
    office.now += 2
    again = office.claimed()
    assert (again.attempt, again.error) == (2, None)


def test_a_retried_job_keeps_its_place_by_age(office: Office) -> None:
    office.submit(1)
    office.now += 1
    office.submit(2)
    office.finish(office.claimed(), TargetUnavailable("t", "refused"))
    assert office.claimed().id == "001"


def test_a_job_that_met_a_busy_target_goes_to_the_end_of_its_lane(office: Office) -> None:
    office.submit(1)
    office.now += 1
    office.submit(2)
    first = office.claimed()
    office.now += 1
    office.finish(first, TargetBusy("t", 0))
    office.now += 1
    assert [office.claimed().id, office.claimed().id] == ["002", "001"]


def test_a_busy_server_rests_its_key_and_no_other(office: Office) -> None:
    for number, model in enumerate("aabbc", start=1):
        office.submit(number, model=model)
    first = office.claimed()
    office.now += 1
    office.finish(first, TargetBusy("t", 30))
    assert [office.job(n).ready_at for n in (1, 2)] == [START + 31, None]
    for number in (3, 4, 5):
        job = office.claimed()
        assert job.id == f"{number:03}"
        office.finish(job)
    assert office.claim() is None
    assert (office.desk.next_due, office.job(1).attempt, office.job(2).attempt) == (START + 31, 0, 0)
    office.now += 29.9
    assert (office.desk.tick().stirred, office.claim()) == (False, None)
    office.now += 0.1
    assert office.desk.tick().stirred
    assert [office.claimed().id, office.claimed().id] == ["002", "001"]


@pytest.mark.parametrize("attempts", [1, 3])
def test_a_model_that_does_not_load_rests_its_key_and_no_other(office: Office, attempts: int) -> None:
    for number, model in enumerate("aab", start=1):
        office.submit(number, model=model, max_attempts=attempts)
    office.finish(office.claimed(), LoadTimeout("t", "a", 180))
    assert office.job(1).state is (State.FAILED if attempts == 1 else State.QUEUED)
    other = office.claimed()
    assert other.model == "b"
    office.finish(other)
    assert office.claim() is None
    assert office.desk.next_due is not None
    office.now = office.desk.next_due
    office.desk.tick()
    assert office.claimed().model == "a"


def test_the_longest_rest_counts_and_a_clock_set_back_ends_it(office: Office) -> None:
    for number in (1, 2, 3):
        office.submit(number)
    first, second = office.claimed(), office.claimed()
    office.finish(first, TargetBusy("t", 60))
    office.finish(second, TargetBusy("t", 5))
    office.now += 10
    assert office.claim() is None
    office.now -= 3600
    assert office.claimed().id == "002"  # whose own time came after five seconds


def test_jobs_of_a_resting_key_have_no_position(office: Office) -> None:
    office.submit(1, model="a")
    office.submit(2, model="b")
    office.finish(office.claimed(), TargetBusy("t", 30))
    assert office.submit(3, model="a").position is None
    assert office.submit(4, model="b").position == 2
    office.now += 30
    office.desk.tick()
    assert office.submit(5, model="a").position is not None


def test_a_class_that_starves_is_claimed_before_a_higher_one_and_is_said_to_be(store: SqliteWriter) -> None:
    office = Office(store, order=Order(limit=100))
    office.submit(1, priority=Priority.LOW)
    office.now += 101
    for number in (2, 3, 4):
        office.submit(number, priority=Priority.HIGH)
    works = []
    spent = None
    for _ in range(4):
        work = office.claim(spent=spent)
        assert work is not None
        works.append((work.job.id, work.reserved))
        office.finish(work.job)
        spent = Spent(work.job.priority, 10, work.reserved)
    assert works == [("002", False), ("001", True), ("003", False), ("004", False)]


def test_slot_time_counts_once_although_the_transaction_is_tried_again(store: SqliteWriter) -> None:
    office = Office(store, order=Order(limit=100))
    office.submit(1, priority=Priority.LOW)
    office.now += 101
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages + 10}")
    large = Submit(draft=draft(2, payload=b"x" * 1_000_000))
    answers, _ = office.desk.apply([Note(name="paused", value="true"), Claim(spent=Spent(0, 10.0, False)), large])
    assert answers[:2] == [None, None] and isinstance(answers[2], StoreFull)
    assert office.desk.outlook.standing.credits[Priority.LOW] == 1.0


def test_taking_back_spends_the_attempts_of_what_was_running(office: Office) -> None:
    for n, most in ((1, 3), (2, 1), (3, 3)):
        office.submit(n, max_attempts=most)
    for _ in range(2):
        office.claimed()
    assert office.say(TakeBack()) == 2
    assert [(office.job(n).state, office.job(n).attempt) for n in (1, 2, 3)] == [
        (State.QUEUED, 1),
        (State.FAILED, 1),
        (State.QUEUED, 0),
    ]
    assert office.say(TakeBack()) == 0


@pytest.mark.parametrize("running", [False, True])
def test_cancelling_ends_a_job_wherever_it_is_and_twice_is_once(office: Office, running: bool) -> None:
    office.submit(1)
    if running:
        office.claimed()
    assert office.say(Cancel(job_id="001")).state is State.CANCELLED
    assert len(office.commit.changes) == 1
    assert office.say(Cancel(job_id="001")).state is State.CANCELLED
    assert office.commit.changes == []
    assert office.job().expires_at == START + 100


def test_what_has_ended_or_never_was_cannot_be_cancelled(office: Office) -> None:
    office.submit(1)
    office.finish(office.claimed())
    with pytest.raises(IllegalStep, match="cannot cancel a job that is done"):
        office.say(Cancel(job_id="001"))
    with pytest.raises(JobNotFound):
        office.say(Cancel(job_id="nobody"))
