"""Jobs by the thousand in one request, the webhooks that tell of them, and the feed that many follow."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import trio
from trio_websocket import open_websocket_url
from ulid import ULID

from foreman.domain.job import Draft, queued
from foreman.store.sql.rows import DRAFT, draft_row
from foreman.store.sqlite.writer import SqliteWriter
from tests.bench.daemon import Daemon, child, serving
from tests.bench.figures import Figure, Wanted, middle, percentile
from tests.bench.instant import MODELS
from tests.bench.stored import PAYLOAD
from tests.bench.wire import ask, connected, post

JOBS = 50_000  # of one request
GROUP = 1000  # jobs in one transaction, as Foreman makes them
DELIVERIES = 2000
SENDERS = 4  # deliveries under way to one receiver, as Foreman has by default
SUBSCRIBERS = 50
EVENTS = 50  # a second
SECONDS = 6  # of events
TIMEOUT = 120.0  # seconds

NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
JOB = {"model": MODELS[0], **PAYLOAD}


async def bulk(rounds: int) -> list[Figure]:
    """One NDJSON request beside the same rows written to the same tables by nothing but SQLite."""
    stored: list[float] = []
    raw: list[float] = []
    with TemporaryDirectory() as folder:
        async with _holding(Path(folder) / "data") as daemon:
            for number in range(rounds):
                raw.append(await trio.to_thread.run_sync(_inserted, Path(folder) / f"raw{number}"))
                began = time.perf_counter()
                await submit_lines(daemon, [JOB] * JOBS)
                stored.append(JOBS / (time.perf_counter() - began))
    value, reference = middle(stored), middle(raw)
    return [
        Figure("bulk, one request", value, "jobs/s", "raw SQLite", reference, Wanted("≥", 20_000)),
        Figure("the same", value, "jobs/s", "raw SQLite", reference, Wanted("≥", 0.35, "ratio")),
    ]


async def webhooks(rounds: int) -> list[Figure]:
    """Deliveries to one receiver that answers at once, beside as many bare POSTs to it."""
    delivered: list[float] = []
    bare: list[float] = []
    with TemporaryDirectory() as folder:
        async with trio.open_nursery() as nursery:
            receiver = _Receiver()
            port = await nursery.start(receiver.run)
            async with _holding(Path(folder) / "data") as daemon:
                told = {**JOB, "state_webhook_url": f"http://127.0.0.1:{port}/", "webhook_events": ["queued"]}

                async def announced() -> None:
                    await submit_lines(daemon, [told] * DELIVERIES)

                for _ in range(rounds):
                    bare.append(await receiver.rate(lambda: _posted(port)))
                    delivered.append(await receiver.rate(announced))
            nursery.cancel_scope.cancel()
    reference = middle(bare)
    return [Figure("webhooks, one receiver", middle(delivered), "/s", "bare POSTs", reference, Wanted("≥", 400))]


async def feed(rounds: int) -> list[Figure]:
    """From a commit until each follower has the event, beside what a single follower sees."""
    one: list[float] = []
    many: list[float] = []
    with TemporaryDirectory() as folder:
        async with _holding(Path(folder) / "data") as daemon:
            for _ in range(rounds):
                one.append(percentile(await _followed(daemon, 1), 0.99))
                many.append(percentile(await _followed(daemon, SUBSCRIBERS), 0.99))
    name = f"feed, {SUBSCRIBERS} × {EVENTS} events/s, 99 %"
    return [Figure(name, middle(many), "ms", "one follower", middle(one), Wanted("<", 250))]


@asynccontextmanager
async def _holding(data_dir: Path) -> AsyncIterator[Daemon]:
    """A Foreman whose queue only grows."""
    async with child("tests.bench.instant") as target:
        url = f"http://127.0.0.1:{target['port']}"
        async with serving(data_dir, ollama_url=url, max_queue=10_000_000, max_body=2**30) as daemon:
            await ask(daemon.port, post("/queue/pause", {}))
            yield daemon


async def submit_lines(daemon: Daemon, jobs: list[dict[str, Any]]) -> None:
    """All of them in one request."""
    lines = b"\n".join(json.dumps(job).encode() for job in jobs)
    request = post("/jobs", lines).replace(b"application/json", b"application/x-ndjson", 1)
    answer = await ask(daemon.port, request, status=202)
    if answer["accepted"] != len(jobs):
        raise RuntimeError(f"not all were accepted: {str(answer)[:300]}")


def _inserted(folder: Path) -> float:
    """Rows of jobs per second, with their payloads and events."""
    folder.mkdir()
    SqliteWriter(folder / "foreman.db").close()  # the tables
    body = json.dumps(JOB).encode()
    now = time.time()
    drafts = [
        Draft(id=str(ULID()), model=MODELS[0], key=MODELS[0], endpoint="/api/chat", payload=body) for _ in range(JOBS)
    ]
    rows = [draft_row(draft, queued(draft, now)) for draft in drafts]
    into_jobs = f"INSERT INTO jobs ({DRAFT}) VALUES ({', '.join('?' * (DRAFT.count(',') + 1))})"
    into_events = "INSERT INTO events (job_id, state, at, attempt) VALUES (?, 'queued', ?, 0)"
    with closing(sqlite3.connect(folder / "foreman.db", isolation_level=None)) as db:
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA wal_autocheckpoint = 4000")
        began = time.perf_counter()
        for first in range(0, JOBS, GROUP):
            group = drafts[first : first + GROUP]
            db.execute("BEGIN IMMEDIATE")
            db.executemany(into_jobs, rows[first : first + GROUP])
            db.executemany("INSERT INTO payloads (job_id, body) VALUES (?, ?)", [(d.id, d.payload) for d in group])
            db.executemany(into_events, [(draft.id, now) for draft in group])
            db.execute("COMMIT")
        return JOBS / (time.perf_counter() - began)


class _Receiver:
    """Answers 204 to whatever comes, and counts."""

    def __init__(self) -> None:
        self._arrived: list[float] = []
        self._all = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[int]) -> None:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        task_status.started(listener.socket.getsockname()[1])
        await trio.serve_listeners(self._serve, [listener])

    async def rate(self, send: Callable[[], Awaitable[None]]) -> float:
        """Arrivals per second, from the first to the last of DELIVERIES that `send` brings about."""
        self._arrived, self._all = [], trio.Event()
        with trio.fail_after(TIMEOUT):
            await send()
            await self._all.wait()
        return (DELIVERIES - 1) / (self._arrived[-1] - self._arrived[0])

    async def _serve(self, stream: trio.SocketStream) -> None:
        buffer = b""
        while data := await stream.receive_some(65_536):
            buffer += data
            while (end := buffer.find(b"\r\n\r\n")) >= 0:
                length = int(buffer[:end].lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
                if len(buffer) < end + 4 + length:
                    break
                buffer = buffer[end + 4 + length :]
                self._arrived.append(time.perf_counter())
                if len(self._arrived) == DELIVERIES:
                    self._all.set()
                await stream.send_all(NO_CONTENT)


async def _posted(port: int) -> None:
    request = post("/", JOB)

    async def some() -> None:
        async with connected(port) as connection:
            for _ in range(DELIVERIES // SENDERS):
                await connection.exchange(request)

    async with trio.open_nursery() as nursery:
        for _ in range(SENDERS):
            nursery.start_soon(some)


async def _followed(daemon: Daemon, readers: int) -> list[float]:
    """Milliseconds from each commit to each arrival, while jobs are submitted in their time."""
    took: list[float] = []
    count = EVENTS * SECONDS

    async def follow(*, task_status: trio.TaskStatus[None]) -> None:
        async with open_websocket_url(f"ws://127.0.0.1:{daemon.port}/events") as socket:
            await socket.get_message()  # hello
            task_status.started()
            for _ in range(count):
                said = json.loads(await socket.get_message())
                at = datetime.fromisoformat(said["timestamp"]).timestamp()
                took.append((time.time() - at) * 1000)

    with trio.fail_after(TIMEOUT):
        async with trio.open_nursery() as nursery, connected(daemon.port) as connection:
            for _ in range(readers):
                await nursery.start(follow)
            began = trio.current_time()
            for number in range(count):
                await trio.sleep_until(began + number / EVENTS)
                await connection.exchange(post("/jobs", JOB))
    return took
