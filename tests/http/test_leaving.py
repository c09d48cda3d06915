"""Stopping: politely, impatiently, and with SIGKILL."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from tests.http.conftest import Api, words_in
from tests.support.foreman import managed, until
from tests.support.stored import problems, rows

Fresh = Callable[..., Api]


def stored(api: Api) -> dict[str, tuple[str, int]]:
    """State and attempt of every job, read from the database itself."""
    found = rows(api.daemon, "SELECT id, state, attempt FROM jobs")
    return {job_id: (state, attempt) for job_id, state, attempt in found}


def gone(pids: list[int]) -> bool:
    return not any(alive(pid) for pid in pids)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_sigterm_lets_what_ends_in_time_end_and_puts_the_rest_back_unspent(fresh: Fresh) -> None:
    api = fresh(slots=4, shutdown_grace=2)
    quick = [api.submit(f"#slow=0.8 {n}") for n in range(2)]
    slow = [api.submit(f"#silent {n}") for n in range(2)]
    waiting = [api.submit("waits") for _ in range(3)]
    api.until_state("working", *quick, *slow)
    api.daemon.terminate()
    assert api.daemon.wait() == 0
    found = stored(api)
    assert [found[job_id] for job_id in quick] == [("done", 1)] * 2
    assert [found[job_id] for job_id in slow + waiting] == [("queued", 0)] * 5


def test_while_draining_nothing_new_is_taken_and_the_probe_says_so(fresh: Fresh) -> None:
    api = fresh()
    job_id = api.submit("#chunks=40 #every=0.05")
    api.until_state("working", job_id)
    api.daemon.terminate()
    until(lambda: api.http.get("/readyz").status_code == 503)
    refused = api.post("x")
    assert (refused.status_code, refused.json()["code"]) == (503, "draining")
    assert int(refused.headers["retry-after"]) > 0
    assert api.daemon.wait() == 0
    assert stored(api) == {job_id: ("done", 1)}


def test_who_follows_a_job_that_ends_in_the_grace_gets_its_last_chunk(fresh: Fresh) -> None:
    api = fresh()
    job_id = api.submit("#chunks=20 #every=0.05")
    lines: list[dict[str, Any]] = []

    def follow() -> None:
        with api.daemon.client() as client, client.stream("GET", f"/jobs/{job_id}/stream") as response:
            lines.extend(json.loads(line) for line in response.iter_lines())

    reader = threading.Thread(target=follow)
    reader.start()
    until(lambda: bool(api.http.get("/queue").json()["running"]))
    api.daemon.terminate()
    assert api.daemon.wait() == 0
    reader.join()
    assert words_in(lines) == "".join(f"w{n} " for n in range(20))
    assert lines[-1]["done"] is True


def test_a_second_signal_leaves_at_once_and_the_next_start_puts_things_right(fresh: Fresh) -> None:
    api = fresh(shutdown_grace=600)
    job_id = api.submit("#silent")
    api.until_state("working", job_id)
    api.daemon.terminate()
    until(lambda: any(line["event"] == "draining" for line in api.daemon.logs))
    api.daemon.terminate()
    assert api.daemon.wait() == 1
    api.daemon.start()
    until(lambda: api.job(job_id)["attempt"] == 2)
    assert api.states(job_id)[:4] == ["queued", "loading", "working", "queued"]


def test_an_idle_foreman_leaves_at_once(fresh: Fresh) -> None:
    api = fresh(shutdown_grace=600)
    api.daemon.terminate()
    assert api.daemon.wait() == 0
    assert [line["event"] for line in api.daemon.logs][-2:] == ["draining", "stopped"]


def test_the_children_of_managed_models_are_gone_when_foreman_is(fresh: Fresh) -> None:
    api = fresh(models=managed("a"))
    for end in (api.daemon.terminate, api.daemon.kill):
        api.ended(api.submit("x"))
        logs = (api.daemon.data_dir / "logs").iterdir()
        pids = [json.loads(line)["pid"] for log in logs for line in log.read_text().splitlines() if '"pid"' in line]
        assert any(alive(pid) for pid in pids)
        end()
        api.daemon.wait()
        until(partial(gone, pids))
        api.daemon.start()


def test_what_was_accepted_survives_a_kill_and_is_done_once(fresh: Fresh) -> None:
    api = fresh(slots=4, max_attempts=20)  # each kill spends an attempt of what runs
    ids: list[str] = []
    for n in range(3):
        ids += [api.submit(f"round {n} job {m} #slow=0.05") for m in range(8)]
        api.daemon.kill()
        api.daemon.start()
    assert {api.ended(job_id)["state"] for job_id in ids} == {"done"}
    seqs = [seq for (seq,) in rows(api.daemon, "SELECT seq FROM events ORDER BY seq")]
    done = rows(api.daemon, "SELECT count(*), count(DISTINCT job_id) FROM events WHERE state = 'done'")
    assert seqs == list(range(1, len(seqs) + 1))
    assert done == [(len(ids), len(ids))]
    api.daemon.kill()
    assert problems(api.daemon) == []
