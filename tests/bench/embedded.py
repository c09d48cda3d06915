"""The embedded model through Foreman: its speed beside the engine asked directly, and what slots are worth."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import trio

from tests.bench.daemon import Daemon, engine, serving
from tests.bench.figures import Figure, Wanted, middle
from tests.bench.stored import jobs_per_second, newest_seq, reading, wait_done
from tests.bench.wire import ask, connected, get, post

MODEL = "smollm2:135m"
TOKENS = 256  # of one long answer
FEWER = 64  # of each answer of several callers
SHORT = 48  # tokens of each of many
TOGETHER = 16  # jobs of which the slots make the best
MANY_SLOTS = 8
TIMEOUT = 180.0  # seconds


async def tokens(rounds: int) -> list[Figure]:
    """Tokens per second from asking to the last chunk: POST /jobs and its stream beside the engine's own stream."""
    return [await _tokens(rounds, 1, TOKENS), await _tokens(rounds, MANY_SLOTS, FEWER)]


async def _tokens(rounds: int, callers: int, limit: int) -> Figure:
    through: list[float] = []
    direct: list[float] = []
    with TemporaryDirectory() as folder:
        async with engine(callers) as port, serving(Path(folder) / "data", slots=callers) as daemon:
            for number in range(rounds + 1):
                alone = await _pace(_asked_directly, port, callers, number, limit)
                asked = await _pace(_followed, daemon.port, callers, number, limit)
                if number:  # the first ones load and warm up
                    direct.append(alone)
                    through.append(asked)
    who = "" if callers == 1 else f", {callers} callers"
    name = f"tokens, embedded model{who}"
    return Figure(name, middle(through), "tokens/s", "engine alone", middle(direct), Wanted("≥", 0.97, "ratio"))


async def _pace(
    ask: Callable[[int, str, int], Awaitable[int]], port: int, callers: int, number: int, limit: int
) -> float:
    """Tokens per second of all callers at once, each with a question of its own."""
    said = 0

    async def call(caller: int) -> None:
        nonlocal said
        said += await ask(port, f"Number {number * callers + caller}. Tell a long story about a lighthouse.", limit)

    began = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for caller in range(callers):
            nursery.start_soon(call, caller)
    return said / (time.perf_counter() - began)


async def slots(rounds: int) -> list[Figure]:
    many: list[float] = []
    one: list[float] = []
    with TemporaryDirectory() as folder:
        async with (
            serving(Path(folder) / "one", slots=1) as single,
            serving(Path(folder) / "many", slots=MANY_SLOTS) as several,
        ):
            for daemon in (single, several):
                await _together(daemon, MANY_SLOTS)  # loads, and fills every slot's context once
            for _ in range(rounds):
                one.append(await _together(single, TOGETHER))
                many.append(await _together(several, TOGETHER))
    return [
        Figure(
            f"slots, embedded model with {MANY_SLOTS}",
            middle(many),
            "jobs/s",
            "1 slot",
            middle(one),
            Wanted("≥", 1.4, "ratio"),
        )
    ]


async def _followed(port: int, question: str, limit: int) -> int:
    async with connected(port) as connection:
        _, body = await connection.exchange(post("/jobs", _chat(question, limit)))
        job_id = json.loads(body)["job_id"]
        said = b"".join([piece async for piece in connection.stream(get(f"/jobs/{job_id}/stream"))])
    return int(json.loads(said.splitlines()[-1])["eval_count"])


async def _asked_directly(port: int, question: str, limit: int) -> int:
    asked = {
        "model": MODEL,
        "messages": [{"role": "user", "content": question}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": limit,
        "temperature": 0,
    }
    async with connected(port) as connection:
        said = b"".join([piece async for piece in connection.stream(post("/v1/chat/completions", asked))])
    events = [json.loads(line[6:]) for line in said.splitlines() if line.startswith(b"data: {")]
    usage: dict[str, Any] = next(event["usage"] for event in reversed(events) if event.get("usage"))
    return int(usage["completion_tokens"])


async def _together(daemon: Daemon, count: int) -> float:
    before = newest_seq(daemon.database)
    had = done(daemon)
    for number in range(count):
        question = f"Write a few sentences about the number {had + number}."
        await ask(daemon.port, post("/jobs", _chat(question, SHORT)), status=202)
    await wait_done(daemon.database, had + count, within=TIMEOUT)
    return jobs_per_second(daemon.database, after=before)


def done(daemon: Daemon) -> int:
    """The number of jobs that are done."""
    with reading(daemon.database) as db:
        return int(db.execute("SELECT count(*) FROM jobs WHERE state = 'done'").fetchone()[0])


def _chat(question: str, tokens: int) -> dict[str, Any]:
    options = {"num_predict": tokens, "temperature": 0}
    return {"model": MODEL, "messages": [{"role": "user", "content": question}], "options": options}
