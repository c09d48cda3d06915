"""Claims of several targets: who gets which job."""

from __future__ import annotations

import pytest

from foreman.domain.errors import (
    Interrupted,
    TargetBusy,
    TargetFailed,
    TargetRefused,
    TargetSilent,
    TargetUnavailable,
)
from foreman.domain.job import Job, State
from foreman.queue.commands import LOADS, Began, Claim, Finished, Rescue, Withdraw, Work
from foreman.queue.handlers.dispatch import CommandHandlers
from foreman.store.sqlite.writer import SqliteWriter
from tests.support.queue import QueueHarness
from tests.support.sites import FakeSite, only_site


class FleetHarness(QueueHarness):
    """Command handlers for several targets."""

    def __init__(self, store: SqliteWriter, *sites: FakeSite) -> None:
        super().__init__(store)
        self.sites = {site.name: site for site in sites}
        self.handlers.outlook.own_sites = self.sites
        self.claims: list[Claim] = []

    def claim_for(self, target: str) -> Job | None:
        """Claim for a slot of a target; a claim that finds no job is withdrawn."""
        claim = Claim(target=target, loaded=self.sites[target].is_loaded)
        answers, self.commit = self.handlers.apply([claim])
        work = next((answer for message, answer in answers if message is claim), None)
        if not isinstance(work, Work):
            self.say(Withdraw(target=target))
            return None
        return work.job

    def model_for(self, target: str) -> str | None:
        job = self.claim_for(target)
        return job.model if job else None

    def wait_for(self, target: str) -> Claim:
        claim = Claim(target=target)
        self.claims.append(claim)
        self.handlers.apply([claim])
        return claim


def submitted(harness: QueueHarness, *models: str, **fields: object) -> None:
    for number, model in enumerate(models, start=1):
        harness.submit(number, model=model, **fields)


def test_a_job_runs_only_where_its_model_is_and_says_where(store: SqliteWriter) -> None:
    harness = FleetHarness(store, FakeSite("x", models="a"), FakeSite("y", models="b"))
    submitted(harness, "b", "a")
    assert harness.job(1).target is None
    assert harness.model_for("x") == "a" and harness.model_for("x") is None
    assert harness.model_for("y") == "b"
    assert (harness.job(1).target, harness.job(2).target) == ("y", "x")
    assert [event.target for event in store.events(job_id="001", limit=9)] == [None, "y"]


def test_models_are_shared_out_and_a_key_stays_where_it_is_loaded(store: SqliteWriter) -> None:
    harness = FleetHarness(store, FakeSite("x"), FakeSite("y"))
    submitted(harness, "a", "b", "a", "b")
    first, second = harness.claim_for("x"), harness.claim_for("y")
    assert first and second and (first.model, second.model) == ("a", "b")
    harness.finish(second)
    assert harness.model_for("y") == "b"
    harness.finish(first)
    assert harness.model_for("x") == "a"


def test_a_key_spreads_only_when_its_backlog_takes_longer_than_a_load(store: SqliteWriter) -> None:
    harness = FleetHarness(store, FakeSite("x"), FakeSite("y"))
    outlook = harness.handlers.outlook
    outlook.load_times = outlook.load_times.learned("y", "a", 10)
    submitted(harness, *["a"] * 10)
    assert harness.model_for("x") == "a"
    assert harness.model_for("y") is None  # 9 jobs of a second each
    for number in (11, 12):
        harness.submit(number, model="a")
    assert harness.model_for("y") == "a"


def test_a_key_does_not_spread_to_a_target_that_has_something_else_to_do(store: SqliteWriter) -> None:
    harness = FleetHarness(store, FakeSite("x"), FakeSite("y"))
    submitted(harness, *["a"] * 50, "b")
    assert harness.model_for("x") == "a"
    assert harness.model_for("y") == "b"


