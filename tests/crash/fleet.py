"""Several Foremen on one PostgreSQL while nodes are killed and stopped, sessions ended, and the server restarted."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import psycopg

from tests.crash.verdict import StaticAnswer, Verdict, judge_events
from tests.support.api import chat
from tests.support.foreman import Daemon, Upstream, an_upstream, until
from tests.support.postgres import Server

FAULTS = ("kill", "sessions", "stop", "restart")
CLIENTS = 2
LEASE = 10.0  # seconds, the shortest there is
STOPPED = LEASE + 4  # seconds for which a node stands still: it is evicted alive
PAUSE = (0.1, 0.8)  # seconds between faults
AGAIN = 0.05  # seconds before a submission is repeated
SETTLED = 180.0  # seconds for all to end once nothing happens any more


@dataclass(slots=True)
class Tally:
    """What a campaign has brought so far."""

    verdict: Verdict = field(default_factory=Verdict)
    faults: Counter[str] = field(default_factory=Counter)
    evicted: int = 0
    acknowledged: int = 0

    def __str__(self) -> str:
        found = self.verdict
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.faults.items()))
        return (
            f"{self.faults.total()} faults ({kinds}), {self.evicted} evictions; {self.acknowledged} jobs acknowledged, "
            f"{found.events} events, {found.interrupted} attempts interrupted: {found.lost} lost, "
            f"{found.doubled} doubled, {found.illegal} illegal"
        ) + "".join(f"\n  {line}" for line in found.complaints)


class _Client(threading.Thread):
    """Submits jobs one after the other, each at any node, under its key until it is accepted."""

    def __init__(self, name: str, nodes: Sequence[Daemon], told: StaticAnswer, chance: random.Random) -> None:
        super().__init__(name=name, daemon=True)
        self._nodes, self._told, self._chance = nodes, told, chance
        self.enough = threading.Event()

    def run(self) -> None:
        count = 0
        while not self.enough.wait(self._chance.choice((0.02, 0.1))):
            key = f"{self.name}-{count}"
            self._told.tried.add(key)
            while not self._accepted(key) and not self.enough.wait(AGAIN):
                pass
            count += 1

    def _accepted(self, key: str) -> bool:
        node = self._chance.choice(self._nodes)
        body = chat("#chunks=3 #every=0.02", self._chance.choice("abc"), custom_id=key)
        try:
            answer = httpx2.post(
                f"{node.url}/jobs", json=body, headers={"Idempotency-Key": key}, timeout=5, trust_env=False
            )
        except httpx2.HTTPError:
            return False
        if answer.status_code in (200, 202):
            self._told.acknowledged[answer.json()["job_id"]] = key
        return answer.status_code in (200, 202)


class _Feed(threading.Thread):
    """Reads a node's feed from its first event on, and goes on where it was whenever it breaks."""

    def __init__(self, node: Daemon) -> None:
        super().__init__(daemon=True)
        self._node = node
        self.got: list[tuple[int, str, str]] = []
        self.enough = threading.Event()

    @property
    def newest(self) -> int:
        return self.got[-1][0] if self.got else 0

    def run(self) -> None:
        while not self.enough.wait(AGAIN):
            try:
                self._read()
            except httpx2.HTTPError:
                continue

    def _read(self) -> None:
        url, headers = f"{self._node.url}/events?after={self.newest}", {"Accept": "text/event-stream"}
        with httpx2.stream("GET", url, headers=headers, timeout=5, trust_env=False) as answer:
            for line in answer.iter_lines():
                if self.enough.is_set():
                    return
                if answer.status_code == 200 and line.startswith("data:"):
                    event = json.loads(line.removeprefix("data:"))
                    if "job_id" in event:  # not hello
                        self.got.append((event["seq"], event["job_id"], event["state"]))


