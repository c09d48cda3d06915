"""Durable submission beside empty routes: of the stock stack, and of the same server."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench.daemon import child, serving
from tests.bench.figures import Figure, Wanted, middle
from tests.bench.instant import MODELS
from tests.bench.stored import PAYLOAD
from tests.bench.wire import post, rate

CONNECTIONS = 32
SECONDS = 2.0  # of each rate


async def submit(rounds: int) -> list[Figure]:
    """POST /jobs while the one slot is held by a target that never answers, so that nothing but submission goes on."""
    job = {"model": MODELS[0], **PAYLOAD}
    stored: list[float] = []
    empty: list[float] = []
    stock: list[float] = []
    with TemporaryDirectory() as folder:
        async with (
            child("tests.bench.instant", "--silent") as target,
            child("tests.bench.empty") as bare,
            child("tests.bench.stock") as plain,
            serving(
                Path(folder) / "data",
                ollama_url=f"http://127.0.0.1:{target['port']}",
                max_queue=10_000_000,
                shutdown_grace=0,
            ) as daemon,
        ):
            load = {"connections": CONNECTIONS, "seconds": SECONDS, "status": 202}
            for _ in range(rounds):
                stock.append(await rate(plain["port"], post("/", job), **load))  # type: ignore[arg-type]
                empty.append(await rate(bare["port"], post("/", job), **load))  # type: ignore[arg-type]
                stored.append(await rate(daemon.port, post("/jobs", job), **load))  # type: ignore[arg-type]
    what = f"submit, {CONNECTIONS} connections"
    return [
        Figure(what, middle(stored), "jobs/s", "empty route, stock", middle(stock), Wanted("≥", 1.2, "ratio")),
        Figure(what, middle(stored), "jobs/s", "empty route, own", middle(empty), Wanted("≥", 0.75, "ratio")),
    ]
