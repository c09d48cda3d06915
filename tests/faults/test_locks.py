"""The database, locked by another program."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.faults.conftest import Break
from tests.support.api import chat, deliveries, error, job, state, submit
from tests.support.foreman import Daemon, Upstream, until
from tests.support.receiver import a_receiver


@contextmanager
def locked(daemon: Daemon, how: str) -> Iterator[None]:
    """Hold the lock of the daemon's database, as a shell or a backup program does."""
    other = sqlite3.connect(daemon.data_dir / "foreman.db", isolation_level=None, timeout=20)
    other.execute(how)
    try:
        yield
    finally:
        other.close()


@pytest.mark.parametrize("how", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_callers_are_told_and_all_goes_on_afterwards(serve: Break, upstream: Upstream, how: str) -> None:
    with a_receiver() as told:
        daemon = serve("impatient", webhook_allow="127.0.0.1", log_level="debug")
        runs = submit(daemon, f"{how} #slow=2", state_webhook_url=told.url, webhook_events=["working", "done"])
        until(lambda: upstream.asked(how))
        with locked(daemon, how):
            ask = daemon.http
            for answer in (
                ask.post("/jobs", json=chat()),
                ask.post("/api/chat", json=chat()),
                ask.post(f"/jobs/{runs}/cancel"),
                ask.post("/queue/pause"),
            ):
                assert answer.status_code == 503 and answer.headers["Retry-After"] == "2"
            assert error(ask.post("/jobs", json=chat())) == (503, "store_busy")
            for path in ("/healthz", "/readyz", "/jobs", f"/jobs/{runs}"):
                assert ask.get(path).status_code == 200
            until(lambda: any(line["event"] == "attempt ended" for line in daemon.logs))
            until(lambda: any(line["event"] == "cannot take a job" for line in daemon.logs))
            assert state(daemon, runs) in ("loading", "working")
        until(lambda: state(daemon, runs) == "done")
        assert job(daemon, runs)["attempt"] == 1
        later = submit(daemon, "later")
        until(lambda: state(daemon, later) == "done")
        until(lambda: [one["state"] for one in deliveries(daemon, runs)] == ["delivered"] * 2)
        assert len({got.id for got in told.got}) == len(told.got) == 2
    assert not daemon.errors


def test_a_start_while_it_is_locked_ends_with_a_line(serve: Break) -> None:
    daemon = serve("impatient")
    kept = submit(daemon, "kept")
    daemon.kill()
    with locked(daemon, "BEGIN IMMEDIATE"):
        daemon.start(ready=False)
        assert daemon.wait() == 1
        [line] = [line for line in daemon.child.lines if "another program has locked it: close it" in line]
        assert line.startswith("foreman: the database ")
        assert not any("Traceback" in line for line in daemon.child.lines)
    daemon.start()
    until(lambda: state(daemon, kept) == "done")
