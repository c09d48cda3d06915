"""A connection to the server, made again whenever it is lost."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any, TypeAlias

import psycopg
import structlog
from psycopg.abc import PQGen
from psycopg.generators import send
from psycopg.pq import ConnStatus
from psycopg.types.numeric import Int8BinaryDumper, Int8Dumper

from foreman.domain.errors import StoreAway
from foreman.store.postgres.address import Address
from foreman.store.postgres.dialect import sized, translated
from foreman.store.postgres.error_codes import READ_ONLY, UNSENDABLE, first_line, is_lost, translate
from foreman.store.sql.rows import insertion

log = structlog.get_logger()
logging.getLogger("psycopg").setLevel(logging.ERROR)  # it warns of pipelines that a lost connection ended

FIRST_PAUSE, LAST_PAUSE = 0.1, 2.0  # seconds between attempts to connect; each one doubles it
PREPARED = 300  # statements that stay prepared

Statement: TypeAlias = tuple[str, Sequence[object]]

# The wait for the write lock, a node that stands still while it holds it, and one statement. A node may also stand
# still, or its machine vanish, with half of its statements sent: that counts as idle nowhere.
TIMEOUTS: Statement = (
    """SELECT set_config('lock_timeout', '10s', true), set_config('statement_timeout', '30s', true),
       set_config('idle_in_transaction_session_timeout', '5s', true), set_config('tcp_keepalives_idle', '10', true),
       set_config('tcp_keepalives_interval', '5', true), set_config('tcp_keepalives_count', '3', true),
       CASE WHEN CAST(current_setting('server_version_num') AS int) >= 170000
            THEN set_config('transaction_timeout', '60s', true) END""",
    (),
)


class ConnectionLost(Exception):
    """The connection was lost while a transaction was being sent."""


class Connection:
    """The statements of one thread at a time.

    Writes are collected and sent with the next read, or with the commit: a round trip costs more than most statements.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._db: psycopg.Connection[Any] | None = None
        self._pause = FIRST_PAUSE
        self._next_try = 0.0  # by the monotonic clock
        self._why = ""  # the last attempt to connect failed
        self._in_transaction = self._begun = False  # `_begun`: the server knows of it
        self._unsent: list[Statement] = []
        self.wrote = False  # True once the transaction has a write

    def connect(self) -> psycopg.Connection[Any]:
        """Return the open connection, or make it.

        Raises:
            StoreAway: The server cannot be reached, or a moment ago could not.
        """
        if self._db is not None and not self._db.closed:
            return self._db
        if time.monotonic() < self._next_try:
            raise StoreAway(self._why)
        try:
            self._db = _connect(self._address)
        except psycopg.Error as error:
            if not self._why:
                log.warning("the database cannot be reached", database=str(self._address), why=first_line(error))
            self._why = first_line(error)
            self._next_try = time.monotonic() + self._pause
            self._pause = min(2 * self._pause, LAST_PAUSE)
            raise StoreAway(self._why) from error
        if self._why:
            log.info("the database is reached again", database=str(self._address))
        self._pause, self._next_try, self._why = FIRST_PAUSE, 0.0, ""
        return self._db

    @property
    def is_away(self) -> bool:
        """Return True while the server cannot be reached."""
        return bool(self._why)

    def close(self) -> None:
        """Close the connection; the server rolls back what was open."""
        if self._db is not None:
            self._db.close()
        self._in_transaction = self._begun = False

    def begin(self, *statements: Statement) -> None:
        """Begin a transaction with these statements, which are sent with the first read."""
        self._in_transaction, self._begun, self.wrote = True, False, False
        self._unsent = list(statements)

    def commit(self, *statements: Statement) -> None:
        """Send what is unsent, these statements and the commit.

        Raises:
            ConnectionLost: Nobody knows if it was committed.
        """
        try:
            self._send([*self._unsent, *statements, ("COMMIT", ())])
        except psycopg.Error as error:
            if self._db is None or self._db.closed:
                raise ConnectionLost(first_line(error)) from error
            raise
        self._unsent, self._in_transaction, self._begun = [], False, False

    def rollback(self) -> None:
        """End the transaction and drop its changes."""
        self._unsent = []
        begun, self._in_transaction, self._begun = self._begun, False, False
        if begun and self._db is not None and not self._db.closed:
            try:
                self._db.execute("ROLLBACK")
            except psycopg.Error:
                self._db.close()

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query. In a transaction they show what was written before."""
        return self.ask((sql, values))[0]

    def ask(self, *queries: Statement) -> list[list[tuple[Any, ...]]]:
        """Return the rows of several queries, sent together.

        Raises:
            StoreAway: The server is away; an open transaction is lost.
        """
        fresh = not self._begun
        while True:
            self.connect()
            try:
                found = self._send([*self._unsent, *queries])[len(self._unsent) :]
            except (psycopg.Error, *UNSENDABLE) as error:
                if fresh and self._db is not None and self._db.closed:
                    fresh = False  # it may have been lost long ago: the next one is new
                    continue
                self._begun = self._in_transaction  # and has failed
                self._end(error)
                raise translate(error) from error
            self._unsent, self._begun = [], self._in_transaction
            return found

    def run(self, sql: str, values: Sequence[object] = ()) -> None:
        """Run a statement whose rows nobody needs, before the next read or the commit."""
        self._unsent.append((sql, values))
        self.wrote = True

    def run_each(self, sql: str, rows: Sequence[tuple[object, ...]]) -> None:
        """Run a statement once for each row of values."""
        for values in rows:
            self.run(sql, values)

    def insert(self, table: str, columns: str, rows: Sequence[tuple[object, ...]], otherwise: str = "") -> None:
        """Insert rows in order; `otherwise` is an ON CONFLICT clause."""
        for some in sized(rows):
            self.run(insertion(table, columns, len(some), otherwise), [value for row in some for value in row])

    def value(self, sql: str, values: Sequence[object] = ()) -> object:
        """Return the first value of the first row, or None."""
        found = self.rows(sql, values)
        return found[0][0] if found else None

    def _send(self, statements: Sequence[Statement]) -> list[list[tuple[Any, ...]]]:
        db = self._db
        assert db is not None
        try:
            if len(statements) == 1:
                cursors = [db.execute(translated(statements[0][0]), statements[0][1], binary=True)]
            else:
                db._pipeline = _Pipeline(db)
                with db.pipeline():
                    cursors = [db.execute(translated(sql), values, binary=True) for sql, values in statements]
        except psycopg.Error as error:
            if is_lost(error):
                db.close()  # psycopg may believe that it is in order: "cannot exit pipeline mode while busy"
            raise
        return [cursor.fetchall() if cursor.description else [] for cursor in cursors]

    def _end(self, error: Exception) -> None:
        """Close the connection after an error after which it is of no use."""
        if isinstance(error, psycopg.Error) and error.sqlstate == READ_ONLY:
            self.close()  # the server has become a replica: another one is the primary


class _Pipeline(psycopg.Pipeline):
    """A pipeline that ends with a Sync.

    psycopg's own sends a Flush after it. The server takes that for the beginning of another command, and never ends the
    transaction of a node that stands still: `idle_in_transaction_session_timeout` counts from a Sync only.
    What psycopg sends before it waits for answers may end in the middle of a large value, so the rest is sent here.
    """

    def _exit_gen(self) -> PQGen[None]:
        try:
            self._enqueue_sync()
            yield from self._communicate_gen()
        finally:
            if self.pgconn.status == ConnStatus.OK:
                yield from send(self.pgconn)
            yield from self._fetch_gen(flush=False)


def _connect(address: Address) -> psycopg.Connection[Any]:
    db = psycopg.Connection.connect(
        autocommit=True,
        cursor_factory=psycopg.RawCursor,
        prepare_threshold=2 if address.prepare else None,
        **address.parameters,  # type: ignore[arg-type] # libpq's, which psycopg passes on
    )
    db.prepared_max = PREPARED
    # Every int is an int8: by default its type depends on its size, and each would be a statement of its own.
    db.adapters.register_dumper(int, Int8Dumper)
    db.adapters.register_dumper(int, Int8BinaryDumper)
    return db
