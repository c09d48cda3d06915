"""Three real Foremen on one real PostgreSQL, each behind a proxy of its own, with all that they tell."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import psycopg

from tests.support.api import chat
from tests.support.cutting_proxy import Proxy, unix_socket
from tests.support.foreman import Daemon, an_upstream, until
from tests.support.ports import held_port
from tests.support.postgres import Server

NAMES = ("n1", "n2", "n3")
LEASE = 10  # seconds, the shortest
SLOTS = 2
RUNNING = ("loading", "working")
EVICTED = 90.0  # seconds within which a busy machine has evicted a node
HELD = """SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE relation = 'fleet_state'::regclass AND mode = 'RowShareLock' AND granted AND application_name = %s
    AND state = 'idle in transaction'"""


class Feed(threading.Thread):
    """Reads the feed of a node from its first event on, and goes on where it was when it breaks."""

    def __init__(self, node: Daemon) -> None:
        super().__init__(daemon=True)
        self._node = node
        self.got: list[tuple[int, str, str]] = []
        self.enough = threading.Event()

    @property
    def newest(self) -> int:
        return self.got[-1][0] if self.got else 0

    def run(self) -> None:
        while not self.enough.wait(0.1):
            try:
                self._read()
            except httpx2.HTTPError:
                continue

    def _read(self) -> None:
        path, headers = f"/events?after={self.newest}", {"Accept": "text/event-stream"}
        with self._node.client() as http, http.stream("GET", path, headers=headers, timeout=5) as answer:
            for line in answer.iter_lines():
                if self.enough.is_set():
                    return
                if answer.status_code == 200 and line.startswith("data:"):
                    event = json.loads(line.removeprefix("data:"))
                    if "job_id" in event:  # not hello
                        self.got.append((event["seq"], event["job_id"], event["state"]))


class ThreeNodes:
    """The nodes, their database, and the feeds of all."""

    def __init__(self, url: str, nodes: dict[str, Daemon], networks: dict[str, tuple[Proxy, Proxy]]) -> None:
        self._url = url
        self.nodes = nodes
        self._networks = networks  # of each, the way to the database and the others' to it
        self.feeds = {name: Feed(node) for name, node in nodes.items()}

    def ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Ask the database."""
        with psycopg.connect(self._url) as db:
            return list(db.execute(query.encode(), values).fetchall())

    def submit(self, count: int, text: str, **fields: object) -> list[str]:
        """Submit so many jobs, in turn at all nodes."""
        found = []
        for number in range(count):
            node = list(self.nodes.values())[number % len(self.nodes)]
            answer = node.http.post("/jobs", json=chat(f"{text} #{number}", "abc"[number % 3], **fields))
            assert answer.status_code == 202, answer.text
            found.append(str(answer.json()["job_id"]))
        return found

    def count(self, *states: str) -> int:
        """The number of jobs in these states."""
        [(count,)] = self.ask("SELECT count(*) FROM jobs WHERE state = ANY(%s)", list(states))
        return int(count)

    def running_at(self, name: str) -> set[str]:
        """The jobs that run at a node as the database has it."""
        query = "SELECT id FROM jobs WHERE target = %s AND state = ANY(%s)"
        return {job_id for (job_id,) in self.ask(query, f"ollama@{name}", list(RUNNING))}

    def ran_at(self, name: str, ids: Sequence[str]) -> int:
        """The number of these jobs that were done by a node."""
        query = "SELECT count(*) FROM jobs WHERE target = %s AND state = 'done' AND id = ANY(%s)"
        return int(self.ask(query, f"ollama@{name}", list(ids))[0][0])

    def holds_the_lock(self, name: str) -> bool:
        """Whether a node has locked the fleet's row, and its next word is waited for."""
        [(count,)] = self.ask(HELD, name)
        return bool(count)

    def coordinator(self) -> str:
        """The name of the node that coordinates."""
        return str(self.ask("SELECT coordinator FROM fleet_state")[0][0])

    def states(self) -> dict[str, str]:
        """The states of the nodes."""
        return {str(name): str(state) for name, state in self.ask("SELECT name, state FROM nodes")}

    def cut(self, name: str) -> bool:
        """Cut a node off, once more if it is: from the database and from the other nodes."""
        self.join(name)
        for way in self._networks[name]:
            way.away = True
            way.cut()
        return True

    def join(self, name: str) -> None:
        """Let a node that was cut off reach all again, and wait until it knows."""
        for way in self._networks[name]:
            way.away = False
        until(lambda: self.nodes[name].http.get("/readyz").status_code == 200)

    def stop_when(self, name: str, condition: Callable[[], object]) -> None:
        """SIGSTOP a node at a moment at which this is so."""

        def stopped() -> bool:
            os.kill(self.nodes[name].pid, signal.SIGSTOP)
            if condition():
                return True
            os.kill(self.nodes[name].pid, signal.SIGCONT)
            return False

        until(stopped)

    def evicted(self, name: str) -> set[str]:
        """Wait until a lost node is evicted, and return the jobs that it ran until then."""
        found: set[str] = set()

        def gone() -> bool:
            found.update(self.running_at(name))
            return self.states()[name] == "gone"

        until(gone, EVICTED)
        assert found
        return found

    def judge(self, ids: Sequence[str], again: set[str], *, silent: Sequence[str] = ()) -> None:
        """All jobs are done once, none but these were claimed again, and the feeds tell what the database has."""
        until(lambda: self.count("done") == len(ids), seconds=180)
        ends = self.ask("SELECT job_id FROM events WHERE state IN ('done', 'failed', 'cancelled', 'expired')")
        assert sorted(job_id for (job_id,) in ends) == sorted(ids)
        claims = Counter(job_id for (job_id,) in self.ask("SELECT job_id FROM events WHERE state = 'loading'"))
        assert {job_id for job_id, count in claims.items() if count > 1} <= again
        assert max(claims.values()) <= 2
        log = self.ask("SELECT seq, job_id, state FROM events ORDER BY seq")
        assert [seq for seq, *_ in log] == list(range(1, len(log) + 1))
        for name, feed in self.feeds.items():
            if name not in silent:
                until(lambda feed=feed: feed.newest >= len(log))  # type: ignore[misc]
                assert feed.got == log, name


@contextmanager
def three_nodes(server: Server, folder: Path, **settings: object) -> Iterator[ThreeNodes]:
    """Start three nodes, each with a server that has all models."""
    with ExitStack() as started:
        schema = started.enter_context(server.schema())
        nodes, networks = {}, {}
        for name in NAMES:
            upstream = started.enter_context(an_upstream())
            port = held_port()
            here = partial(socket.create_connection, ("127.0.0.1", port))
            out, back = [started.enter_context(closing(Proxy(to))) for to in (unix_socket(server.socket), here)]
            networks[name] = out, back
            daemon = Daemon(
                folder / name,
                addr=f"127.0.0.1:{port}",
                advertise_url=f"http://{back.host}",
                database_url=f"{server.url(schema, out.host)}&application_name={name}",
                node_name=name,
                ollama_url=upstream.url,
                lease=LEASE,
                slots=SLOTS,
                retry_backoff=0.1,
                **settings,
            )
            nodes[name] = started.enter_context(daemon)
        three = ThreeNodes(server.url(schema), nodes, networks)
        for feed in three.feeds.values():
            feed.start()
        try:
            yield three
        finally:
            for feed in three.feeds.values():
                feed.enough.set()