class Fleet:
    """The nodes of a campaign, their database, and what befalls them."""

    def __init__(self, server: Server, url: str, nodes: Sequence[Daemon], chance: random.Random) -> None:
        self._server, self._url, self._nodes, self._chance = server, url, nodes, chance
        self.told = StaticAnswer()

    def fault(self, kind: str) -> None:
        """Let one thing happen; when this returns all nodes live, and the server too."""
        node = self._chance.choice(self._nodes)
        if kind == "kill":
            node.kill()
            time.sleep(self._chance.uniform(0, 1))
            node.start(ready=True)
        elif kind == "stop":
            os.kill(node.pid, signal.SIGSTOP)
            time.sleep(STOPPED)
            os.kill(node.pid, signal.SIGCONT)
        elif kind == "sessions":
            self._ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'foreman' "
                      "AND random() < 0.4")  # fmt: skip
        else:
            self._server.stop()
            time.sleep(self._chance.uniform(0, 1))
            self._server.start()

    def judge(self, feeds: Sequence[_Feed], tally: Tally) -> None:
        """Wait until all has ended, and hold the database and the feeds against what was told."""
        found = tally.verdict
        unended = "SELECT count(*) FROM jobs WHERE state IN ('queued', 'loading', 'working')"
        until(lambda: self._ask(unended) == [(0,)], SETTLED)
        jobs = {job_id: (state, key) for job_id, state, key in self._ask("SELECT id, state, custom_id FROM jobs")}
        for job_id, key in dict(self.told.acknowledged).items():
            if jobs.get(job_id) != ("done", key):
                found.complain("lost", f"{key}, {job_id}, is {jobs.get(job_id)}")
        for key, times in Counter(key for _, key in jobs.values()).items():
            if times > 1 or key not in self.told.tried:
                found.complain("doubled", f"{key} is stored {times} times")
        ends = (
            "SELECT job_id, count(*) FROM events WHERE state IN ('done', 'failed', 'cancelled', 'expired') GROUP BY 1"
        )
        for job_id, times in self._ask(ends):
            if times != 1:
                found.complain("doubled", f"{job_id} has ended {times} times")
        with psycopg.connect(self._url) as db:
            judge_events(db, self.told, found)
        log = self._ask("SELECT seq, job_id, state FROM events ORDER BY seq")
        for number, feed in enumerate(feeds):
            until(lambda feed=feed: feed.newest >= log[-1][0], SETTLED)  # type: ignore[misc]
            feed.enough.set()
            if feed.got != log:
                odd = next((pair for pair in zip(feed.got, log, strict=False) if pair[0] != pair[1]), "its length")
                found.complain("illegal", f"the feed of node {number} is not the log: {odd}")
        tally.acknowledged = len(self.told.acknowledged)

    def _ask(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self._url) as db:
            return list(db.execute(query.encode()).fetchall())


@contextmanager
def _fleet(folder: Path, server: Server, count: int, chance: random.Random) -> Iterator[tuple[Fleet, list[Daemon]]]:
    with ExitStack() as ends:
        url = server.url(ends.enter_context(server.schema()))
        upstreams: list[Upstream] = [ends.enter_context(an_upstream()) for _ in range(count)]
        nodes = [
            ends.enter_context(
                Daemon(
                    folder / f"{number}",
                    database_url=url,
                    node_name=f"n{number}",
                    ollama_url=upstream.url,
                    lease=LEASE,
                    slots=2,
                    max_attempts=20,
                    retry_backoff=0.1,
                    retry_backoff_max=0.5,
                )
            )
            for number, upstream in enumerate(upstreams)
        ]
        yield Fleet(server, url, nodes, chance), nodes


def campaign(
    folder: Path,
    server: Server,
    tally: Tally,
    plan: Sequence[str],
    *,
    nodes: int,
    seed: int,
    look: Callable[[], None] = lambda: None,
) -> None:
    """Let the faults of a plan happen to so many nodes under load, then judge; `look` is called after each."""
    chance = random.Random(seed)
    with _fleet(folder, server, nodes, chance) as (fleet, daemons):
        clients = [
            _Client(f"c{number}", daemons, fleet.told, random.Random(chance.random())) for number in range(CLIENTS)
        ]
        feeds = [_Feed(daemon) for daemon in daemons]
        for thread in (*clients, *feeds):
            thread.start()
        try:
            for kind in plan:
                time.sleep(chance.uniform(*PAUSE))
                fleet.fault(kind)
                tally.faults[kind] += 1
                tally.acknowledged = len(fleet.told.acknowledged)
                look()
            until(lambda: len(fleet.told.acknowledged) >= len(plan))
            for client in clients:
                client.enough.set()
            for client in clients:
                client.join()
            fleet.judge(feeds, tally)
        finally:
            for ended in (*(client.enough for client in clients), *(feed.enough for feed in feeds)):
                ended.set()
        tally.evicted = sum(line["event"] == "node evicted" for daemon in daemons for line in daemon.logs)
