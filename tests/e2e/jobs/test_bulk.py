"""Many jobs in one request."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.api import NDJSON, chat, error
from tests.support.foreman import Daemon, Upstream

MANY = 20_000
BAD = {MANY * n // 10 + 3: f"not a job {n}" for n in range(10)}
MEMORY = 150 * 2**20  # bytes


@pytest.fixture
def paused(upstream: Upstream, tmp_path: Path) -> Iterator[Daemon]:
    with Daemon(tmp_path / "data", ollama_url=upstream.url, forked=False) as daemon:
        daemon.http.post("/queue/pause")
        yield daemon
        assert not daemon.errors


def bulk(daemon: Daemon, *lines: Any, **headers: str) -> Any:
    body = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    return daemon.http.post("/jobs", content=body, headers=NDJSON | headers)


def memory(daemon: Daemon) -> int:
    """The most that it ever had in memory, in bytes."""
    status = Path(f"/proc/{daemon.pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * 1024


def test_many_jobs_are_stored_and_bad_lines_told_by_number_while_others_are_served(paused: Daemon) -> None:
    lines = [BAD.get(n) or json.dumps(chat(f"Say hello to number {n}.", custom_id=f"c{n}")) for n in range(1, MANY + 1)]
    before, others, over = memory(paused), 0, threading.Event()

    def keep_asking() -> None:
        nonlocal others
        with paused.client() as client:
            while not over.is_set():
                assert client.get("/queue").status_code == 200
                assert client.post("/jobs", json=chat()).status_code == 202
                others += 1

    asking = threading.Thread(target=keep_asking)
    asking.start()
    try:
        answer = bulk(paused, *lines)
    finally:
        served = others
        over.set()
        asking.join()
    shown = answer.json()
    assert (answer.status_code, shown["accepted"], shown["rejected"]) == (202, MANY - len(BAD), len(BAD))
    assert [error["line"] for error in shown["errors"]] == list(BAD)
    assert {error["code"] for error in shown["errors"]} == {"invalid_json"}
    assert [job["line"] for job in shown["jobs"]] == [n for n in range(1, MANY + 1) if n not in BAD]
    assert all(job["custom_id"] == f"c{job['line']}" for job in shown["jobs"])
    ids = [job["job_id"] for job in shown["jobs"]]
    assert ids == sorted(set(ids))
    assert memory(paused) - before < MEMORY
    assert served >= 5
    assert paused.http.get("/queue").json()["queued"] == MANY - len(BAD) + others
    assert paused.http.get(f"/jobs/{ids[-1]}").json()["custom_id"] == f"c{MANY}"


def test_lines_may_come_in_any_pieces(paused: Daemon) -> None:
    body = ("\r\n\n" + json.dumps(chat("ü" * 50)) + "\r\n\n" + json.dumps(chat("two"))).encode()
    pieces = (body[n : n + 7] for n in range(0, len(body), 7))
    shown = paused.http.post("/jobs", content=pieces, headers=NDJSON).json()
    assert [job["line"] for job in shown["jobs"]] == [3, 5]
    assert shown["errors"] == []


def test_each_line_is_judged_like_a_job_of_its_own(daemon: Daemon) -> None:
    answer = bulk(
        daemon,
        chat(),
        {"messages": []},
        chat(model="unknown"),
        chat(priority="urgent"),
        chat(state_webhook_url="http://169.254.169.254/"),
        "[]",
        chat(custom_id="last"),
    )
    shown = answer.json()
    assert answer.status_code == 202
    assert [(job["line"], job["custom_id"]) for job in shown["jobs"]] == [(1, None), (7, "last")]
    assert [(error["line"], error["code"]) for error in shown["errors"]] == [
        (2, "model_required"),
        (3, "model_not_found"),
        (4, "field_invalid"),
        (5, "webhook_refused"),
        (6, "invalid_json"),
    ]


def test_nothing_accepted_is_422(daemon: Daemon) -> None:
    answer = bulk(daemon, "x", "y")
    assert (answer.status_code, answer.json()["accepted"], answer.json()["rejected"]) == (422, 0, 2)
    assert bulk(daemon).status_code == 422


def test_a_key_for_one_job_is_refused_for_many(daemon: Daemon) -> None:
    assert error(bulk(daemon, chat(), **{"Idempotency-Key": "k"})) == (422, "field_invalid")


def test_lines_beyond_the_most_are_refused_and_those_before_are_not(daemon: Daemon) -> None:
    answer = bulk(daemon, chat(), *[""] * 99_999, chat())
    shown = answer.json()
    assert (answer.status_code, [job["line"] for job in shown["jobs"]]) == (202, [1])
    assert [error["line"] for error in shown["errors"]] == [100_001]


def test_a_full_queue_and_a_large_body_leave_what_was_stored(upstream: Upstream, tmp_path: Path) -> None:
    with Daemon(tmp_path / "data", ollama_url=upstream.url, max_queue=1500, max_body="1 MiB") as daemon:
        daemon.http.post("/queue/pause")
        shown = bulk(daemon, *[chat()] * 2000).json()
        assert (shown["accepted"], shown["rejected"]) == (1000, 1000)
        assert {error["code"] for error in shown["errors"]} == {"queue_full"}
        line = json.dumps(chat("x" * 5000)).encode() + b"\n"
        assert error(daemon.http.post("/jobs", content=line * 400, headers=NDJSON)) == (413, "body_too_large")
        pieces = iter([line * 80] * 5)  # its length is not known beforehand
        shown = daemon.http.post("/jobs", content=pieces, headers=NDJSON).json()
        assert 0 < shown["accepted"] <= 500
        assert [error["code"] for error in shown["errors"]][-1:] == ["body_too_large"]
        assert daemon.http.get("/queue").json()["queued"] == 1000 + shown["accepted"]
        assert not daemon.errors
