"""Claims of jobs that were added a moment ago, which SQLite's store has in memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from foreman.domain.errors import StoreRejected
from foreman.domain.job import Job, State
from foreman.store.sql.recent import MOST_BYTES, MOST_JOBS
from foreman.store.sqlite.writer import SqliteWriter
from tests.store.conftest import add, claimed, done, draft, put

BODY = b'{"model":"m"}'  # of a draft


@pytest.fixture
def store(data_dir: Path) -> Iterator[SqliteWriter]:
    with closing(SqliteWriter(data_dir / "foreman.db")) as opened:
        with opened.transaction():
            opened._is_ours()  # as any transaction before
        yield opened


def from_memory(store: SqliteWriter, job_id: str) -> tuple[tuple[Job, bytes] | None, bool]:
    """What is claimed, and True if no table was read for it."""
    said: list[str] = []
    with store.transaction():
        store._db.set_trace_callback(said.append)
        found = store.with_payload(job_id)
        store._db.set_trace_callback(None)
    return found, not any("FROM jobs" in sql for sql in said)


def test_a_new_job_is_claimed_without_reading_it(store: SqliteWriter) -> None:
    [job] = add(store, draft(1))
    assert from_memory(store, job.id) == ((job, BODY), True)


def test_a_job_with_a_start_time_is_read(store: SqliteWriter) -> None:
    [job] = add(store, draft(1, not_before=200))
    assert from_memory(store, job.id) == ((job, BODY), False)


def test_a_job_that_changed_is_read(store: SqliteWriter) -> None:
    [job] = add(store, draft(1))
    again = put(store, claimed(store, job), state=State.QUEUED, error="x")
    assert from_memory(store, job.id) == ((again, BODY), False)


def test_what_another_program_wrote_is_read(store: SqliteWriter) -> None:
    [job] = add(store, draft(1))
    with closing(sqlite3.connect(store.path)) as other, other:
        other.execute("UPDATE payloads SET body = x'7b7d'")
    assert from_memory(store, job.id) == ((job, b"{}"), False)
    [later] = add(store, draft(2))
    assert from_memory(store, later.id) == ((later, BODY), True)


def test_a_job_that_is_gone_is_not_found(store: SqliteWriter) -> None:
    [first, second] = add(store, draft(1), draft(2))
    done(store, first)
    with store.transaction():
        store.delete([first.id])
        store.set_aside(second.id, now=100, expires_at=None, error="x", code="unreadable")
    assert from_memory(store, first.id)[0] is None
    assert from_memory(store, second.id)[1] is False


def test_a_rolled_back_job_is_not_found(store: SqliteWriter) -> None:
    [job] = add(store, draft(1))
    with pytest.raises(StoreRejected):
        add(store, draft(2), draft(1))  # which is there already
    assert from_memory(store, "002") == (None, False)
    assert from_memory(store, job.id) == ((job, BODY), False)


def test_only_the_last_jobs_are_kept(store: SqliteWriter) -> None:
    jobs = add(store, *(draft(number) for number in range(MOST_JOBS + 1)))
    assert [from_memory(store, job.id)[1] for job in (jobs[0], jobs[1], jobs[-1])] == [False, True, True]


def test_large_payloads_take_no_more_than_their_share(store: SqliteWriter) -> None:
    half = b'"%s"' % bytes(MOST_BYTES // 2).replace(b"\0", b"x")
    jobs = add(store, draft(1), draft(2, payload=half), draft(3, payload=half), draft(4, payload=half + half))
    assert [from_memory(store, job.id)[1] for job in jobs] == [False, False, True, False]
    assert store._recent._size <= MOST_BYTES
