"""The index of words: kept in step by the transactions that change jobs, and made or dropped in small steps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

import msgspec
import structlog

from foreman.domain.errors import NotIndexed
from foreman.domain.job import Artifact, Draft
from foreman.domain.searched_text import MOST_BYTES, VERSION, answer_words, request_words
from foreman.store.records import Indexing
from foreman.store.sql.match import Match
from foreman.store.sql.statements import Statements

log = structlog.get_logger()

COMPLETION = "completion"  # the artifact with the answer
LAST = chr(0x10FFFF)  # after all ids
OUTDATED = Indexing(0, "")  # to be dropped
MOST_SHOWN = 80  # characters of an unreadable note
AT_ONCE = 2**20  # bytes of requests and answers that are read in one step

Text = tuple[str, Sequence[str]]  # the id of a job, and words of its request or answer


def read_state(state: str) -> Indexing | None:
    """Return the stored text of how far the index is as such; one that is unreadable has the index made anew."""
    try:
        return msgspec.json.decode(state, type=Indexing) if state else None
    except msgspec.DecodeError:
        return OUTDATED


def note_problems(state: str) -> list[str]:
    """Return what is wrong with the stored text of how far the index is."""
    try:
        if state:
            msgspec.json.decode(state, type=Indexing)
    except msgspec.DecodeError as error:
        shown = state if len(state) <= MOST_SHOWN else state[:MOST_SHOWN] + "..."
        return [f"the note of the index of words is {shown!r} ({error}): start Foreman, which makes the index anew"]
    return []


class SearchReads(ABC):
    """The reads of the index."""

    MATCH: ClassVar[Match]
    _sql: Statements

    @abstractmethod
    def _index_state(self) -> str:
        """Return the stored text of `Indexing`; empty without an index."""

    def indexing(self) -> Indexing | None:
        """Return how far the index is, or None without one."""
        return read_state(self._index_state())

    def _check_index(self) -> None:
        """Raise NotIndexed unless there is an index to search in."""
        state = self.indexing()
        if state is None or state.version != VERSION:
            raise NotIndexed


class SearchWrites(SearchReads):
    """The writes of the index."""

    can_index: bool = True  # False when the engine cannot have an index
    _warned = False

    @abstractmethod
    def _set_index_state(self, state: str) -> None:
        """Store the text of `Indexing`."""

    @abstractmethod
    def _make_index(self) -> None:
        """Make an empty index."""

    @abstractmethod
    def _drop_index(self) -> bool:
        """Drop a part of the index; return True while there is more of it."""

    @abstractmethod
    def _add_texts(self, texts: Sequence[Text]) -> None:
        """Add jobs with words."""

    @abstractmethod
    def _extend_texts(self, texts: Sequence[Text]) -> None:
        """Add words to jobs; jobs that are not in the index are left out."""

    @abstractmethod
    def _remove_texts(self, job_ids: Sequence[str]) -> None:
        """Remove jobs, as far as they are in the index."""

    @abstractmethod
    def _missing(self, job_ids: Sequence[str]) -> list[str]:
        """Return those of the jobs that are not in the index."""

    def _indexes(self) -> bool:
        state = self.indexing()
        return state is not None and state.version == VERSION

    def _index_requests(self, drafts: Sequence[Draft]) -> None:
        if self._indexes():
            self._add_texts([(draft.id, request_words(draft.payload)) for draft in drafts])

    def _index_answers(self, artifacts: Mapping[str, Sequence[Artifact]]) -> None:
        if artifacts and self._indexes():
            answers = [
                (job_id, answer_words(one.data))
                for job_id, some in artifacts.items()
                for one in some
                if one.name == COMPLETION
            ]
            self._extend_texts([(job_id, words) for job_id, words in answers if words])

    def _unindex(self, job_ids: Sequence[str]) -> None:
        if self._indexes():
            self._remove_texts(job_ids)

    def keep_index(self, *, wanted: bool, most: int) -> bool:
        """Make or drop the index by one step, of up to `most` jobs; return True while there is more to do.

        The index is made from the newest job to the oldest; jobs that are added meanwhile are in it from the start.
        """
        state = self.indexing()
        if state is not None and (not wanted or state.version != VERSION):
            if state.version:
                self._store(OUTDATED)
            if not self.can_index:
                return False
            if not self._drop_index():
                self._set_index_state("")
            return True
        if wanted and not self.can_index and not self._warned:
            log.warning("full_text is on, but this SQLite is built without FTS5: searches for words are refused")
            self._warned = True
        if not wanted or not self.can_index:
            return False
        if state is None:
            self._make_index()
            self._store(Indexing(VERSION, LAST))
            return True
        if state.before:
            self._store(self._filled(state, most))
        return bool(state.before)

    def _store(self, state: Indexing) -> None:
        self._set_index_state(msgspec.json.encode(state).decode())

    def _filled(self, state: Indexing, most: int) -> Indexing:
        """Add the next jobs to the index, and return how far it is then."""
        sql = "SELECT id FROM jobs NOT INDEXED WHERE id < ? ORDER BY id DESC LIMIT ?"
        found = [job_id for (job_id,) in self._sql.rows(sql, (state.before, most))]
        ids = [job_id for job_id in found if isinstance(job_id, str)]
        texts, read = list[Text](), 0
        missing = set(self._missing(ids))
        for count, job_id in enumerate(ids, 1):
            if job_id in missing:
                parts = [*self._bodies("SELECT body FROM payloads WHERE job_id = ? AND length(body) <= ?", job_id)]
                read += sum(map(len, parts))
                words = [word for part in parts for word in request_words(part)]
                for part in self._bodies(
                    f"SELECT data FROM artifacts WHERE job_id = ? AND length(data) <= ? AND name = '{COMPLETION}'",
                    job_id,
                ):
                    read += len(part)
                    words += answer_words(part)
                texts.append((job_id, list(dict.fromkeys(words))))
            if read > AT_ONCE and count < len(ids):
                self._add_texts(texts)
                return Indexing(VERSION, job_id, state.done + count)
        self._add_texts(texts)
        return Indexing(VERSION, ids[-1] if len(found) == most and ids else "", state.done + len(ids))

    def _bodies(self, sql: str, job_id: str) -> Iterable[bytes]:
        return [bytes(body) for (body,) in self._sql.rows(sql, (job_id, MOST_BYTES))]
