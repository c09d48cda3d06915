"""A campaign against fleets: Foremen on one PostgreSQL while faults of all kinds befall nodes, connections and server.

It goes in rounds. Each is a fleet of its own, which some fifty faults befall, several at a time and none waited for; it
is judged once all has ended. `lanes` rounds run at a time.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from tests.crash import fleet_verdict
from tests.crash.clients import ATTEMPT, Client, Feed, FleetAnswer
from tests.crash.faults import FAULTS, Fleet
from tests.crash.fleet_batches import BatchClient
from tests.crash.nodes import Node
from tests.crash.verdict import Verdict
from tests.support.api import chat
from tests.support.foreman import an_upstream, until
from tests.support.postgres import ORIGINS, Server, programs
from tests.support.receiver import a_receiver

CLIENTS = 3
ROUND = 50  # faults
AT_ONCE = 4  # faults that befall a fleet
PAUSE = (0.1, 0.9)  # seconds between the beginnings of faults
SETTLED = 90.0  # seconds for all to end once nothing happens any more
PROBED = 0.25  # seconds between two jobs that look for a free slot
SETTINGS: dict[str, object] = {
    "slots": 2,
    "poll_interval": "1s",
    "max_attempts": 20,
    "retry_backoff": "50ms",
    "retry_backoff_max": "200ms",
    "webhook_allow": "127.0.0.1",
    "webhook_retries": 50,
    "webhook_backoff": "50ms",
    "webhook_backoff_max": "200ms",
    "shutdown_grace": "2s",
}


@dataclass(slots=True)
class Tally:
    """What the rounds have brought so far."""

    verdict: Verdict = field(default_factory=Verdict)
    faults: Counter[str] = field(default_factory=Counter)  # that have happened, by kind
    rounds: int = 0
    evicted: int = 0
    settled: int = 0  # commits that turned out to be stored although their answer was lost
    acknowledged: int = 0
    cancelled: int = 0
    streamed: int = 0
    refused: int = 0
    unanswered: int = 0
    doubtful: int = 0
    batches: int = 0
    changing: threading.Lock = field(default_factory=threading.Lock)

    def __str__(self) -> str:
        return f"{self.faults.total()} faults, {self.rounds} rounds judged: {self.verdict}"

    def report(self) -> str:
        found = self.verdict
        return (
            f"{self.acknowledged} jobs acknowledged, {self.cancelled} of them cancelled, {self.streamed} streamed to "
            f"the end; {self.unanswered} submissions without an answer, {self.doubtful} told that they may be stored, "
            f"{found.unacknowledged} of them stored; {self.refused} refused for good; "
            f"{self.batches} batches\n"
            f"{found.events} events, {found.interrupted} attempts interrupted, {self.evicted} evictions, "
            f"{self.settled} commits stored whose answer was lost; {found.delivered} webhooks arrived, "
            f"{found.repeated} of them not for the first time\n"
            + "".join(f"  {count:5} {kind}\n" for kind, count in sorted(self.faults.items()))
            + str(self)
            + "".join(f"\n  {line}" for line in found.complaints)
        )


def campaign(folder: Path, tally: Tally, plan: Sequence[str], *, nodes: int, seed: int, lanes: int = 1) -> None:
    """Let the faults of a plan happen to fleets of so many nodes, `lanes` at a time; `tally` grows meanwhile.

    The rounds use each PostgreSQL there is by turns.
    """
    chance, servers = random.Random(seed), [found for origin in ORIGINS if (found := programs(origin))]
    rounds = [plan[first : first + ROUND] for first in range(0, len(plan), ROUND)]
    work = [(number, kinds, chance.random()) for number, kinds in enumerate(rounds)]

    def lane() -> None:
        while work:
            number, kinds, own = work.pop(0)
            _round(folder / f"{number}", servers[number % len(servers)], tally, kinds, nodes, random.Random(own))

    with ThreadPoolExecutor(lanes) as pool:
        for done in [pool.submit(lane) for _ in range(lanes)]:
            done.result()


def _round(folder: Path, server: Path, tally: Tally, kinds: Sequence[str], count: int, chance: random.Random) -> None:
    with a_receiver() as receiver, _fleet(folder, server, count, chance) as fleet:
        told = FleetAnswer()
        clients = [
            Client(number, fleet.nodes, told, random.Random(chance.random()), receiver.url) for number in range(CLIENTS)
        ]
        batches = BatchClient(fleet.nodes, told, random.Random(chance.random()))
        feeds = [Feed(node) for node in fleet.nodes]
        for thread in (*clients, batches, *feeds):
            thread.start()
        try:
            until(lambda: told.acknowledged)
            _befall(fleet, tally, kinds)
            unsettled = _settle(fleet, [*clients, batches], feeds, told)
            found = fleet_verdict.judge(fleet.server.url(fleet.schema), told, list(receiver.got), feeds, batches.asked)
        finally:
            for thread in (*clients, batches, *feeds):
                thread.enough.set()
            for thread in (*clients, batches, *feeds):
                thread.join()
        for node in fleet.nodes:
            node.leave()
            for odd in node.odd:
                found.complain("illegal", odd)
        for odd in unsettled:
            found.complain("lost", odd)
        with tally.changing:
            tally.verdict += found
            tally.rounds += 1
            tally.evicted += sum(node.evicted for node in fleet.nodes)
            tally.settled += sum(node.settled for node in fleet.nodes)
            tally.acknowledged += len(told.acknowledged)
            tally.cancelled += len(told.cancelled)
            tally.streamed += len(told.streamed)
            tally.refused += len(told.refused)
            tally.unanswered += told.unanswered
            tally.doubtful += told.doubtful
            tally.batches += batches.accepted


@contextmanager
def _fleet(folder: Path, server: Path, count: int, chance: random.Random) -> Iterator[Fleet]:
    with ExitStack() as ends:
        started = Server(server)
        ends.callback(started.remove)
        schema = ends.enter_context(started.schema())
        upstream = ends.enter_context(an_upstream("--max-loaded", "3"))
        nodes = []
        for number in range(count):
            nodes.append(Node(folder, f"n{number}", started, schema, ollama_url=upstream.url, **SETTINGS))
            ends.callback(nodes[-1].close)
        for node in nodes:
            node.start()
        yield Fleet(started, schema, nodes, chance)


def _befall(fleet: Fleet, tally: Tally, kinds: Sequence[str]) -> None:
    """Have each fault happen; return when all have passed."""
    room = threading.Semaphore(AT_ONCE)

    def befall(kind: str) -> None:
        try:
            while not FAULTS[kind](fleet):
                pass
            with tally.changing:
                tally.faults[kind] += 1
        finally:
            room.release()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        begun: list[Future[None]] = []
        for kind in kinds:
            fleet.wait(*PAUSE)
            room.acquire()
            begun.append(pool.submit(befall, kind))
        for one in begun:
            one.result()


def _settle(
    fleet: Fleet, clients: Sequence[Client | BatchClient], feeds: Sequence[Feed], told: FleetAnswer
) -> list[str]:
    """Wait until all nodes are up and use all their slots, until jobs and webhooks have ended, and feeds have them all.

    Returns what has not come true.
    """
    before = [client.accepted for client in clients]
    names = ", ".join(f"'{node.name}'" for node in fleet.nodes)

    def none(table: str, condition: str) -> bool:
        return fleet.ask(f"SELECT count(*) FROM {table} WHERE {condition}") == [(0,)]

    def enough() -> bool:
        if accepted := all(client.accepted > had for client, had in zip(clients, before, strict=True)):
            for client in clients:
                client.enough.set()
        return accepted

    waited: dict[str, Callable[[], object]] = {
        "a client gets no job accepted": enough,
        "a client gets no answer": lambda: not any(client.is_alive() for client in clients),
        "a node is not up": lambda: none("nodes", f"name IN ({names}) AND state <> 'up'"),
        "a slot takes no job": _EverySlot(fleet, told).is_used,
        "jobs have not ended": lambda: none("jobs", "state IN ('queued', 'loading', 'working')"),
        "batches have not ended": lambda: none("batches", "ended_at IS NULL"),
        "blobs are left over": lambda: none("blob_pieces", "key NOT IN (SELECT key FROM blobs)"),
        "webhooks are due": lambda: none("deliveries", "state = 'due'"),
        "a feed is behind": lambda: all(
            feed.newest >= newest for (newest,) in fleet.ask("SELECT max(seq) FROM events") for feed in feeds
        ),
    }
    for what, condition in waited.items():
        try:
            until(condition, SETTLED)
        except AssertionError:
            return [f"{what} {SETTLED:.0f} s after the last fault"]
    return []


class _EverySlot:
    """Looks whether each slot of each node still takes jobs."""

    def __init__(self, fleet: Fleet, told: FleetAnswer) -> None:
        self._fleet, self._told = fleet, told
        self._missing = {node.name for node in fleet.nodes}
        self._count = 0
        self._next = 0.0  # when another job is due

    def is_used(self) -> bool:
        """Have enough jobs to use all slots; return True once each node has run one in each slot at a time.

        Jobs come faster than some of the nodes can do them: a node that has never loaded their model leaves them to the
        others until so many wait that loading it is worth while.
        """
        working = "FROM jobs WHERE state = 'working' GROUP BY target"
        for target, count in self._fleet.ask(f"SELECT target, count(*) {working}"):
            if count == SETTINGS["slots"]:
                self._missing.discard(target.partition("@")[2])
        [(waiting,)] = self._fleet.ask("SELECT count(*) FROM jobs WHERE state = 'queued'")
        if self._missing and (not waiting or time.monotonic() >= self._next):
            self._submit()
            self._next = time.monotonic() + PROBED
        time.sleep(0.05)
        return not self._missing

    def _submit(self) -> None:
        self._count += 1
        key = f"slot-{self._count}"
        self._told.tried.add(key)
        url, body = f"{self._fleet.nodes[0].url}/jobs", chat(f"{key} says hello #echo #slow=2", custom_id=key)
        with suppress(httpx2.HTTPError):
            answer = httpx2.post(url, json=body, verify=False, trust_env=False, timeout=ATTEMPT)
            if answer.status_code == 202:
                self._told.acknowledged[answer.json()["job_id"]] = key
