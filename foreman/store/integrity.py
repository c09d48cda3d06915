"""Backup and integrity checks of a database with its blobs, in a file or on a server, also while Foreman runs."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from foreman.domain.errors import StoreRefused, StoreUnavailable
from foreman.store.blob_folder import BLOBS, BlobFolder
from foreman.store.blob_source import blob_problems, blobs_of, pieces_of
from foreman.store.flush import flush
from foreman.store.folder import hold
from foreman.store.records import Indexing
from foreman.store.sql.consistency import CONTRADICTIONS, ODD_LINES, ROWS, SOME, Report, odd_lines, unreadable
from foreman.store.sql.rows import text
from foreman.store.sqlite import search
from foreman.store.sqlite.migrate import steps
from foreman.store.sqlite.reads import NEWEST, PRUNED, SqliteReader
from foreman.store.sqlite.search_check import index_problems, page_problems

FIRST_WITH_BLOBS = 14  # schema
SMALL = 64 * 2**20  # bytes that can be read in a moment


def backup(database: Path, file: Path) -> int:
    """Copy the database with its blobs to `file`, also while it is in use, and return the size in bytes.

    The copy has the blobs in rows. The file appears whole or not at all. Raise StoreRefused when the copy fails.
    """
    if not file.parent.is_dir():
        raise StoreRefused(f"there is no folder {file.parent}: make it, or choose another")
    if file.exists():
        raise StoreRefused(f"{file} exists already: choose another name, or remove it first")
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        folder = BlobFolder(database.parent / BLOBS)
        with folder.kept():
            with _reading(database) as db:
                db.execute("VACUUM INTO ?", (str(part),))
            _add_blobs(part, folder)
        with part.open("rb") as written:
            flush(written.fileno())
        os.link(part, file)  # unlike a rename it never replaces a file
        return file.stat().st_size
    except FileExistsError:
        raise StoreRefused(f"{file} exists already: choose another name, or remove it first") from None
    except (sqlite3.Error, OSError, StoreUnavailable) as error:
        why = error.strerror if isinstance(error, OSError) else str(error).partition(": ")[0]  # a path may follow
        raise StoreRefused(f"the database cannot be copied to {file}: {why}") from error
    finally:
        part.unlink(missing_ok=True)


def _add_blobs(copy: Path, folder: BlobFolder) -> None:
    """Add the bytes of all blobs to a copy of the database."""
    with closing(sqlite3.connect(copy, isolation_level=None)) as db:
        if int(db.execute("PRAGMA user_version").fetchone()[0]) < FIRST_WITH_BLOBS:
            return
        db.execute("PRAGMA journal_mode = OFF")
        db.execute("PRAGMA synchronous = OFF")  # all of it is synced at the end
        db.execute("BEGIN")
        for blob in blobs_of(db.execute):
            if not blob.in_rows:
                pieces = ((blob.key, n, data) for n, data in enumerate(pieces_of(db.execute, folder, blob)))
                db.executemany("INSERT INTO blob_pieces (key, position, data) VALUES (?, ?, ?)", pieces)
        db.execute("UPDATE blobs SET in_rows = 1")
        db.execute("COMMIT")


def check(database: Path) -> Report:
    """Read the whole database and report its problems. Raise StoreRefused when it is not a database."""
    newest = max(steps())
    try:
        with _reading(database) as db:
            schema = int(db.execute("PRAGMA user_version").fetchone()[0])
            problems, index = page_problems(db, f"integrity_check({SOME})")
            problems += index
            jobs: dict[str, int] = {}
            events = 0
            if 0 < schema <= newest:
                states = db.execute("SELECT state, count(*) FROM jobs GROUP BY state ORDER BY state").fetchall()
                jobs = {state if isinstance(state, str) else repr(state): count for state, count in states}
                events = int(db.execute("SELECT count(*) FROM events").fetchone()[0])
                problems += _orphans(db)
                if schema == newest:  # older schemas have other columns
                    problems += _contradictions(db) + _unreadable(db) + ([] if index else index_problems(db))
                    problems += blob_problems(db.execute, BlobFolder(database.parent / BLOBS), in_use=_in_use(database))
            elif schema == 0:
                problems.append("it holds no tables of Foreman's")
            elif schema > newest:
                problems.append(f"its schema {schema} is newer than this foreman, which knows {newest}")
    except sqlite3.Error as error:
        raise StoreRefused(f"the database {database} cannot be read: {error}") from error
    return Report(str(database), schema, newest, jobs, events, problems)


def _in_use(database: Path) -> bool:
    try:
        os.close(hold(database.parent))
    except StoreRefused:
        return True
    return False


def quick_check(database: Path) -> str | None:
    """Return an obvious reason why this program cannot use the database, or None; `check` reads all of it.

    Raise StoreRefused when it is not a database.
    """
    newest = max(steps())
    try:
        with _reading(database) as db:
            schema = int(db.execute("PRAGMA user_version").fetchone()[0])
            if schema > newest:
                return f"its schema {schema} is newer than this foreman, which knows {newest}"
            if database.stat().st_size <= SMALL:
                found, _ = page_problems(db, f"quick_check({SOME})")
                return f"it is damaged: {found[0]}" if found else None
    except sqlite3.Error as error:
        raise StoreRefused(f"it cannot be read: {error}") from error
    return None


def check_server(url: str, blobs: Path | None = None) -> Report:
    """Read the whole database on a server and its folder of blobs, if it has one, and report the problems.

    Raise StoreRefused when that cannot be done.
    """
    with _driver():
        from foreman.store.postgres import check as server
    return server.check(url, blobs)


def quick_check_server(url: str) -> str | None:
    """Return an obvious reason why this program cannot use the database on a server, or None."""
    try:
        with _driver():
            from foreman.store.postgres import check as server
        return server.quick_check(url)
    except StoreRefused as refused:
        return str(refused)


def has_fts5() -> bool:
    """Return True if this SQLite can have an index of words."""
    with closing(sqlite3.connect(":memory:")) as db:
        return search.has_fts5(db)


def quick_check_index(database: Path) -> str | None:
    """Return why the index of words of a small database is unusable and what to do, or None. Raise StoreRefused."""
    try:
        with _reading(database) as db:
            schema = int(db.execute("PRAGMA user_version").fetchone()[0])
            small = schema == max(steps()) and database.stat().st_size <= SMALL
            return next(iter(index_problems(db)), None) if small else None
    except sqlite3.Error as error:
        raise StoreRefused(f"it cannot be read: {error}") from error


def indexing(database: Path) -> Indexing | None:
    """Return how far the index of words is, None without one. Raise StoreRefused."""
    try:
        with _reading(database) as db:
            return SqliteReader(db).indexing()
    except sqlite3.Error as error:
        raise StoreRefused(f"the database {database} cannot be read: {error}") from error


def indexing_server(url: str) -> Indexing | None:
    """Return how far the index of words in a database on a server is, None without one. Raise StoreRefused."""
    with _driver():
        from foreman.store.postgres import check as server
    return server.indexing(url)


@contextmanager
def _driver() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise StoreRefused(f"database_url needs a driver ({error}): pip install 'foreman-llm[postgres]'") from error


def _unreadable(db: sqlite3.Connection) -> list[str]:
    """Read every row as the program does; return the unreadable ones with their remedy."""
    found = []
    for table, (every, read) in ROWS.items():
        found += unreadable(table, db.execute(every), read)
    found += odd_lines(db.execute(ODD_LINES).fetchmany(SOME))
    for name, value in db.execute("SELECT name, value FROM notes WHERE name IN (?, ?)", (NEWEST, PRUNED)):
        if not str(value).isdecimal():
            found.append(f"the note {name!r} is {value!r}, which is no number")
    return found


def _orphans(db: sqlite3.Connection) -> list[str]:
    """Return rows whose job or event is missing, some of each table."""
    found = []
    for table in ("payloads", "artifacts", "events", "deliveries"):
        for _, row, parent, _ in db.execute(f"PRAGMA foreign_key_check({table})").fetchmany(SOME):
            [(job_id,)] = db.execute(f"SELECT job_id FROM {table} WHERE rowid = ?", (row,)).fetchall()
            found.append(f"row {row} of {table} (job {job_id}) belongs to nothing in {parent}; restore a backup")
    return found


def _contradictions(db: sqlite3.Connection) -> list[str]:
    found = []
    for problem, query in CONTRADICTIONS.items():
        found += [problem.format(row[0]) for row in db.execute(query).fetchmany(SOME)]
    return found


@contextmanager
def _reading(database: Path) -> Iterator[sqlite3.Connection]:
    if not database.is_file():
        raise StoreRefused(f"there is no database {database}: name its folder with --data-dir")
    with closing(sqlite3.connect(database, isolation_level=None, timeout=5)) as db:
        db.text_factory = text
        yield db
