"""The drain of a backlog against an instant target, beside that target asked directly."""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from foreman.targets.http.pool import Client
from tests.bench.daemon import child, serving
from tests.bench.figures import Figure, Wanted, middle
from tests.bench.instant import MODELS
from tests.bench.stored import PAYLOAD, fill, jobs_per_second, wait_done
from tests.bench.wire import post

JOBS = 4000
TIMEOUT = 120.0  # seconds for all of them
WANTED = {1: 350, 8: 900}  # jobs per second by slots


async def drain(rounds: int) -> list[Figure]:
    direct: dict[int, list[float]] = {slots: [] for slots in WANTED}
    drained: dict[int, list[float]] = {slots: [] for slots in WANTED}
    async with child("tests.bench.instant") as target:
        for _ in range(rounds):
            for slots in WANTED:
                direct[slots].append(await _asked(target["port"], slots))
                drained[slots].append(await _drained(target["port"], slots))
    return [
        Figure(
            f"drain, {slots} slot{'s' if slots > 1 else ''}",
            middle(drained[slots]),
            "jobs/s",
            "target alone",
            middle(direct[slots]),
            Wanted("≥", least),
        )
        for slots, least in WANTED.items()
    ]


async def _drained(port: int, slots: int) -> float:
    with TemporaryDirectory() as folder:
        data_dir = Path(folder) / "data"
        await trio.to_thread.run_sync(fill, data_dir, JOBS)
        async with serving(data_dir, ollama_url=f"http://127.0.0.1:{port}", slots=slots) as daemon:
            await wait_done(daemon.database, JOBS, within=TIMEOUT)
            return jobs_per_second(daemon.database)


async def _asked(port: int, connections: int) -> float:
    client = Client(f"http://127.0.0.1:{port}")
    body = post("", {"model": MODELS[0], **PAYLOAD, "stream": True}).partition(b"\r\n\r\n")[2]
    left = JOBS

    async def keep_asking() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await client.fetch("POST", "/api/chat", body, limit=10_000)

    began = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(connections):
            nursery.start_soon(keep_asking)
    took = time.perf_counter() - began
    client.close()
    return JOBS / took
