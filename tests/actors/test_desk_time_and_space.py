"""The desk: what comes with time, and what a disk that is full or broken means."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace

import pytest

from foreman.domain.errors import JobNotFound, StoreBroken, StoreFull, StoreRejected, TargetLost
from foreman.domain.job import Artifact, State
from foreman.domain.usage import MINUTE, Tokens
from foreman.queue import handlers as desk_module
from foreman.queue.commands import Accepted, Answered, Cancel, Checkpoint, Prune, Submit
from foreman.store.sqlite.writer import SqliteWriter
from tests.actors.conftest import START, draft
from tests.actors.office import Office
from tests.conftest import Logged


@pytest.fixture
def office(store: SqliteWriter) -> Office:
    return Office(store)


def test_a_job_waits_for_its_time_and_its_waiting_begins_then(office: Office) -> None:
    office.submit(1, not_before=START + 50)
    assert (office.claim(), office.desk.next_due) == (None, START + 50)
    office.now += 50
    woken = office.desk.tick()
    assert (woken.stirred, woken.changes) == (True, [])
    assert office.claimed().since == START + 50
    assert office.desk.next_due is None


def test_a_job_that_was_not_started_in_time_expires(office: Office) -> None:
    office.submit(1, start_by=START + 10)
    office.submit(2, start_by=START + 10, not_before=START + 5)
    office.submit(3, start_by=START + 10, priority=0)
    office.claimed()
    office.now += 10
    changes = office.desk.tick().changes
    assert [(change.job_id, change.state) for change in changes] == [("001", State.EXPIRED), ("002", State.EXPIRED)]
    assert office.job(1).error == "not started by the time given in start_by"
    assert office.job(3).state is State.LOADING
    assert office.store.lanes() == []


def test_an_overdue_job_that_cannot_be_read_is_dealt_with_once(office: Office, logged: Logged) -> None:
    office.submit(1, start_by=START + 10)
    office.store._db.execute("UPDATE jobs SET metadata = '{'")
    office.now += 10
    [change] = office.desk.tick().changes
    assert (change.job_id, change.state) == ("001", State.FAILED)
    assert (office.desk.next_due, office.store.lanes()) == (None, [])
    logged.claim("job failed: it cannot be read")


@pytest.mark.parametrize(
    "change",
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
    office: Office, logged: Logged, change: str
) -> None:
    for number, key in enumerate(("a", "a", "b"), start=1):
        office.submit(number, model=key, key=key)
    office.store._db.execute(f"{change} WHERE id = '001'")
    for expected in ("002", "003"):
        job = office.claimed()
        assert job.id == expected
        office.finish(job)
    assert office.claim() is None
    assert (office.store.board().heads(), office.store.board().ready) == ([], 0)
    if "state" not in change and "DELETE" not in change:
        logged.claim("job failed: it cannot be read")
        assert office.store.board().waiting == 0 and office.store.lanes() == []


def test_a_job_whose_id_is_no_text_is_in_nobodys_way(office: Office) -> None:
    office.submit(1, start_by=START + 10)
    office.now += 1
    office.submit(2)
    office.store._db.execute("PRAGMA foreign_keys = OFF")
    office.store._db.execute("UPDATE jobs SET id = CAST(x'ff' AS TEXT), expires_at = 1 WHERE id = '001'")
    office.now += 10
    assert office.desk.tick().changes == []
    assert office.desk.next_due is not None and office.desk.next_due > office.now
    assert office.say(Prune(most=9)) == 0
    office.finish(office.claimed())
    assert office.claim() is None
    assert office.job(2).state is State.DONE


def test_a_claim_fails_a_part_of_the_jobs_that_cannot_be_read(
    office: Office, logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk_module, "UNREADABLE_AT_ONCE", 2)
    for number in range(1, 5):
        office.submit(number)
    office.store._db.execute("UPDATE jobs SET metadata = '{' WHERE id <= '003'")
    assert office.claim() is None
    assert office.commit.stirred and len(office.commit.changes) == 2
    assert office.claimed().id == "004"
    logged.claim("job failed: it cannot be read")


def test_a_job_that_was_started_in_time_may_take_its_later_attempts_when_they_come(office: Office) -> None:
    office.submit(1, start_by=START + 10)
    office.finish(office.claimed(), TargetLost("t", "reset"))
    office.now += 3600
    office.desk.tick()
    assert office.claimed().attempt == 2


def test_more_overdue_jobs_than_one_transaction_takes_expire_in_the_next(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk_module, "OVERDUE_AT_ONCE", 2)
    for n in range(1, 6):
        office.submit(n, start_by=START + 10)
    office.now += 10
    expired = []
    while office.desk.next_due is not None:
        expired.append(len(office.desk.tick().changes))
    assert expired == [2, 2, 1]


def test_pruning_removes_what_is_past_its_time(office: Office) -> None:
    for n in (1, 2):
        office.submit(n)
        office.finish(office.claimed())
        office.now += 50
    office.submit(3)
    assert [office.say(Prune(most=9)) for _ in range(2)] == [1, 0]
    assert [job.id for job in office.store.jobs(limit=9)] == ["003", "002"]


def test_jobs_are_kept_for_ever_when_the_time_is_zero(store: SqliteWriter) -> None:
    office = Office(store, job_ttl=0)
    office.submit(1)
    office.finish(office.claimed())
    assert office.job().expires_at is None


def test_a_checkpoint_runs_outside_the_transaction_of_its_batch(office: Office) -> None:
    answers, _ = office.desk.apply([Checkpoint(), Submit(draft=draft(1)), Checkpoint()])
    assert [type(answer) for answer in answers] == [int, Accepted, int]


def test_a_member_that_is_refused_does_not_fail_the_others(office: Office) -> None:
    answers, commit = office.desk.apply([Submit(draft=draft(1)), Cancel(job_id="nobody"), Submit(draft=draft(2))])
    assert [type(answer) for answer in answers] == [Accepted, JobNotFound, Accepted]
    assert [change.job_id for change in commit.changes] == ["001", "002"]


def full(store: SqliteWriter, room: int = 0) -> Callable[[], None]:
    """Leaves the disk room for `room` pages; call what comes back to make more."""
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages + room}")
    return lambda: store._db.execute("PRAGMA max_page_count = 1000000").close()


def test_when_the_disk_is_full_the_members_are_tried_one_by_one(office: Office) -> None:
    full(office.store, room=12)
    large = draft(2, payload=b"x" * 1_000_000)
    answers, commit = office.desk.apply([Submit(draft=draft(1)), Submit(draft=large), Submit(draft=draft(3))])
    assert [type(answer) for answer in answers] == [Accepted, StoreFull, Accepted]
    assert [change.job_id for change in commit.changes] == ["001", "003"]
    assert [job.id for job in office.store.jobs(limit=9)] == ["003", "001"]
    assert submitted(office) == 2


def submitted(office: Office) -> int:
    """How many jobs the figures of usage say were submitted."""
    [row] = office.store.usage(step=MINUTE, begin=0, end=int(START) + 1000, by=None, most=9)
    return row.figures.submitted


def test_a_member_that_the_store_rejects_does_not_take_the_others_with_it(office: Office) -> None:
    twice, lone = draft(1), draft(3, custom_id="\ud800")
    answers, commit = office.desk.apply([Submit(draft=d) for d in (draft(1), twice, draft(2), lone)])
    assert [type(answer) for answer in answers] == [Accepted, StoreRejected, Accepted, StoreRejected]
    assert [change.job_id for change in commit.changes] == ["001", "002"]
    assert [change.seq for change in office.store.changes(limit=9)] == [1, 2]
    assert submitted(office) == 2


def test_the_end_of_an_attempt_is_told_again_once_the_disk_has_room(office: Office) -> None:
    office.submit(1)
    job = office.claimed()
    make_room = full(office.store)
    large = Answered([Artifact(name="completion", content_type="application/json", data=b"1" * 1_000_000)])
    large = replace(large, tokens=Tokens(answer=7))
    with pytest.raises(StoreFull):
        office.finish(job, large)
    assert office.job().state is State.LOADING
    assert office.desk.next_due == office.now + desk_module.FULL_PAUSE
    assert office.desk.tick().changes == []
    make_room()
    assert [change.state for change in office.desk.tick().changes] == [State.WORKING, State.DONE]
    [row] = office.store.usage(step=MINUTE, begin=0, end=int(START) + 1000, by=None, most=9)
    assert (row.figures.submitted, row.figures.done, row.figures.answer_tokens) == (1, 1, 7)  # and not once more
    assert office.desk.next_due is None


def test_a_store_that_breaks_answers_nobody(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise error

    monkeypatch.setattr(office.store, "add", fail)
    with pytest.raises(StoreBroken):
        office.desk.apply([Submit(draft=draft(1))])
