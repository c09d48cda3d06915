"""A batch as large as may be, to its end: memory, the first line, and people who call meanwhile."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
import trio

from tests.bench.daemon import Daemon, child, serving
from tests.bench.figures import Figure, Wanted, middle
from tests.bench.instant import MODELS
from tests.bench.stored import PAYLOAD
from tests.bench.wire import ask, connected, get, post

LINES = 50_000
SIZE = 4000  # characters of a prompt: some 207 MB in all
ENDPOINT = "/v1/chat/completions"
CALL = post("/api/chat", {"model": MODELS[0], **PAYLOAD, "stream": False})
EVERY = 0.5  # seconds between calls
LOOK = 0.5  # seconds between looks at the batch
TIMEOUT = 1800.0  # seconds for the batch
SETTLED = 1.0  # seconds until the first calls have grown the daemon to its size


async def batch(rounds: int) -> list[Figure]:
    """One batch over one slot, whatever the number of rounds; the target answers at once."""
    with TemporaryDirectory() as folder:
        lines = Path(folder) / "lines.jsonl"
        size = await trio.to_thread.run_sync(_write, lines)
        async with (
            child("tests.bench.instant") as target,
            serving(Path(folder) / "data", ollama_url=f"http://127.0.0.1:{target['port']}", slots=1) as daemon,
        ):
            alone = [await _call(daemon) for _ in range(20)]
            await trio.sleep(SETTLED)
            before = daemon.memory()
            began = time.time()
            file_id = await trio.to_thread.run_sync(_upload, daemon.port, lines)
            uploaded = time.time()
            given = {"input_file_id": file_id, "endpoint": ENDPOINT, "completion_window": "24h"}
            batch_id = (await ask(daemon.port, post("/v1/batches", given)))["id"]
            called = list[float]()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_keep_calling, daemon, called)
                with trio.fail_after(TIMEOUT):
                    shown = await _ended(daemon, batch_id)
                nursery.cancel_scope.cancel()
            ended = time.time()
            grown = daemon.memory("VmHWM") - before
            odd = await trio.to_thread.run_sync(_odd_lines, daemon.port, shown)
            first, between = await trio.to_thread.run_sync(_read, daemon.database)
    megabytes = size / 1e6
    return [
        Figure("batch: lines not once in its file", odd, "lines", "lines", LINES, Wanted("≤", 0)),
        Figure("batch: memory grown by", grown, "MB", "input", megabytes, Wanted("<", 100)),
        Figure("batch: first line after upload", first - uploaded, "s", "upload", uploaded - began, Wanted("<", 10)),
        Figure("batch: lines before a call", max(between), "lines", "calls", len(between), Wanted("≤", 1)),
        Figure("batch: a call meanwhile", 1000 * middle(called), "ms", "alone", 1000 * middle(alone), Wanted("<", 50)),
        Figure("batch: to its end", ended - uploaded, "s", "upload", uploaded - began, Wanted("<", TIMEOUT)),
    ]


def _write(path: Path) -> int:
    """Write the input; return its bytes."""
    with path.open("w") as file:
        for number in range(LINES):
            body = {"model": MODELS[0], "messages": [{"role": "user", "content": f"{number} {'x' * SIZE}"}]}
            line = {"custom_id": f"line-{number}", "method": "POST", "url": ENDPOINT, "body": body}
            file.write(json.dumps(line) + "\n")
    return path.stat().st_size


def _upload(port: int, path: Path) -> str:
    with path.open("rb") as file, _client(port) as client:
        answer = client.post("/v1/files", data={"purpose": "batch"}, files={"file": (path.name, file)})
    answer.raise_for_status()
    return str(answer.json()["id"])


def _client(port: int) -> httpx2.Client:
    return httpx2.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=TIMEOUT)


async def _call(daemon: Daemon) -> float:
    began = time.perf_counter()
    async with connected(daemon.port) as connection:
        status, body = await connection.exchange(CALL)
    if status != 200:
        raise RuntimeError(f"answered {status}: {body[:300]!r}")
    return time.perf_counter() - began


async def _keep_calling(daemon: Daemon, called: list[float]) -> None:
    while True:
        called.append(await _call(daemon))
        await trio.sleep(EVERY)


async def _ended(daemon: Daemon, batch_id: str) -> dict[str, object]:
    while True:
        shown: dict[str, object] = await ask(daemon.port, get(f"/v1/batches/{batch_id}"))
        if shown["status"] == "completed":
            return shown
        if shown["status"] == "failed":
            raise RuntimeError(f"the batch has failed: {shown['errors']}")
        await trio.sleep(LOOK)


def _odd_lines(port: int, shown: dict[str, object]) -> int:
    """Return how many lines are missing in the output file, or are there more than once, or in the error file."""
    seen = set[str]()
    count = 0
    with _client(port) as client, client.stream("GET", f"/v1/files/{shown['output_file_id']}/content") as answer:
        for line in answer.iter_lines():
            seen.add(json.loads(line)["custom_id"])
            count += 1
    missing = len({f"line-{number}" for number in range(LINES)} ^ seen)
    return missing + count - len(seen) + (shown["error_file_id"] is not None)


def _read(database: Path) -> tuple[float, list[int]]:
    """Return when the first line started, and for each call how many lines started before it once it was there."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
        starts = [at for (at,) in db.execute("SELECT started_at FROM jobs WHERE batch_id IS NOT NULL")]
        first, last = min(starts), max(starts)
        calls = db.execute(
            "SELECT created_at, started_at FROM jobs WHERE batch_id IS NULL AND created_at BETWEEN ? AND ?",
            (first, last),
        ).fetchall()
    return first, [sum(came < at < began for at in starts) for came, began in calls]
