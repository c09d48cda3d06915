"""One action on all selected jobs: what it is not for is skipped, and the transaction tests the selection again."""

from __future__ import annotations

from typing import Any

import pytest

from foreman.domain.caller import FOREMAN
from foreman.domain.errors import CancelledWhileRunning, IllegalTransition, LineOfBatch
from foreman.domain.job import State
from foreman.domain.quotas import Quota
from foreman.queue.commands import Cancel, Retry, Uncancel
from foreman.queue.selection_commands import CancelSelected, DeleteSelected, RetrySelected, UncancelSelected
from foreman.store.records import Selection
from foreman.store.sqlite.writer import SqliteWriter
from tests.support.queue import QueueHarness


@pytest.fixture
def harness(store: SqliteWriter) -> QueueHarness:
    """Jobs: 001 done, 002 cancelled, 003 loading, 004 and 005 queued."""
    harness = QueueHarness(store)
    harness.submit(1)
    harness.finish(harness.claimed())
    harness.submit(2)
    harness.say(Cancel(job_id="002", caller=FOREMAN))
    harness.submit(3)
    harness.claimed()
    harness.submit(4, webhook_url="http://127.0.0.1:9/hook")
    harness.submit(5)
    return harness


def of(*numbers: int, **filters: Any) -> Selection:
    return Selection(ids=tuple(f"{number:03}" for number in numbers), **filters)


def states(harness: QueueHarness, *numbers: int) -> list[State]:
    return [harness.job(number).state for number in numbers]


def test_a_cancel_ends_the_queued_and_the_running_with_their_events_and_webhooks(harness: QueueHarness) -> None:
    assert harness.say(CancelSelected(wanted=of(1, 2, 3, 4, 5, 9))).done == 3
    assert states(harness, 1, 2, 3, 4, 5) == [State.DONE, *[State.CANCELLED] * 4]
    assert sorted(harness.steps()) == [("loading", "cancelled"), ("queued", "cancelled"), ("queued", "cancelled")]
    assert harness.handlers.outlook.board.waiting == 0 and harness.store.running() == []
    assert len(harness.store.deliveries("004")) == 2  # queued, cancelled
    assert harness.say(CancelSelected(wanted=of(1, 2, 3, 4, 5))).done == 0
    assert harness.claim() is None


def test_a_job_that_has_left_the_selection_meanwhile_is_spared(harness: QueueHarness) -> None:
    assert harness.say(CancelSelected(wanted=of(3, 4, 5, states=(State.QUEUED,)))).done == 2
    assert states(harness, 3, 4, 5) == [State.LOADING, State.CANCELLED, State.CANCELLED]
    assert harness.say(CancelSelected(wanted=of(3, owner="ann"))).done == 0
    assert harness.say(CancelSelected(wanted=of())).done == 0


def test_a_retry_queues_what_may_be_retried(harness: QueueHarness) -> None:
    harness.say(CancelSelected(wanted=of(4)))
    assert harness.say(RetrySelected(wanted=of(1, 2, 3, 4, 5))).done == 2
    assert states(harness, 1, 2, 3, 4, 5) == [State.DONE, State.QUEUED, State.LOADING, State.QUEUED, State.QUEUED]
    assert harness.job(2).completed_at is None
    assert harness.handlers.outlook.board.waiting == 3


def test_a_retry_leaves_what_the_queue_has_no_room_for(store: SqliteWriter) -> None:
    harness = QueueHarness(store, max_queue=2)
    for number in (1, 2, 3):
        harness.submit(number)
        harness.say(Cancel(job_id=f"{number:03}", caller=FOREMAN))
    assert harness.say(RetrySelected(wanted=of(1, 2, 3))).done == 2
    assert sorted(states(harness, 1, 2, 3)) == [State.CANCELLED, State.QUEUED, State.QUEUED]


