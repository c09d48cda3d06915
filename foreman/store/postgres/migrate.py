"""Schema versions: numbered SQL files applied in order, all missing ones in one transaction."""

from __future__ import annotations

from importlib import resources
from typing import Any

import psycopg
import structlog

from foreman.domain.errors import StoreRefused

log = structlog.get_logger()

OLDEST_SERVER = 150000  # server_version_num
LOCAL = ("localhost", "127.0.0.1", "::1")
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


def bring_up_to_date(db: psycopg.Connection[Any], shown: str) -> None:
    """Apply the missing schema versions. Raise StoreRefused when a newer Foreman wrote the tables."""
    known = steps()
    newest = max(known)
    if version(db) == newest:
        return
    with db.transaction():
        db.execute("SELECT pg_advisory_xact_lock($1)", (_LOCK,))
        have = version(db)
        if have > newest:
            raise StoreRefused(
                f"the database {shown} has schema version {have}, this foreman knows up to {newest}: "
                "install a newer foreman or choose another database"
            )
        for number in range(have + 1, newest + 1):
            psycopg.Cursor(db).execute(known[number].encode())  # several statements: no placeholders, text results
        db.execute("UPDATE fleet_state SET schema = $1", (newest,))
