"""What other nodes have committed: the caches follow it, so that handlers decide as if there were one node."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from foreman.domain.job import RUNNING, Job, State
from foreman.domain.nodes import Node, NodeState, remembered
from foreman.queue.handlers.ledger import Ledger
from foreman.queue.sites import Site, SiteElsewhere
from foreman.store.records import News


def follow(ledger: Ledger, news: News) -> None:
    """Bring the caches up to date with commits of other nodes, which a rollback does not undo."""
    board = ledger.outlook.board
    for line, head in news.lines:
        board.set(line, head)
    board.commit()
    for job_id in {event.job_id for event in news.events} - news.jobs.keys():
        ledger.outlook.tried.pop(job_id, None)
        if ran := ledger.running.get(job_id):
            ledger.forget(ran)
    for job in news.jobs.values():
        _observe(ledger, job)
    ledger.outlook.paused = news.paused
    if news.nodes is not None:
        hear(ledger, news.nodes)
    missed = ledger.follow(news.newest, news.events, news.jobs.values(), posted=news.posted)
    if missed or news.nodes is not None:
        _look_again(ledger, missed=missed)


def recall(ledger: Ledger) -> None:
    """Reload the caches after the store was away: what others have deleted meanwhile is not among the news."""
    before = ledger.running.keys()
    ledger.recall()
    ledger.miss(before - ledger.running.keys())
    hear(ledger, ledger.store.nodes())


def hear(ledger: Ledger, nodes: Sequence[Node]) -> None:
    """Take over what other nodes tell of their targets; an unchanged one stays the same object.

    The targets of a node that is gone count as away, so that its jobs wait for it.
    """
    before = ledger.outlook.sites_elsewhere
    found: dict[str, Site] = {}
    for node in remembered(nodes, ledger.now):
        if node.name == ledger.node:
            continue
        for report in node.targets:
            site, claims = before.get(report.name), node.state is NodeState.UP
            if not isinstance(site, SiteElsewhere) or (site.report, site.claims) != (report, claims):
                site = SiteElsewhere(report, claims=claims)
            found[report.name] = site
    ledger.outlook.sites_elsewhere = found
    ledger.outlook.nodes_elsewhere = {node.name: node for node in nodes if node.name != ledger.node}


def _look_again(ledger: Ledger, *, missed: bool) -> None:
    """See which jobs run, and which have webhooks: no event says that a job was deleted, or a receiver left."""
    stored = {job.id: job for job in ledger.store.running()}
    left = ledger.running.keys() - stored.keys()
    for job_id in left:
        ledger.forget(ledger.running[job_id])
    for job in ledger.running.values():
        if job.webhook_url is not None and stored[job.id].webhook_url is None:
            ledger.running[job.id] = replace(job, webhook_url=None)
    if missed:
        ledger.miss(left)


def _observe(ledger: Ledger, job: Job) -> None:
    if known := ledger.running.get(job.id):
        ledger.forget(known)
    tried = ledger.outlook.tried
    tried.pop(job.id, None)
    if job.state in RUNNING:
        ledger.running[job.id] = job
        ledger.occupancy.add(job)
    elif job.state is State.QUEUED and job.target is not None:
        tried[job.id] = job.target
