"""Somebody calls while the queue works: what gives way, and what becomes of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.api import chat, job, submit
from tests.support.foreman import Daemon, Upstream, an_upstream, until


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with an_upstream("--kind", "ollama", "--models", "a,b") as upstream:
        yield upstream


@pytest.fixture
def daemon(tmp_path: Path, upstream: Upstream) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path / "data", ollama_url=upstream.url)
    try:
        yield daemon.start()
    finally:
        daemon.close()


def working(daemon: Daemon, job_id: str) -> None:
    until(lambda: job(daemon, job_id)["state"] == "working")


@pytest.mark.parametrize("model", ["a", "b"])
def test_a_call_gets_the_slot_of_a_long_low_job_which_is_done_on_its_first_attempt(daemon: Daemon, model: str) -> None:
    low = submit(daemon, "#slow=60 #times=1 #echo", model="a", priority="low")
    working(daemon, low)
    answer = daemon.http.post("/api/chat", json=chat("hello #echo", model=model, stream=False)).json()
    assert "hello" in answer["message"]["content"]
    until(lambda: job(daemon, low)["state"] == "done")
    assert job(daemon, low)["attempt"] == 1
    events = daemon.http.get(f"/jobs/{low}/events").json()["events"]
    [gave_way] = [event for event in events if event["error"]]
    assert gave_way["state"] == "queued" and gave_way["error"].startswith("gave way to ")


def test_a_job_that_somebody_reads_goes_on(daemon: Daemon) -> None:
    low = submit(daemon, "#chunks=20 #every=0.2", model="a", priority="low")
    with daemon.http.stream("GET", f"/jobs/{low}/stream") as answer:
        lines = answer.iter_lines()
        next(lines)
        call = daemon.http.post("/jobs", json=chat("hello", model="a") | {"priority": "high"}).json()["job_id"]
        assert not any('"attempt"' in line for line in lines)
    until(lambda: job(daemon, call)["state"] == "done")
    assert not any(event["error"] for event in daemon.http.get(f"/jobs/{low}/events").json()["events"])