def test_a_target_that_is_away_attracts_nothing(store: SqliteWriter) -> None:
    x, y = FakeSite("x"), FakeSite("y")
    harness = FleetHarness(store, x, y)
    submitted(harness, "a", "a", "a")
    assert harness.model_for("x") == "a"
    waiting = harness.wait_for("y")
    assert not waiting.reply.outcome
    x.open = False
    answers, _ = harness.handlers.apply([Withdraw(target="x")])
    assert [type(answer) for message, answer in answers if message is waiting] == [Work]


def test_a_job_that_was_not_sent_is_another_targets_at_once(store: SqliteWriter) -> None:
    x, y = FakeSite("x", slots=2), FakeSite("y")
    harness = FleetHarness(store, x, y)
    submitted(harness, "a")
    job = harness.claim_for("x")
    assert job is not None
    x.open = False
    harness.finish(job, TargetUnavailable("x", "connection refused"))
    assert (harness.job(1).state, harness.job(1).attempt, harness.job(1).ready_at) == (State.QUEUED, 0, None)
    again = harness.claim_for("y")
    assert again is not None and (again.target, again.attempt) == ("y", 1)


def test_a_busy_target_rests_alone(store: SqliteWriter) -> None:
    harness = FleetHarness(store, FakeSite("x"), FakeSite("y"))
    submitted(harness, "a")
    job = harness.claim_for("x")
    assert job is not None
    harness.finish(job, TargetBusy("x", 60))
    assert harness.job(1).ready_at is None and not harness.handlers.outlook.rests("a")
    assert harness.claim_for("x") is None
    job = harness.claim_for("y")
    assert job is not None
    harness.finish(job, TargetBusy("y", 30))
    assert harness.handlers.outlook.rests("a")  # both of them
    harness.now += 31
    harness.handlers.apply([])[1]
    assert harness.claim_for("x") is None and harness.model_for("y") == "a"


def test_a_retry_prefers_another_target_that_can_take_it(store: SqliteWriter) -> None:
    harness = FleetHarness(store, FakeSite("x"), FakeSite("y"))
    submitted(harness, "a")
    job = harness.claim_for("x")
    assert job is not None
    harness.finish(job, TargetFailed("x", "cannot"))
    harness.now += 10
    harness.handlers.apply([])[1]
    assert harness.claim_for("x") is None
    assert harness.model_for("y") == "a"


@pytest.mark.parametrize("status", [404, 500, 503])
def test_what_one_server_refuses_is_tried_at_another_one(store: SqliteWriter, status: int) -> None:
    harness = FleetHarness(store, FakeSite("one"), FakeSite("two"))
    harness.submit(9, model="b")
    busy = harness.claim_for("two")
    assert busy is not None
    harness.submit(1, model="a", max_attempts=2)
    job = harness.claim_for("one")
    assert job is not None
    harness.finish(job, TargetRefused(status, "no such thing"))
    assert (harness.job(1).state, harness.job(1).attempt) == (State.QUEUED, 1)
    assert harness.claim_for("one") is None  # it waits for the other one, which works
    harness.finish(busy)
    again = harness.claim_for("two")
    assert again is not None and again.id == "001"
    harness.finish(again, TargetRefused(status, "no such thing"))
    assert (harness.job(1).state, harness.job(1).error) == (State.FAILED, "no such thing")


@pytest.mark.parametrize("status", [400, 413])
def test_what_is_wrong_with_the_request_is_so_everywhere(store: SqliteWriter, status: int) -> None:
    harness = FleetHarness(store, FakeSite("one"), FakeSite("two"))
    harness.submit(1, model="a")
    job = harness.claim_for("one")
    assert job is not None
    harness.finish(job, TargetRefused(status, "what is this?"))
    assert harness.job(1).state is State.FAILED


def test_a_retry_does_not_wait_for_a_target_whose_slots_are_taken(store: SqliteWriter) -> None:
    harness = FleetHarness(store, FakeSite("x"), FakeSite("y"))
    submitted(harness, "a", "b")
    job, other = harness.claim_for("x"), harness.claim_for("y")
    assert job is not None and other is not None
    harness.finish(job, TargetFailed("x", "cannot"))
    harness.now += 10
    harness.handlers.apply([])[1]
    assert harness.model_for("x") == "a"


