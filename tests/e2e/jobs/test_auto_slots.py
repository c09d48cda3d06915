"""`slots = "auto"` before a server that takes only some jobs at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.api import chat, job
from tests.support.foreman import Daemon, an_upstream, until

ROOM = 3
JOBS = 130


@pytest.mark.parametrize("per_target", [False, True])
def test_a_server_that_answers_429_gets_about_as_many_jobs_as_it_takes(tmp_path: Path, per_target: bool) -> None:
    with an_upstream("--kind", "ollama", "--models", "a") as upstream:
        where = [{"name": "ollama", "ollama_url": upstream.url, "slots": "auto"}]
        settings = {"targets": where} if per_target else {"ollama_url": upstream.url, "slots": "auto"}
        with Daemon(tmp_path / "data", **settings).start() as daemon:
            [target] = daemon.http.get("/targets").json()["targets"]
            assert (target["slots"], target["slots_auto"]) == (1, True)
            daemon.http.post("/queue/pause")  # all of them wait before the first one runs
            jobs = [chat(f"#room={ROOM} #slow=0.2 number {number}", model="a") for number in range(JOBS)]
            ids = [daemon.http.post("/jobs", json=one).json()["job_id"] for one in jobs]
            daemon.http.post("/queue/resume")
            until(lambda: daemon.http.get("/queue").json()["queued"] == 0)
            until(lambda: all(job(daemon, one)["state"] == "done" for one in ids))
            assert all(job(daemon, one)["attempt"] == 1 for one in ids)
            [target] = daemon.http.get("/targets").json()["targets"]
            assert 2 <= target["slots"] <= ROOM + 1
            log = upstream.log()
            assert log["most_answering"] in (2, ROOM) and log.get("refused", 0) <= 10
        with Daemon(tmp_path / "data", **settings).start() as daemon:  # it goes on where it was
            [target] = daemon.http.get("/targets").json()["targets"]
            assert 2 <= target["slots"] <= ROOM
