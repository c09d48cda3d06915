"""What callers ask of their jobs: to wait, to try again, to be gone, to be listed, to pause."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.api import chat, error, job, state, submit
from tests.support.foreman import Daemon, Upstream, until


def waiting(daemon: Daemon, text: str, prefer: str) -> Any:
    return daemon.http.post("/jobs", json=chat(text), headers={"Prefer": prefer})


def in_(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def test_a_caller_that_prefers_to_wait_gets_the_finished_job(daemon: Daemon) -> None:
    answer = waiting(daemon, "#slow=0.2", "respond-async, wait=20")
    assert (answer.status_code, answer.headers["preference-applied"]) == (200, "wait=20")
    assert answer.json() == job(daemon, answer.json()["job_id"])
    assert answer.json()["state"] == "done"
    failed = waiting(daemon, "#status=400", "wait=20")
    assert (failed.status_code, failed.json()["state"]) == (200, "failed")


def test_a_caller_that_waited_long_enough_gets_the_job_as_accepted(daemon: Daemon) -> None:
    answer = waiting(daemon, "#slow=3", "wait=1")
    assert (answer.status_code, answer.headers["preference-applied"]) == (202, "wait=1")
    assert answer.headers["location"] == answer.json()["links"]["self"]
    daemon.http.post(f"{answer.headers['location']}/cancel")


@pytest.mark.parametrize("prefer", ["wait=301", "wait=x", "wait=-1", "wait"])
def test_a_wait_that_is_not_allowed_is_refused(daemon: Daemon, prefer: str) -> None:
    assert error(waiting(daemon, "x", prefer)) == (422, "field_invalid")


def test_who_looks_at_a_job_may_wait_for_its_end(daemon: Daemon) -> None:
    job_id = submit(daemon, "#slow=0.3")
    path, patient = f"/jobs/{job_id}", {"Prefer": "wait=300"}
    answer = daemon.http.get(path, headers=patient)
    assert (answer.status_code, answer.headers["preference-applied"]) == (200, "wait=300")
    assert answer.json()["state"] == "done"
    assert daemon.http.get(path, headers=patient).json() == answer.json()  # it has ended: at once
    assert "preference-applied" not in daemon.http.get(path).headers
    assert error(daemon.http.get(f"/jobs/{'0' * 26}", headers=patient)) == (404, "job_not_found")
    assert error(daemon.http.get(path, headers={"Prefer": "wait=301"})) == (422, "field_invalid")


def test_who_looked_long_enough_sees_the_job_as_it_stands(daemon: Daemon) -> None:
    job_id = submit(daemon, not_before=in_(3600))
    answer = daemon.http.get(f"/jobs/{job_id}", headers={"Prefer": "wait=1"})
    assert (answer.status_code, answer.headers["preference-applied"]) == (200, "wait=1")
    assert answer.json()["state"] == "queued"
    daemon.http.post(f"/jobs/{job_id}/cancel")


def test_a_job_that_is_cancelled_has_ended_for_who_waits(daemon: Daemon) -> None:
    job_id = submit(daemon, not_before=in_(3600))
    with ThreadPoolExecutor(1) as pool:
        waiter = pool.submit(daemon.http.get, f"/jobs/{job_id}", headers={"Prefer": "wait=300"})
        daemon.http.post(f"/jobs/{job_id}/cancel")
        assert waiter.result().json()["state"] == "cancelled"


def test_a_job_that_ended_badly_can_be_tried_again(daemon: Daemon) -> None:
    failed = waiting(daemon, "#status=400 #times=1 again", "wait=20").json()
    assert (failed["state"], failed["attempt"]) == ("failed", 1)
    path = f"/jobs/{failed['job_id']}"
    again = daemon.http.post(f"{path}/retry")
    assert (again.status_code, again.json()["state"], again.json()["attempt"]) == (200, "queued", 0)
    assert again.json()["error"] is None
    until(lambda: daemon.http.get(path).json()["state"] == "done")
    states = [event["state"] for event in daemon.http.get(f"{path}/events").json()["events"]]
    assert states == ["queued", "loading", "working", "failed", "queued", "loading", "working", "done"]
    assert error(daemon.http.post(f"{path}/retry")) == (409, "illegal_step")


def test_a_cancelled_job_can_be_tried_again(daemon: Daemon) -> None:
    job_id = submit(daemon, "#slow=0.3")
    assert error(daemon.http.post(f"/jobs/{job_id}/retry")) == (409, "illegal_step")
    daemon.http.post(f"/jobs/{job_id}/cancel")
    assert daemon.http.post(f"/jobs/{job_id}/retry").status_code == 200
    until(lambda: state(daemon, job_id) == "done")


def test_a_deleted_job_takes_all_that_hangs_on_it_along(daemon: Daemon) -> None:
    job_id = submit(daemon, "#slow=0.3", state_webhook_url="http://127.0.0.1:9/", webhook_events=["done"])
    assert error(daemon.http.delete(f"/jobs/{job_id}")) == (409, "illegal_step")
    until(lambda: state(daemon, job_id) == "done")
    gone = daemon.http.delete(f"/jobs/{job_id}")
    assert (gone.status_code, gone.content) == (204, b"")
    for path in ("", "/events", "/deliveries", "/stream", "/artifacts/completion"):
        assert error(daemon.http.get(f"/jobs/{job_id}{path}")) == (404, "job_not_found")
    assert error(daemon.http.delete(f"/jobs/{job_id}")) == (404, "job_not_found")


def test_a_pause_outlives_the_process_and_what_waits_goes_on_afterwards(upstream: Upstream, tmp_path: Path) -> None:
    with Daemon(tmp_path / "data", ollama_url=upstream.url) as daemon:
        assert daemon.http.post("/queue/pause").json() == {"paused": True}
        job_id = submit(daemon)
        daemon.kill()
        daemon.start()
        other = submit(daemon, priority="high")
        queue = daemon.http.get("/queue").json()
        assert (queue["paused"], queue["queued"], queue["running"]) == (True, 2, [])
        assert (job(daemon, other)["queue_position"], job(daemon, job_id)["queue_position"]) == (1, 2)
        assert daemon.http.post("/queue/resume").json() == {"paused": False}
        until(lambda: state(daemon, job_id) == "done")
        daemon.kill()
        daemon.start()
        assert daemon.http.get("/queue").json()["paused"] is False


def test_lists_are_filtered_and_read_page_by_page(upstream: Upstream, tmp_path: Path) -> None:
    with Daemon(tmp_path / "data", ollama_url=upstream.url) as daemon:
        daemon.http.post("/queue/pause")
        kinds = [(model, priority) for model in "ab" for priority in ("low", "high")]
        made = [(submit(daemon, model=m, priority=p, metadata={"n": p}), m, p) for m, p in kinds * 3]
        daemon.http.post(f"/jobs/{made[0][0]}/cancel")

        def listed(**params: Any) -> list[str]:
            return [job["job_id"] for job in daemon.http.get("/jobs", params=params).json()["jobs"]]

        newest_first = [job_id for job_id, _, _ in reversed(made)]
        assert listed() == newest_first
        assert listed(model="a") == [i for i, model, _ in reversed(made) if model == "a"]
        assert listed(priority="high") == [i for i, _, priority in reversed(made) if priority == "high"]
        assert listed(state="cancelled") == [made[0][0]]
        assert listed(state="queued", model="b", priority="low") == [
            i for i, model, priority in reversed(made) if (model, priority) == ("b", "low")
        ]
        pages, cursor = [], None
        while True:
            page = daemon.http.get("/jobs", params={"limit": 5} | ({"after": cursor} if cursor else {})).json()
            pages.append([job["job_id"] for job in page["jobs"]])
            assert not any({"result", "artifacts"} & set(job) for job in page["jobs"])
            if (cursor := page["next"]) is None:
                break
        assert pages == [newest_first[:5], newest_first[5:10], newest_first[10:]]


@pytest.mark.parametrize(
    "query", ["state=x", "priority=1", "limit=0", "limit=501", "limit=x", "after=x", f"after=0{25 * 'a'}"]
)
def test_a_list_that_cannot_be_is_refused(daemon: Daemon, query: str) -> None:
    assert error(daemon.http.get(f"/jobs?{query}")) == (422, "field_invalid")


def test_a_job_waits_for_its_time(daemon: Daemon) -> None:
    at = in_(0.7)
    job_id = submit(daemon, not_before=at)
    assert (state(daemon, job_id), job(daemon, job_id)["started_at"]) == ("queued", None)
    until(lambda: state(daemon, job_id) == "done")
    assert datetime.fromisoformat(job(daemon, job_id)["started_at"]) >= datetime.fromisoformat(at) - timedelta(
        milliseconds=1
    )


def test_a_job_that_was_not_started_in_time_has_expired(daemon: Daemon) -> None:
    daemon.http.post("/queue/pause")
    try:
        job_id = submit(daemon, start_by=in_(0.3))
        until(lambda: state(daemon, job_id) == "expired")
    finally:
        daemon.http.post("/queue/resume")
    assert "start_by" in job(daemon, job_id)["error"]
    assert job(daemon, job_id)["result"] is None
    assert daemon.http.post(f"/jobs/{job_id}/retry").status_code == 200
    until(lambda: state(daemon, job_id) == "done")


def test_a_timeout_costs_an_attempt_and_max_attempts_ends_it(daemon: Daemon) -> None:
    job_id = submit(daemon, "#silent", timeout=0.2, max_attempts=1)
    until(lambda: state(daemon, job_id) == "failed")
    shown = job(daemon, job_id)
    assert (shown["error_code"], shown["attempt"], shown["max_attempts"]) == ("attempt_timeout", 1, 1)
