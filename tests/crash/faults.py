"""What befalls a fleet: each fault of a kind happens, and passes, on its own; several do at a time."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg

from tests.crash.node import ANSWERED, COORDINATOR, HELD, LEASE, POINTS
from tests.crash.nodes import Node
from tests.support.cutting_proxy import Loss
from tests.support.foreman import until
from tests.support.postgres import Server

PAST_LEASE = LEASE + 1.5  # seconds after which a silent node has been evicted, if anybody may judge
REACHED = 10.0  # seconds within which a point is reached, or a commit made
WRITABLE = "%20-cdefault_transaction_read_only%3Doff"  # an option of a connection to a server that takes no writes


@dataclass(slots=True)
class Fleet:
    """What faults may befall."""

    server: Server
    schema: str
    nodes: Sequence[Node]
    chance: random.Random
    serving: threading.Lock = field(default_factory=threading.Lock)  # held by what befalls the server

    def ask(self, statement: str) -> list[Any]:
        """Return the rows of a statement, once the server takes it."""

        def asked() -> list[Any] | None:
            try:
                with psycopg.connect(self.server.url(self.schema) + WRITABLE, autocommit=True) as db:
                    done = db.execute(statement.encode())
                    return [done.fetchall() if done.description else []]
            except psycopg.OperationalError:
                return None

        return list(until(asked)[0])  # type: ignore[index]

    def wait(self, least: float, most: float) -> None:
        """Let some time pass, seconds."""
        time.sleep(self.chance.uniform(least, most))

    @contextmanager
    def a_life(self) -> Iterator[Node]:
        """A node whose process nothing else befalls meanwhile."""
        node = self._free([node.life for node in self.nodes])
        try:
            yield node
        finally:
            node.life.release()

    @contextmanager
    def a_line(self) -> Iterator[Node]:
        """A node whose connections to the database nothing else befalls meanwhile."""
        node = self._free([node.line for node in self.nodes])
        try:
            yield node
        finally:
            node.line.release()

    @contextmanager
    def a_coordinator(self) -> Iterator[Node]:
        """The node that coordinates, whose process nothing else befalls meanwhile."""
        names = {node.name: node for node in self.nodes}
        node = names.get(str(self.ask("SELECT coordinator FROM fleet_state")[0][0]), self.nodes[0])
        with node.life:
            yield node

    def _free(self, locks: Sequence[threading.Lock]) -> Node:
        order = self.chance.sample(range(len(locks)), len(locks))
        number = next((number for number in order if locks[number].acquire(blocking=False)), None)
        if number is None:
            locks[number := order[0]].acquire()
        return self.nodes[number]


Fault = Callable[[Fleet], bool]  # returns False if it did not happen after all


def _killed(fleet: Fleet) -> bool:
    with fleet.a_life() as node:
        node.kill()
        fleet.wait(0, 0.5)
        return node.start()


def _killed_at_start(fleet: Fleet) -> bool:
    with fleet.a_life() as node:
        node.kill()
        early = not node.start(within=fleet.chance.uniform(0.05, 0.6))
        return early and node.start()


def _killed_past_lease(fleet: Fleet) -> bool:
    with fleet.a_life() as node:
        node.kill()
        time.sleep(PAST_LEASE)
        return node.start()


def _killed_at(point: str, *, coordinates: bool = False) -> Fault:
    def fault(fleet: Fleet) -> bool:
        with fleet.a_coordinator() if coordinates else fleet.a_life() as node:
            there = node.reach(point, 1 if coordinates else fleet.chance.randint(1, 6), "kill", REACHED)
            if not there:
                node.kill()
            fleet.wait(0, 0.5)
            return node.start() and there

    return fault


def _left(fleet: Fleet) -> bool:
    with fleet.a_life() as node:
        node.leave()
        fleet.wait(0, 0.5)
        return node.start()


def _stopped(fleet: Fleet) -> bool:
    with fleet.a_life() as node:
        node.stop()
        time.sleep(PAST_LEASE)
        node.resume()
        return True


def _stopped_in_commit(fleet: Fleet) -> bool:
    with fleet.a_life() as node:
        there = node.reach("before commit", fleet.chance.randint(1, 6), "stop", REACHED)
        if there:
            fleet.wait(HELD, 2 * HELD)
            node.resume()
        else:
            node.kill()
            node.start()
        return there


def _cut(fleet: Fleet) -> bool:
    fleet.chance.choice(fleet.nodes).database.cut()
    return True


def _held(fleet: Fleet) -> bool:
    with fleet.a_line() as node:
        node.database.hold()
        fleet.wait(0.1, LEASE / 2)
        if fleet.chance.random() < 0.5:
            node.database.cut()
        node.database.resume()
        return True


def _refused(least: float, most: float) -> Fault:
    def fault(fleet: Fleet) -> bool:
        with fleet.a_line() as node:
            node.database.away = True
            node.database.cut()
            fleet.wait(least, most)
            node.database.away = False
            return True

    return fault


def _dropped(loss: Loss) -> Fault:
    def fault(fleet: Fleet) -> bool:
        with fleet.a_line() as node:
            return _drop(node, loss)

    return fault


def _in_doubt(fleet: Fleet) -> bool:
    with fleet.a_line() as node:
        node.database.away = True  # to new connections
        there = _drop(node, "flight")
        if there:
            fleet.wait(ANSWERED, 2 * ANSWERED)
        node.database.away = False
        return there


def _drop(node: Node, loss: Loss) -> bool:
    before, end = node.database.dropped, time.monotonic() + REACHED
    node.database.drops = loss
    while node.database.dropped == before and time.monotonic() < end:
        time.sleep(0.02)
    node.database.drops = None
    return node.database.dropped > before


def _apart(fleet: Fleet) -> bool:
    node = fleet.chance.choice(fleet.nodes)
    node.network.away = True
    node.network.cut()
    fleet.wait(0.3, 2)
    node.network.away = False
    return True


def _sessions(condition: str) -> Fault:
    def fault(fleet: Fleet) -> bool:
        end = time.monotonic() + REACHED
        sql = (
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'foreman' AND {condition}"
        )
        while not fleet.ask(sql):
            if time.monotonic() > end:
                return False
            time.sleep(0.005)
        return True

    return fault


def _restarted(fleet: Fleet) -> bool:
    with fleet.serving:
        fleet.server.stop()
        fleet.wait(0, 1)
        fleet.server.start()
        return True


def _restarted_read_only(fleet: Fleet) -> bool:
    with fleet.serving:
        fleet.server.stop()
        fleet.server.start("default_transaction_read_only=on")
        fleet.wait(0.2, 1)
        fleet.server.stop()
        fleet.server.start()
        return True


def _turned_read_only(fleet: Fleet) -> bool:
    with fleet.serving:
        for how in ("on", "off"):
            fleet.ask(f"ALTER SYSTEM SET default_transaction_read_only = {how}")
            fleet.ask("SELECT pg_reload_conf()")
            fleet.wait(0.2, 1)
        return True


FAULTS: dict[str, Fault] = {
    "node killed": _killed,
    "node killed while it starts": _killed_at_start,
    "node killed, and away past its lease": _killed_past_lease,
    **{f"node killed: {point}": _killed_at(point) for point in POINTS},
    **{f"coordinator killed: {point}": _killed_at(point, coordinates=True) for point in COORDINATOR},
    "node told to leave": _left,
    "node stopped past its lease": _stopped,
    "node stopped in a commit": _stopped_in_commit,
    "connections cut": _cut,
    "connections held up": _held,
    "connections refused": _refused(0.1, 1),
    "connections refused past the lease": _refused(PAST_LEASE, PAST_LEASE + 1),
    "commit lost before the server": _dropped("commit"),
    "connection cut during a commit": _dropped("flight"),
    "answer to a commit lost": _dropped("answer"),
    "answer to a commit torn": _dropped("torn"),
    "commit in doubt for longer than callers wait": _in_doubt,
    "sessions ended": _sessions("random() < 0.4"),
    "session ended in a transaction": _sessions("state IN ('active', 'idle in transaction')"),
    "database restarted": _restarted,
    "database restarted read-only": _restarted_read_only,
    "database turned read-only": _turned_read_only,
    "node cut off from the others": _apart,
}
