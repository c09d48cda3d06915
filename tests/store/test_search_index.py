"""The index of words in a file of SQLite: dropped over restarts, mended, and checked."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from foreman.store import integrity
from foreman.store.sqlite import search, search_check
from foreman.store.sqlite.writer import SqliteWriter
from tests.store.conftest import add, opening
from tests.store.test_conformance_search import asking, found, keep

Open = Callable[[], SqliteWriter]


@pytest.fixture
def path(data_dir: Path) -> Path:
    return data_dir / "foreman.db"


@pytest.fixture
def reopen(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Opens the store, with an index of a few jobs, on a connection that has not seen the index yet."""
    monkeypatch.setattr(search, "DROPPED_AT_ONCE", 2)
    with closing(SqliteWriter(path)) as store:
        add(store, *(asking(number, f"old {number}") for number in range(1, 6)))
        keep(store)
    yield from opening(lambda: SqliteWriter(path))  # type: ignore[misc]


def step(store: SqliteWriter) -> bool:
    """Drop a part of the index; return True while there is more."""
    with store.transaction(100):
        return store.keep_index(wanted=False, most=2)


def problems(path: Path) -> list[str]:
    return integrity.check(path).problems


def damage(path: Path, sql: str) -> None:
    """Change the index in a way that FTS5 does not."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(sql)


def check_that_it_can_be_used(store: SqliteWriter, path: Path) -> None:
    assert store.indexing() is None
    keep(store)
    assert found(store, "old") == ["005", "004", "003", "002", "001"]
    assert problems(path) == []


def test_every_step_of_dropping_may_be_the_first_of_a_start(reopen: Open, path: Path) -> None:
    steps = 0
    while step(reopen()):
        steps += 1
        assert problems(path) == []
        assert integrity.quick_check(path) is None
    assert steps > 5
    check_that_it_can_be_used(reopen(), path)


@pytest.mark.parametrize("stop", range(10))
def test_an_index_half_dropped_is_made_anew_after_a_start(reopen: Open, path: Path, stop: int) -> None:
    store = reopen()
    for _ in range(stop):
        step(store)
    store = reopen()
    keep(store)
    assert found(store, "old") == ["005", "004", "003", "002", "001"]
    assert problems(path) == []


BROKEN = [
    "DELETE FROM search_data",
    "DELETE FROM search_data WHERE id = 10",
    "UPDATE search_data SET block = x'0000000005ffffffff' WHERE id = 10",
]


@pytest.mark.parametrize("sql", BROKEN)
def test_an_index_that_cannot_be_opened_is_told_and_dropped(reopen: Open, path: Path, sql: str) -> None:
    reopen()
    damage(path, sql)
    assert any("index of words is damaged" in one and "full_text off" in one for one in problems(path))
    keep(reopen(), wanted=False)
    check_that_it_can_be_used(reopen(), path)


@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize("sql", BROKEN)
def test_what_breaks_while_it_is_dropped_is_dropped_all_the_same(
    reopen: Open, path: Path, sql: str, *, wanted: bool
) -> None:
    step(reopen())
    damage(path, sql)
    assert all("index of words is damaged" in one for one in problems(path))  # a newer SQLite may open it
    keep(reopen(), wanted=wanted)
    keep(reopen(), wanted=False)
    check_that_it_can_be_used(reopen(), path)


@pytest.mark.parametrize(
    "sql",
    ["DELETE FROM search_content WHERE id = (SELECT max(id) FROM search_content)",
     "UPDATE search_content SET c0 = 'other' WHERE id = (SELECT max(id) FROM search_content)",
     "DELETE FROM search_data WHERE id > 10"],
)  # fmt: skip
def test_an_index_with_other_words_than_its_jobs_is_told(reopen: Open, path: Path, sql: str) -> None:
    reopen()
    assert problems(path) == []
    damage(path, sql)
    assert any("index of words is damaged" in one for one in problems(path))
    keep(reopen(), wanted=False)
    check_that_it_can_be_used(reopen(), path)


class Newer:
    """A connection of SQLite 3.44, whose own checks look at tables of FTS5, too."""

    def execute(self, sql: str, *_: object) -> list[tuple[str]]:
        return [("ok",), ("malformed inverted index for FTS5 table main.search",), ("row 1 missing from index i",)]


def test_damage_that_sqlite_finds_in_the_index_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_check, "_dropping", lambda _: False)
    pages, index = search_check.page_problems(Newer(), "quick_check")  # type: ignore[arg-type]
    assert pages == ["row 1 missing from index i"]
    assert [one.partition(" (")[0] for one in index] == ["the index of words is damaged"]


@pytest.mark.parametrize("note", ["{nonsense", '{"version":"x"}', "5"])
def test_an_unreadable_note_is_told_and_the_index_made_anew(reopen: Open, path: Path, note: str) -> None:
    reopen()
    damage(path, f"UPDATE notes SET value = '{note}' WHERE name = 'full_text'")
    assert [one.partition(" (")[0] for one in problems(path)] == [f"the note of the index of words is {note!r}"]
    store = reopen()
    add(store, asking(6, "new"))
    keep(store)
    assert found(store, "old") == ["005", "004", "003", "002", "001"]
    assert found(store, "new") == ["006"]
    assert problems(path) == []


def test_the_check_of_an_index_waits_for_no_writer_and_delays_none(reopen: Open, path: Path) -> None:
    store = reopen()
    with store.transaction(100):
        store.keep_index(wanted=True, most=2)
        assert problems(path) == []


def test_a_large_index_is_opened_only(reopen: Open, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reopen()
    damage(path, "UPDATE search_content SET c0 = 'other'")
    monkeypatch.setattr(search_check, "LARGEST", 10)
    assert not any("index of words is damaged" in one for one in problems(path))
    damage(path, "DELETE FROM search_data WHERE id = 10")
    assert any("index of words is damaged" in one for one in problems(path))
