"""What Foreman costs with nothing to do, and with a million jobs waiting."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from tests.bench.claims import CLAIMS
from tests.bench.daemon import Daemon, child
from tests.bench.figures import Figure, Wanted, middle, percentile
from tests.bench.instant import MODELS
from tests.bench.stored import PAYLOAD, fill
from tests.bench.wire import ask, get, post

MILLION = 1_000_000
FEW = 1000  # jobs of the small store that the large one is held against
TARGETS = 16
KEYS = tuple(f"m{n}" for n in range(200))  # models of the queue that many targets share
CALLERS = 50  # of that queue
PROMPTS = 10_007  # ways in which its prompts begin
SETTLED = 1.0  # seconds after which a started daemon has grown to its size


async def idle(rounds: int) -> list[Figure]:
    """Without jobs, without engine; the reference is `python -c pass`, which is what any Python program pays."""
    starts, sizes, bare = [], [], []
    with TemporaryDirectory() as folder:
        for number in range(rounds + 1):
            async with _up(Path(folder) / "data") as (daemon, took):
                await trio.sleep(SETTLED)
                if number:  # the first one compiles modules and makes the database
                    starts.append(took)
                    sizes.append(daemon.memory("VmHWM"))
                    bare.append(await _python())
    seconds = middle([took for took, _ in bare])
    size = middle([size for _, size in bare])
    return [
        Figure("idle: ready after", middle(starts), "s", "bare Python", seconds, Wanted("<", 1.5)),
        Figure("idle: memory at most", middle(sizes), "MB", "bare Python", size, Wanted("<", 100)),
    ]


async def million(rounds: int) -> list[Figure]:
    with TemporaryDirectory() as folder:
        large, small = Path(folder) / "large", Path(folder) / "small"
        await trio.to_thread.run_sync(fill, large, MILLION, MODELS)
        await trio.to_thread.run_sync(fill, small, FEW, MODELS)
        claims = {data_dir: await _claims(data_dir) for data_dir in (small, large)}
        starts: dict[Path, list[float]] = {small: [], large: []}
        sizes: dict[Path, list[float]] = {small: [], large: []}
        async with child("tests.bench.instant", "--silent") as target:
            url = f"http://127.0.0.1:{target['port']}"
            for _ in range(rounds):
                for data_dir in (small, large):
                    settings = {"ollama_url": url, "max_queue": 10 * MILLION, "shutdown_grace": 0}
                    async with _up(data_dir, **settings) as (daemon, took):
                        await _use(daemon)
                        starts[data_dir].append(took)
                        sizes[data_dir].append(daemon.memory("VmHWM"))
    wide = await _wide()
    against = f"{FEW} jobs"
    return [
        Figure("million: ready after", middle(starts[large]), "s", against, middle(starts[small]), Wanted("<", 3)),
        Figure(
            "million: claim, 99 of 100 within",
            1000 * percentile(claims[large], 0.99),
            "ms",
            against,
            1000 * percentile(claims[small], 0.99),
            Wanted("<", 5),
        ),
        Figure(
            f"million: claim by {TARGETS} targets, {len(KEYS)} models, {CALLERS} callers",
            1000 * percentile(wide[MILLION], 0.99),
            "ms",
            against,
            1000 * percentile(wide[FEW], 0.99),
            Wanted("<", 5),
        ),
        Figure("million: memory at most", middle(sizes[large]), "MB", against, middle(sizes[small]), Wanted("<", 200)),
    ]


@asynccontextmanager
async def _up(data_dir: Path, **settings: object) -> AsyncIterator[tuple[Daemon, float]]:
    daemon = Daemon(data_dir, **settings)
    try:
        began = time.perf_counter()
        await daemon.start()
        await ask(daemon.port, get("/readyz"))
        yield daemon, time.perf_counter() - began
        await daemon.stop()
    finally:
        await daemon.kill()


async def _use(daemon: Daemon) -> None:
    """A little of everything that reads the queue, so that its cost shows in the daemon's size."""
    job_id = ""
    for number in range(50):
        job = {"model": MODELS[number % len(MODELS)], **PAYLOAD}
        job_id = (await ask(daemon.port, post("/jobs", job), status=202))["job_id"]
    for path in ("/queue", f"/jobs/{job_id}", "/jobs?limit=500", f"/jobs/{job_id}/events"):
        await ask(daemon.port, get(path))
    await trio.sleep(SETTLED)


async def _wide() -> dict[int, list[float]]:
    """Seconds of claims by many targets over many models, by the number of jobs that wait."""
    with TemporaryDirectory() as folder:
        took = {}
        for count in (FEW, MILLION):
            data_dir = Path(folder) / f"{count}"
            await trio.to_thread.run_sync(partial(fill, data_dir, count, KEYS, callers=CALLERS, prompts=PROMPTS))
            took[count] = await _claims(data_dir, str(TARGETS))
        return took


async def _claims(data_dir: Path, *arguments: str) -> list[float]:
    async with child("tests.bench.claims", str(data_dir), *arguments) as took:
        assert len(took) == CLAIMS
        return [float(seconds) for seconds in took]


async def _python() -> tuple[float, float]:
    """Seconds and megabytes of a Python that does nothing."""
    began = time.perf_counter()
    code = "print(*(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    done = await trio.run_process([sys.executable, "-c", code], capture_stdout=True)
    return time.perf_counter() - began, int(done.stdout) * 1024 / 1e6
