"""A storm of callers, target, receivers, locks, stops and kills; and then all is as it was before."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.e2e.storm.callers import Callers
from tests.e2e.storm.target import Target
from tests.e2e.storm.weather import Weather
from tests.e2e.storm.witness import Witness
from tests.support.foreman import Daemon, until
from tests.support.receiver import Receiver

pytestmark = pytest.mark.long
LIVES = 3  # of Foreman, the last of which goes on into the calm
ASKS = 150  # of callers in each life
TOGETHER = 12  # callers
SLOTS = 8
RECEIVERS = 4
SETTLE = 90.0  # seconds until all has ended: whether it ever does
SPARE = 8  # descriptors and threads that come and go: kept connections, idle workers
GROWTH = 2.0  # times the memory of a fresh one: what lies between what is still used stays with the process
GIVE_BACK = {"MALLOC_ARENA_MAX": "1", "MALLOC_TRIM_THRESHOLD_": "65536"}  # so that what is freed is seen to be
SETTINGS: dict[str, object] = {
    "slots": SLOTS,
    "max_attempts": 2,
    "max_answer": "2 MiB",
    "retry_backoff": "50 ms",
    "retry_backoff_max": "200 ms",
    "attempt_timeout": 5,
    "first_chunk_timeout": 1,
    "stall_timeout": 1,
    "poll_interval": 1,
    "idle_timeout": 5,
    "body_timeout": 5,
    "send_timeout": 5,
    "webhook_timeout": "500 ms",
    "webhook_retries": 3,
    "webhook_backoff": "50 ms",
    "webhook_backoff_max": "200 ms",
    "shutdown_grace": 2,
}


@pytest.fixture
def target() -> Iterator[Target]:
    target = Target()
    try:
        target.start()
        yield target
    finally:
        target.stop()


@pytest.fixture
def receivers() -> Iterator[list[Receiver]]:
    with ExitStack() as stack:
        yield [stack.enter_context(Receiver()) for _ in range(RECEIVERS)]


@pytest.mark.alone  # the storm fills and locks the file; tests/crash has one of PostgreSQL
async def test_what_was_accepted_in_a_storm_ends_and_nothing_else_stays(
    seed: int,
    seconds: float,
    target: Target,
    receivers: list[Receiver],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in GIVE_BACK.items():
        monkeypatch.setenv(name, value)
    print(f"--storm-seed {seed}")
    dice, witness = random.Random(seed), Witness()
    before = await trio.to_thread.run_sync(_fresh, target, tmp_path / "fresh")
    callers = Callers(dice, witness, [receiver.url for receiver in receivers])
    data_dir = tmp_path / "data"
    weather = Weather(dice, target, receivers, data_dir / "foreman.db")
    with Daemon(data_dir, openai_url=target.url, forked=False, **SETTINGS) as daemon:
        over, life = time.monotonic() + seconds, 1
        while life < LIVES or time.monotonic() < over:
            await _storm(callers, weather, daemon)
            await trio.to_thread.run_sync(_die, daemon, life % 2 == 1)
            life += 1
        await _storm(callers, weather, daemon)
        await trio.to_thread.run_sync(_settle, daemon, weather)
        print(len(witness.acknowledged), "acknowledged;", dict(witness.answers))
        await trio.to_thread.run_sync(_use_every_slot, daemon)
        await trio.to_thread.run_sync(_compare, daemon, before)
        daemon.terminate()
        assert daemon.wait() == 0
        assert not daemon.errors
    assert witness.judge(data_dir) == []
    assert len(witness.acknowledged) > LIVES * ASKS / 10


async def _storm(callers: Callers, weather: Weather, daemon: Daemon) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(weather.rage)
        await callers.come(daemon.url, ASKS, TOGETHER)
        nursery.cancel_scope.cancel()


def _die(daemon: Daemon, suddenly: bool) -> None:
    """End it as a power cut does, or as it is asked to; and have another one on what it left."""
    if suddenly:
        daemon.kill()
    else:
        daemon.terminate()
        assert daemon.wait() == 0
    assert not daemon.errors
    daemon.start()


def _settle(daemon: Daemon, weather: Weather) -> None:
    """Once all others are well, everything ends."""
    weather.calm()
    daemon.http.post("/queue/resume")
    until(lambda: _queue(daemon) == (0, 0), SETTLE)
    with closing(sqlite3.connect(f"file:{daemon.data_dir}/foreman.db?mode=ro", uri=True, timeout=10)) as db:
        until(lambda: not db.execute("SELECT seq FROM deliveries WHERE state = 'due' LIMIT 1").fetchall(), SETTLE)


def _use_every_slot(daemon: Daemon) -> None:
    """No slot was lost: as many jobs run at once as there are, and then the others."""
    jobs = [{"model": "drips", "messages": [{"role": "user", "content": f"slot {n}"}]} for n in range(SLOTS + 1)]
    for job in jobs:
        assert daemon.http.post("/jobs", json=job).status_code == 202
    until(lambda: _queue(daemon)[1] == SLOTS)
    until(lambda: _queue(daemon) == (0, 0), SETTLE)


def _queue(daemon: Daemon) -> tuple[int, int]:
    shown: dict[str, Any] = daemon.http.get("/queue").json()
    return shown["queued"], len(shown["running"])


def _fresh(target: Target, data_dir: Path) -> tuple[int, int, int]:
    """What a Foreman takes that has done a little of everything, in fair weather."""
    with Daemon(data_dir, openai_url=target.url, forked=False, **SETTINGS) as daemon:
        _use_every_slot(daemon)
        for path in ("/", "/jobs", "/metrics", "/openapi.json"):
            daemon.http.get(path)
        return _taken(daemon)


def _taken(daemon: Daemon) -> tuple[int, int, int]:
    """Descriptors, threads, bytes of memory."""
    process = Path(f"/proc/{daemon.pid}")
    rss = next(line for line in (process / "status").read_text().splitlines() if line.startswith("VmRSS:"))
    return len([*(process / "fd").iterdir()]), len([*(process / "task").iterdir()]), int(rss.split()[1]) * 1024


def _compare(daemon: Daemon, before: tuple[int, int, int]) -> None:
    most = before[0] + SPARE, before[1] + SPARE, before[2] * GROWTH
    until(lambda: _within(_taken(daemon), most), SETTLE)


def _within(taken: tuple[int, int, int], most: tuple[float, float, float]) -> bool:
    print(taken, most)
    return all(now <= allowed for now, allowed in zip(taken, most, strict=True))
