"""Whether the index of words in a database file is sound."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable
from contextlib import closing

from foreman.store.sql.search import note_problems, read_state
from foreman.store.sqlite.search import MAKE, STATE, has_fts5

LARGEST = 64 * 2**20  # bytes of an index that is checked as a whole, in a copy in memory
REMEDY = "start Foreman with full_text off until the log says that it is dropped, then with it on"
_COPIED = {  # the tables of FTS5 with words
    "search_data": "id, block",
    "search_content": "id, c0, c1",
    "search_idx": "segid, term, pgno",
}
_SIZE = """SELECT (SELECT total(length(block)) FROM search_data)
         + (SELECT total(length(c0) + length(c1)) FROM search_content)"""
_ABOUT_INDEX = re.compile(r'FTS5 table main\.search\b|^fts5: .* table "search"')


def page_problems(db: sqlite3.Connection, pragma: str) -> tuple[list[str], list[str]]:
    """Return what one of SQLite's own checks finds, and apart from it what it finds in the index.

    From 3.44 on they check tables of FTS5, too: one that is being dropped has lost some of its rows, as it should.
    """
    found = [str(row[0]) for row in db.execute(f"PRAGMA {pragma}") if row[0] != "ok"]
    index = [one for one in found if _ABOUT_INDEX.search(one)]
    others = [one for one in found if one not in index]
    return others, [_damaged(one) for one in index] if index and not _dropping(db) else []


def index_problems(db: sqlite3.Connection) -> list[str]:
    """Open and search the index, if there is one, and check that of up to `LARGEST` bytes as a whole.

    No writer waits for it.
    """
    note = _note(db)
    if problems := note_problems(note):
        return problems
    if not has_fts5(db) or not note:
        return []
    try:
        db.execute("SELECT rowid FROM search LIMIT 0")
        db.execute("BEGIN")  # one state of all tables
        try:
            if not _dropping(db):
                db.execute("SELECT rowid FROM search WHERE search MATCH 'a' LIMIT 1").fetchall()
                if db.execute(_SIZE).fetchone()[0] <= LARGEST:
                    _check_copy(db)
        finally:
            db.execute("ROLLBACK")
    except sqlite3.DatabaseError as error:
        return [_damaged(error)]
    return []


def _damaged(why: object) -> str:
    return f"the index of words is damaged ({why}): {REMEDY}"


def _check_copy(db: sqlite3.Connection) -> None:
    """Run FTS5's own check, which is a write and so would keep Foreman waiting. Raise sqlite3.DatabaseError."""
    with closing(sqlite3.connect(":memory:")) as copy:
        copy.execute(MAKE)
        copy.execute("DELETE FROM search_data")
        for table, columns in _COPIED.items():
            rows: Iterable[tuple[object, ...]] = db.execute(f"SELECT {columns} FROM {table}")
            copy.executemany(f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' * len(columns.split()))})", rows)
        copy.commit()
        copy.execute("INSERT INTO search (search) VALUES ('integrity-check')")


def _dropping(db: sqlite3.Connection) -> bool:
    state = read_state(_note(db))
    return state is not None and not state.version


def _note(db: sqlite3.Connection) -> str:
    tables = db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'notes'").fetchall()
    found = db.execute("SELECT value FROM notes WHERE name = ?", (STATE,)).fetchone() if tables else None
    return str(found[0]) if found else ""