def test_a_retry_leaves_what_is_beyond_the_quota_of_its_owner(store: SqliteWriter) -> None:
    harness = QueueHarness(store, quotas={"ann": Quota(waiting=1)})
    for number, owner in enumerate(("ann", "bob", "ann", "bob"), 1):
        harness.submit(number, owner=owner)
        harness.say(Cancel(job_id=f"{number:03}", caller=FOREMAN))
    assert harness.say(RetrySelected(wanted=of(1, 2, 3, 4))).done == 3
    assert sorted(states(harness, 1, 3)) == [State.CANCELLED, State.QUEUED]
    assert states(harness, 2, 4) == [State.QUEUED, State.QUEUED]


def test_a_delete_takes_what_has_ended(harness: QueueHarness) -> None:
    assert harness.say(DeleteSelected(wanted=of(1, 2, 3, 4, 5))).done == 2
    assert [job.id for job in harness.store.jobs(limit=9)] == ["005", "004", "003"]


def test_lines_of_batches_are_cancelled_but_neither_retried_nor_deleted(store: SqliteWriter) -> None:
    harness = QueueHarness(store)
    harness.submit(1, batch_id="batch_1", batch_line=0)
    assert harness.say(CancelSelected(wanted=of(1))).done == 1
    assert harness.say(RetrySelected(wanted=of(1))).done == harness.say(DeleteSelected(wanted=of(1))).done == 0
    assert harness.job(1).state is State.CANCELLED


def test_an_uncancelled_job_is_as_it_was(store: SqliteWriter) -> None:
    harness = QueueHarness(store)
    harness.submit(1)
    harness.submit(2, not_before=harness.now + 100, start_by=harness.now + 1000)
    harness.submit(3)
    before = [harness.job(number) for number in (1, 2, 3)]
    for number in (1, 2):
        harness.now += 1
        harness.say(Cancel(job_id=f"{number:03}", caller=FOREMAN))
        harness.say(Uncancel(job_id=f"{number:03}", caller=FOREMAN))
    assert [harness.job(number) for number in (1, 2, 3)] == before
    assert harness.steps()[-1] == ("cancelled", "queued")
    assert [harness.claimed().id for _ in range(2)] == ["001", "003"]  # the second waits for its time


def test_a_job_that_ran_or_is_in_a_batch_is_not_uncancelled(harness: QueueHarness) -> None:
    harness.say(CancelSelected(wanted=of(3, 4)))
    for number, error in ((1, IllegalTransition), (3, CancelledWhileRunning), (5, IllegalTransition)):
        with pytest.raises(error):
            harness.say(Uncancel(job_id=f"{number:03}", caller=FOREMAN))
    harness.say(Retry(job_id="003", caller=FOREMAN))
    harness.say(CancelSelected(wanted=of(3)))  # and now it is queued
    assert harness.say(Uncancel(job_id="003", caller=FOREMAN)).state is State.QUEUED
    harness.submit(6, batch_id="batch_1", batch_line=0)
    harness.say(CancelSelected(wanted=of(6)))
    with pytest.raises(LineOfBatch):
        harness.say(Uncancel(job_id="006", caller=FOREMAN))


def test_a_cancel_of_many_is_taken_back_for_the_jobs_that_it_ended(harness: QueueHarness) -> None:
    cancelled = harness.say(CancelSelected(wanted=of(2, 3, 4, 5)))
    events = harness.store.events(after=cancelled.seqs.start - 1, limit=9)
    assert [event.job_id for event in events if event.seq in cancelled.seqs] == ["005", "004"]  # not the running one
    assert cancelled.done == 3
    when = {event.job_id: event.at for event in events if event.previous is State.QUEUED}
    harness.now += 1
    harness.say(Retry(job_id="005", caller=FOREMAN))
    harness.say(Cancel(job_id="005", caller=FOREMAN))  # by somebody else, later
    wanted = of(2, 3, 4, 5, states=(State.CANCELLED,), alone=True)
    assert harness.say(UncancelSelected(wanted, when)).done == 1
    assert states(harness, 2, 3, 4, 5) == [State.CANCELLED, State.CANCELLED, State.QUEUED, State.CANCELLED]
    assert harness.say(UncancelSelected(wanted, when)).done == 0
