"""`slots = "auto"` on the embedded model: the speed with the number that it finds, beside the best fixed number."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from foreman.actors.auto_slots import note_of, read_note
from foreman.domain.scheduling.climb import LEAST_JOBS
from tests.bench.daemon import Daemon, serving
from tests.bench.embedded import MODEL, done
from tests.bench.figures import Figure, Wanted, middle
from tests.bench.jobs import submit_lines
from tests.bench.stored import jobs_per_second, newest_seq, reading, wait_done
from tests.bench.wire import ask, get, post

WINDOWS = 30
NUMBERS = (1, 2, 3, 4, 6, 8)  # of slots; the engine has 8 at most
JOBS = 2 * LEAST_JOBS  # of each measurement with a fixed number, at least
ANSWER = 16  # tokens
TIMEOUT = 3600.0  # seconds


async def climbing(rounds: int) -> list[Figure]:
    """A backlog of as many jobs as make WINDOWS windows; then fixed numbers, and the best of them beside the one found.

    The best of several noisy measurements looks better than it is, so these two are measured again, by turns.
    """
    with TemporaryDirectory() as folder:
        async with serving(Path(folder) / "auto", slots="auto") as daemon:
            await _pace(daemon, 1)  # loads
            await _pace(daemon, WINDOWS * LEAST_JOBS)
            with reading(daemon.database) as db:
                [target] = (await ask(daemon.port, get("/targets")))["targets"]
                note = db.execute("SELECT value FROM notes WHERE name = ?", (note_of(target["name"]),)).fetchone()
            found = read_note(note[0] if note else None)
        speeds = await _by_turns(Path(folder) / "fixed", {*NUMBERS, found}, rounds)
        best = max(speeds, key=lambda slots: speeds[slots])
        speeds = await _by_turns(Path(folder) / "again", {best, found}, rounds)
    name, against = f'slots = "auto": {found} found', f"the best, {best}"
    return [Figure(name, speeds[found], "jobs/s", against, speeds[best], Wanted("≥", 0.95, "ratio"))]


async def _by_turns(folder: Path, numbers: set[int], rounds: int) -> dict[int, float]:
    """Return the jobs per second of each number of slots: as many jobs as fill them evenly, in every round."""
    paces: dict[int, list[float]] = {slots: [] for slots in sorted(numbers)}
    for number in range(rounds):
        for slots, found in paces.items():
            async with serving(folder / f"{slots}-{number}", slots=slots) as daemon:
                await _pace(daemon, slots)  # loads, and fills every slot's context once
                found.append(await _pace(daemon, -(-JOBS // slots) * slots))
    return {slots: middle(some) for slots, some in paces.items()}


async def _pace(daemon: Daemon, count: int) -> float:
    before, had = newest_seq(daemon.database), done(daemon)
    await ask(daemon.port, post("/queue/pause", {}))
    await submit_lines(daemon, [_job(had + number) for number in range(count)])
    await ask(daemon.port, post("/queue/resume", {}))
    await wait_done(daemon.database, had + count, within=TIMEOUT)
    return jobs_per_second(daemon.database, after=before)


def _job(number: int) -> dict[str, Any]:
    messages = [{"role": "user", "content": f"Write about the number {number}."}]
    asked = {"messages": messages, "max_tokens": ANSWER, "temperature": 0, "ignore_eos": True}
    return {"model": MODEL, "endpoint": "/v1/chat/completions", **asked}
