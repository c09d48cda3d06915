"""The index of words of the PostgreSQL store: a tsvector of each job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from foreman.store.postgres.news import State
from foreman.store.sql.listing import FEW
from foreman.store.sql.match import Match
from foreman.store.sql.search import SearchReads, SearchWrites, Text


def _query(words: Sequence[str]) -> str:
    return " & ".join(f"'{word[:-1]}':*" if word.endswith("*") else f"'{word}'" for word in words)


_FOUND = "words @@ CAST(? AS tsquery)"


class PostgresSearchReads(SearchReads):
    """The reads of the index."""

    MATCH: ClassVar[Match] = Match(
        query=_query,
        table="texts",
        found=_FOUND,
        all_ids=f"SELECT job_id FROM texts WHERE {_FOUND}",
        one_id=f"EXISTS (SELECT 1 FROM texts WHERE job_id = jobs.id AND {_FOUND})",
        most_tested=FEW,
    )

    def _index_state(self) -> str:
        return str(self._sql.value("SELECT full_text FROM fleet_state") or "")


class PostgresSearchWrites(SearchWrites, PostgresSearchReads):
    """The writes of the index. What the nodes know of it came with the write lock."""

    _fleet: State
    _writing: bool

    def _index_state(self) -> str:
        return self._fleet.full_text if self._writing else super()._index_state()

    def _set_index_state(self, state: str) -> None:
        self._sql.run("UPDATE fleet_state SET full_text = ?", (state,))
        self._fleet = self._fleet._replace(full_text=state)

    def _make_index(self) -> None:
        """Do nothing: the empty table is there."""

    def _drop_index(self) -> bool:
        self._sql.run("TRUNCATE texts")
        return False

    def _add_texts(self, texts: Sequence[Text]) -> None:
        sql = "INSERT INTO texts (job_id, words) VALUES (?, array_to_tsvector(CAST(? AS text[])))"
        self._sql.run_each(sql, [(job_id, list(words)) for job_id, words in texts])

    def _extend_texts(self, texts: Sequence[Text]) -> None:
        sql = "UPDATE texts SET words = words || array_to_tsvector(CAST(? AS text[])) WHERE job_id = ?"
        self._sql.run_each(sql, [(list(words), job_id) for job_id, words in texts])

    def _remove_texts(self, job_ids: Sequence[str]) -> None:
        self._sql.run("DELETE FROM texts WHERE job_id = ANY(?)", (list(job_ids),))

    def _missing(self, job_ids: Sequence[str]) -> list[str]:
        there = {row[0] for row in self._sql.rows("SELECT job_id FROM texts WHERE job_id = ANY(?)", (list(job_ids),))}
        return [job_id for job_id in job_ids if job_id not in there]
