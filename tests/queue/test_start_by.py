"""The warning to a submission whose `start_by` cannot be met."""

from __future__ import annotations

from typing import Any

import pytest

from foreman.queue.commands import Claim, Pause
from foreman.store.sqlite.writer import SqliteWriter
from tests.support.actors import START
from tests.support.queue import QueueHarness, learn


@pytest.mark.parametrize(("seconds", "late"), [(9, 1), (11, None), (None, None)])
def test_a_submission_learns_that_its_start_by_cannot_be_met(
    store: SqliteWriter, seconds: float | None, late: float | None
) -> None:
    harness = QueueHarness(store)
    outlook = harness.handlers.outlook
    learn(outlook, "m", seconds=5.0)
    harness.submit(1)
    outlook.claimed(harness.claimed(), START)
    outlook.began("001", START)
    harness.submit(2)
    accepted = harness.submit(3, start_by=seconds and START + seconds)
    assert (accepted.position, accepted.late) == (2, late)


def test_without_an_estimate_or_while_paused_no_warning_is_given(store: SqliteWriter) -> None:
    harness = QueueHarness(store)
    harness.submit(1)
    assert harness.submit(2, start_by=START + 0.5).late is None  # nothing is known of the key
    learn(harness.handlers.outlook, "m", seconds=5.0)
    assert harness.submit(3, start_by=START + 0.5).late == pytest.approx(9.5)
    harness.say(Pause())
    assert harness.submit(4, start_by=START + 0.5).late is None


def test_a_repeated_submission_is_warned_as_well_and_one_that_a_slot_takes_is_not(store: SqliteWriter) -> None:
    harness = QueueHarness(store)
    learn(harness.handlers.outlook, "m", seconds=5.0)
    harness.submit(1)
    once: dict[str, Any] = {"start_by": START + 2, "idempotency_key": "k", "fingerprints": (b"f",)}
    assert harness.submit(2, **once).late == harness.submit(3, **once).late == 3
    harness.apply(Claim(), Claim(), Claim())
    accepted = harness.submit(4, start_by=START + 0.1)
    assert accepted.claimed and accepted.late is None
