"""Backup and integrity checks of a database, also while Foreman runs on it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from foreman.domain.errors import JobUnreadable, StoreRefused
from foreman.domain.job import Priority
from foreman.store.sql.reads import EVENTS
from foreman.store.sql.rows import COLUMNS, DELIVERY, read_delivery, read_event, read_job, text
from foreman.store.sqlite.migrate import steps
from foreman.store.sqlite.reads import NEWEST, PRUNED

SMALL = 64 * 2**20  # bytes that can be read in a moment
SOME = 5  # problems of one kind reported


class Report(msgspec.Struct, frozen=True):
    """The report of an integrity check."""

    database: str
    schema: int
    newest_schema: int  # known to this program
    jobs: dict[str, int]  # by state
    events: int
    problems: list[str]


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


_QUERIES = {
    "job {} has no payload": "SELECT id FROM jobs WHERE NOT EXISTS (SELECT 1 FROM payloads WHERE job_id = id)",
    "job {} is done and has no answer": (
        "SELECT id FROM jobs WHERE state = 'done' AND NOT EXISTS (SELECT 1 FROM artifacts WHERE job_id = id)"
    ),
    "job {} is not in the state that its last event says": """
        SELECT id FROM jobs j
        WHERE state IS NOT (SELECT state FROM events WHERE job_id = j.id ORDER BY seq DESC LIMIT 1)""",
    "the count of waiting jobs of {} is wrong": """
        SELECT drain_key FROM (
            SELECT drain_key, priority, owner, caller, ready_at IS NULL AS free, count(*) AS n FROM jobs
            WHERE state = 'queued' GROUP BY 1, 2, 3, 4, 5
            UNION ALL SELECT drain_key, priority, owner, caller, 1, -ready FROM lines
            UNION ALL SELECT drain_key, priority, owner, caller, 0, -parked FROM lines)
        GROUP BY drain_key, priority, owner, caller, free HAVING sum(n) != 0""",
}


_ROWS: dict[str, tuple[str, Callable[[tuple[Any, ...]], object]]] = {
    "jobs": (f"SELECT {COLUMNS} FROM jobs", read_job),
    "events": (EVENTS, read_event),
    "deliveries": (f"SELECT {DELIVERY} FROM deliveries", read_delivery),
}
_ODD_LINES = f"""
    SELECT drain_key, priority FROM lines
    WHERE priority NOT IN ({", ".join(str(int(one)) for one in Priority)}) OR ready < 0 OR parked < 0
"""


def _unreadable(db: sqlite3.Connection) -> list[str]:
    """Read every row as the program does; return the unreadable ones with their remedy."""
    found = []
    for table, (every, read) in _ROWS.items():
        count = 0
        for row in db.execute(every):
            try:
                read(row)
            except JobUnreadable as error:
                count += 1
                if count <= SOME:
                    found.append(f"{error}; remove it with foreman rm {error.job_id}, or restore a backup")
        if count > SOME:
            found.append(f"{count - SOME} more rows of {table} cannot be read")
    odd = db.execute(_ODD_LINES).fetchmany(SOME)
    found += [f"the count of waiting jobs of {key!r} with priority {priority} is odd" for key, priority in odd]
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
    for problem, query in _QUERIES.items():
        found += [problem.format(row[0]) for row in db.execute(query).fetchmany(SOME)]
    return found


@contextmanager
def _reading(database: Path) -> Iterator[sqlite3.Connection]:
    if not database.is_file():
        raise StoreRefused(f"there is no database {database}: name its folder with --data-dir")
    with closing(sqlite3.connect(database, isolation_level=None, timeout=5)) as db:
        db.text_factory = text
        yield db
