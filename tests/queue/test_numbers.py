"""The fence of a response grows by the events that its attempts have numbered."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from foreman.domain.errors import ForemanError, IllegalTransition, TargetBusy, TargetFailed, TargetRefused
from foreman.domain.job import Job, State
from foreman.domain.responses.numbers import LAST, LAST_RETRY, LOST, begins, first_of
from foreman.queue.commands import Cancel, Finished, Rescue, Retry
from foreman.queue.selection_commands import RetrySelected
from foreman.store.records import Selection
from foreman.store.sqlite.writer import SqliteWriter
from tests.support.queue import QueueHarness

RESPONSES = "/v1/responses"


@pytest.fixture
def harness(store: SqliteWriter) -> QueueHarness:
    return QueueHarness(store)


def begun(harness: QueueHarness, endpoint: str = RESPONSES) -> Job:
    harness.submit(endpoint=endpoint)
    return harness.claimed()


def claimed_again(harness: QueueHarness) -> Job:
    harness.now += 1000
    return harness.claimed()


def fail(harness: QueueHarness, job: Job, error: ForemanError, numbered: int) -> None:
    harness.say(Finished(job_id=job.id, fence=job.fence, outcome=error, numbered=numbered))


@pytest.mark.parametrize("numbered", [0, 5])
@pytest.mark.parametrize("error", [TargetFailed("t", "why"), TargetBusy("t", 1)])
def test_the_next_attempt_goes_on_from_the_last_event(
    harness: QueueHarness, error: ForemanError, numbered: int
) -> None:
    first = begun(harness)
    assert (begins(first.fence), first_of(first.fence)) == (2, 3)
    fail(harness, first, error, numbered)
    assert begins(claimed_again(harness).fence) == first_of(first.fence) + numbered


def test_the_event_of_its_failure_follows_the_last_one(harness: QueueHarness) -> None:
    job = begun(harness)
    fail(harness, job, TargetRefused(400, "no"), 7)
    assert harness.job().state is State.FAILED
    assert first_of(harness.job().fence) == first_of(job.fence) + 7


def test_an_attempt_that_was_lost_counts_as_more_than_it_can_have_told(harness: QueueHarness) -> None:
    job = begun(harness)
    harness.say(Rescue())
    assert begins(claimed_again(harness).fence) == first_of(job.fence) + LOST


def test_so_does_one_that_was_cancelled_when_it_is_tried_again(harness: QueueHarness) -> None:
    job = begun(harness)
    harness.say(Cancel(job_id=job.id))
    harness.say(Retry(job_id=job.id))
    assert begins(claimed_again(harness).fence) == first_of(job.fence) + LOST


def test_a_retry_is_refused_before_its_events_run_out_of_numbers(harness: QueueHarness) -> None:
    job = begun(harness)
    harness.say(Cancel(job_id=job.id))
    with harness.store.transaction():
        harness.store.put([replace(harness.job(), fence=LAST_RETRY)], {})
    harness.say(Retry(job_id=job.id))
    assert first_of(claimed_again(harness).fence) < LAST
    harness.say(Cancel(job_id=job.id))
    with pytest.raises(IllegalTransition, match="retried too often"):
        harness.say(Retry(job_id=job.id))
    assert harness.say(RetrySelected(Selection(ids=(job.id,)))).done == 0


def test_one_that_never_ran_since_numbered_nothing(harness: QueueHarness) -> None:
    job = begun(harness)
    for _ in range(3):
        harness.say(Cancel(job_id=job.id))
        harness.say(Retry(job_id=job.id))
    assert begins(claimed_again(harness).fence) == first_of(job.fence) + LOST


def test_the_fence_of_other_jobs_counts_claims(harness: QueueHarness) -> None:
    job = begun(harness, "/api/chat")
    harness.say(Rescue())
    again = claimed_again(harness)
    fail(harness, again, TargetFailed("t", "why"), 0)
    assert (job.fence, again.fence, claimed_again(harness).fence) == (1, 2, 3)
