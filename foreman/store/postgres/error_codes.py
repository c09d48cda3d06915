"""Translation of PostgreSQL's errors (https://www.postgresql.org/docs/current/errcodes-appendix.html)."""

from __future__ import annotations

import struct

import psycopg

from foreman.domain.errors import StoreAway, StoreBroken, StoreFull, StoreRejected

DISK_FULL = "53100"
READ_ONLY = "25006"  # a replica, or a former primary that still accepts connections
# By class, the first two characters of a code: the server is away, ends, is short of something, or gave up waiting.
# The transaction was rolled back and may be run again.
_PASSES = {"08", "40", "53", "55", "57", "25"}
UNSENDABLE = (OverflowError, UnicodeEncodeError, struct.error)  # of values that have no form on the wire
_LASTS = {"58030", "XX001", "XX002"}  # the server's disk or its data fail
_OTHER_TABLES = {"42P01", "42703"}  # a table or column is not there: a later version has changed them


def translate(error: Exception) -> Exception:
    """Return Foreman's error for an error of psycopg or the server; any other error is a bug and returned unchanged."""
    if isinstance(error, UNSENDABLE):
        return StoreRejected(error)
    if not isinstance(error, psycopg.Error):
        return error
    code = error.sqlstate
    if code is None:
        return StoreAway(first_line(error)) if is_lost(error) else StoreRejected(error)
    if code == DISK_FULL:
        return StoreFull()
    if code in _LASTS:
        return StoreBroken(f"the database failed ({code}): {first_line(error)}")
    if code in _OTHER_TABLES:
        return StoreBroken(f"the tables are not those of this foreman, install a newer one: {first_line(error)}")
    return StoreAway(first_line(error)) if code[:2] in _PASSES else StoreRejected(error)


def is_lost(error: psycopg.Error) -> bool:
    """Return True for an error that is not the server's word: the connection is of no use, and nobody knows what held.

    libpq reports a connection that ends within an answer as the result of a statement, of no particular kind.
    """
    unkind = type(error) is psycopg.DatabaseError
    return error.sqlstate is None and (unkind or isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)))


def first_line(error: Exception) -> str:
    """Return the first line of an error's text; more lines are hints and context."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
