"""Schema versions: numbered SQL files applied in order, all missing ones in one transaction.

A file that begins with `-- needs N` leaves the tables such that programs which know version N work with them: nodes of
such a version go on, and may be started. Without that line, a program has to know the file itself.
"""

from __future__ import annotations

import re
from importlib import resources
from typing import Any

import psycopg
import structlog
from psycopg import errors

from foreman.domain.errors import StoreRefused

log = structlog.get_logger()

OLDEST_SERVER = 150000  # server_version_num
LOCAL = ("localhost", "127.0.0.1", "::1")
TRIES = 5  # to get the locks of tables
_LOCK = 0x666F72656D616E  # of programs that bring one database up to date at the same time


def steps() -> dict[int, str]:
    """Return this program's schema files by number."""
    folder = resources.files("foreman.store.postgres").joinpath("schema")
    return {int(file.name[:4]): file.read_text() for file in folder.iterdir() if file.name.endswith(".sql")}


def check_server(db: psycopg.Connection[Any]) -> None:
    """Raise StoreRefused unless the server, as it is set up, keeps what Foreman acknowledges."""
    if db.info.server_version < OLDEST_SERVER:
        raise StoreRefused(f"PostgreSQL {db.info.server_version // 10000} is too old: use version 15 or newer")
    if (encoding := db.info.parameter_status("server_encoding")) != "UTF8":
        raise StoreRefused(f"the database's encoding is {encoding}: create it with ENCODING 'UTF8'")
    if not db.pgconn.ssl_in_use and not db.info.host.startswith("/") and db.info.host not in LOCAL:
        log.warning("the connection to the database is not encrypted", hint="add sslmode=verify-full to database_url")
    [(how,)] = db.execute("SELECT current_setting('synchronous_commit')").fetchall()
    if how in ("off", "local"):
        why = "acknowledged jobs could be lost" if how == "off" else "its synchronous replicas are not waited for"
        raise StoreRefused(f"synchronous_commit is {how} for this database, so that {why}: set it to on")


def version(db: psycopg.Connection[Any]) -> int:
    """Return the schema version of a database; 0 without Foreman's tables."""
    # Not by to_regclass, which may go by what it knew before another node made the table.
    named = "schemaname = current_schema() AND tablename = 'fleet_state'"
    [(there,)] = db.execute(f"SELECT EXISTS (SELECT FROM pg_tables WHERE {named})").fetchall()
    if not there:
        return 0
    [(found,)] = db.execute("SELECT schema FROM fleet_state").fetchall()
    return int(found)


def newest() -> int:
    """Return the newest schema version that this program knows."""
    return max(steps())


def too_new(db: psycopg.Connection[Any]) -> str | None:
    """Return what is wrong when a program has to be newer than this one to work with the tables; else None."""
    [(have, needs)] = db.execute("SELECT schema, needs FROM fleet_state").fetchall()
    return f"its schema {have} is too new for this foreman, which knows {newest()}" if needs > newest() else None


def bring_up_to_date(db: psycopg.Connection[Any], shown: str) -> None:
    """Apply the missing schema versions.

    Raises:
        StoreRefused: The tables are too new for this program, or nodes run that would be too old for the tables.
    """
    if version(db) < newest():
        for left in reversed(range(TRIES)):
            try:
                _apply(db, shown)
                break
            except (errors.LockNotAvailable, errors.DeadlockDetected):  # with readers of other nodes
                if not left:
                    raise
    if why := too_new(db):
        raise StoreRefused(f"the database {shown}: {why}; install a newer foreman or choose another database")


def _apply(db: psycopg.Connection[Any], shown: str) -> None:
    known = steps()
    with db.transaction():
        db.execute("SELECT pg_advisory_xact_lock($1)", (_LOCK,))
        have = version(db)
        missing = {number: known[number] for number in range(have + 1, max(known) + 1)}
        if not missing:
            return  # another node was faster
        needs = max(_needs(number, text) for number, text in missing.items())
        if have:
            db.execute("SET LOCAL lock_timeout = '5s'")
            db.execute("SELECT FROM fleet_state FOR UPDATE")  # as all writers do first, so that none is in the middle
            _refuse_older(db, needs, shown)
        for text in missing.values():
            psycopg.Cursor(db).execute(text.encode())  # several statements: no placeholders, text results
        db.execute("UPDATE fleet_state SET schema = $1, needs = greatest(needs, $2)", (max(known), needs))


def _needs(number: int, text: str) -> int:
    found = re.match(r"-- needs ([0-9]+)\n", text)
    return int(found[1]) if found else number


def _refuse_older(db: psycopg.Connection[Any], needs: int, shown: str) -> None:
    older = "SELECT name, version FROM nodes WHERE state <> 'gone' AND schema < $1 ORDER BY name"
    if found := db.execute(older, (needs,)).fetchall():
        names = ", ".join(f"{name} ({release})" for name, release in found)
        raise StoreRefused(
            f"the tables of this foreman are too new for nodes of the database {shown} that run: {names}; "
            "install a newer foreman there first, or stop them"
        )
