"""Synchronous calls through Foreman beside the same calls to the target."""

from __future__ import annotations

import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from tests.bench.daemon import child, serving
from tests.bench.figures import Figure, Wanted, middle, percentile
from tests.bench.instant import CHUNKS_PER_SECOND, MODELS
from tests.bench.stored import PAYLOAD
from tests.bench.wire import connected, post, rate

SLOTS = 8
MANY = 32  # callers who wait for each other's slots
SECONDS = 2.0  # of each rate
CALLS = 200  # one after the other
CHUNKS = 400  # of one answer
ARRIVAL = 0.1  # seconds between the beginnings of streams that then run side by side
PAUSE = 0.025  # seconds between calls, as a person leaves them: each finds cores and caches at rest

CHAT = post("/api/chat", {"model": MODELS[0], **PAYLOAD, "stream": False})
STREAM = post("/api/chat", {"model": MODELS[0], **PAYLOAD, "stream": True})
EMBED = post("/api/embed", {"model": MODELS[0], "input": "a cat"})


async def chat(rounds: int) -> list[Figure]:
    """Whole answers of an instant target: what one caller waits longer, and how many calls there can be."""
    pauses = {"": 0.0, " at rest": PAUSE}
    alone: dict[str, list[list[float]]] = {when: [] for when in pauses}
    through: dict[str, list[list[float]]] = {when: [] for when in pauses}
    direct: dict[int, list[float]] = {SLOTS: [], MANY: []}
    together: dict[int, list[float]] = {SLOTS: [], MANY: []}
    with TemporaryDirectory() as folder:
        async with (
            child("tests.bench.instant") as target,
            serving(Path(folder) / "data", ollama_url=f"http://127.0.0.1:{target['port']}", slots=SLOTS) as daemon,
        ):
            for _ in range(rounds):
                for when, pause in pauses.items():
                    alone[when].append(await _latencies(target["port"], pause))
                    through[when].append(await _latencies(daemon.port, pause))
                for callers in together:
                    for port, found in ((target["port"], direct), (daemon.port, together)):
                        pace = await rate(port, CHAT, connections=callers, seconds=SECONDS, status=200)
                        found[callers].append(pace)
    figures = []
    for when, share, most in (("", 0.5, 2), ("", 0.99, 4), (" at rest", 0.5, 4)):
        bare = middle([percentile(round_, share) for round_ in alone[when]])
        more = middle([percentile(round_, share) for round_ in through[when]]) - bare
        name = f"/api/chat{when}, time added{'' if share == 0.5 else ', 99 % of them'}"
        figures.append(Figure(name, more, "ms", "direct", bare, Wanted("≤", most)))
    for callers, least in ((SLOTS, 900), (MANY, 1000)):
        pace, bare = middle(together[callers]), middle(direct[callers])
        figures.append(Figure(f"/api/chat, {callers} callers", pace, "calls/s", "direct", bare, Wanted("≥", least)))
    return figures


async def chunks(rounds: int) -> list[Figure]:
    """Streams of a target that takes its time: when the first chunk is there, and how long each is on its way."""
    firsts: dict[str, list[float]] = {"direct": [], "through": []}
    lags: dict[str, list[float]] = {"direct": [], "through": []}
    with TemporaryDirectory() as folder:
        async with (
            child("tests.bench.instant", "--chunks", str(CHUNKS)) as target,
            serving(Path(folder) / "data", ollama_url=f"http://127.0.0.1:{target['port']}", slots=SLOTS) as daemon,
        ):
            for _ in range(rounds):
                for name, port in (("direct", target["port"]), ("through", daemon.port)):
                    async with trio.open_nursery() as nursery:
                        for number in range(SLOTS):
                            nursery.start_soon(_streamed, port, number * ARRIVAL, firsts[name], lags[name])
    more = middle(firsts["through"]) - middle(firsts["direct"])
    what = f"{SLOTS} streams of {CHUNKS_PER_SECOND}/s"
    interval = 1000 / CHUNKS_PER_SECOND
    ways = middle(lags["through"]), middle(lags["direct"])
    lates = percentile(lags["through"], 0.99), percentile(lags["direct"], 0.99)
    return [
        Figure(f"first chunk added, {SLOTS} streams", more, "ms", "direct", middle(firsts["direct"]), Wanted("≤", 3)),
        Figure(f"each chunk's way, {what}", ways[0], "ms", "direct", ways[1], Wanted("<", interval)),
        Figure("the same, 99 % of them", lates[0], "ms", "direct", lates[1], Wanted("<", 5 * interval)),
    ]


async def embeddings(rounds: int) -> list[Figure]:
    """What goes past the queue, beside a route that only passes on."""
    bare: list[float] = []
    through: list[float] = []
    with TemporaryDirectory() as folder:
        async with child("tests.bench.instant") as target:
            url = f"http://127.0.0.1:{target['port']}"
            async with (
                child("tests.bench.proxy", url) as proxy,
                serving(Path(folder) / "data", ollama_url=url) as daemon,
            ):
                load = {"connections": SLOTS, "seconds": SECONDS, "status": 200}
                for _ in range(rounds):
                    bare.append(await rate(proxy["port"], EMBED, **load))  # type: ignore[arg-type]
                    through.append(await rate(daemon.port, EMBED, **load))  # type: ignore[arg-type]
    wanted = Wanted("≥", 0.5, "ratio")
    return [Figure(f"/api/embed, {SLOTS} callers", middle(through), "calls/s", "bare proxy", middle(bare), wanted)]


async def _latencies(port: int, pause: float) -> list[float]:
    """Milliseconds of each of many calls on one connection, with so many seconds between two of them."""
    took: list[float] = []
    async with connected(port) as connection:
        for _ in range(CALLS):
            began = time.perf_counter()
            status, body = await connection.exchange(CHAT)
            took.append((time.perf_counter() - began) * 1000)
            if status != 200:
                raise RuntimeError(f"answered {status}: {body[:300]!r}")
            await trio.sleep(pause)
    return took


async def _streamed(port: int, after: float, firsts: list[float], lags: list[float]) -> None:
    """One stream: milliseconds until its first chunk, and from each chunk's sending to its arrival."""
    await trio.sleep(after)
    async with connected(port) as connection:
        began = time.perf_counter()
        first = True
        async for piece in connection.stream(STREAM):
            arrived = time.perf_counter()
            if first:
                firsts.append((arrived - began) * 1000)
                first = False
            for line in piece.splitlines():
                value = json.loads(line)
                if not value["done"]:
                    lags.append((arrived - float(value["message"]["content"])) * 1000)
