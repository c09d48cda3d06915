"""The command handlers: what is due by the clock, and disks that are full or broken."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from msgspec.structs import replace

from foreman.domain.errors import JobNotFound, StoreBroken, StoreBusy, StoreFull, StoreRejected, TargetLost
from foreman.domain.job import Artifact, State
from foreman.domain.usage import MINUTE, Tokens
from foreman.queue.commands import Accepted, Answered, Cancel, Checkpoint, Claim, Prune, Submit, Withdraw
from foreman.queue.handlers import claims, maintenance
from foreman.store.sqlite.writer import SqliteWriter
from tests.conftest import Logged
from tests.support.actors import START, draft
from tests.support.queue import QueueHarness


@pytest.fixture
def harness(store: SqliteWriter) -> QueueHarness:
    return QueueHarness(store)


def test_a_job_waits_for_its_time_and_its_waiting_begins_then(harness: QueueHarness) -> None:
    harness.submit(1, not_before=START + 50)
    assert (harness.claim(), harness.handlers.next_due) == (None, START + 50)
    harness.now += 50
    assert harness.handlers.apply([])[1].events == []
    assert harness.claimed().since == START + 50
    assert harness.handlers.next_due is None


@pytest.mark.parametrize("error", [StoreFull(), StoreBusy("locked"), StoreRejected(ValueError())])
def test_slots_get_their_claims_back_whatever_the_disk_says(
    harness: QueueHarness, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    claim, stores = Claim(), harness.store.transaction
    assert id(claim) not in harness.apply(claim)

    @contextmanager
    def fails(now: float) -> Iterator[float]:
        with stores(now):
            yield now
            raise error

    monkeypatch.setattr(harness.store, "transaction", fails)
    assert harness.apply(Withdraw())[id(claim)] is None
    monkeypatch.undo()
    harness.submit(1)
    assert harness.claimed().id == "001"


def test_a_job_that_was_not_started_in_time_expires(harness: QueueHarness) -> None:
    harness.submit(1, start_by=START + 10)
    harness.submit(2, start_by=START + 10, not_before=START + 5)
    harness.submit(3, start_by=START + 10, priority=0)
    harness.claimed()
    harness.now += 10
    events = harness.handlers.apply([])[1].events
    assert [(event.job_id, event.state) for event in events] == [("001", State.EXPIRED), ("002", State.EXPIRED)]
    assert harness.job(1).error == "not started by the time given in start_by"
    assert harness.job(3).state is State.LOADING
    assert harness.store.lines() == []


def test_an_overdue_job_that_cannot_be_read_is_dealt_with_once(harness: QueueHarness, logged: Logged) -> None:
    harness.submit(1, start_by=START + 10)
    harness.store._db.execute("UPDATE jobs SET metadata = '{'")
    harness.now += 10
    [event] = harness.handlers.apply([])[1].events
    assert (event.job_id, event.state) == ("001", State.FAILED)
    assert (harness.handlers.next_due, harness.store.lines()) == (None, [])
    logged.claim("job failed: it cannot be read")


@pytest.mark.parametrize(
    "event",
    [
        "UPDATE jobs SET metadata = '{'",
        "UPDATE jobs SET state = 'weird'",
        "UPDATE jobs SET state = 'done'",
        "UPDATE jobs SET priority = 7",
        "UPDATE jobs SET drain_key = CAST(x'ff' AS TEXT)",
        "UPDATE jobs SET created_at = 9e999, drain_key = 'b'",
        "DELETE FROM jobs",
    ],
)
def test_a_first_job_that_another_program_has_changed_leaves_the_board(
    harness: QueueHarness, logged: Logged, event: str
) -> None:
    for number, key in enumerate(("a", "a", "b"), start=1):
        harness.submit(number, model=key, key=key)
    harness.store._db.execute(f"{event} WHERE id = '001'")
    for expected in ("002", "003"):
        job = harness.claimed()
        assert job.id == expected
        harness.finish(job)
    assert harness.claim() is None
    assert (harness.handlers.outlook.board.heads(), harness.handlers.outlook.board.ready) == ([], 0)
    if "state" not in event and "DELETE" not in event:
        logged.claim("job failed: it cannot be read")
        assert harness.handlers.outlook.board.waiting == 0 and harness.store.lines() == []


def test_a_job_whose_id_is_no_text_is_in_nobodys_way(harness: QueueHarness) -> None:
    harness.submit(1, start_by=START + 10)
    harness.now += 1
    harness.submit(2)
    harness.store._db.execute("PRAGMA foreign_keys = OFF")
    harness.store._db.execute("UPDATE jobs SET id = CAST(x'ff' AS TEXT), expires_at = 1 WHERE id = '001'")
    harness.now += 10
    assert harness.handlers.apply([])[1].events == []
    assert harness.handlers.next_due is not None and harness.handlers.next_due > harness.now
    assert harness.say(Prune(most=9)) == 0
    harness.finish(harness.claimed())
    assert harness.claim() is None
    assert harness.job(2).state is State.DONE


def test_a_claim_fails_a_part_of_the_jobs_that_cannot_be_read(
    harness: QueueHarness, logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "UNREADABLE_AT_ONCE", 2)
    for number in range(1, 5):
        harness.submit(number)
    harness.store._db.execute("UPDATE jobs SET metadata = '{' WHERE id <= '003'")
    assert harness.claim() is None
    assert len(harness.commit.events) == 2
    assert harness.claimed().id == "004"
    logged.claim("job failed: it cannot be read")


def test_a_job_that_was_started_in_time_may_take_its_later_attempts_when_they_come(harness: QueueHarness) -> None:
    harness.submit(1, start_by=START + 10)
    harness.finish(harness.claimed(), TargetLost("t", "reset"))
    harness.now += 3600
    harness.handlers.apply([])[1]
    assert harness.claimed().attempt == 2


def test_more_overdue_jobs_than_one_transaction_takes_expire_in_the_next(
    harness: QueueHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "OVERDUE_AT_ONCE", 2)
    for n in range(1, 6):
        harness.submit(n, start_by=START + 10)
    harness.now += 10
    expired = []
    while harness.handlers.next_due is not None:
        expired.append(len(harness.handlers.apply([])[1].events))
    assert expired == [2, 2, 1]


def test_pruning_removes_what_is_past_its_time(harness: QueueHarness) -> None:
    for n in (1, 2):
        harness.submit(n)
        harness.finish(harness.claimed())
        harness.now += 50
    harness.submit(3)
    assert [harness.say(Prune(most=9)) for _ in range(2)] == [1, 0]
    assert [job.id for job in harness.store.jobs(limit=9)] == ["003", "002"]


def test_jobs_are_kept_for_ever_when_the_time_is_zero(store: SqliteWriter) -> None:
    harness = QueueHarness(store, job_ttl=0)
    harness.submit(1)
    harness.finish(harness.claimed())
    assert harness.job().expires_at is None


def test_a_checkpoint_runs_outside_the_transaction_of_its_batch(harness: QueueHarness) -> None:
    answers = harness.answers(Checkpoint(), Submit(draft=draft(1)), Checkpoint())
    assert [type(answer) for answer in answers] == [int, Accepted, int]


def test_a_member_that_is_refused_does_not_fail_the_others(harness: QueueHarness) -> None:
    answers = harness.answers(Submit(draft=draft(1)), Cancel(job_id="nobody"), Submit(draft=draft(2)))
    commit = harness.commit
    assert [type(answer) for answer in answers] == [Accepted, JobNotFound, Accepted]
    assert [event.job_id for event in commit.events] == ["001", "002"]


def full(store: SqliteWriter, room: int = 0) -> Callable[[], None]:
    """Leaves the disk room for `room` pages; call what comes back to make more."""
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages + room}")
    return lambda: store._db.execute("PRAGMA max_page_count = 1000000").close()


def test_when_the_disk_is_full_the_members_are_tried_one_by_one(harness: QueueHarness) -> None:
    full(harness.store, room=12)
    large = draft(2, payload=b"x" * 1_000_000)
    answers = harness.answers(Submit(draft=draft(1)), Submit(draft=large), Submit(draft=draft(3)))
    commit = harness.commit
    assert [type(answer) for answer in answers] == [Accepted, StoreFull, Accepted]
    assert [event.job_id for event in commit.events] == ["001", "003"]
    assert [job.id for job in harness.store.jobs(limit=9)] == ["003", "001"]
    assert submitted(harness) == 2


def submitted(harness: QueueHarness) -> int:
    """How many jobs the figures of usage say were submitted."""
    [row] = harness.store.usage(step=MINUTE, begin=0, end=int(START) + 1000, by=None, limit=9)
    return row.figures.submitted


def test_a_member_that_the_store_rejects_does_not_take_the_others_with_it(harness: QueueHarness) -> None:
    twice, lone = draft(1), draft(3, custom_id="\ud800")
    answers = harness.answers(*(Submit(draft=d) for d in (draft(1), twice, draft(2), lone)))
    commit = harness.commit
    assert [type(answer) for answer in answers] == [Accepted, StoreRejected, Accepted, StoreRejected]
    assert [event.job_id for event in commit.events] == ["001", "002"]
    assert [event.seq for event in harness.store.events(limit=9)] == [1, 2]
    assert submitted(harness) == 2


def test_the_end_of_an_attempt_is_told_again_once_the_disk_has_room(harness: QueueHarness) -> None:
    harness.submit(1)
    job = harness.claimed()
    make_room = full(harness.store)
    large = Answered([Artifact(name="completion", content_type="application/json", data=b"1" * 1_000_000)])
    large = replace(large, tokens=Tokens(answer=7))
    with pytest.raises(StoreFull):
        harness.finish(job, large)
    assert harness.job().state is State.LOADING
    assert harness.handlers.next_due == harness.now + maintenance.FULL_PAUSE
    assert harness.handlers.apply([])[1].events == []
    make_room()
    assert [event.state for event in harness.handlers.apply([])[1].events] == [State.WORKING, State.DONE]
    [row] = harness.store.usage(step=MINUTE, begin=0, end=int(START) + 1000, by=None, limit=9)
    assert (row.figures.submitted, row.figures.done, row.figures.answer_tokens) == (1, 1, 7)  # and not once more
    assert harness.handlers.next_due is None


def test_a_store_that_breaks_answers_nobody(harness: QueueHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise error

    monkeypatch.setattr(harness.store, "add", fail)
    with pytest.raises(StoreBroken):
        harness.handlers.apply([Submit(draft=draft(1))])


def test_a_job_that_comes_too_late_expires_although_a_claim_waits(harness: QueueHarness) -> None:
    claim = Claim()
    harness.handlers.apply([claim])
    answers = harness.apply(Submit(draft=draft(1, start_by=harness.now)), Submit(draft=draft(2)))
    assert (harness.job(1).state, harness.job(2).state) == (State.EXPIRED, State.LOADING)
    assert answers[id(claim)].job.id == "002"
