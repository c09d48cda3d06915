"""Claims of several targets among prompts that one of them has computed."""

from __future__ import annotations

import pytest

from foreman.domain.errors import ForemanError, Preempted, TargetLost
from foreman.domain.job import Job, Priority
from foreman.domain.scheduling.choose import OrderRules
from foreman.queue.candidates import AT_ONCE
from foreman.store.sqlite.writer import SqliteWriter
from tests.queue.test_fleet import FleetHarness
from tests.support.sites import FakeSite

A, B, C = b"aaaa", b"bbbb", b"cccc"
ANEW, AGAIN = 10.0, 1.0  # seconds of a job whose beginning is computed, and of one whose beginning is cached
SAVING = ANEW - AGAIN


class Prompted(FleetHarness):
    """Two targets with one model loaded; what computing a beginning costs is known to both."""

    def __init__(self, store: SqliteWriter, *, slots: int = 1, rules: OrderRules | None = None) -> None:
        super().__init__(store, *(FakeSite(name, models="a", slots=slots, memory={"a"}) for name in "xy"))
        self.handlers.outlook.rules = rules or OrderRules()
        self._number = 0
        for target, own in (("x", A), ("y", B)):
            for seconds in (ANEW, AGAIN):
                self.add(own)
                self.run(target, seconds)

    def add(self, prefix: bytes, **fields: object) -> str:
        self._number += 1
        self.submit(self._number, model="a", prefix=prefix, **fields)
        return f"{self._number:03}"

    def run(self, target: str, seconds: float) -> Job:
        job = self.claim_for(target)
        assert job is not None
        self.now += seconds
        self.handlers.outlook.learn(job, seconds=seconds, tokens=0)
        self.finish(job)
        return job

    def take(self, target: str) -> str | None:
        """Claim as a worker does; the job is at work from then on."""
        job = self.claim_for(target)
        if job is None:
            return None
        self.handlers.outlook.claimed(job, self.now)
        self.handlers.outlook.began(job.id, self.now)
        return job.id


@pytest.fixture
def harness(store: SqliteWriter) -> Prompted:
    return Prompted(store)


def test_a_job_is_left_to_the_free_target_that_computed_its_beginning(harness: Prompted) -> None:
    job = harness.add(B)
    assert harness.take("x") is None
    assert harness.take("y") == job


def test_the_target_that_was_left_a_job_takes_it_in_the_same_moment(harness: Prompted) -> None:
    waiting = [harness.wait_for("x"), harness.wait_for("y")]
    job = harness.add(B)
    assert waiting[0].reply.outcome is None
    assert harness.job(int(job)).target == "y"


def test_of_two_that_have_it_the_one_that_saw_it_last_takes_it(harness: Prompted) -> None:
    harness.add(B)
    harness.sites["y"].open = False
    harness.run("x", ANEW)
    harness.sites["y"].open = True
    for target, prefix in (("x", A), ("y", C)):  # the newest prompt of each is another one
        harness.add(prefix)
        harness.run(target, AGAIN)
    job = harness.add(B)
    assert harness.take("y") is None
    assert harness.take("x") == job


def test_a_target_takes_what_it_has_just_computed_even_if_another_did_later(harness: Prompted) -> None:
    harness.add(B)
    harness.sites["y"].open = False
    harness.run("x", ANEW)
    harness.sites["y"].open = True
    job = harness.add(B)
    assert harness.take("y") == job


def test_another_job_goes_first_where_there_is_one(harness: Prompted) -> None:
    harness.add(B)
    running = harness.take("y")
    theirs, other = harness.add(B), harness.add(C)
    assert running and harness.take("x") == other
    harness.finish(harness.handlers._ledger.running[running])
    assert harness.take("y") == theirs


def test_a_job_waits_for_a_busy_target_for_no_longer_than_its_beginning_costs(harness: Prompted) -> None:
    harness.add(B)
    assert harness.take("y")
    job = harness.add(B)
    assert harness.take("x") is None
    claim = harness.wait_for("x")
    due = harness.handlers.next_due
    assert due is not None and harness.now < due <= harness.now + SAVING
    harness.now = due
    harness.handlers.apply([])[1]
    assert claim.reply.outcome is None and harness.job(int(job)).target == "x"  # given, not lent


def test_a_job_does_not_wait_behind_a_backlog(harness: Prompted) -> None:
    first, *_ = [harness.add(B) for _ in range(20)]
    assert harness.take("y") == first
    assert harness.take("x") == f"{int(first) + 1:03}"


def test_an_urgent_job_waits_for_no_busy_target(harness: Prompted) -> None:
    harness.add(B)
    assert harness.take("y")
    job = harness.add(B, priority=Priority.HIGH)
    assert harness.take("x") == job


def test_a_free_slot_that_takes_nothing_holds_a_job_for_a_moment_only(harness: Prompted) -> None:
    job = harness.add(B)
    assert harness.take("x") is None
    harness.now += max(AT_ONCE, SAVING)
    assert harness.take("x") == job


@pytest.mark.parametrize("away", ["closed", "other models", "full and unknown"])
def test_what_takes_no_jobs_attracts_none(harness: Prompted, away: str) -> None:
    job, y = harness.add(B), harness.sites["y"]
    if away == "closed":
        y.open = False
    elif away == "other models":
        y.models = "b"
    else:
        y.slots, y.memory = 0, set()
        harness.now += SAVING
    assert harness.take("x") == job


@pytest.mark.parametrize("error", [TargetLost("y", "gone"), Preempted("other")])
def test_a_job_whose_attempt_ended_there_is_not_left_to_it(harness: Prompted, error: ForemanError) -> None:
    harness.add(B)
    job = harness.claim_for("y")
    assert job
    harness.finish(job, error)
    harness.now += 5
    harness.handlers.apply([])[1]
    assert harness.take("x") == job.id


def test_without_prefix_turns_the_first_claim_takes_it(store: SqliteWriter) -> None:
    harness = Prompted(store, rules=OrderRules(prefix_turns=False))
    job = harness.add(B)
    assert harness.take("x") == job


def test_a_prompt_that_nobody_has_seen_goes_anywhere(harness: Prompted) -> None:
    job, short = harness.add(C), harness.add(b"")
    assert harness.take("x") == job
    assert harness.take("y") == short
