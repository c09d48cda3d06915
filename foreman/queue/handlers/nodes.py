"""The handler of a node's heartbeat: what it tells of itself, and what it does for nodes that are silent."""

from __future__ import annotations

import structlog

from foreman.domain.errors import Interrupted
from foreman.domain.job import node_of
from foreman.domain.nodes import Node, NodeState, silent
from foreman.queue.commands import Beat
from foreman.queue.handlers import claims
from foreman.queue.handlers.following import hear
from foreman.queue.handlers.ledger import Ledger

log = structlog.get_logger()


def beat(ledger: Ledger, message: Beat) -> None:
    """Tell the others how this node is, evict silent ones, and see that one node coordinates."""
    store = ledger.store
    store.tell(message.targets, message.state)
    for node in silent(store.nodes(), ledger.node, now=ledger.now, lease=ledger.rules.lease):
        _evict(ledger, node)
    if message.state is NodeState.UP and not _is_up(ledger, store.coordinator):
        store.coordinate()
        ledger.redelivers = True  # the webhooks of the one before
        log.info("this node coordinates", node=ledger.node)


def _is_up(ledger: Ledger, name: str) -> bool:
    return any(node.name == name and node.state is NodeState.UP for node in ledger.store.nodes())


def _evict(ledger: Ledger, node: Node) -> None:
    """Take over from a node: its jobs are queued again, or failed, as after a crash."""
    ledger.store.evict(node.name)
    hear(ledger, ledger.store.nodes())
    left = [job for job in ledger.running.values() if node_of(job.target) == node.name]
    for job in left:
        claims.failed(ledger, job, Interrupted())
    log.warning("node evicted", node=node.name, silent=round(ledger.now - node.seen_at, 1), jobs=len(left))
