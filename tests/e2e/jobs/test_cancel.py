"""Cancelling in every state, and against a job's end."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from foreman.domain.errors import IllegalTransition
from foreman.domain.job import TERMINAL, Artifact, Draft, Job, State
from foreman.queue.commands import Answered, Began, Cancel, Claim, Finished, Message, Submit, Work
from foreman.queue.handlers.dispatch import CommandHandlers
from foreman.queue.handlers.job_rules import JobRules
from foreman.store.sqlite.writer import SqliteWriter
from tests.support.api import error, job, state, submit
from tests.support.foreman import Daemon, an_upstream, until
from tests.support.sites import only_site

LOADING = 3600  # seconds that this upstream takes to load a model


def cancel(daemon: Daemon, job_id: str) -> Any:
    return daemon.http.post(f"/jobs/{job_id}/cancel")


def test_a_queued_job_is_gone_at_once_and_a_second_time_changes_nothing(daemon: Daemon) -> None:
    daemon.http.post("/queue/pause")
    try:
        job_id = submit(daemon)
        first, second = cancel(daemon, job_id), cancel(daemon, job_id)
    finally:
        daemon.http.post("/queue/resume")
    assert (first.status_code, first.json()["state"]) == (200, "cancelled")
    assert (second.status_code, second.json()) == (200, first.json())
    assert len(daemon.http.get(f"/jobs/{job_id}/events").json()["events"]) == 2


def test_a_loading_job_makes_way_for_the_next_one_when_it_is_cancelled(tmp_path: Path) -> None:
    with (
        an_upstream("--load-time", str(LOADING)) as slow,
        Daemon(tmp_path / "data", ollama_url=slow.url, shutdown_grace=0) as daemon,
    ):
        first, second = submit(daemon), submit(daemon, model="b")
        until(lambda: state(daemon, first) == "loading")
        assert cancel(daemon, first).json()["state"] == "cancelled"
        until(lambda: state(daemon, second) == "loading")
        assert not daemon.errors


def test_a_working_job_makes_way_for_the_next_one_when_it_is_cancelled(daemon: Daemon) -> None:
    first, second = submit(daemon, "#chunks=9999 #every=0.01"), submit(daemon)
    until(lambda: state(daemon, first) == "working")
    assert cancel(daemon, first).json()["state"] == "cancelled"
    until(lambda: state(daemon, second) == "done")
    assert job(daemon, first)["state"] == "cancelled"


@pytest.mark.every_store
def test_the_targets_request_is_closed_when_its_job_is_cancelled(tmp_path: Path) -> None:
    with an_upstream() as upstream, Daemon(tmp_path / "data", ollama_url=upstream.url) as daemon:
        job_id = submit(daemon, "#silent")
        until(lambda: state(daemon, job_id) == "working" and upstream.asked("#silent"))
        cancel(daemon, job_id)
        assert until(lambda: upstream.log().get("closed_early")) == 1


def test_a_finished_job_cannot_be_cancelled(daemon: Daemon) -> None:
    job_id = submit(daemon)
    until(lambda: state(daemon, job_id) == "done")
    assert error(cancel(daemon, job_id)) == (409, "illegal_step")
    assert error(cancel(daemon, "01ARZ3NDEKTSV4RRFFQ69G5FAV")) == (404, "job_not_found")


@pytest.fixture
def handlers(data_dir: Path) -> Iterator[CommandHandlers]:
    store = SqliteWriter(data_dir / "foreman.db")
    yield CommandHandlers(store, JobRules(), only_site(), clock=lambda: 1000.0)
    store.close()


def test_cancel_and_finish_racing_a_thousand_times_never_leave_two_states(handlers: CommandHandlers) -> None:
    chance = random.Random(4)
    won: dict[State, int] = {State.DONE: 0, State.CANCELLED: 0}
    for group in range(10):
        jobs = _running(handlers, [f"{group:02}-{n:03}" for n in range(100)])
        race: list[Message[Any]] = [Cancel(job_id=one.id) for one in jobs]
        artifact = Artifact(name="completion", content_type="application/json", data=b"{}")
        race += [Finished(job_id=one.id, fence=one.fence, outcome=Answered([artifact])) for one in jobs]
        chance.shuffle(race)
        answers: list[tuple[Message[Any], object]] = []
        while race:
            batch = [race.pop() for _ in range(min(len(race), chance.randint(1, 60)))]
            answers += handlers.apply(batch)[0]
        refused = {m.job_id for m, answer in answers if isinstance(m, Cancel) and isinstance(answer, IllegalTransition)}
        for one in jobs:
            _has_one_end(handlers, one.id, State.DONE if one.id in refused else State.CANCELLED)
            won[State.DONE if one.id in refused else State.CANCELLED] += 1
    assert sum(won.values()) == 1000
    assert min(won.values()) > 300


def _running(handlers: CommandHandlers, ids: list[str]) -> list[Job]:
    drafts = [
        Draft(id=i, model="m", key="m", endpoint="/api/chat", payload=b"{}", webhook_url="http://h/") for i in ids
    ]
    handlers.apply([Submit(draft=draft) for draft in drafts])
    found, _ = handlers.apply([Claim() for _ in ids])
    jobs = [work.job for _, work in found if isinstance(work, Work)]
    assert len(jobs) == len(ids)
    handlers.apply([Began(job_id=one.id, fence=one.fence) for one in jobs])
    return jobs


def _has_one_end(handlers: CommandHandlers, job_id: str, wanted: State) -> None:
    found = handlers.store.job(job_id)
    ends = [event.state for event in handlers.store.events(job_id=job_id, limit=99) if event.state in TERMINAL]
    assert found is not None
    assert (found.state, ends) == (wanted, [wanted])
    assert len(handlers.store.shapes(job_id)) == (wanted is State.DONE)
    assert len(handlers.store.deliveries(job_id)) == len(handlers.store.events(job_id=job_id, limit=99))