def test_a_retry_runs_after_a_restart_though_only_the_failed_target_has_its_model_loaded(store: SqliteWriter) -> None:
    before = FleetHarness(store, FakeSite("x"), FakeSite("y"))
    submitted(before, "a")
    job = before.claim_for("x")
    assert job is not None
    before.finish(job, TargetFailed("x", "cannot"))
    harness = FleetHarness(store, FakeSite("x", memory={"a"}), FakeSite("y"))
    harness.now = before.now + 10
    harness.handlers.apply([])[1]
    # The first claim leaves the key to the target that has it loaded, which leaves the job to the first one.
    waiting, other = (Claim(target=name, loaded=harness.sites[name].is_loaded) for name in "yx")
    answers, _ = harness.handlers.apply([waiting, other])
    assert [(message, work.job.target) for message, work in answers if isinstance(work, Work)] == [(waiting, "y")]


def test_an_endpoint_goes_where_it_is_served_and_does_not_block_its_lane(store: SqliteWriter) -> None:
    harness = FleetHarness(store, FakeSite("x", endpoints=["/api/chat"]), FakeSite("y", open=False))
    harness.submit(1, model="a", endpoint="/api/generate")
    harness.submit(2, model="a")
    job = harness.claim_for("x")
    assert job is not None and job.id == "002"
    harness.finish(job)
    assert harness.claim_for("x") is None
    harness.sites["y"].open = True
    job = harness.claim_for("y")
    assert job is not None and job.id == "001"


def test_a_breaker_opens_for_one_target_only(store: SqliteWriter) -> None:
    harness = FleetHarness(store, FakeSite("x", slots=9), FakeSite("y", open=False))
    submitted(harness, *["a"] * 4)
    jobs = [harness.claim_for("x") for _ in range(3)]
    for job in jobs:
        assert job is not None
        harness.finish(job, TargetSilent("x", 600))
    outlook = harness.handlers.outlook
    assert [(target, model) for target, model, _ in outlook.failing()] == [("x", "a")]
    assert outlook.state_of("x").rests("a") and not outlook.state_of("y").rests("a")
    assert harness.claim_for("x") is None
    harness.sites["y"].open = True
    assert harness.model_for("y") == "a"


def failing_at_x(store: SqliteWriter) -> FleetHarness:
    """Return a queue in which a model's breaker is open at one of two targets."""
    harness = FleetHarness(store, FakeSite("x", models="a", slots=3), FakeSite("y", models="b"))
    submitted(harness, *["a"] * 4, "b")
    for job in [harness.claim_for("x") for _ in range(3)]:
        assert job is not None
        harness.finish(job, TargetSilent("x", 600))
    assert harness.claim_for("x") is None and len(harness.handlers.outlook.failing()) == 1
    return harness


def test_what_failed_at_a_target_that_is_no_more_is_forgotten(store: SqliteWriter) -> None:
    harness = failing_at_x(store)
    outlook = harness.handlers.outlook
    outlook.own_sites = {"y": harness.sites["y"]}
    assert outlook.failing() == []
    outlook.own_sites = {"y": harness.sites["y"], "z": FakeSite("z")}
    harness.say(Rescue(target="z", others=["y"]))
    outlook.own_sites = harness.sites  # one of its name comes again
    assert harness.model_for("x") == "a"


def test_another_server_in_the_place_of_one_that_failed_is_given_jobs_at_once(store: SqliteWriter) -> None:
    harness = failing_at_x(store)
    assert harness.model_for("y") == "b"
    harness.say(Rescue(target="x", others=["y"]))
    assert harness.handlers.outlook.failing() == [] and harness.handlers.outlook.state_of("y").keys == ("b",)
    assert harness.model_for("x") == "a"


