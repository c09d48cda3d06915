"""Integrity checks of a database on a server, also while Foremen run on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from foreman.domain.errors import StoreRefused
from foreman.store.blob_folder import BlobFolder, fleet_folder
from foreman.store.blob_source import blob_problems
from foreman.store.postgres import migrate
from foreman.store.postgres.address import Address, read_address
from foreman.store.postgres.dialect import translated
from foreman.store.postgres.error_codes import first_line
from foreman.store.postgres.writer import OF_A_JOB
from foreman.store.records import Indexing
from foreman.store.sql.consistency import CONTRADICTIONS, ODD_LINES, ROWS, SOME, Report, odd_lines, unreadable
from foreman.store.sql.search import note_problems, read_state

AT_ONCE = 2000  # rows fetched


def check(url: str, blobs: Path | None = None) -> Report:
    """Read the whole database at one moment, and the folder `blobs`, and report the problems.

    Raise StoreRefused when it cannot be read.
    """
    address = read_address(url)
    with _reading(address) as db:
        schema = migrate.version(db)
        jobs: dict[str, int] = {}
        events, problems = 0, list[str]()
        if schema == 0:
            problems.append("it holds no tables of Foreman's")
        elif why := migrate.too_new(db):
            problems.append(why)
        else:
            jobs = dict(db.execute("SELECT state, count(*) FROM jobs GROUP BY state ORDER BY state").fetchall())
            [(events,)] = db.execute("SELECT count(*) FROM events").fetchall()
            problems += _orphans(db)
            for problem, query in CONTRADICTIONS.items():
                problems += [problem.format(row[0]) for row in db.execute(query.encode()).fetchmany(SOME)]
            for table, (every, read) in ROWS.items():
                problems += unreadable(table, _each(db, every), read)
            problems += odd_lines(db.execute(ODD_LINES.encode()).fetchmany(SOME))
            if schema == migrate.newest():  # older ones have no blobs
                [(secret, state)] = db.execute("SELECT secret, full_text FROM fleet_state").fetchall()
                problems += note_problems(state)
                folder = None if blobs is None else BlobFolder(blobs / fleet_folder(bytes(secret)))
                problems += blob_problems(partial(_asked, db), folder, in_use=True)
    return Report(str(address), schema, migrate.newest(), jobs, events, problems)


def _asked(db: psycopg.Connection[Any], sql: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
    return db.execute(translated(sql).encode(), values, binary=True).fetchall()


def quick_check(url: str) -> str | None:
    """Return an obvious reason why this program cannot use the database, or None. Raise StoreRefused."""
    with _reading(read_address(url)) as db:
        migrate.check_server(db)
        return migrate.too_new(db) if migrate.version(db) else None


def indexing(url: str) -> Indexing | None:
    """Return how far the index of words is, None without one. Raise StoreRefused."""
    with _reading(read_address(url)) as db:
        if migrate.version(db) < migrate.newest():
            return None
        [(state,)] = db.execute("SELECT full_text FROM fleet_state").fetchall()
        return read_state(state)


def _orphans(db: psycopg.Connection[Any]) -> list[str]:
    """Return rows whose job or event is missing, some of each table, and an event beyond the newest."""
    found = []
    for table in OF_A_JOB:
        lost = f"SELECT job_id FROM {table} WHERE NOT EXISTS (SELECT 1 FROM jobs WHERE id = job_id) LIMIT {SOME}"
        for (job_id,) in db.execute(lost.encode()).fetchall():
            found.append(f"a row of {table} (job {job_id}) belongs to nothing in jobs; restore a backup")
    lost = f"SELECT seq FROM deliveries d WHERE NOT EXISTS (SELECT 1 FROM events WHERE seq = d.seq) LIMIT {SOME}"
    for (seq,) in db.execute(lost.encode()).fetchall():
        found.append(f"delivery {seq} belongs to nothing in events; restore a backup")
    ahead = "SELECT max(e.seq), max(f.seq) FROM events e CROSS JOIN fleet_state f"
    for stored, newest in db.execute(ahead).fetchall():
        if stored is not None and stored > newest:
            found.append(f"event {stored} is newer than the newest that was given, {newest}; restore a backup")
    return found


def _each(db: psycopg.Connection[Any], query: str) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a query, which may be more than fit in memory."""
    with psycopg.RawServerCursor(db, "rows") as cursor:
        cursor.itersize = AT_ONCE
        cursor.execute(query.encode(), binary=True)
        yield from cursor


@contextmanager
def _reading(address: Address) -> Iterator[psycopg.Connection[Any]]:
    parameters = address.parameters | {"target_session_attrs": "any"}  # a replica may be read too
    try:
        with psycopg.connect(**parameters, cursor_factory=psycopg.RawCursor) as db:  # type: ignore[arg-type]
            db.isolation_level, db.read_only = psycopg.IsolationLevel.REPEATABLE_READ, True
            yield db
            db.rollback()
    except psycopg.Error as error:
        raise StoreRefused(f"the database {address} cannot be read: {first_line(error)}") from error
