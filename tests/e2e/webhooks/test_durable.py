"""Deliveries outlive Foreman, and receivers that were away."""

from __future__ import annotations

import json
from pathlib import Path

from tests.e2e.webhooks.conftest import QUICK
from tests.support.foreman import Daemon, Upstream, until
from tests.support.receiver import a_receiver


def test_deliveries_survive_three_kills_and_a_receiver_that_was_down_all_the_while(
    upstream: Upstream, tmp_path: Path
) -> None:
    jobs = 200
    with a_receiver() as receiver:
        url, port = receiver.url, receiver.port
    settings = QUICK | {"webhook_retries": 50}
    foreman = Daemon(tmp_path / "data", ollama_url=upstream.url, **settings)
    with foreman as daemon:
        lines = [{"model": "a", "messages": [], "prompt": f"n{n}", "state_webhook_url": url} for n in range(jobs)]
        answer = daemon.http.post(
            "/jobs", content="\n".join(map(json.dumps, lines)), headers={"Content-Type": "application/x-ndjson"}
        )
        ids = [job["job_id"] for job in answer.json()["jobs"]]
        assert len(ids) == jobs
        for left in (150, 80, 20):
            until(lambda left=left: daemon.http.get("/queue").json()["queued"] <= left)  # type: ignore[misc]
            daemon.kill()
            daemon.start()
        until(lambda: daemon.http.get("/jobs", params={"state": "done", "limit": 500}).json()["jobs"][jobs - 1 :])
        with a_receiver(port=port) as receiver:
            until(lambda: {got.state for got in receiver.of(ids[-1])} >= {"queued", "done"})
            events = [e for job in ids for e in daemon.http.get(f"/jobs/{job}/events").json()["events"]]
            until(lambda: {got.seq for got in list(receiver.got)} >= {event["seq"] for event in events})
        assert {got.id for got in receiver.got} == {f"msg_{e['job_id']}_{e['seq']}" for e in events}
        assert len(events) >= 4 * jobs
