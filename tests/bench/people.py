"""A person who calls while a long job of a lower class runs on the embedded model, beside one who finds it idle."""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import trio

from tests.bench.daemon import Daemon, serving
from tests.bench.embedded import MODEL
from tests.bench.figures import Figure, Wanted, middle
from tests.bench.wire import ask, connected, get, post

LONG = 600  # tokens of the job that gives way: more than 6 s
SHORT = 8  # tokens of the person's answer
RUNS = 2.0  # seconds for which the job has run when the person calls
LOOK = 0.05  # seconds between looks at a job
TIMEOUT = 600.0  # seconds for a job
COUNT = {"messages": [{"role": "user", "content": "Count as far as you can."}], "temperature": 0, "ignore_eos": True}


async def people(rounds: int) -> list[Figure]:
    """The time to the first word that the running job adds. That job gives way, and is done on its first attempt."""
    idle: list[float] = []
    busy: list[float] = []
    with TemporaryDirectory() as folder:
        async with serving(Path(folder) / "data", slots=1) as daemon:
            await _ended(daemon, await _submit(daemon))  # loads, and teaches how long such jobs take
            await _first_word(daemon)
            for _ in range(rounds):
                idle.append(await _first_word(daemon))
                job = await _submit(daemon)
                await _reached(daemon, job, "working")
                await trio.sleep(RUNS)
                busy.append(await _first_word(daemon))
                await _ended(daemon, job)
    added = [late - middle(idle) for late in busy]
    return [Figure("people, a low job gives way", middle(added), "s", "first word, idle", middle(idle), Wanted("≤", 1))]


async def _submit(daemon: Daemon) -> str:
    asked = {"model": MODEL, "endpoint": "/v1/chat/completions", "priority": "low", "max_tokens": LONG, **COUNT}
    job: str = (await ask(daemon.port, post("/jobs", asked), status=202))["job_id"]
    return job


async def _first_word(daemon: Daemon) -> float:
    """Seconds from the call to the first piece of its answer."""
    asked = {"model": MODEL, "messages": [{"role": "user", "content": "Hello!"}], "options": {"num_predict": SHORT}}
    async with connected(daemon.port) as connection:
        began, first = time.perf_counter(), 0.0
        async for _ in connection.stream(post("/api/chat", asked)):
            first = first or time.perf_counter() - began
    return first


async def _reached(daemon: Daemon, job_id: str, *states: str) -> dict[str, Any]:
    with trio.fail_after(TIMEOUT):
        while True:
            job: dict[str, Any] = await ask(daemon.port, get(f"/jobs/{job_id}"))
            if job["state"] in states:
                return job
            await trio.sleep(LOOK)


async def _ended(daemon: Daemon, job_id: str) -> None:
    job = await _reached(daemon, job_id, "done", "failed", "cancelled", "expired")
    if (job["state"], job["attempt"]) != ("done", 1):
        raise RuntimeError(f"the job that gave way ended {job['state']} on attempt {job['attempt']}")
