"""The copy of a stopped SQLite queue into an empty database on a server."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import msgspec
import psycopg

from foreman import __version__
from foreman.domain.errors import StoreRefused
from foreman.domain.job import at_node
from foreman.domain.nodes import DRAINED
from foreman.domain.usage import SINCE
from foreman.store import folder
from foreman.store.blob_folder import BLOBS, BlobFolder
from foreman.store.blob_move import BlobMove
from foreman.store.postgres import migrate
from foreman.store.postgres.address import read_address
from foreman.store.postgres.error_codes import UNSENDABLE, first_line
from foreman.store.postgres.nodes import NOW, SILENCE
from foreman.store.records import PAUSED
from foreman.store.sql.rows import text
from foreman.store.sqlite.migrate import steps
from foreman.store.sqlite.reads import NEWEST, PRUNED, SqliteReader

TABLES: Final = {  # with their primary keys: rows are copied and read back in this order
    "jobs": "id",
    "payloads": "job_id",
    "artifacts": "job_id, position",
    "files": "id",
    "events": "seq",
    "deliveries": "seq",
    "batches": "id",
    "webhook_endpoints": "id",
    "endpoint_deliveries": "id",
    "lines": "drain_key, priority, owner, caller",
    "usage": "step, at, model, caller, target, endpoint",
    "depths": "step, at",
}
SEQS = (NEWEST, PRUNED)  # notes that are columns in a database on a server

AT_ONCE = 2000  # rows fetched
RUNNING = "state IN ('loading', 'working')"
_TARGET = "CASE WHEN target = '' OR instr(target, '@') THEN target ELSE target || :at END"
_EXPRESSIONS: Final = {  # of columns that differ
    # A job that an old Foreman left running may have no target: some node has to take it back.
    ("jobs", "target"): f"CASE WHEN target IS NULL AND {RUNNING} THEN :at ELSE {_TARGET} END",
    ("events", "target"): _TARGET,
    ("usage", "target"): _TARGET,
    ("lines", "version"): "0",
}

_TIMEOUTS: Final = b"""SELECT set_config('lock_timeout', '10s', true), set_config('statement_timeout', '0', true),
    set_config('idle_in_transaction_session_timeout', '0', true)"""

Progress = Callable[[str, str, int, int], None]  # what is done, of which table, rows so far, of so many


class Moved(msgspec.Struct, frozen=True):
    """What was copied."""

    database: str  # that has it now
    node: str  # whose targets and running jobs they are now
    rows: dict[str, int]  # by table
    running: int  # jobs that ran when Foreman ended
    left_out: list[str]  # notes that a Foreman learns again


def transfer(data_dir: Path, url: str, node: str, progress: Progress, blobs: Path | None = None) -> Moved:
    """Copy the queue of a data folder into an empty database, in one transaction, and compare every row.

    Blobs go to the database, or to the folder `blobs`. The data folder is locked meanwhile, and its database stays as
    it is. Its Foreman becomes the node `node`: targets get its name, and running jobs are its own, so that it takes
    them back when it starts, or others evict it.

    Raises:
        StoreRefused: Nothing was copied.
    """
    database = data_dir / "foreman.db"
    if not database.is_file():
        raise StoreRefused(f"there is no database {database}: name its folder with --from")
    lock = folder.hold(data_dir)
    try:
        with _source(database) as source, _target(url) as (target, shown):
            moved = BlobMove(source, BlobFolder(data_dir / BLOBS), target, blobs, progress)
            return _copied(source, target, node, progress, shown, moved)
    finally:
        os.close(lock)


def _copied(
    source: sqlite3.Connection,
    target: psycopg.Connection[Any],
    node: str,
    progress: Progress,
    shown: str,
    blobs: BlobMove,
) -> Moved:
    with target.transaction():
        target.execute(_TIMEOUTS)
        _refuse_used(target, shown)
        rows = {table: _table(source, target, table, node, progress) for table in TABLES}
        rows["blobs"] = blobs.run()
        seqs = SqliteReader(source).seqs()
        target.execute("UPDATE fleet_state SET seq = $1, pruned = $2, commits = 1", (seqs.newest, seqs.pruned))
        notes, left_out = _notes(source, node)
        for note in notes.items():
            target.execute(
                "INSERT INTO notes VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value", note
            )
        [(running,)] = source.execute(f"SELECT count(*) FROM jobs WHERE {RUNNING}").fetchall()
        if running:
            _lost(target, node)
    with suppress(psycopg.Error):  # all is committed
        for table in TABLES:  # the first claims should not be planned for empty tables
            target.execute(f"ANALYZE {table}".encode())
    return Moved(shown, node, rows | {"notes": len(notes)}, running, left_out)


def _refuse_used(target: psycopg.Connection[Any], shown: str) -> None:
    [(seq,)] = target.execute("SELECT seq FROM fleet_state FOR UPDATE").fetchall()
    other = "create another one, and give its URL"
    if seq:
        raise StoreRefused(f"the database {shown} has had jobs already: {other}")
    for table in (*TABLES, "blobs"):
        if target.execute(f"SELECT FROM {table} LIMIT 1".encode()).fetchall():
            raise StoreRefused(f"the database {shown} is not empty, it has {table}: {other}")
    heard = f"state <> 'gone' AND seen_at > {NOW} - $1"
    for (name,) in target.execute(f"SELECT name FROM nodes WHERE {heard}".encode(), (SILENCE,)).fetchall():
        raise StoreRefused(f"the foreman {name} runs on the database {shown}: stop it, and wait {SILENCE:.0f} seconds")


def _table(
    source: sqlite3.Connection, target: psycopg.Connection[Any], table: str, node: str, progress: Progress
) -> int:
    """Copy a table and compare it; return its number of rows."""
    columns = target.execute(
        """SELECT column_name::text, udt_name::text FROM information_schema.columns WHERE table_name = $1
           AND table_schema = current_schema() AND is_generated = 'NEVER' ORDER BY ordinal_position""",
        (table,),
    ).fetchall()
    names, types = [name for name, _ in columns], [kind for _, kind in columns]
    [(total,)] = source.execute(f"SELECT count(*) FROM {table}").fetchall()
    listed = ", ".join(names)
    taken = ", ".join(f"{_EXPRESSIONS.get((table, name), name)} AS {name}" for name in names)
    query = f"SELECT {taken} FROM {table} ORDER BY {TABLES[table]}"
    rows = source.execute(query, {"at": f"@{node}"} if ":at" in query else {})
    given, found = hashlib.blake2b(), hashlib.blake2b()
    copied = read = 0
    with target.cursor().copy(f"COPY {table} ({listed}) FROM STDIN (FORMAT BINARY)".encode()) as copy:
        copy.set_types(types)
        for row in _checked(table, names, types, rows):
            try:
                copy.write_row(row)
            except UNSENDABLE as error:
                raise StoreRefused(f"{_named(table, names, row)} cannot be copied: {error}; {_REMEDY}") from error
            given.update(msgspec.msgpack.encode(row))
            copied += 1
            progress("copied", table, copied, total)
    with psycopg.RawServerCursor(target, "rows") as cursor:
        cursor.itersize = AT_ONCE
        cursor.execute(f"SELECT {listed} FROM {table} ORDER BY {TABLES[table]}".encode(), binary=True)
        for row in cursor:
            found.update(msgspec.msgpack.encode(row))
            read += 1
            progress("compared", table, read, total)
    if (total, total, given.digest()) != (copied, read, found.digest()):
        raise StoreRefused(
            f"{table} is not in the database as it is in the file ({total} rows, {copied} copied, {read} found): "
            "nothing was copied; run foreman check, then try again"
        )
    return int(total)


_REMEDY = "start Foreman on this folder once more, remove the job with foreman rm, stop it, and try again"


def _checked(
    table: str, names: Sequence[str], types: Sequence[str], rows: Iterable[tuple[Any, ...]]
) -> Iterator[tuple[Any, ...]]:
    """Yield the rows. Raise StoreRefused for text that a database on a server cannot hold."""
    texts = [place for place, kind in enumerate(types) if kind == "text"]
    for row in rows:
        for place in texts:
            value = row[place]
            if value is None or (type(value) is str and "\0" not in value):
                continue
            why = "has the character U+0000" if type(value) is str else "is not UTF-8"
            raise StoreRefused(
                f"{names[place]} of {_named(table, names, row)} {why}, which PostgreSQL refuses; {_REMEDY}"
            )
        yield row


def _named(table: str, names: Sequence[str], row: Sequence[Any]) -> str:
    """Return how a row is called in an error: by its job, if it has one."""
    of = {"jobs": "id"}.get(table, "job_id")
    return f"job {row[names.index(of)]} ({table})" if of in names else f"a row of {table}"


def _notes(source: sqlite3.Connection, node: str) -> tuple[dict[str, str], list[str]]:
    """Return the notes to copy, and the names of those that a Foreman learns again."""
    kept, left_out = dict[str, str](), list[str]()
    for name, value in source.execute("SELECT name, value FROM notes ORDER BY name"):
        if name in (PAUSED, SINCE):
            kept[name] = value
        elif name == DRAINED:
            targets = msgspec.json.decode(value, type=list[str])
            kept[at_node(name, node)] = msgspec.json.encode([at_node(one, node) for one in targets]).decode()
        elif name not in SEQS:
            left_out.append(name)
    return kept, left_out


def _lost(target: psycopg.Connection[Any], node: str) -> None:
    """Enter the node as one that is silent, so that it takes its running jobs back, or is evicted."""
    target.execute(
        f"""INSERT INTO nodes (name, id, url, version, schema, epoch, batch, state, seen_at, heard_since, targets)
            VALUES ($1, '', NULL, $2, $3, 1, 0, 'up', {NOW} - $4, {NOW} - $4, '[]')
            ON CONFLICT (name) DO UPDATE SET state = 'up', epoch = nodes.epoch + 1""".encode(),
        (node, __version__, migrate.newest(), 2 * SILENCE),
    )


@contextmanager
def _source(database: Path) -> Iterator[sqlite3.Connection]:
    """Open the file without a change to it."""
    log = database.with_name(database.name + "-wal")
    # Without a log nobody has it open: SQLite need not make one to read it.
    how = "mode=ro" if log.exists() and log.stat().st_size else "immutable=1"
    before = _state(database, log)
    try:
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?{how}", uri=True, isolation_level=None)) as db:
            db.text_factory = text
            db.execute("BEGIN")  # one state for all tables
            have, newest = db.execute("PRAGMA user_version").fetchone()[0], max(steps())
            if have > newest:
                raise StoreRefused(f"the schema {have} of {database} is newer than this foreman, which knows {newest}")
            if have < newest:
                raise StoreRefused(
                    f"{database} is of an older foreman (schema {have} of {newest}): "
                    "start this one on it once with foreman serve, stop it, and try again"
                )
            yield db
            db.execute("ROLLBACK")
    except sqlite3.Error as error:
        raise StoreRefused(f"the database {database} cannot be read: {error}; run foreman check") from error
    if _state(database, log) != before:
        raise StoreRefused(f"another program has changed {database} meanwhile: drop the new database, and try again")


def _state(database: Path, log: Path) -> list[tuple[int, int]]:
    return [(one.stat().st_size, one.stat().st_mtime_ns) for one in (database, log) if one.exists()]


@contextmanager
def _target(url: str) -> Iterator[tuple[psycopg.Connection[Any], str]]:
    address = read_address(url)
    try:
        with psycopg.connect(**address.parameters, cursor_factory=psycopg.RawCursor, autocommit=True) as db:  # type: ignore[arg-type]
            if not address.prepare:
                db.prepare_threshold = None
            migrate.check_server(db)
            migrate.bring_up_to_date(db, str(address))
            yield db, str(address)
    except psycopg.Error as error:
        why = f"the database {address} says: {first_line(error)}"
        raise StoreRefused(f"{why}; run it again: nothing is copied in part, or twice") from error
