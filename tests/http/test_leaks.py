"""Callers that hang up, hundreds of times, leave nothing behind: no task, no socket, no thread, no memory."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from operator import le
from pathlib import Path

import pytest

from tests.faults.broken import Broken
from tests.support.api import chat
from tests.support.foreman import Upstream, an_upstream, until

CALLS = int(os.environ.get("LEAK_CALLS", "153"))
TOGETHER = 17  # calls that hang up at once, as many as there are slots
WARM = 102  # calls before the first count: caches fill, pools and histories reach their sizes
SPARE = 4  # kept connections and idle threads come and go
MEMORY = 5e6  # bytes by which it may have grown: an answer under way takes some 50,000


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with an_upstream("--kind", "ollama") as upstream:
        yield upstream


def test_callers_that_hang_up_leave_nothing_behind(data_dir: Path, upstream: Upstream) -> None:
    daemon = Broken("counted", data_dir, ollama_url=upstream.url, slots=TOGETHER, feed_history=100, forked=False)
    with daemon:
        _hang_up(daemon, WARM)
        most = [count + SPARE for count in _usage(daemon)]
        memory = _memory(daemon)
        _hang_up(daemon, CALLS)
        until(lambda: all(map(le, _usage(daemon), most)))
        assert _memory(daemon) - memory < MEMORY
        assert daemon.http.get("/jobs", params={"state": "done"}).json()["jobs"] == []
        assert not daemon.errors


def test_collections_pass_over_what_was_there_when_it_began(data_dir: Path, upstream: Upstream) -> None:
    """Else each of them holds the loop until it has walked through every module."""
    daemon = Broken("counted", data_dir, ollama_url=upstream.url, forked=False)
    with daemon:
        assert daemon.break_now()["frozen"] > 50_000


def _hang_up(daemon: Broken, calls: int) -> None:
    """So many calls: a third hang up in the queue, a third before the head of the answer, a third in mid-stream."""
    for _ in range(calls // (3 * TOGETHER) + 1):
        daemon.http.post("/queue/pause")
        with ExitStack() as callers:
            _call(daemon, callers, "queued")
            until(lambda: _queue(daemon) == (TOGETHER, 0))
        until(lambda: _queue(daemon) == (0, 0))
        daemon.http.post("/queue/resume")
        with ExitStack() as callers:
            _call(daemon, callers, "#silent")
            until(lambda: _queue(daemon) == (0, TOGETHER))
        until(lambda: _queue(daemon) == (0, 0))
        with ExitStack() as callers:
            for caller in _call(daemon, callers, "#chunks=1000 #every=0.05"):
                assert caller.recv(4096).startswith(b"HTTP/1.1 200 ")
        until(lambda: _queue(daemon) == (0, 0))


def _call(daemon: Broken, callers: ExitStack, text: str) -> list[socket.socket]:
    """So many callers at once, each with a request under way; they hang up when the stack ends."""
    found = []
    body = json.dumps(chat(text)).encode()
    for _ in range(TOGETHER):
        caller = callers.enter_context(closing(socket.create_connection(("127.0.0.1", daemon.http.base_url.port or 0))))
        caller.settimeout(30)
        caller.sendall(b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        found.append(caller)
    return found


def _queue(daemon: Broken) -> tuple[int, int]:
    shown = daemon.http.get("/queue").json()
    return shown["queued"], len(shown["running"])


def _usage(daemon: Broken) -> tuple[int, int, int]:
    """Tasks, descriptors, threads."""
    process = Path(f"/proc/{daemon.pid}")
    return daemon.break_now()["tasks"], len(list((process / "fd").iterdir())), len(list((process / "task").iterdir()))


def _memory(daemon: Broken) -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{daemon.pid}/status").read_text())
    assert found
    return int(found[1]) * 1024
