"""`python -m tests.profile [name ...]`: CPU microseconds of a call by part, and a flame graph of it."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from tests.bench.calls import CHAT, CHUNKS, STREAM
from tests.bench.daemon import Daemon, child, serving
from tests.bench.instant import MODELS
from tests.bench.stored import PAYLOAD
from tests.bench.wire import connected, post
from tests.profile.parts import shares

CALLERS = 8
WARM_UP = 1.0  # seconds
RATE = 400  # samples per second
LEAST = 0.5  # microseconds of a part that is worth a line
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"
MISSING = "make profile needs py-spy, which is not among Foreman's packages: .venv/bin/pip install py-spy"
JOB = post("/jobs", {"model": MODELS[0], **PAYLOAD})

Count = Callable[[int], None]
Ask = Callable[[int, Count], Awaitable[None]]  # asks at a port again and again, and counts what is done


@dataclass(frozen=True, slots=True)
class Subject:
    """What is asked again and again, of which target, and what one of it is called."""

    unit: str
    target: tuple[str, ...]  # options of the instant target
    ask: Ask
    settings: dict[str, object]


@dataclass(frozen=True, slots=True)
class Budget:
    """CPU microseconds of one call, all of it and by part."""

    whole: float
    parts: dict[str, float]


async def _exchange(request: bytes, status: int, port: int, count: Count) -> None:
    async with connected(port) as connection:
        while True:
            got, body = await connection.exchange(request)
            if got != status:
                raise RuntimeError(f"answered {got} instead of {status}: {body[:300]!r}")
            count(1)


async def _submit(port: int, count: Count) -> None:
    await _exchange(JOB, 202, port, count)


async def _call(port: int, count: Count) -> None:
    await _exchange(CHAT, 200, port, count)


async def _stream(port: int, count: Count) -> None:
    async with connected(port) as connection:
        while True:
            async for piece in connection.stream(STREAM):
                count(piece.count(b"\n"))


SUBJECTS = {
    # The one slot is held by a target that never answers, so that nothing but submission goes on.
    "submission": Subject("POST /jobs", ("--silent",), _submit, {"max_queue": 10_000_000, "shutdown_grace": 0}),
    "call": Subject("call of /api/chat, not streamed", (), _call, {"slots": CALLERS}),
    "chunk": Subject("chunk of /api/chat, streamed", ("--chunks", str(CHUNKS)), _stream, {"slots": CALLERS}),
}


async def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.profile", description="Show where a call's time goes.")
    parser.add_argument("names", nargs="*", metavar="name", help=f"which: {' '.join(SUBJECTS)}; all by default")
    parser.add_argument("--seconds", type=float, default=6.0, help="of each of the three recordings of a subject")
    parser.add_argument("--output", type=Path, default=Path("build/profile"), help="folder for the flame graphs")
    parser.add_argument(
        "--into", type=Path, metavar="PAGE", help="also replace the figures of this page, as docs/budget.md"
    )
    asked = parser.parse_args(argv)
    if unknown := set(asked.names) - set(SUBJECTS):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    beside = Path(sys.executable).with_name("py-spy")
    spy = str(beside) if beside.exists() else shutil.which("py-spy")
    if spy is None:
        print(MISSING, file=sys.stderr)
        return 1
    asked.output.mkdir(parents=True, exist_ok=True)
    said = [f"{os.cpu_count()} cores, Python {platform.python_version()}, {CALLERS} callers; microseconds of CPU:\n"]
    print(said[0], flush=True)
    for name in asked.names or SUBJECTS:
        graph = asked.output / f"{name}.svg"
        budget = await _measure(SUBJECTS[name], spy, asked.seconds, graph)
        said.append(_table(SUBJECTS[name].unit, budget))
        print(f"{said[-1]}\nflame graph: {graph}\n", flush=True)
    if asked.into:
        page: str = await trio.to_thread.run_sync(asked.into.read_text)
        before, _, rest = page.partition(BEGIN)
        _, _, after = rest.partition(END)
        words = "\n".join(said)
        await trio.to_thread.run_sync(asked.into.write_text, f"{before}{BEGIN}\n{words}{END}{after}")
    return 0


def _table(unit: str, budget: Budget) -> str:
    rows = [f"| {part} | {took:.0f} |\n" for part, took in budget.parts.items() if took >= LEAST]
    return f"| one {unit} | µs |\n|---|--:|\n{''.join(rows)}| **all** | **{budget.whole:.0f}** |\n"


async def _measure(subject: Subject, spy: str, seconds: float, graph: Path) -> Budget:
    """Record one subject: its cost without a profiler, then the shares of its parts, then the flame graph."""
    with TemporaryDirectory() as folder:
        samples = Path(folder) / "samples"
        async with _busy(subject, Path(folder)) as (daemon, done):
            before, cpu = done(), _cpu(daemon)
            await trio.sleep(seconds)
            whole = (_cpu(daemon) - cpu) / max(1, done() - before) * 1e6
            await _record(spy, daemon, seconds, samples, "raw", "--full-filenames")
            await _record(spy, daemon, seconds, graph, "flamegraph")
        with samples.open() as lines:
            return Budget(whole, {part: share * whole for part, share in shares(lines).items()})


@asynccontextmanager
async def _busy(subject: Subject, folder: Path) -> AsyncIterator[tuple[Daemon, Callable[[], int]]]:
    """Give a Foreman that is kept busy, and how many calls or chunks it has done so far."""
    done = 0

    def count(more: int) -> None:
        nonlocal done
        done += more

    async with (
        child("tests.bench.instant", *subject.target) as target,
        serving(folder / "data", ollama_url=f"http://127.0.0.1:{target['port']}", **subject.settings) as daemon,
        trio.open_nursery() as nursery,
    ):
        for _ in range(CALLERS):
            nursery.start_soon(subject.ask, daemon.port, count)
        await trio.sleep(WARM_UP)
        yield daemon, lambda: done
        nursery.cancel_scope.cancel()


async def _record(spy: str, daemon: Daemon, seconds: float, to: Path, form: str, *options: str) -> None:
    command = [spy, "record", "--pid", str(daemon.process.pid), "--duration", str(max(1, round(seconds)))]
    command += ["--rate", str(RATE), "--nonblocking", "--format", form, "--output", str(to), *options]
    done = await trio.run_process(command, check=False, capture_stdout=True, capture_stderr=True)
    if done.returncode:
        raise SystemExit(f"py-spy cannot look at Foreman's process: {done.stderr.decode(errors='replace').strip()}")


def _cpu(daemon: Daemon) -> float:
    """Return the CPU seconds of the process until now."""
    stat = Path(f"/proc/{daemon.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(trio.run(main, sys.argv[1:]))
