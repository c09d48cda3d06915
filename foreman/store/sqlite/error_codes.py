"""Translation of SQLite's error codes (https://sqlite.org/rescode.html) to Foreman's errors."""

from __future__ import annotations

import sqlite3

from foreman.domain.errors import ForemanError, StoreBroken, StoreBusy, StoreFull, StoreRejected

# By primary code, the lowest byte of SQLite's code. Temporary errors are retried; lasting ones leave the state on disk
# unknown until a restart. Every other code concerns a single statement.
_PASSES = {
    sqlite3.SQLITE_BUSY: "another program has locked it",  # a checkpoint, a backup, recovery after a crash
    sqlite3.SQLITE_LOCKED: "another connection has locked it",
    sqlite3.SQLITE_PROTOCOL: "other programs keep locking it",
    sqlite3.SQLITE_NOMEM: "memory is short",
    sqlite3.SQLITE_CANTOPEN: "a file beside it cannot be opened",  # descriptors are short
}
_LASTS = {
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_AUTH,
    sqlite3.SQLITE_FORMAT,
}


def translate(error: Exception) -> Exception:
    """Return Foreman's error for an error of SQLite; any other error is a bug and returned unchanged."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        rejected = (sqlite3.IntegrityError, sqlite3.DataError, OverflowError, UnicodeEncodeError)
        return StoreRejected(error) if isinstance(error, rejected) else error
    return error_of(code, error)


def error_of(code: int, error: Exception) -> ForemanError:
    """Return Foreman's error for a code of SQLite."""
    kind = code & 0xFF
    if kind == sqlite3.SQLITE_FULL:
        return StoreFull()
    if kind in _PASSES:
        return StoreBusy(_PASSES[kind])
    if kind in _LASTS:
        return StoreBroken(f"the database failed ({getattr(error, 'sqlite_errorname', 'unknown')}): {error}")
    return StoreRejected(error)
