"""The database file: its lock, its connections, its transactions and its write-ahead log."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

from foreman.domain.errors import StoreBusy, StoreRefused
from foreman.store.folder import LOCK, hold
from foreman.store.sqlite.error_codes import translate
from foreman.store.sqlite.files import Files
from foreman.store.sqlite.migrate import bring_up_to_date

FREE_PAGES_AT_ONCE = 500  # pages released to the file system per checkpoint
LOG_KEPT = 64 * 2**20  # bytes of the write-ahead log kept allocated after a checkpoint
TIMEOUT = 5.0  # seconds that a write, a read or a start waits for another program's lock
AGAIN = 0.1  # seconds that writes wait after one has timed out, so that their callers get an answer soon


class Database:
    """The open database. It holds the lock of the data folder, which the kernel frees when the process ends."""

    def __init__(self, path: Path) -> None:
        """Open the database, or create it.

        Raises:
            StoreRefused: Another Foreman holds the lock, another program keeps the database locked, or the file is
                not a database of this program.
        """
        self._lock = hold(path.parent)
        self.path = path
        with ExitStack() as opened:  # closes everything again if the file cannot be used
            opened.callback(os.close, self._lock)
            try:
                self._files = opened.enter_context(closing(Files(path)))
                self.connection = db = opened.enter_context(closing(_open(path)))
                db.execute("PRAGMA auto_vacuum = INCREMENTAL")  # takes effect only before the first table
                db.execute("PRAGMA journal_mode = WAL")
                db.execute("PRAGMA wal_autocheckpoint = 4000")
                db.execute(f"PRAGMA journal_size_limit = {LOG_KEPT}")
                bring_up_to_date(db, str(path))
                db.execute("BEGIN IMMEDIATE")  # waits for other programs at start instead of with the first job
                db.execute("ROLLBACK")
                self._files.learn(path, _log(path), path.with_name(path.name + "-shm"), _lock_of(path))
            except OSError as error:
                raise StoreRefused(f"the database {path} cannot be opened: {error.strerror}") from error
            except sqlite3.Error as error:
                known = translate(error)
                why = f"{known}: close it, then start again" if isinstance(known, StoreBusy) else error
                raise StoreRefused(f"the database {path} cannot be used: {why}") from error
            opened.pop_all()
        self._full_timeout = True  # set by _open
        self._lent: list[sqlite3.Connection] = []  # connections of readers

    def lend(self) -> sqlite3.Connection:
        """Return a connection for reads, which is closed with the database."""
        db = _open(self.path)
        db.execute("PRAGMA query_only = ON")
        self._lent.append(db)
        return db

    def close(self) -> None:
        """Close all connections, the writer's last: the last one checkpoints, so that all data is in one file."""
        for db in (*self._lent, self.connection):
            db.close()
        self._files.close()
        os.close(self._lock)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Run all writes inside in one transaction, which is on disk when it ends without raising.

        Raises:
            StoreFull: The disk is full; nothing was written.
            StoreBusy: Another program holds the lock; nothing was written.
            StoreBroken: The state on disk is unknown.
        """
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            self._wait_for_locks(full=True)
            yield
            self.connection.execute("COMMIT")
            self._files.check()
        except BaseException as error:
            with suppress(sqlite3.Error):  # the first error is the one to report
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
            known = translate(error) if isinstance(error, (sqlite3.Error, OverflowError, UnicodeEncodeError)) else error
            if isinstance(known, StoreBusy):
                self._wait_for_locks(full=False)
            if known is error:
                raise
            raise known from error

    def _wait_for_locks(self, *, full: bool) -> None:
        """Set the wait of the next transactions for other programs' locks: TIMEOUT, or AGAIN after a timeout."""
        if full != self._full_timeout:
            self.connection.execute(f"PRAGMA busy_timeout = {1000 * (TIMEOUT if full else AGAIN):.0f}")
            self._full_timeout = full

    def log_size(self) -> int:
        """Return the size of the write-ahead log in bytes. Safe in any thread."""
        try:
            return _log(self.path).stat().st_size
        except FileNotFoundError:
            return 0

    def checkpoint(self) -> int:
        """Checkpoint the write-ahead log, release free pages, and return the log's size in bytes before.

        Never waits for readers: the log grows while another program reads.
        """
        size = self.log_size()
        try:
            # execute() would free a single page, since it stops at the pragma's first row.
            self.connection.executescript(f"PRAGMA incremental_vacuum({FREE_PAGES_AT_ONCE})")
            # Passive: another program may read for hours. It writes back the pages that no reader needs.
            [(busy, pages, written)] = self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            if not busy and pages == written:
                self._truncate()
        except sqlite3.Error as error:
            raise translate(error) from error
        return size

    def _truncate(self) -> None:
        self.connection.execute("PRAGMA busy_timeout = 0")
        try:
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            timeout = TIMEOUT if self._full_timeout else AGAIN
            self.connection.execute(f"PRAGMA busy_timeout = {1000 * timeout:.0f}")


def _open(path: Path) -> sqlite3.Connection:
    with ExitStack() as opened:
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
        opened.callback(db.close)
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA fullfsync = ON")  # macOS only: see store/flush.py
        db.execute("PRAGMA checkpoint_fullfsync = ON")
        db.execute("PRAGMA foreign_keys = ON")
        db.execute(f"PRAGMA busy_timeout = {1000 * TIMEOUT:.0f}")
        opened.pop_all()
    return db


def _log(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def _lock_of(path: Path) -> Path:
    return path.with_name(LOCK)
