"""The index of words, on every engine."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ulid import ULID

from foreman.domain.errors import NotIndexed
from foreman.domain.job import Artifact, Draft, Job, State
from foreman.domain.words import terms_of
from foreman.store.records import Cursor, Order, Selection
from foreman.store.sql import listing
from foreman.store.sql.match import ROOM, first_number
from foreman.store.sqlite.search import _Numbers
from tests.store.conftest import Store, add, claimed, draft, put
from tests.support.queue import writing


def asking(number: int, text: str, **fields: Any) -> Draft:
    payload = json.dumps({"model": "m", "messages": [{"role": "user", "content": text}]}).encode()
    return draft(number, payload=payload, **fields)


def answer(store: Store, job: Job, text: str) -> Job:
    """End the job with an answer."""
    working = put(store, claimed(store, job), state=State.WORKING)
    data = json.dumps({"message": {"content": text}}).encode()
    with writing(store, 100) as ledger:
        artifacts = [Artifact(name="completion", content_type="application/json", data=data)]
        return ledger.put(ledger.ended(working, State.DONE), working, artifacts)


def keep(store: Store, *, wanted: bool = True, most: int = 2) -> int:
    """Make or drop the index; return the number of steps."""
    steps = 0
    more = True
    while more:
        with store.transaction(100):
            more = store.keep_index(wanted=wanted, most=most)
        steps += 1
    return steps


def found(store: Store, search: str, **filters: Any) -> list[str]:
    wanted = Selection(q=tuple(terms_of(search)), **filters)
    ids = [job.id for job in store.jobs(wanted, limit=100)]
    pages, after = list[str](), None
    while page := store.jobs(wanted, after=after, limit=2):
        pages += [job.id for job in page]
        after = Cursor(page[-1].id)
    assert ids == pages
    assert store.count(wanted, most=100) == len(ids)
    return ids


@pytest.fixture(params=["few", "many"])
def _amount(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few matches are sorted; many are walked."""
    if request.param == "many":
        monkeypatch.setattr(listing, "FEW", 0)


@pytest.mark.usefixtures("_amount")
def test_jobs_are_found_by_the_words_of_request_and_answer(store: Store) -> None:
    with pytest.raises(NotIndexed):
        found(store, "word")
    first, *_ = add(store, asking(1, "The first café"), asking(2, "Another tea", model="n"))
    keep(store)
    answer(store, first, "Crème brûlée, 東京タワー")
    add(store, asking(4, "The last café"), asking(3, "Tea again", owner="anna"))
    assert found(store, "the") == found(store, "CAFE") == ["004", "001"]
    assert found(store, "the creme") == found(store, "brul* first") == found(store, "京タワ") == ["001"]
    assert found(store, "te*") == ["003", "002"]
    assert found(store, "te") == found(store, "the tea") == found(store, "caf") == []
    assert found(store, '"first - OR NEAR(') == []
    assert found(store, "the", states=(State.DONE,)) == ["001"]
    assert found(store, "tea", models=("n",)) == ["002"]
    assert found(store, "tea", owner="anna") == found(store, "tea", id="003") == ["003"]
    assert found(store, "the", ids=("001", "002")) == ["001"]
    ended = store.jobs(Selection(q=("the",)), order=Order.ENDED, limit=9)
    assert [job.id for job in ended] == ["001"]


@pytest.mark.usefixtures("_amount")
def test_deleted_jobs_and_their_words_go(store: Store) -> None:
    keep(store)
    jobs = add(store, *(asking(number, f"secret {number}") for number in range(1, 6)))
    for job in jobs[:3]:
        answer(store, job, "told")
    with writing(store, 100) as ledger:
        ledger.store.delete(["001"])
    with writing(store, 10**9) as ledger:
        assert sorted(ledger.store.prune(10**9, 1)) == ["002"]
    assert found(store, "secret") == ["005", "004", "003"]
    assert found(store, "secret told") == found(store, "3") == ["003"]
    assert found(store, "1") == found(store, "told 2") == []


def test_an_index_is_made_in_steps_newest_first_and_dropped(store: Store, open_store: Callable[[], Store]) -> None:
    jobs = add(store, *(asking(number, f"old {number}") for number in range(1, 6)))
    answer(store, jobs[0], "answered")
    with store.transaction(100):
        assert store.keep_index(wanted=True, most=2)
        assert store.keep_index(wanted=True, most=2)
    assert found(store, "old") == ["005", "004"]
    answer(store, jobs[1], "meanwhile")
    add(store, asking(6, "new"))
    store = open_store()
    state = store.indexing()
    assert state is not None
    assert not state.whole
    keep(store)
    assert found(store, "old") == ["005", "004", "003", "002", "001"]
    assert found(store, "answered") == ["001"]
    assert found(store, "meanwhile old") == ["002"]
    assert found(store, "new") == ["006"]
    state = store.indexing()
    assert state is not None
    assert (state.whole, state.done) == (True, 5)
    assert keep(store) == 1
    keep(store, wanted=False)
    assert store.indexing() is None
    with pytest.raises(NotIndexed):
        found(store, "old")
    keep(store)
    assert found(store, "6") == []
    assert found(store, "new") == ["006"]


def test_an_index_of_another_version_is_made_anew(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    add(store, asking(1, "old"))
    keep(store)
    monkeypatch.setattr("foreman.store.sql.search.VERSION", 2)
    with pytest.raises(NotIndexed):
        found(store, "old")
    keep(store)
    assert found(store, "old") == ["001"]


def test_a_rolled_back_transaction_leaves_no_words(store: Store) -> None:
    keep(store)

    def fail() -> None:
        with writing(store, 100) as ledger:
            ledger.add([asking(1, "gone")])
            assert ledger.store.job("001")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    add(store, asking(2, "kept"))
    assert (found(store, "gone"), found(store, "kept")) == ([], ["002"])


@pytest.mark.usefixtures("_amount")
def test_jobs_of_a_time_are_found_by_words(store: Store) -> None:
    keep(store)
    day = 86400.0
    ids = [str(ULID.from_timestamp(number * day)) for number in range(1, 6)]
    for number, job_id in enumerate(ids, 1):
        add(store, asking(number, "word", id=job_id), now=number * day)
    assert found(store, "word", created_after=2 * day, created_before=4 * day) == [ids[2], ids[1]]
    assert found(store, "word", created_after=2.5 * day) == ids[:1:-1]


@given(st.lists(st.sampled_from([f"0000000{time}{rest:04}" for time in "001" for rest in range(60)]), unique=True))
@settings(max_examples=50)
def test_numbers_of_texts_sort_as_the_ids_of_their_jobs(ids: list[str]) -> None:
    numbers = _Numbers(lambda sql, values: [])
    given_numbers = {job_id: numbers.of(job_id) for job_id in ids}
    assert len(set(given_numbers.values())) == len(ids)
    if ids in (sorted(ids), sorted(ids, reverse=True)):
        assert sorted(ids, key=lambda job_id: given_numbers[job_id]) == sorted(ids)
    assert all(first_number(job_id) <= n < first_number(job_id) + ROOM for job_id, n in given_numbers.items())
