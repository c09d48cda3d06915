"""Time: a clock that jumps, and a process that stands still."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime, timedelta

import httpx2

from tests.faults.conftest import Break
from tests.support.api import chat, job, state, submit
from tests.support.foreman import Upstream, until

LONG = "#chunks=30 #every=0.02"


def test_a_clock_that_jumps_an_hour_forward_costs_no_attempt_and_wakes_what_waited(serve: Break) -> None:
    daemon = serve("clock")
    waits = submit(daemon, "waits", not_before=(datetime.now(UTC) + timedelta(minutes=30)).isoformat())
    runs = submit(daemon, LONG)
    until(lambda: state(daemon, runs) == "working")
    daemon.break_now()
    later = submit(daemon, "later")
    until(lambda: {state(daemon, one) for one in (waits, runs, later)} == {"done"})
    assert [job(daemon, one)["attempt"] for one in (waits, runs, later)] == [1, 1, 1]
    assert not daemon.errors


def test_a_clock_that_jumps_an_hour_back_costs_no_attempt_and_holds_nobody_who_may_run(serve: Break) -> None:
    daemon = serve("clock")
    runs, next_one = submit(daemon, LONG), submit(daemon, "next")
    until(lambda: state(daemon, runs) == "working")
    daemon.mend()
    later = submit(daemon, "later")
    until(lambda: {state(daemon, one) for one in (runs, next_one, later)} == {"done"})
    assert [job(daemon, one)["attempt"] for one in (runs, next_one, later)] == [1, 1, 1]
    assert not daemon.errors


def test_a_process_that_stood_still_goes_on_where_it_was(serve: Break, upstream: Upstream) -> None:
    daemon = serve("counted")
    runs, waits = submit(daemon, f"#echo {LONG} one two three four"), submit(daemon, "waits")
    until(lambda: state(daemon, runs) == "working")
    os.kill(daemon.pid, signal.SIGSTOP)
    slow = httpx2.post(f"{upstream.url}/api/chat", json=chat("#slow=1"), trust_env=False)  # meanwhile a second passes
    os.kill(daemon.pid, signal.SIGCONT)
    assert slow.status_code == 200
    until(lambda: {state(daemon, one) for one in (runs, waits)} == {"done"})
    assert [job(daemon, one)["attempt"] for one in (runs, waits)] == [1, 1]
    assert job(daemon, runs)["result"]["message"]["content"].endswith("one two three four ")
    held = [line["cpu_seconds"] for line in daemon.logs if line["event"] == "a task held the loop"]
    assert all(seconds < 1 for seconds in held)  # a stop in the middle of a step was no work of its task
    assert not daemon.errors