def test_a_worker_rescues_its_own_jobs_and_those_of_targets_that_are_no_more(store: SqliteWriter) -> None:
    harness = FleetHarness(store, FakeSite("x"), FakeSite("y"), FakeSite("gone"))
    submitted(harness, "a", "b", "c")
    for target in ("x", "y", "gone"):
        assert harness.claim_for(target) is not None
    assert harness.say(Rescue(target="x", others=["y"])) == 2
    assert [harness.job(number).state for number in (1, 2, 3)] == [State.QUEUED, State.LOADING, State.QUEUED]
    assert harness.job(1).error_code == Interrupted.code


def test_withdrawing_leaves_the_claims_of_other_targets(store: SqliteWriter) -> None:
    harness = FleetHarness(store, FakeSite("x"), FakeSite("y"))
    x, y = harness.wait_for("x"), harness.wait_for("y")
    answers, _ = harness.handlers.apply([Withdraw(target="x")])
    assert [message for message, answer in answers if answer is None and isinstance(message, Claim)] == [x]
    answers, _ = harness.handlers.apply([])
    harness.submit(1, model="a")
    assert harness.job(1).target == "y" and y not in [message for message, _ in answers]


def test_several_models_work_together_where_the_target_may(store: SqliteWriter) -> None:
    harness = FleetHarness(store, FakeSite("x", slots=4, most=2))
    submitted(harness, "a", "b", "c", "a")
    assert [harness.model_for("x") for _ in range(4)] == ["a", "b", "a", None]


def test_a_bound_of_one_key_leaves_the_slots_to_others(store: SqliteWriter) -> None:
    harness = FleetHarness(store, FakeSite("x", slots=4, most=2, bounds={"a": 1}))
    submitted(harness, "a", "a", "b")
    assert [harness.model_for("x") for _ in range(3)] == ["a", "b", None]


def test_what_loads_take_is_learned_and_outlives_the_process(store: SqliteWriter) -> None:
    harness = FleetHarness(store, FakeSite("x"))
    submitted(harness, "a")
    job = harness.claim_for("x")
    assert job is not None
    harness.say(Began(job_id=job.id, fence=job.fence, loaded=True, seconds=8.0))
    turn = harness.handlers.outlook.state_of("x").standing.turn("a")
    assert turn is not None and turn.load == 8
    assert store.note(LOADS) == '[["x","a",8.0]]'
    later = CommandHandlers(store, harness.rules, only_site(), clock=lambda: harness.now)
    assert later.outlook.load_times.of("x", "a") == 8 and later.outlook.load_times.of("y", "a") is None


def test_a_finished_job_says_its_target_until_it_is_queued_again(store: SqliteWriter) -> None:
    harness = FleetHarness(store, FakeSite("x"))
    submitted(harness, "a")
    job = harness.claim_for("x")
    assert job is not None
    harness.say(Finished(job_id=job.id, fence=job.fence, outcome=TargetFailed("x", "cannot")))
    assert (harness.job(1).state, harness.job(1).target) == (State.QUEUED, "x")


def test_a_model_that_no_target_has_any_more_is_asked_for_all_the_same(store: SqliteWriter) -> None:
    harness = FleetHarness(store, FakeSite("x"), FakeSite("y", models="ax", open=False))
    submitted(harness, "gone", "x")
    assert [harness.model_for("x") for _ in range(2)] == ["gone", None]  # that of y is waited for


def test_no_job_is_refused_before_each_target_has_said_what_it_serves(store: SqliteWriter) -> None:
    x, y = FakeSite("x", models="a", endpoints=["/api/chat"]), FakeSite("y", models="", models_known=False)
    harness = FleetHarness(store, x, y)
    submitted(harness, "gone", "a", "a", endpoint="/api/generate")
    harness.submit(4, model="a")
    job = harness.claim_for("x")
    assert job is not None and job.id == "004"
    harness.finish(job)
    assert harness.claim_for("x") is None
    y.models_known = True
    asked = []
    while job := harness.claim_for("x"):
        asked.append(job.id)
        harness.finish(job)
    assert sorted(asked) == ["001", "002", "003"]
