"""The index of words of the SQLite store: FTS5."""

from __future__ import annotations

import sqlite3
from bisect import bisect
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from foreman.store.sql.match import ROOM, Match, first_number
from foreman.store.sql.search import SearchReads, SearchWrites, Text

STATE = "full_text"  # the note
GAP = 8  # between the numbers of jobs of one millisecond, for those that are stored later than younger ones
DROPPED_AT_ONCE = 500  # rows

# No positions of words and no sizes: half of the space. The words come separated by spaces, so that it need not know
# what a word is.
MAKE = """CREATE VIRTUAL TABLE search USING fts5(request, answer, detail = none, columnsize = 0, tokenize = 'ascii')"""
_STRUCTURE = 10  # the row of search_data without which FTS5 cannot open the table, not even to drop it
_EMPTY = bytes(7)  # the structure of an index without words

# The tables whose rows are dropped, with their keys.
_DROPPED = {
    "search_data": ("id", f"WHERE id > {_STRUCTURE}"),
    "search_content": ("id", ""),
    "search_idx": ("segid, term", ""),
    "texts": ("number", ""),
}


def _query(words: Sequence[str]) -> str:
    return " ".join(f'"{word[:-1]}" *' if word.endswith("*") else f'"{word}"' for word in words)


_ALL = "SELECT job_id FROM texts WHERE number IN (SELECT rowid FROM search WHERE search MATCH ?)"
_ONE = """EXISTS (SELECT 1 FROM texts CROSS JOIN search ON search.rowid = number
          WHERE job_id = jobs.id AND search MATCH ?)"""


class SqliteSearchReads(SearchReads):
    """The reads of the index."""

    MATCH: ClassVar[Match] = Match(
        query=_query,
        table="search",
        found="search MATCH ?",
        all_ids=_ALL,
        one_id=_ONE,
        most_tested=1000,  # each test is a search of its own
        joined="search CROSS JOIN texts ON number = search.rowid CROSS JOIN jobs ON id = job_id",
    )

    def _index_state(self) -> str:
        return str(self._sql.value("SELECT value FROM notes WHERE name = ?", (STATE,)) or "")


class SqliteSearchWrites(SearchWrites, SqliteSearchReads):
    """The writes of the index.

    The texts of jobs have numbers in the order of the jobs' ids: FTS5 then finds the newest jobs first.
    """

    def _set_index_state(self, state: str) -> None:
        self._sql.run("INSERT OR REPLACE INTO notes (name, value) VALUES (?, ?)", (STATE, state))

    def _make_index(self) -> None:
        self._sql.run(MAKE)

    def _drop_index(self) -> bool:
        # Row by row: to drop a large table would hold the writer for seconds.
        for table, (key, those) in _DROPPED.items():
            rows = f"SELECT {key} FROM {table} {those} LIMIT {DROPPED_AT_ONCE}"
            if self._sql.rows(rows):
                self._sql.run(f"DELETE FROM {table} WHERE ({key}) IN ({rows})")
                return True
        # A damaged index, or one without its structure, is opened as an empty one.
        self._sql.run("INSERT OR REPLACE INTO search_data (id, block) VALUES (?, ?)", (_STRUCTURE, _EMPTY))
        self._sql.run("DROP TABLE search")
        return False

    def _add_texts(self, texts: Sequence[Text]) -> None:
        numbers = _Numbers(self._sql.rows)
        rows = [(numbers.of(job_id), job_id, " ".join(words)) for job_id, words in sorted(texts)]
        self._sql.insert("texts", "number, job_id", [row[:2] for row in rows])
        self._sql.insert("search", "rowid, request, answer", [(number, words, "") for number, _, words in rows])

    def _extend_texts(self, texts: Sequence[Text]) -> None:
        numbers = self._numbers([job_id for job_id, _ in texts])
        rows = sorted((numbers[job_id], words) for job_id, words in texts if job_id in numbers)
        self._sql.run_each(
            "UPDATE search SET answer = ? WHERE rowid = ?", [(" ".join(words), number) for number, words in rows]
        )

    def _remove_texts(self, job_ids: Sequence[str]) -> None:
        numbers = sorted(self._numbers(job_ids).values())
        self._sql.run_each("DELETE FROM search WHERE rowid = ?", [(number,) for number in numbers])
        self._sql.run_each("DELETE FROM texts WHERE number = ?", [(number,) for number in numbers])

    def _missing(self, job_ids: Sequence[str]) -> list[str]:
        there = self._numbers(job_ids)
        return [job_id for job_id in job_ids if job_id not in there]

    def _numbers(self, job_ids: Sequence[str]) -> dict[str, int]:
        sql = "SELECT number FROM texts WHERE job_id = ?"
        return {job_id: row[0] for job_id in job_ids for row in self._sql.rows(sql, (job_id,))}


class _Numbers:
    """The numbers of new texts, each greater than those of older jobs."""

    def __init__(self, rows: Callable[[str, Sequence[object]], list[tuple[Any, ...]]]) -> None:
        self._rows = rows
        self._known: dict[int, tuple[list[str], list[int]]] = {}  # of the jobs of a millisecond, by its first number

    def of(self, job_id: str) -> int:
        """Return the number of a job."""
        first = first_number(job_id)
        if first not in self._known:
            sql = "SELECT job_id, number FROM texts WHERE number >= ? AND number < ? ORDER BY number"
            rows = self._rows(sql, (first, first + ROOM))
            self._known[first] = [row[0] for row in rows], [row[1] for row in rows]
        ids, numbers = self._known[first]
        at = bisect(ids, job_id)
        if not ids:
            number = first + ROOM // 2
        elif at == len(ids):
            number = numbers[-1] + GAP
        else:
            number = (numbers[at - 1] + numbers[at]) // 2 if at else numbers[0] - GAP
        if number in numbers or not first <= number < first + ROOM:
            # Hundreds of jobs of one millisecond, in no order: these alone may then be listed in another one.
            number = next(one for one in range(first, first + ROOM + len(ids)) if one not in numbers)
        ids.insert(at, job_id)
        numbers.insert(at, number)
        return number


def has_fts5(db: sqlite3.Connection) -> bool:
    """Return True if this SQLite was built with FTS5."""
    return bool(db.execute("SELECT 1 FROM pragma_module_list WHERE name = 'fts5'").fetchall())
