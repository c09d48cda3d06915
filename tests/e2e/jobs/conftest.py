"""A Foreman over the scripted upstream, and what it tells of jobs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.api import events, target_of
from tests.support.foreman import Daemon, Upstream


@pytest.fixture(scope="session")
def daemon(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("foreman") / "data"
    with Daemon(folder, ollama_url=upstream.url, shutdown_grace=0, forked=False) as daemon:
        yield daemon
        assert not daemon.errors


def together(daemon: Daemon) -> Iterator[tuple[set[tuple[str, str]], set[tuple[str, str]]]]:
    """Yield, after each event, the targets and models whose jobs run, and those whose jobs are answered."""
    jobs = {job["job_id"]: job for job in daemon.http.get("/jobs", params={"limit": 500}).json()["jobs"]}
    where = {job_id: (target_of(job), job["model"]) for job_id, job in jobs.items()}
    found = [(job_id, event) for job_id in jobs for event in events(daemon, job_id)]
    states: dict[str, str] = {}
    for job_id, event in sorted(found, key=lambda one: int(one[1]["seq"])):
        states[job_id] = event["state"]
        running = {where[one] for one, now in states.items() if now in ("loading", "working")}
        yield running, {where[one] for one, now in states.items() if now == "working"}
