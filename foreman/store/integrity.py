"""Backup and integrity checks of a database file, and of one on a server, also while Foreman runs on it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from foreman.domain.errors import StoreRefused
from foreman.store.sql.consistency import CONTRADICTIONS, ODD_LINES, ROWS, SOME, Report, odd_lines, unreadable
from foreman.store.sql.rows import text
from foreman.store.sqlite.migrate import steps
from foreman.store.sqlite.reads import NEWEST, PRUNED

SMALL = 64 * 2**20  # bytes that can be read in a moment


def backup(database: Path, file: Path) -> int:
    """Copy the database to `file`, also while it is in use, and return the size in bytes.

    The file appears whole or not at all. Raise StoreRefused when the copy fails.
    """
    if not file.parent.is_dir():
        raise StoreRefused(f"there is no folder {file.parent}: make it, or choose another")
    if file.exists():
        raise StoreRefused(f"{file} exists already: choose another name, or remove it first")
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        with _reading(database) as db:
            db.execute("VACUUM INTO ?", (str(part),))
        with part.open("rb") as written:
            os.fsync(written.fileno())
        os.link(part, file)  # unlike a rename it never replaces a file
        return file.stat().st_size
    except FileExistsError:
        raise StoreRefused(f"{file} exists already: choose another name, or remove it first") from None
    except (sqlite3.Error, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error).partition(": ")[0]  # a path may follow
        raise StoreRefused(f"the database cannot be copied to {file}: {why}") from error
    finally:
        part.unlink(missing_ok=True)


def check(database: Path) -> Report:
    """Read the whole database and report its problems. Raise StoreRefused when it is not a database."""
    newest = max(steps())
    try:
        with _reading(database) as db:
            schema = int(db.execute("PRAGMA user_version").fetchone()[0])
            problems = [str(row[0]) for row in db.execute(f"PRAGMA integrity_check({SOME})") if row[0] != "ok"]
            jobs: dict[str, int] = {}
            events = 0
            if 0 < schema <= newest:
                states = db.execute("SELECT state, count(*) FROM jobs GROUP BY state ORDER BY state").fetchall()
                jobs = {state if isinstance(state, str) else repr(state): count for state, count in states}
                events = int(db.execute("SELECT count(*) FROM events").fetchone()[0])
                problems += _orphans(db) + _contradictions(db)
                if schema == newest:  # older schemas have other columns
                    problems += _unreadable(db)
            elif schema == 0:
                problems.append("it holds no tables of Foreman's")
            elif schema > newest:
                problems.append(f"its schema {schema} is newer than this foreman, which knows {newest}")
    except sqlite3.Error as error:
        raise StoreRefused(f"the database {database} cannot be read: {error}") from error
    return Report(str(database), schema, newest, jobs, events, problems)


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
                found = str(db.execute("PRAGMA quick_check(1)").fetchone()[0])
                return None if found == "ok" else f"it is damaged: {found}"
    except sqlite3.Error as error:
        raise StoreRefused(f"it cannot be read: {error}") from error
    return None


def check_server(url: str) -> Report:
    """Read the whole database on a server and report its problems. Raise StoreRefused when that cannot be done."""
    with _driver():
        from foreman.store.postgres import check as server
    return server.check(url)


def quick_check_server(url: str) -> str | None:
    """Return an obvious reason why this program cannot use the database on a server, or None."""
    try:
        with _driver():
            from foreman.store.postgres import check as server
        return server.quick_check(url)
    except StoreRefused as refused:
        return str(refused)


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
