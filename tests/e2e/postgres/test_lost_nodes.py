"""Three Foremen with 120 jobs, one of which is lost, stands still, or is cut off."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.e2e.postgres.fleets import LEASE, NAMES, ThreeNodes, three_nodes
from tests.support.foreman import until
from tests.support.postgres import Server
from tests.support.receiver import Receiver, a_receiver

JOBS = 120
TEXT = "#chunks=8 #every=0.05"

pytestmark = pytest.mark.long


def half_done(three: ThreeNodes, **fields: object) -> list[str]:
    """Submit the jobs, and return when some are done and most are not."""
    any_one = three.nodes[NAMES[0]].http
    any_one.post("/queue/pause")
    ids = three.submit(JOBS, TEXT, **fields)
    any_one.post("/queue/resume")
    until(lambda: three.count("done") >= 10)
    return ids


def test_a_node_that_is_killed_for_good_costs_no_job(one_server: Server, tmp_path: Path) -> None:
    with three_nodes(one_server, tmp_path) as three:
        lost = next(name for name in NAMES if name != three.coordinator())
        ids = half_done(three)
        three.stop_when(lost, lambda: three.running_at(lost))
        three.nodes[lost].kill()
        again = three.evicted(lost)
        left = next(node.http for name, node in three.nodes.items() if name != lost)
        slots = sum(one["slots"] for node in left.get("/nodes").json()["nodes"] for one in node["targets"])
        until(lambda: left.get("/queue").json()["slots"] == slots)
        three.judge(ids, again, silent=[lost])


def test_the_coordinator_that_is_killed_costs_no_job_and_no_webhook(one_server: Server, tmp_path: Path) -> None:
    with a_receiver() as receiver, three_nodes(one_server, tmp_path, webhook_allow="127.0.0.1") as three:
        lost = three.coordinator()
        ids = half_done(three, state_webhook_url=receiver.url, webhook_events=["done"])
        three.stop_when(lost, lambda: three.running_at(lost))
        three.nodes[lost].kill()
        again = three.evicted(lost)
        three.judge(ids, again, silent=[lost])
        assert three.coordinator() in set(NAMES) - {lost}
        ends = set(three.ask("SELECT seq, job_id FROM events WHERE state = 'done'"))
        until(lambda: told(receiver) == ends, seconds=180)


def told(receiver: Receiver) -> set[tuple[int, str]]:
    return {(got.seq, got.payload["job_id"]) for got in list(receiver.got)}


def test_a_node_that_stands_still_with_the_write_lock_is_evicted_and_comes_back(
    one_server: Server, tmp_path: Path
) -> None:
    with three_nodes(one_server, tmp_path) as three:
        still = next(name for name in NAMES if name != three.coordinator())
        ids = half_done(three)
        three.stop_when(still, lambda: three.holds_the_lock(still))
        again = three.evicted(still)
        os.kill(three.nodes[still].pid, signal.SIGCONT)
        until(lambda: three.states()[still] == "up")
        three.judge(ids, again)
        goes_on(three, still)


def test_a_node_that_is_cut_off_with_a_job_is_evicted_and_comes_back(one_server: Server, tmp_path: Path) -> None:
    with three_nodes(one_server, tmp_path) as three:
        lost = NAMES[-1]
        ids = half_done(three)
        until(lambda: three.cut(lost) and three.running_at(lost))  # what it can no longer end
        again = three.evicted(lost)
        three.join(lost)
        until(lambda: three.states()[lost] == "up")
        three.judge(ids, again)
        goes_on(three, lost)


def test_a_database_that_is_away_for_longer_than_the_lease_costs_no_node_and_no_attempt(
    one_server: Server, tmp_path: Path, away: float
) -> None:
    with three_nodes(one_server, tmp_path) as three:
        ids = half_done(three)
        one_server.stop()
        try:
            for node in three.nodes.values():
                until(lambda node=node: node.http.get("/readyz").status_code == 503)  # type: ignore[misc]
            time.sleep(max(away, LEASE + 3))
        finally:
            one_server.start()
        three.judge(ids, set())
        assert three.states() == dict.fromkeys(NAMES, "up")
        for name in NAMES:
            goes_on(three, name)
            assert not any(line["event"] == "node evicted" for line in three.nodes[name].logs)


def goes_on(three: ThreeNodes, name: str) -> None:
    """A node that has come back takes jobs, and has logged no error."""
    more = three.submit(2 * JOBS, "hello")
    until(lambda: three.count("queued", "loading", "working") == 0)
    assert three.ran_at(name, more)
    assert three.nodes[name].child.running
    assert not three.nodes[name].errors
