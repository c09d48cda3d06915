"""The command handlers: every command, decided and written."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

from foreman.domain.errors import (
    IdempotencyMismatch,
    IllegalTransition,
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
from foreman.domain.scheduling.choose import OrderRules, Spent
from foreman.queue.commands import (
    FORECASTS,
    Accepted,
    Began,
    Cancel,
    Claim,
    KeepUsage,
    Pause,
    Rescue,
    Resume,
    Retry,
    Submit,
    SubmitMany,
)
from foreman.queue.handlers import jobs as job_handlers
from foreman.queue.handlers.dispatch import CommandHandlers
from foreman.queue.lane_plan import FAR
from foreman.store.sqlite.writer import SqliteWriter
from tests.support.actors import START, draft
from tests.support.counting import steps
from tests.support.queue import ANSWER, QueueHarness, learn
from tests.support.sites import only_site


@pytest.fixture
def harness(store: SqliteWriter) -> QueueHarness:
    return QueueHarness(store)


def test_a_job_is_accepted_with_its_position_in_the_queue(harness: QueueHarness) -> None:
    assert [harness.submit(n).position for n in (1, 2, 3)] == [1, 2, 3]
    assert harness.submit(4, priority=0).position == 1
    assert harness.steps() == [("", "queued")]


def test_places_are_right_within_one_transaction(harness: QueueHarness) -> None:
    answers = harness.answers(*(Submit(draft=draft(n)) for n in (1, 2, 3)))
    commit = harness.commit
    assert [answer.position for answer in answers if isinstance(answer, Accepted)] == [1, 2, 3]
    assert [event.seq for event in commit.events] == [1, 2, 3]


def test_a_position_beyond_a_thousand_is_a_thousand(store: SqliteWriter) -> None:
    harness = QueueHarness(store)
    harness.say(SubmitMany(drafts=[draft(n) for n in range(1, FAR + 20)]))
    assert harness.submit(9999).position == FAR


def test_the_same_key_and_body_give_the_same_job(harness: QueueHarness) -> None:
    first = harness.submit(1, idempotency_key="k", fingerprints=(b"f",))
    again = harness.submit(2, idempotency_key="k", fingerprints=(b"f",))
    assert (again.job.id, again.position) == (first.job.id, 1)
    assert harness.store.job("002") is None
    assert harness.commit.events == []


def test_the_same_key_with_another_body_is_refused(harness: QueueHarness) -> None:
    harness.submit(1, idempotency_key="k", fingerprints=(b"f",))
    with pytest.raises(IdempotencyMismatch):
        harness.submit(2, idempotency_key="k", fingerprints=(b"g",))
    assert harness.store.job("002") is None


def test_the_same_key_of_two_owners_is_two_keys(harness: QueueHarness) -> None:
    for number, owner in enumerate(["alice", "bob", ""], start=1):
        said = harness.submit(number, owner=owner, idempotency_key="k", fingerprints=(b"%d" % number,))
        assert said.job.id == f"{number:03}"
    assert harness.submit(9, owner="bob", idempotency_key="k", fingerprints=(b"2",)).job.id == "002"


def test_a_fingerprint_of_any_version_is_found(harness: QueueHarness) -> None:
    harness.submit(1, idempotency_key="k", fingerprints=(b"old",))
    assert harness.submit(2, idempotency_key="k", fingerprints=(b"new", b"also", b"old")).job.id == "001"


def test_a_refusal_is_for_new_keys_only(harness: QueueHarness) -> None:
    refusal = ModelNotFound("m")
    refused = Submit(draft=draft(1, idempotency_key="k", fingerprints=(b"f",), refusal=refusal))
    with pytest.raises(ModelNotFound):
        harness.say(refused)
    harness.submit(1, idempotency_key="k", fingerprints=(b"f",))
    again = draft(2, idempotency_key="k", fingerprints=(b"f",), refusal=refusal)
    assert harness.say(Submit(draft=again)).job.id == "001"
    other = draft(3, idempotency_key="k", fingerprints=(b"g",), refusal=refusal)
    with pytest.raises(IdempotencyMismatch):
        harness.say(Submit(draft=other))


def test_a_retry_is_answered_with_the_position_and_time_that_a_reader_sees(harness: QueueHarness) -> None:
    outlook = harness.handlers.outlook
    learn(outlook, "m", seconds=5)
    for number in (1, 2, 3):
        harness.submit(number)
    harness.say(Cancel(job_id="001"))
    harness.now += 1
    again = harness.say(Retry(job_id="001"))
    assert (again.job, again.position, again.seconds) == (harness.job(1), 3, 15)
    seen = outlook.of(harness.store, harness.job(1), harness.now)
    assert (seen.position, seen.seconds) == (again.position, again.seconds)
    harness.say(Cancel(job_id="001"))
    harness.say(Pause())
    assert harness.say(Retry(job_id="001")).seconds is None


def test_a_retry_has_no_more_room_than_a_new_job(store: SqliteWriter) -> None:
    harness = QueueHarness(store, max_queue=2)
    for number in (1, 2, 3):
        harness.submit(number)
        if number < 3:
            harness.say(Cancel(job_id=f"{number:03}"))
    harness.say(Retry(job_id="001"))
    for _ in range(2):
        with pytest.raises(QueueFull):
            harness.say(Retry(job_id="002"))
    assert harness.job(2).state is State.CANCELLED
    harness.claimed()
    assert harness.say(Retry(job_id="002")).job.state is State.QUEUED


def test_a_retry_adds_no_key_beyond_the_limit(harness: QueueHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_handlers, "LANES", 2)
    harness.submit(1, model="a")
    harness.say(Cancel(job_id="001"))
    harness.submit(2, model="b")
    harness.submit(3, model="c")
    with pytest.raises(QueueFull, match="different models and load options"):
        harness.say(Retry(job_id="001"))
    harness.submit(4, model="b")
    harness.say(Cancel(job_id="004"))
    assert harness.say(Retry(job_id="004")).job.state is State.QUEUED  # its key waits already


def test_many_retries_in_one_transaction_keep_the_limit(store: SqliteWriter) -> None:
    harness = QueueHarness(store, max_queue=5)
    for number in range(1, 9):
        harness.submit(number)
        harness.say(Cancel(job_id=f"{number:03}"))
    answers = harness.answers(*(Retry(job_id=f"{number:03}") for number in range(1, 9)))
    assert [isinstance(answer, QueueFull) for answer in answers] == [False] * 5 + [True] * 3


def test_a_full_queue_refuses_and_takes_again_when_there_is_room(store: SqliteWriter) -> None:
    harness = QueueHarness(store, max_queue=2)
    harness.submit(1)
    harness.submit(2, not_before=START + 50)
    with pytest.raises(QueueFull):
        harness.submit(3)
    harness.claimed()
    assert harness.submit(3).position == 1


def test_a_full_queue_refuses_within_one_transaction_too(store: SqliteWriter) -> None:
    answers = QueueHarness(store, max_queue=2).answers(*(Submit(draft=draft(n)) for n in range(1, 5)))
    assert [type(answer) for answer in answers] == [Accepted, Accepted, QueueFull, QueueFull]


def test_a_full_queue_still_knows_an_idempotency_key(store: SqliteWriter) -> None:
    harness = QueueHarness(store, max_queue=1)
    harness.submit(1, idempotency_key="k", fingerprints=(b"f",))
    assert harness.submit(2, idempotency_key="k", fingerprints=(b"f",)).job.id == "001"


def test_only_so_many_drain_keys_may_wait_and_those_that_do_go_on(
    harness: QueueHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_handlers, "LANES", 2)
    harness.submit(1, model="a")
    harness.submit(2, model="b")
    with pytest.raises(QueueFull, match="different models and load options"):
        harness.submit(3, model="c")
    assert harness.submit(4, model="b").position is not None


def costs(harness: QueueHarness, keys: int) -> dict[str, int]:
    """Return the lines of Python and the steps of SQLite that messages take where 3,000 jobs of so many keys wait."""
    each = range(1000 // keys)
    drafts = [
        draft(1000 + n, f"k{key}", priority=priority)
        for n, (_, key, priority) in enumerate(product(each, range(keys), Priority))
    ]
    harness.say(SubmitMany(drafts=drafts))
    found: dict[str, int] = {}
    machine = [0]
    harness.store._db.set_progress_handler(lambda: machine.__setitem__(0, machine[0] + 1), 10)

    def count(name: str, work: Callable[[], object]) -> None:
        machine[0] = 0
        found[name] = steps(work)
        found[f"{name}, in SQLite"] = machine[0]

    for number in (1, 11):  # the second time everything is at hand
        harness.submit(number, model=f"k{keys - 1}", priority=Priority.HIGH)
        more = draft(number + 1, f"k{keys - 1}", priority=Priority.HIGH)
        count("submit", lambda more=more: harness.say(Submit(draft=more)))  # type: ignore[misc]
        count("cancel", lambda number=number: harness.say(Cancel(job_id=f"{number:03}")))  # type: ignore[misc]
        count("retry", lambda number=number: harness.say(Retry(job_id=f"{number:03}")))  # type: ignore[misc]
        count("claim", harness.claim)
        [job] = harness.store.running()
        count("finish", lambda job=job: harness.finish(job))  # type: ignore[misc]
    harness.store._db.set_progress_handler(None, 0)
    return found


def test_a_thousand_keys_cost_each_message_no_more_than_ten_do(data_dir: Path) -> None:
    stores = [SqliteWriter(data_dir / name / "foreman.db") for name in ("few", "many")]
    few, many = (costs(QueueHarness(store), keys) for store, keys in zip(stores, (10, 1000), strict=True))
    assert {name: (few[name], many[name]) for name in few if many[name] > 1.5 * few[name] + 50} == {}
    for store in stores:
        store.close()


def test_a_cancel_makes_room_for_another_key(harness: QueueHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_handlers, "LANES", 2)
    harness.submit(1, model="a")
    harness.submit(2, model="a", not_before=START + 5)
    harness.submit(3, model="b")
    harness.say(Cancel(job_id="001"))
    with pytest.raises(QueueFull):  # a job of that key still waits for its time
        harness.submit(4, model="c")
    harness.say(Cancel(job_id="002"))
    harness.submit(4, model="c")
    with pytest.raises(QueueFull):
        harness.say(Retry(job_id="001"))
    harness.say(Cancel(job_id="004"))
    assert harness.say(Retry(job_id="001")).job.state is State.QUEUED


def test_many_retries_in_one_transaction_add_no_key_beyond_the_limit(
    harness: QueueHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_handlers, "LANES", 2)
    for number in range(1, 6):
        harness.submit(number, model=f"m{number}")
        harness.say(Cancel(job_id=f"{number:03}"))
    answers = harness.answers(*(Retry(job_id=f"{number:03}") for number in range(1, 6)))
    assert [isinstance(answer, QueueFull) for answer in answers] == [False] * 2 + [True] * 3


def test_a_claim_spends_an_attempt_and_gives_a_new_lease(harness: QueueHarness) -> None:
    harness.submit(1, payload=b"the payload")
    harness.now += 5
    work = harness.claim()
    assert work is not None
    assert (work.payload, work.job) == (b"the payload", harness.job())
    assert (work.job.state, work.job.attempt, work.job.fence, work.job.started_at) == (
        State.LOADING,
        1,
        1,
        START + 5,
    )


def test_a_claim_for_a_warm_key_begins_at_once(harness: QueueHarness) -> None:
    harness.submit(1)
    work = harness.claim(loaded="m")
    assert work is not None and work.job.state is State.WORKING
    assert harness.steps() == [("queued", "loading"), ("loading", "working")]


def test_nothing_is_claimed_from_an_empty_or_paused_queue(harness: QueueHarness) -> None:
    assert harness.claim() is None
    harness.submit(1)
    harness.say(Pause())
    assert harness.claim() is None
    harness.say(Resume())
    assert harness.claimed().id == "001"


def test_another_key_is_not_claimed_while_jobs_of_the_first_run(harness: QueueHarness) -> None:
    harness.submit(1, model="a")
    harness.submit(2, model="b")
    harness.submit(3, model="a")
    first, second = harness.claim(), harness.claim()
    assert first and second and (first.job.id, second.job.id) == ("001", "003")
    assert harness.claim() is None
    harness.finish(first.job)
    assert harness.claim() is None
    harness.finish(second.job)
    last = harness.claim()
    assert last and last.job.id == "002"


def test_began_is_told_once_and_only_by_the_current_lease(harness: QueueHarness) -> None:
    harness.submit(1)
    job = harness.claimed()
    harness.say(Began(job_id=job.id, fence=job.fence + 1))
    assert harness.job().state is State.LOADING
    for _ in range(2):
        harness.say(Began(job_id=job.id, fence=job.fence))
    assert harness.job().state is State.WORKING
    assert len(harness.store.events(limit=9)) == 3


def test_an_answer_ends_the_job_and_is_kept(harness: QueueHarness) -> None:
    harness.submit(1)
    job = harness.claimed()
    harness.now += 7
    harness.finish(job)
    done = harness.job()
    assert (done.state, done.completed_at, done.expires_at) == (State.DONE, START + 7, START + 107)
    assert harness.store.content("001", "completion") == ANSWER.artifacts[0].data
    assert harness.steps() == [("loading", "working"), ("working", "done")]


def test_what_an_attempt_says_that_is_no_longer_current_is_dropped(harness: QueueHarness) -> None:
    harness.submit(1)
    first = harness.claimed()
    harness.finish(first, TargetLost("t", "reset"))
    harness.now += 2
    second = harness.claimed()
    before = len(harness.store.events(limit=99))
    for late in (ANSWER, TargetRefused(400, "no"), TargetLost("t", "reset")):
        harness.finish(first, late)
    assert harness.job() == second
    assert len(harness.store.events(limit=99)) == before
    harness.finish(second)
    harness.finish(second, TargetLost("t", "reset"))
    assert harness.job().state is State.DONE


def test_a_lease_is_never_given_twice_even_when_the_attempt_was_not_spent(harness: QueueHarness) -> None:
    harness.submit(1)
    first = harness.claimed()
    harness.finish(first, TargetUnavailable("t", "refused"))
    second = harness.claimed()
    assert (first.attempt, second.attempt) == (1, 1)
    assert second.fence > first.fence


def test_an_error_that_spends_the_attempt_parks_the_job_for_its_backoff(harness: QueueHarness) -> None:
    harness.submit(1)
    harness.finish(harness.claimed(), TargetLost("t", "reset"))
    job = harness.job()
    assert (job.state, job.attempt, job.ready_at) == (State.QUEUED, 1, START + 2)
    assert (job.error, job.error_code) == ("t broke off: reset", "target_lost")
    assert (harness.claim(), harness.handlers.next_due) == (None, START + 2)
    harness.now += 2
    again = harness.claimed()
    assert (again.attempt, again.error) == (2, None)


def test_a_retried_job_keeps_its_position_by_age(harness: QueueHarness) -> None:
    harness.submit(1)
    harness.now += 1
    harness.submit(2)
    harness.finish(harness.claimed(), TargetUnavailable("t", "refused"))
    assert harness.claimed().id == "001"


def test_a_job_that_met_a_busy_target_goes_to_the_end_of_its_lane(harness: QueueHarness) -> None:
    harness.submit(1)
    harness.now += 1
    harness.submit(2)
    first = harness.claimed()
    harness.now += 1
    harness.finish(first, TargetBusy("t", 0))
    harness.now += 1
    assert [harness.claimed().id, harness.claimed().id] == ["002", "001"]


def test_a_busy_server_rests_its_key_and_no_other(harness: QueueHarness) -> None:
    for number, model in enumerate("aabbc", start=1):
        harness.submit(number, model=model)
    first = harness.claimed()
    harness.now += 1
    harness.finish(first, TargetBusy("t", 30))
    assert [harness.job(n).ready_at for n in (1, 2)] == [START + 31, None]
    for number in (3, 4, 5):
        job = harness.claimed()
        assert job.id == f"{number:03}"
        harness.finish(job)
    assert harness.claim() is None
    assert (harness.handlers.next_due, harness.job(1).attempt, harness.job(2).attempt) == (START + 31, 0, 0)
    harness.now += 29.9
    assert harness.claim() is None
    harness.now += 0.1
    assert [harness.claimed().id, harness.claimed().id] == ["002", "001"]


@pytest.mark.parametrize("attempts", [1, 3])
def test_a_model_that_does_not_load_rests_its_key_and_no_other(harness: QueueHarness, attempts: int) -> None:
    for number, model in enumerate("aab", start=1):
        harness.submit(number, model=model, max_attempts=attempts)
    harness.finish(harness.claimed(), LoadTimeout("t", "a", 180))
    assert harness.job(1).state is (State.FAILED if attempts == 1 else State.QUEUED)
    other = harness.claimed()
    assert other.model == "b"
    harness.finish(other)
    assert harness.claim() is None
    assert harness.handlers.next_due is not None
    harness.now = harness.handlers.next_due
    harness.handlers.apply([])[1]
    assert harness.claimed().model == "a"


def test_the_longest_rest_counts_and_a_clock_set_back_ends_it(harness: QueueHarness) -> None:
    for number in (1, 2, 3):
        harness.submit(number)
    first, second = harness.claimed(), harness.claimed()
    harness.finish(first, TargetBusy("t", 60))
    harness.finish(second, TargetBusy("t", 5))
    harness.now += 10
    assert harness.claim() is None
    harness.now -= 3600
    assert harness.claimed().id == "002"  # whose own time came after five seconds


def test_jobs_of_a_resting_key_have_no_position(harness: QueueHarness) -> None:
    harness.submit(1, model="a")
    harness.submit(2, model="b")
    harness.finish(harness.claimed(), TargetBusy("t", 30))
    assert harness.submit(3, model="a").position is None
    assert harness.submit(4, model="b").position == 2
    harness.now += 30
    harness.handlers.apply([])[1]
    assert harness.submit(5, model="a").position is not None


def test_a_class_that_starves_is_claimed_before_a_higher_one_and_is_said_to_be(store: SqliteWriter) -> None:
    harness = QueueHarness(store, order=OrderRules(limit=100))
    harness.submit(1, priority=Priority.LOW)
    harness.now += 101
    for number in (2, 3, 4):
        harness.submit(number, priority=Priority.HIGH)
    works = []
    spent = None
    for _ in range(4):
        work = harness.claim(spent=spent)
        assert work is not None
        works.append((work.job.id, work.reserved))
        harness.finish(work.job)
        spent = Spent(work.job.priority, 10, work.reserved)
    assert works == [("002", False), ("001", True), ("003", False), ("004", False)]


def test_slot_time_counts_once_although_the_transaction_is_tried_again(store: SqliteWriter) -> None:
    harness = QueueHarness(store, order=OrderRules(limit=100))
    harness.submit(1, priority=Priority.LOW)
    harness.now += 101
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages + 10}")
    large = Submit(draft=draft(2, payload=b"x" * 1_000_000))
    answers = harness.answers(Pause(), Claim(spent=Spent(0, 10.0, False)), large)
    assert answers[:2] == [None, None] and isinstance(answers[2], StoreFull)
    assert harness.handlers.outlook.state_of().standing.credits[Priority.LOW] == 1.0


def test_a_rescue_spends_the_attempts_of_what_was_running(harness: QueueHarness) -> None:
    for n, most in ((1, 3), (2, 1), (3, 3)):
        harness.submit(n, max_attempts=most)
    for _ in range(2):
        harness.claimed()
    assert harness.say(Rescue()) == 2
    assert [(harness.job(n).state, harness.job(n).attempt) for n in (1, 2, 3)] == [
        (State.QUEUED, 1),
        (State.FAILED, 1),
        (State.QUEUED, 0),
    ]
    assert harness.say(Rescue()) == 0


@pytest.mark.parametrize("running", [False, True])
def test_cancelling_ends_a_job_wherever_it_is_and_twice_is_once(harness: QueueHarness, running: bool) -> None:
    harness.submit(1)
    if running:
        harness.claimed()
    assert harness.say(Cancel(job_id="001")).state is State.CANCELLED
    assert len(harness.commit.events) == 1
    assert harness.say(Cancel(job_id="001")).state is State.CANCELLED
    assert harness.commit.events == []
    assert harness.job().expires_at == START + 100


def test_what_has_ended_or_never_was_cannot_be_cancelled(harness: QueueHarness) -> None:
    harness.submit(1)
    harness.finish(harness.claimed())
    with pytest.raises(IllegalTransition, match="cannot cancel a job that is done"):
        harness.say(Cancel(job_id="001"))
    with pytest.raises(JobNotFound):
        harness.say(Cancel(job_id="nobody"))


def test_what_jobs_have_taught_outlives_a_restart(harness: QueueHarness) -> None:
    outlook = harness.handlers.outlook
    harness.say(KeepUsage())
    assert harness.store.note(FORECASTS) is None  # nothing is known yet
    learn(outlook, "m", seconds=5, tokens=100)
    harness.say(KeepUsage())
    later = CommandHandlers(harness.store, harness.rules, only_site(), clock=lambda: harness.now).outlook
    assert later.usual("m") == outlook.usual("m") == pytest.approx(5)
    assert outlook.unstored() is None and later.unstored() is None
