"""Two Foremen on one PostgreSQL: the clock of one is an hour ahead, that of the other an hour behind."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.api import chat, events, job, state, submit
from tests.support.foreman import Daemon, an_upstream, until
from tests.support.ports import held_port
from tests.support.postgres import Server
from tests.support.receiver import SECRET, a_receiver, verified
from tests.support.shifted import Shifted

HOUR = 3600.0
LEASE = 10  # seconds, the shortest
MODELS = {"ahead": "a", "behind": "d"}
FAR = timedelta(minutes=20)  # less than the clocks are wrong, and more than a test takes


@contextmanager
def an_hour_apart(server: Server, folder: Path, **settings: object) -> Iterator[tuple[Daemon, Daemon]]:
    """Foremen ahead, with model a, and behind, with model d."""
    with ExitStack() as started:
        url = server.url(started.enter_context(server.schema()))
        found = []
        for name, shift in (("ahead", HOUR), ("behind", -HOUR)):
            upstream = started.enter_context(an_upstream("--models", MODELS[name]))
            port = held_port()
            daemon = Shifted(
                shift,
                folder / name,
                addr=f"127.0.0.1:{port}",
                advertise_url=f"http://127.0.0.1:{port}",
                database_url=url,
                node_name=name,
                ollama_url=upstream.url,
                lease=LEASE,
                retry_backoff=0.1,
                **settings,
            )
            found.append(started.enter_context(daemon))
        ahead, behind = found
        until(lambda: all(len(one.http.get("/api/tags").json()["models"]) == 2 for one in found))
        assert abs(date_of(ahead) - time.time() - HOUR) < 60
        assert abs(date_of(behind) - time.time() + HOUR) < 60
        yield ahead, behind
        assert not ahead.errors
        assert not behind.errors


def date_of(daemon: Daemon) -> float:
    """The node's own clock, which the head of each answer shows."""
    said = daemon.http.get("/healthz").headers["date"]
    return datetime.strptime(said, "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC).timestamp()


def soon(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def at(daemon: Daemon, job_id: str, entered: str) -> datetime:
    """When a job entered a state, at the end of the millisecond that is told."""
    said = next(event["timestamp"] for event in events(daemon, job_id) if event["state"] == entered)
    return datetime.fromisoformat(said.replace("Z", "+00:00")) + timedelta(microseconds=999)


@pytest.mark.long
def test_schedules_and_deadlines_are_those_of_the_database(one_server: Server, tmp_path: Path) -> None:
    with an_hour_apart(one_server, tmp_path) as both:
        pairs = [(daemon, model) for daemon in both for model in MODELS.values()]
        begin = soon(3)
        scheduled = [(one, submit(one, model=model, not_before=begin)) for one, model in pairs]
        for daemon, job_id in scheduled:
            until(lambda daemon=daemon, job_id=job_id: state(daemon, job_id) == "done")  # type: ignore[misc]
            assert timedelta(0) <= at(daemon, job_id, "loading") - datetime.fromisoformat(begin) < FAR

        both[0].http.post("/queue/pause")
        far = FAR.total_seconds()
        in_time = [(one, submit(one, model=model, start_by=soon(far))) for one, model in pairs]
        end = soon(2)
        late = [(one, submit(one, model=model, start_by=end)) for one, model in pairs]
        for daemon, job_id in [(one, submit(one, model=model, start_by=soon(-far))) for one, model in pairs]:
            until(lambda daemon=daemon, job_id=job_id: state(daemon, job_id) == "expired")  # type: ignore[misc]
        for daemon, job_id in late:
            until(lambda daemon=daemon, job_id=job_id: state(daemon, job_id) == "expired")  # type: ignore[misc]
            assert timedelta(0) <= at(daemon, job_id, "expired") - datetime.fromisoformat(end) < FAR
        both[1].http.post("/queue/resume")
        for daemon, job_id in in_time:
            until(lambda daemon=daemon, job_id=job_id: state(daemon, job_id) == "done")  # type: ignore[misc]


@pytest.mark.long
def test_a_lease_is_as_long_as_ever_and_a_signature_is_fresh(one_server: Server, tmp_path: Path) -> None:
    settings = {"webhook_allow": "127.0.0.1", "webhook_secret": SECRET}
    with a_receiver() as receiver, an_hour_apart(one_server, tmp_path, **settings) as (ahead, behind):
        for here, model in ((ahead, "d"), (behind, "a")):  # run at the other node, which trusts the reader's signature
            with here.http.stream("POST", "/api/chat", json=chat("#chunks=5 #every=0.1", model=model)) as answer:
                lines = [json.loads(line) for line in answer.iter_lines()]
            assert len(lines) > 4 and lines[-1]["done"]
            told = submit(here, model=model, state_webhook_url=receiver.url)
            until(lambda told=told: receiver.states(told)[-1:] == ["done"])  # type: ignore[misc]
            for got in receiver.of(told):
                verified(got)  # of the last five minutes
        for here in (ahead, behind):
            silent = {one["name"]: one["silent_seconds"] for one in here.http.get("/nodes").json()["nodes"]}
            assert max(silent.values()) < LEASE
        running = submit(behind, "#chunks=9999 #every=0.01 #first", model="a")
        until(lambda: state(behind, running) == "working")
        ahead.kill()
        line = until(lambda: [one for one in behind.logs if one["event"] == "node evicted"], seconds=90)[0]
        assert LEASE <= line["silent"] < HOUR / 2
        assert (state(behind, running), job(behind, running)["attempt"]) == ("queued", 1)
        ahead.start()
        until(lambda: job(behind, running)["attempt"] == 2)
        assert behind.http.post(f"/jobs/{running}/cancel").json()["state"] == "cancelled"
