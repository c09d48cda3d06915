"""Other programs at the same database: their locks, their long reads."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from foreman.domain.errors import StoreBroken, StoreBusy, StoreFull, StoreRefused, StoreRejected
from foreman.store.sqlite import database, migrate
from foreman.store.sqlite.error_codes import error_of
from foreman.store.sqlite.writer import SqliteWriter
from tests.store.conftest import add, draft


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "TIMEOUT", database.AGAIN)


@pytest.fixture
def store(data_dir: Path) -> Iterator[SqliteWriter]:
    with closing(SqliteWriter(data_dir / "foreman.db")) as store:
        yield store


def other_program(path: Path) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(path, isolation_level=None))


def test_a_write_while_it_is_locked_stores_nothing_and_the_next_one_does(store: SqliteWriter) -> None:
    with other_program(store.path) as other:
        other.execute("BEGIN IMMEDIATE")
        for number in (1, 2):
            with pytest.raises(StoreBusy, match="another program has locked it"):
                add(store, draft(number))
        assert (store.jobs(limit=9), store.reader().jobs(limit=9)) == ([], [])
        with pytest.raises(StoreBusy):
            store.checkpoint()
    assert [job.id for job in add(store, draft(3))] == ["003"]
    assert [lane.ready for lane in store.lines()] == [1]


def test_once_a_wait_was_in_vain_the_next_ones_are_short(store: SqliteWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "TIMEOUT", 60.0)

    def timeout() -> int:
        return int(store._db.execute("PRAGMA busy_timeout").fetchone()[0])

    with other_program(store.path) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusy):
            add(store, draft(1))
        assert timeout() == 100
    add(store, draft(2))
    assert timeout() == 60_000


def test_a_long_reader_is_not_waited_for_and_the_log_shrinks_once_it_ends(store: SqliteWriter) -> None:
    said: list[str] = []
    store._db.set_trace_callback(said.append)
    with other_program(store.path) as other:
        other.execute("BEGIN")
        other.execute("SELECT * FROM jobs").fetchall()
        add(store, draft(1, payload=b"x" * 300_000))
        store.checkpoint()
        assert "PRAGMA wal_checkpoint(PASSIVE)" in said and "PRAGMA wal_checkpoint(TRUNCATE)" not in said
        assert store.log_size() > 300_000
    store.checkpoint()
    assert store.log_size() == 0


@pytest.mark.parametrize("before", [0, 1, max(migrate.steps())])
def test_opening_waits_for_a_lock_and_then_says_so(data_dir: Path, before: int) -> None:
    data_dir.mkdir()
    path = data_dir / "foreman.db"
    with other_program(path) as other:
        other.execute("PRAGMA journal_mode = WAL")
        for number in range(1, before + 1):
            other.executescript(migrate.steps()[number])
        other.execute(f"PRAGMA user_version = {before}")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreRefused, match="another program has locked it: close it, then start again"):
            SqliteWriter(path)
        assert other.execute("PRAGMA user_version").fetchone() == (before,)
    SqliteWriter(path).close()


def test_a_reader_that_is_locked_out_says_so(store: SqliteWriter) -> None:
    reader = store.reader()
    with pytest.raises(StoreBusy), reader.snapshot():
        _busy()


def _busy() -> None:
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_BUSY_RECOVERY, "SQLITE_BUSY_RECOVERY"
    raise error


KINDS = {
    StoreBusy: ["BUSY", "BUSY_SNAPSHOT", "BUSY_RECOVERY", "LOCKED", "LOCKED_SHAREDCACHE", "PROTOCOL", "NOMEM"],
    StoreBroken: ["IOERR", "IOERR_WRITE", "CORRUPT", "CORRUPT_VTAB", "NOTADB", "READONLY", "READONLY_DBMOVED", "PERM"],
    StoreFull: ["FULL"],
    StoreRejected: ["CONSTRAINT_UNIQUE", "TOOBIG", "MISMATCH", "ERROR"],
}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in KINDS.items() for name in names])
def test_every_code_of_sqlite_is_of_one_kind(kind: type[Exception], name: str) -> None:
    code = getattr(sqlite3, f"SQLITE_{name}")
    assert type(error_of(code, sqlite3.OperationalError("words"))) is kind
