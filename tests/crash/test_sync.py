"""Before an answer leaves, what it tells is on disk: the system calls of a real Foreman."""

from __future__ import annotations

import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import trio

from tests.bench.daemon import Daemon, child
from tests.bench.wire import connected, post

JOBS = 50
CALL = re.compile(r"^(\d+) +(?:<\.\.\. )?(\w+)")


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
@pytest.mark.parametrize("kind", ["whole", "quick", "streamed"])
async def test_no_answer_of_a_call_leaves_before_its_job_is_synced(tmp_path: Path, kind: str) -> None:
    """The target has the request by then, and mostly has answered it too: each call finds its slot free."""
    stream = kind == "streamed"
    kept = {} if kind == "quick" else {"X-Foreman-On-Disconnect": "keep"}  # else it may be stored with its answer
    trace = tmp_path / "trace"
    async with child("tests.bench.instant") as target:
        daemon = Daemon(tmp_path / "data", strace(trace), ollama_url=f"http://127.0.0.1:{target['port']}")
        try:
            await daemon.start()
            async with connected(daemon.port) as connection:
                for number in range(JOBS):
                    messages = [{"role": "user", "content": f"number {number}"}]
                    call = {"model": "m0", "messages": messages, "stream": stream}
                    with trio.fail_after(30):
                        status, _ = await connection.exchange(post("/api/chat", call, kept))
                    assert status == 200
            assert await daemon.stop() == 0
        finally:
            await daemon.kill()
    synced, unsynced = _read(trace, status=200, syncs=2 if kind == "whole" else 1)  # a whole answer is on disk as well
    assert unsynced == []
    assert synced >= (JOBS if kind == "quick" else _commits(daemon.database)) >= JOBS


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
async def test_no_202_leaves_before_its_job_is_synced(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    async with child("tests.bench.instant", "--silent") as target:
        url = f"http://127.0.0.1:{target['port']}"
        daemon = Daemon(tmp_path / "data", strace(trace), ollama_url=url, shutdown_grace=0)
        try:
            await daemon.start()
            async with connected(daemon.port) as connection:
                for number in range(JOBS):
                    job = {"model": "m0", "messages": [{"role": "user", "content": f"number {number}"}]}
                    with trio.fail_after(30):
                        status, _ = await connection.exchange(post("/jobs", job))
                    assert status == 202
            assert await daemon.stop() == 0
        finally:
            await daemon.kill()
    synced, unsynced = _read(trace, status=202, syncs=1)
    assert unsynced == []
    assert synced >= _commits(daemon.database) >= JOBS


def strace(trace: Path) -> list[str]:
    # -y names the file of each descriptor; the strings are cut where the status has been said.
    return [
        "strace",
        "-f",
        "-y",
        "-s",
        "16",
        "-e",
        "trace=fdatasync,fsync,write,sendto,sendmsg,read,recvfrom",
        "-o",
        str(trace),
    ]


def _read(trace: Path, *, status: int, syncs: int) -> tuple[int, list[int]]:
    """How many syncs of the database's log ended well, and which answers left without so many of their own."""
    synced, since, sent = 0, 0, 0
    unsynced: list[int] = []
    syncing: set[str] = set()  # threads whose sync of the log has begun
    calls = False  # before the first one, it was only asked whether it is ready
    for line in trace.read_text().splitlines():
        match = CALL.match(line)
        if not match:
            continue
        thread, call = match.groups()
        if call in ("fdatasync", "fsync"):
            if "foreman.db-wal>" in line:
                syncing.add(thread)
            if line.endswith("= 0") and thread in syncing:
                syncing.discard(thread)
                synced, since = synced + 1, since + 1
        elif call in ("read", "recvfrom"):
            if '"POST /' in line:
                calls, since = True, 0
        elif calls and f'"HTTP/1.1 {status}' in line and "<unfinished" not in line.partition('"')[0]:
            sent += 1
            if since < syncs:
                unsynced.append(sent)
            since = 0
    assert sent == JOBS
    return synced, unsynced


def _commits(database: Path) -> int:
    """At least so many transactions changed a job: what one of them does bears one time, unless it is held."""
    with closing(sqlite3.connect(database)) as db:
        return int(db.execute("SELECT count(DISTINCT at) FROM events").fetchone()[0])
