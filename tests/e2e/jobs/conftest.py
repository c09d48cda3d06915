"""A Foreman over the scripted upstream, and what its database says of jobs."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.foreman import Daemon, Upstream


@pytest.fixture(scope="session")
def daemon(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("foreman") / "data"
    with Daemon(folder, ollama_url=upstream.url, shutdown_grace=0, forked=False) as daemon:
        yield daemon
        assert not daemon.errors


def together(database: Path) -> Iterator[tuple[set[tuple[str, str]], set[tuple[str, str]]]]:
    """Yield, after each event, the targets and models whose jobs run, and those whose jobs are answered."""
    states: dict[str, str] = {}
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
        where = {job: (target, model) for job, target, model in db.execute("SELECT id, target, model FROM jobs")}
        for job, state in db.execute("SELECT job_id, state FROM events ORDER BY seq"):
            states[job] = state
            running = {where[one] for one, now in states.items() if now in ("loading", "working")}
            yield running, {where[one] for one, now in states.items() if now == "working"}
