"""The speed of a batch, and the estimate of its end."""

from __future__ import annotations

from typing import Any

import pytest

from foreman.domain import views
from foreman.domain.batch_speed import MEASURED, seconds_left, speed
from foreman.domain.batches import Batch, BatchState, Counts

BEGIN = 1000.0


def a_batch(**fields: Any) -> Batch:
    plain: dict[str, Any] = {
        "id": "batch_1",
        "endpoint": "/v1/chat/completions",
        "state": BatchState.IN_PROGRESS,
        "input_file": "file-1",
        "input_blob": None,
        "created_at": BEGIN - 60,
        "times": {"in_progress": BEGIN},
        "total": 100,
        "fed": 100,
    }
    return Batch(**(plain | fields))


def test_the_speed_counts_lines_done_and_failed_from_the_first_one_fed() -> None:
    batch = a_batch(counts=Counts(completed=15, failed=5))
    assert speed(batch, BEGIN + 120) == 10
    assert seconds_left(batch, BEGIN + 120) == 480


def test_the_estimate_grows_while_nothing_ends() -> None:
    batch = a_batch(counts=Counts(completed=20))
    assert seconds_left(batch, BEGIN + 240) == 2 * 480


@pytest.mark.parametrize(
    "fields",
    [
        {"state": BatchState.VALIDATING, "times": {}, "total": None, "fed": 0},
        {"counts": Counts()},
        {"counts": Counts(cancelled=5)},
    ],
)
def test_nothing_is_known_before_a_line_has_ended(fields: dict[str, Any]) -> None:
    batch = a_batch(**fields)
    assert (speed(batch, BEGIN + 60), seconds_left(batch, BEGIN + 60)) == (None, None)


def test_few_lines_are_no_measure_unless_there_are_no_more() -> None:
    few = Counts(completed=MEASURED - 1)
    assert speed(a_batch(counts=few), BEGIN + 60) == MEASURED - 1
    assert seconds_left(a_batch(counts=few), BEGIN + 60) is None
    assert seconds_left(a_batch(counts=few, total=few.completed), BEGIN + 60) == 0


@pytest.mark.parametrize(
    ("state", "times"),
    [
        (BatchState.CANCELLING, {"cancelling": BEGIN + 60}),
        (BatchState.FINALIZING, {"finalizing": BEGIN + 60}),
        (BatchState.CANCELLED, {"cancelling": BEGIN + 60, "cancelled": BEGIN + 90}),
        (BatchState.COMPLETED, {"finalizing": BEGIN + 60, "completed": BEGIN + 61}),
    ],
)
def test_the_speed_stands_once_no_more_lines_are_run(state: BatchState, times: dict[str, float]) -> None:
    ended_at = BEGIN + 90 if state in (BatchState.CANCELLED, BatchState.COMPLETED) else None
    batch = a_batch(
        state=state,
        times={"in_progress": BEGIN} | times,
        counts=Counts(completed=30, cancelled=10),
        ended_at=ended_at,
    )
    assert (speed(batch, BEGIN + 5000), seconds_left(batch, BEGIN + 5000)) == (30, None)


def test_a_batch_whose_lines_were_not_all_fed_has_none_left_at_its_end() -> None:
    ended = {"state": BatchState.CANCELLED, "ended_at": BEGIN + 9, "fed": 60}
    shown = views.show_batch(a_batch(counts=Counts(completed=10, cancelled=90), **ended), BEGIN + 9, up=True)
    assert (shown.total, shown.done, shown.cancelled, shown.queued) == (100, 10, 90, 0)


def test_the_clock_may_go_back() -> None:
    batch = a_batch(counts=Counts(completed=20))
    assert (speed(batch, BEGIN - 5), seconds_left(batch, BEGIN - 5)) == (None, None)


def test_nothing_is_known_of_the_end_while_no_job_may_start() -> None:
    batch = a_batch(counts=Counts(completed=20))
    shown = views.show_batch(batch, BEGIN + 120, up=False)
    assert (shown.lines_per_minute, shown.eta_seconds) == (10, None)
    assert views.show_batch(batch, BEGIN + 120, up=True).eta_seconds == 480
