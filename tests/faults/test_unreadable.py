"""Rows that another program has changed under a Foreman that runs."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import pytest

from tests.faults.conftest import Break
from tests.support.api import deliveries, error, state, submit
from tests.support.foreman import Daemon, until
from tests.support.receiver import a_receiver


def event(daemon: Daemon, *statements: str, **values: Any) -> None:
    with closing(sqlite3.connect(daemon.data_dir / "foreman.db", isolation_level=None, timeout=20)) as db:
        for statement in statements:
            db.execute(statement, values)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE jobs SET metadata = '{' WHERE id = :id",
        "UPDATE jobs SET model = CAST(x'ff' AS TEXT) WHERE id = :id",
        "UPDATE jobs SET start_by = 1, webhook_events = 'odd' WHERE id = :id",
        "DELETE FROM payloads WHERE job_id = :id",
    ],
    ids=["metadata", "text", "overdue", "request"],
)
def test_the_first_in_line_fails_and_the_others_run(serve: Break, damage: str) -> None:
    daemon = serve("counted")
    daemon.http.post("/queue/pause")
    first, later = submit(daemon, "first"), submit(daemon, "later")
    event(daemon, damage, id=first)
    daemon.http.post("/queue/resume")
    until(lambda: state(daemon, later) == "done")
    if "payloads" in damage:
        events = daemon.http.get(f"/jobs/{first}/events").json()["events"]
        assert [event["state"] for event in events] == ["queued", "failed"]
        assert daemon.http.get(f"/jobs/{first}").json()["error_code"] == "job_unreadable"
    else:
        assert error(daemon.http.get(f"/jobs/{first}")) == (500, "job_unreadable")
        assert error(daemon.http.post(f"/jobs/{first}/retry")) == (500, "job_unreadable")
        assert [job["job_id"] for job in daemon.http.get("/jobs").json()["jobs"]] == [later]
    assert daemon.http.get("/metrics").status_code == daemon.http.get("/queue/jobs").status_code == 200
    daemon.kill()
    daemon.start()
    assert daemon.http.delete(f"/jobs/{first}").status_code == 204
    assert error(daemon.http.get(f"/jobs/{first}")) == (404, "job_not_found")
    last = submit(daemon, "last")
    until(lambda: state(daemon, last) == "done")


def test_webhooks_of_others_go_on(serve: Break) -> None:
    with a_receiver("500") as ill, a_receiver() as well:
        daemon = serve("counted", webhook_allow="127.0.0.1", webhook_retries=0)
        broken = submit(daemon, state_webhook_url=ill.url, webhook_events=["done"])
        until(lambda: [one["state"] for one in deliveries(daemon, broken)] == ["dead"])
        event(daemon, "UPDATE jobs SET metadata = '{'", "UPDATE deliveries SET state = 'due', attempts = 0")
        fine = submit(daemon, state_webhook_url=well.url, webhook_events=["done"])
        until(lambda: [one["state"] for one in deliveries(daemon, fine)] == ["delivered"])
        with closing(sqlite3.connect(daemon.data_dir / "foreman.db")) as db:
            told = "SELECT state, error LIKE '%cannot be read%' FROM deliveries ORDER BY seq"
            until(lambda: db.execute(told).fetchone() == ("dead", 1))
        event(daemon, f"UPDATE deliveries SET state = 'due', url = 'http://[' WHERE job_id = '{broken}'")
        fine = submit(daemon, state_webhook_url=well.url, webhook_events=["done"])
        until(lambda: [one["state"] for one in deliveries(daemon, fine)] == ["delivered"])
        assert not daemon.errors
