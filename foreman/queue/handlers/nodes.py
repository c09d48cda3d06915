"""What a node tells the others: how it is, what it does for those that are silent, and what they may claim."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import structlog

from foreman.domain.errors import Interrupted
from foreman.domain.job import JobEvent, State, model_of, node_of
from foreman.domain.nodes import Node, NodeState, silent
from foreman.domain.responses.numbers import LOST
from foreman.queue.commands import Beat, Look
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
    _take_over(ledger)
    if message.state is NodeState.UP and not _is_up(ledger, store.coordinator):
        store.coordinate()
        ledger.redelivers = True  # the webhooks of the one before
        log.info("this node coordinates", node=ledger.node)


def look(ledger: Ledger, message: Look) -> None:
    """Do nothing: each transaction begins with a look at what the other nodes have committed."""


def may_claim(ledger: Ledger, events: Sequence[JobEvent]) -> Collection[str]:
    """Return nodes that have a slot free for jobs which these events have queued, one for each job at most.

    Those that have the model loaded come first: others would leave the job to them.
    """
    sites = ledger.outlook.sites_elsewhere
    if not events or not sites or ledger.outlook.paused:
        return ()
    latest = {event.job_id: event for event in events}
    queued = [event.model for event in latest.values() if event.state is State.QUEUED]
    models, busy = set(queued), ledger.occupancy
    found: dict[str, bool] = {}
    for site in sites.values():
        if site.open and busy.keys(site.name).total() < site.slots and any(map(site.serves, models)):
            node = node_of(site.name)
            found[node] = found.get(node, False) or not models.isdisjoint(map(model_of, site.in_memory()))
    return sorted(found, key=lambda node: not found[node])[: len(queued)]


def _is_up(ledger: Ledger, name: str) -> bool:
    return any(node.name == name and node.state is NodeState.UP for node in ledger.store.nodes())


def _evict(ledger: Ledger, node: Node) -> None:
    ledger.store.evict(node.name)
    hear(ledger, ledger.store.nodes())
    log.warning("node evicted", node=node.name, silent=round(ledger.now - node.seen_at, 1))


def _take_over(ledger: Ledger) -> None:
    """Queue the jobs again, or fail them, that run at no node: as after a crash.

    They were left by nodes that were evicted, or that have gone without storing how their last jobs ended.
    """
    there = {node.name for node in ledger.store.nodes() if node.state is not NodeState.GONE}
    left = [job for job in ledger.running.values() if node_of(job.target) not in {*there, ledger.node}]
    for job in left:
        claims.failed(ledger, job, Interrupted(), numbered=LOST)
    if left:
        log.warning("jobs taken over from nodes that are gone", jobs=len(left))
