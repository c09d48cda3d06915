"""SQLite's error codes, and what each kind means for Foreman. The codes: https://sqlite.org/rescode.html."""

from __future__ import annotations

import sqlite3

from foreman.domain.errors import ForemanError, StoreBroken, StoreBusy, StoreFull, StoreRejected

# By primary code, the lowest byte of what SQLite reports. What passes is tried again; after what does not, nobody knows
# what is on disk, and only a restart finds out. Every other code is the fault of one statement.
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
    """Return the error as Foreman's own; as it is where SQLite did not report it, since then it is a bug."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        rejected = (sqlite3.IntegrityError, sqlite3.DataError, OverflowError, UnicodeEncodeError)
        return StoreRejected(error) if isinstance(error, rejected) else error
    return error_of(code, error)


def error_of(code: int, error: Exception) -> ForemanError:
    """Return the fault that an error with this code of SQLite's is."""
    kind = code & 0xFF
    if kind == sqlite3.SQLITE_FULL:
        return StoreFull()
    if kind in _PASSES:
        return StoreBusy(_PASSES[kind])
    if kind in _LASTS:
        return StoreBroken(f"the database failed ({getattr(error, 'sqlite_errorname', 'unknown')}): {error}")
    return StoreRejected(error)
