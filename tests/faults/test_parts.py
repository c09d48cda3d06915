"""Parts of Foreman, and servers that it has started, that fail."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from contextlib import suppress

import httpx2
import pytest

from foreman.offload import LIGHT
from foreman.targets.managed.child_log import MAX_FILE
from tests.faults.broken import Broken
from tests.faults.conftest import Break
from tests.support.api import job, state, submit
from tests.support.foreman import Upstream, managed, until


def restarts(daemon: Broken) -> dict[str, float]:
    text = daemon.http.get("/metrics").text
    return {name: float(n) for name, n in re.findall(r'^foreman_restarts_total\{actor="(\w+)"\} (\S+)', text, re.M)}


def test_an_actor_that_fails_is_started_again_and_counted_and_the_others_go_on(serve: Break) -> None:
    daemon = serve("actor")
    runs = submit(daemon, "#chunks=30 #every=0.02")
    until(lambda: state(daemon, runs) == "working")
    for times in (1, 2):
        daemon.break_now()
        until(lambda times=times: restarts(daemon) == {"pruner": times})  # type: ignore[misc]
    later = submit(daemon, "later")
    until(lambda: {state(daemon, one) for one in (runs, later)} == {"done"})
    assert [job(daemon, one)["attempt"] for one in (runs, later)] == [1, 1]
    assert {(line["event"], line["actor"]) for line in daemon.errors} == {("actor failed", "pruner")}


def test_an_actor_that_fails_for_ever_ends_the_process_and_the_next_start_goes_on(serve: Break) -> None:
    daemon = serve("actor")
    runs = submit(daemon, "#chunks=30 #every=0.05")
    until(lambda: state(daemon, runs) == "working")
    daemon.mend()
    assert daemon.wait() == 1
    assert any("pruner failed 6 times" in line for line in daemon.child.lines)
    daemon.start()
    until(lambda: state(daemon, runs) == "done")


@pytest.mark.parametrize("size", [0, 2 * LIGHT])
def test_a_job_that_kills_its_process_fails_at_its_last_attempt(serve: Break, upstream: Upstream, size: int) -> None:
    daemon = serve("poison", ollama_url="", openai_url=upstream.url)
    other = submit(daemon, "#every=0.01")
    until(lambda: state(daemon, other) == "done")
    body = {"model": "a", "messages": [{"role": "user", "content": "poison" + "." * size}], "max_attempts": 3}
    daemon.http.post("/queue/pause")  # a new job for a free slot may end the process before it is stored
    assert daemon.http.post("/jobs", json=body).status_code == 202
    with suppress(httpx2.TransportError):  # it may die before it has answered
        daemon.http.post("/queue/resume")
    for _ in range(2):
        assert daemon.wait() == -signal.SIGKILL
        daemon.start(ready=False)
    assert daemon.wait() == -signal.SIGKILL
    daemon.start()
    ended = daemon.http.get("/jobs?limit=1").json()["jobs"][0]
    assert (ended["state"], ended["error_code"], ended["attempt"]) == ("failed", "interrupted", 3)
    later = submit(daemon, "later")
    until(lambda: state(daemon, later) == "done")


def test_a_managed_server_that_is_killed_in_an_answer_costs_an_attempt_and_is_started_again(serve: Break) -> None:
    daemon = serve("counted", ollama_url="", models=managed("a"))
    runs = submit(daemon, "#chunks=100 #every=0.02")
    until(lambda: state(daemon, runs) == "working")
    log = daemon.data_dir / "logs" / "a.log"
    [pid] = until(lambda: [json.loads(line)["pid"] for line in log.read_text().splitlines() if '"pid"' in line])
    until(lambda: len(daemon.http.get("/queue").json()["running"]) == 1)
    os.kill(pid, signal.SIGKILL)
    until(lambda: state(daemon, runs) == "done")
    events = daemon.http.get(f"/jobs/{runs}/events").json()["events"]
    steps = [event["state"] for event in events]
    assert steps == ["queued", "loading", "working", "queued", "loading", "working", "done"]
    assert "ended" in events[3]["error"]
    assert not daemon.errors


def test_a_managed_server_that_hangs_at_its_start_fails_its_jobs_and_no_others(serve: Break) -> None:
    hung = managed("h", ready_timeout=0.3)
    hung[0]["command"] = [*hung[0]["command"], "--never-ready"]  # type: ignore[misc]
    daemon = serve("counted", ollama_url="", models=[*hung, *managed("a")], max_attempts=2)
    fails, runs = submit(daemon, "x", model="h"), submit(daemon, "x", model="a")
    until(lambda: (state(daemon, fails), state(daemon, runs)) == ("failed", "done"))
    assert (job(daemon, fails)["attempt"], job(daemon, runs)["attempt"]) == (2, 1)
    assert "was not ready within 0.3 s" in job(daemon, fails)["error"]
    assert not daemon.errors


def test_a_managed_server_that_says_too_much_neither_fills_the_disk_nor_holds_up_its_jobs(serve: Break) -> None:
    words = f"head -c {3 * MAX_FILE} /dev/zero | tr '\\0' x | fold -w 200"
    serving = f"exec {sys.executable} -m tests.support.target --kind openai --port {{port}} --models l"
    loud = {"name": "l", "command": ["sh", "-c", f"{words}; {serving}"]}
    daemon = serve("counted", ollama_url="", models=[loud])
    runs = submit(daemon, "x", model="l")
    until(lambda: state(daemon, runs) == "done")
    logs = sorted((daemon.data_dir / "logs").iterdir())
    assert [log.name for log in logs] == ["l.log", "l.log.1"]
    assert all(log.stat().st_size <= MAX_FILE for log in logs)
    assert not daemon.errors
