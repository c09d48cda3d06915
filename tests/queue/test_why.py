"""Why a job waits, said by the rules that keep it."""

from __future__ import annotations

from typing import Any

import pytest

from foreman.domain.errors import TargetBusy
from foreman.domain.job import Priority
from foreman.domain.scheduling.choose import OrderRules
from foreman.domain.scheduling.room import Room
from foreman.queue.commands import Finished, Pause
from foreman.queue.why import why
from foreman.store.sqlite.writer import SqliteWriter
from tests.support.queue import QueueHarness
from tests.support.sites import OnlySite


@pytest.fixture
def harness(store: SqliteWriter) -> QueueHarness:
    return QueueHarness(store, order=OrderRules(limit=600))


def said(harness: QueueHarness, number: int) -> tuple[str, str]:
    outlook, job = harness.handlers.outlook, harness.job(number)
    found = why(outlook, harness.store, job, outlook.of(harness.store, job, harness.now), harness.now)
    assert found is not None
    return found.reason, found.text


def at_work(harness: QueueHarness, **fields: Any) -> None:
    harness.submit(50, **fields)
    job = harness.claimed()
    harness.handlers.outlook.claimed(job, harness.now)


def test_a_job_that_does_not_wait_has_no_reason(harness: QueueHarness) -> None:
    harness.submit(1)
    job, outlook = harness.claimed(), harness.handlers.outlook
    assert why(outlook, harness.store, job, outlook.of(harness.store, job, harness.now), harness.now) is None


def test_the_next_one_waits_for_a_slot(harness: QueueHarness) -> None:
    at_work(harness)
    harness.submit(1)
    assert said(harness, 1) == ("slot", "it is next, and starts when a slot is free")


def test_a_later_start_and_a_pause_come_first(harness: QueueHarness) -> None:
    harness.submit(1, not_before=harness.now + 60)
    harness.submit(2)
    harness.say(Pause())
    assert said(harness, 1)[0] == "time" and "not to start before" in said(harness, 1)[1]
    assert said(harness, 2) == ("paused", "the queue is paused")


def test_higher_classes_are_counted(harness: QueueHarness) -> None:
    at_work(harness)
    harness.submit(1, priority=Priority.LOW)
    harness.submit(2, priority=Priority.HIGH)
    assert said(harness, 1) == ("class", "1 job of class high goes first")
    harness.submit(3)
    assert said(harness, 1) == ("class", "2 jobs of class high and normal go first")


def test_another_model_has_its_turn(harness: QueueHarness) -> None:
    at_work(harness, model="other")
    harness.submit(1)
    assert said(harness, 1) == ("turn", "other has its turn, and m does not fit beside it")


def test_jobs_of_a_model_beside_it_go_first(harness: QueueHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OnlySite, "room", lambda site: Room.count(2))
    at_work(harness, model="other")
    harness.submit(1, model="other")
    harness.submit(2)
    assert said(harness, 2) == ("turn", "about 1 job of other models or loading options goes first")


def test_older_jobs_and_other_callers_are_told_apart(harness: QueueHarness) -> None:
    at_work(harness)
    for number in (1, 2, 3):
        harness.submit(number, owner="alice")
    assert said(harness, 2) == ("age", "1 job of the same caller goes first: it is older")
    assert said(harness, 3) == ("age", "2 jobs of the same caller go first: they are older")
    harness.submit(4, owner="bob")
    assert said(harness, 4) == ("caller", "about 1 job of callers that were served less goes first")


def test_a_prompt_that_is_being_computed(store: SqliteWriter) -> None:
    harness = QueueHarness(store, order=OrderRules(slots=2))
    at_work(harness, prefix=b"aaaa")
    harness.submit(1, prefix=b"aaaa")
    assert said(harness, 1)[0] == "prompt"


def test_a_model_that_rests(harness: QueueHarness) -> None:
    harness.submit(1)
    harness.submit(2)
    job = harness.claimed()
    harness.say(Finished(job_id=job.id, fence=job.fence, outcome=TargetBusy("ollama", 60)))
    assert said(harness, 2)[0] == "rests"


def test_no_target_serves_it_or_takes_jobs(harness: QueueHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    harness.submit(1)
    monkeypatch.setattr(OnlySite, "open", False)
    assert said(harness, 1) == ("target", "the target has m, and is away or drained")
    monkeypatch.setattr(OnlySite, "serves", lambda site, key, endpoint=None: False)
    assert said(harness, 1) == ("target", "no target is known to serve m")
