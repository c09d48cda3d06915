"""Foreman as a node of a campaign: `python -m tests.crash.node`, which kills or stops itself at named points.

Orders are lines of JSON on standard input; a point that is reached is a line of JSON among those of the log. Leases and
timeouts are a tenth of what they are elsewhere, so that a fault costs seconds. All else is the real Foreman.
"""

from __future__ import annotations

import faulthandler
import json
import os
import random
import signal
import sys
import threading
import time
from typing import Any

from foreman import supervisor
from foreman.actors import membership, pruner
from foreman.actors.worker import Worker
from foreman.cli.error_lines import line_and_code
from foreman.config import sources
from foreman.queue import actor
from foreman.queue.actor import QueueActor
from foreman.queue.commands import Answered, DeliveryEnded, Finished, Message
from foreman.store.postgres import connection, nodes, reads, writer
from foreman.store.postgres.blob_rows import BlobRows
from foreman.store.postgres.connection import Connection, Statement
from tests.crash.batch_points import Transaction, committed, of_blob, watch_batches

POINTS = (
    "before commit",  # all is written, nothing is committed, the write lock is held
    "during commit",  # the server has it, or has not
    "after commit",  # all is stored, nobody has been told
    "claimed",  # the claim is stored, the target knows nothing of it
    "answered",  # the target's answer is whole, and is not stored
    "notified",  # the receiver has taken a webhook, and that is not stored
)
COORDINATOR = (
    "checking",  # some lines of a batch are checked
    *committed("CheckedBatch", "FeedBatch", "AdvanceBatch"),
    "results begun",  # a file of a batch is being written
    *committed("EndBatch"),
)  # points that only the node that coordinates passes
LEASE = 2.5  # seconds
BEAT = 0.4  # seconds
SWEEP = 2.0  # seconds
ANSWERED = 1.0  # seconds for which callers wait for the answer to a commit
HELD = 1.0  # seconds for which a node may stand still while it holds the write lock
DURING = 0.002  # seconds after the beginning of a commit


class _Fate:
    """What is to happen here: at the nth passage of a point."""

    point = ""
    left = 0
    act = "kill"
    order = 0


def main() -> None:
    """Run the node until it is killed, or is told to leave."""
    faulthandler.enable()
    _shorten()
    _wrap()
    threading.Thread(target=_listen, daemon=True).start()
    try:
        sys.exit(supervisor.serve(sources.load().model_copy(update={"lease": LEASE})))
    except BaseException as error:
        if (known := line_and_code(error)) is None:
            raise
        sys.exit(f"foreman: {known[0]}")


def _shorten() -> None:
    membership.BEAT_EVERY = BEAT
    pruner.ROUND = SWEEP
    nodes.PAUSE = LEASE / 2
    actor.ANSWERS_WITHIN = ANSWERED
    connection.TIMEOUTS = reads.TIMEOUTS = _short(connection.TIMEOUTS)  # type: ignore[attr-defined]
    nodes.BEGIN = writer.BEGIN = tuple(map(_short, nodes.BEGIN))  # type: ignore[attr-defined]


def _short(statement: Statement) -> Statement:
    sql, values = statement
    return sql.replace("'10s'", "'3s'").replace("'30s'", "'10s'").replace("'5s'", f"'{HELD}s'"), values


def _listen() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        _Fate.act, _Fate.order, _Fate.left = order["act"], order["order"], order["nth"]
        _Fate.point = order["point"]


def _wrap() -> None:
    tell, attempt = QueueActor.tell, Worker._attempt
    begin, commit, add = Connection.begin, Connection.commit, BlobRows.add

    async def telling(self: QueueActor, message: Message[Any]) -> None:
        if isinstance(message, Finished) and isinstance(message.outcome, Answered):
            _pass("answered")
        if isinstance(message, DeliveryEnded):
            _pass("notified")
        await tell(self, message)

    async def attempting(self: Worker, work: Any, claim: Any) -> Any:
        _pass("claimed")
        return await attempt(self, work, claim)

    def beginning(self: Connection, *statements: Statement) -> None:
        _transaction.begin()
        begin(self, *statements)

    def adding(self: BlobRows, key: str, position: int, data: bytes) -> None:
        add(self, key, position, data)
        _pass(of_blob("begun"))

    def committing(self: Connection, *statements: Statement) -> None:
        _pass("before commit")
        _transaction.reach("before")
        if _reaches("during commit"):
            threading.Timer(random.uniform(0, DURING), _act).start()
        commit(self, *statements)
        _pass("after commit")
        _transaction.reach("after")

    QueueActor.tell = telling  # type: ignore[method-assign]
    Worker._attempt = attempting  # type: ignore[method-assign]
    Connection.begin = beginning  # type: ignore[method-assign]
    Connection.commit = committing  # type: ignore[method-assign]
    BlobRows.add = adding  # type: ignore[method-assign]
    watch_batches(_pass)
    _transaction.watch()


def _pass(point: str) -> None:
    if _reaches(point):
        _act()


_transaction = Transaction(_pass)


def _reaches(point: str) -> bool:
    if point != _Fate.point:
        return False
    _Fate.left -= 1
    return _Fate.left == 0


def _act() -> None:
    os.write(2, json.dumps({"reached": _Fate.order}).encode() + b"\n")
    os.kill(os.getpid(), signal.SIGKILL if _Fate.act == "kill" else signal.SIGSTOP)
    time.sleep(0)  # a stop takes hold before anything else happens


if __name__ == "__main__":
    main()
