"""Pushes between nodes: one tells another that the store has what it waits for, so that it need not find out late."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated

import msgspec
import structlog
import trio

from foreman.actors.other_nodes import OtherNodes
from foreman.actors.output import OutputHub
from foreman.domain.errors import TargetError
from foreman.domain.job import RUNNING, TERMINAL, Job, State, node_of
from foreman.domain.node_auth import BETWEEN_NODES
from foreman.queue.commands import Commit
from foreman.queue.outlook import Outlook

log = structlog.get_logger()

PATH = f"{BETWEEN_NODES}news"
TAKEN = 204
DEADLINE = 2.0  # seconds for one push
REST = 5.0  # seconds without pushes to a node that did not take one
MOST = 1000  # jobs that one push names
MOST_WATCHED = 10_000  # jobs that are watched for other nodes; those named first are forgotten first


class Push(msgspec.Struct):
    """The body of a push: jobs that the sender wants to hear of at once, as long as they have not ended."""

    watched: Annotated[list[Annotated[str, msgspec.Meta(max_length=26)]], msgspec.Meta(max_length=MOST)]


class _Peer:
    """What another node is still to be told."""

    def __init__(self) -> None:
        self.due = False
        self.watched: set[str] = set()  # jobs to name
        self.sending = False
        self.rests_until = -math.inf


class Pushes:
    """Tells other nodes of commits, and which jobs callers wait for here. At most one push to each is under way.

    Nothing depends on a push: what is not told is found by a look at the store a moment later.
    """

    def __init__(self, others: OtherNodes, hub: OutputHub, outlook: Outlook) -> None:
        self._others = others
        self._hub = hub
        self._outlook = outlook
        self._watched: dict[str, set[str]] = {}  # the nodes that wait for a job's events, by job
        self._peers: dict[str, _Peer] = {}
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Send pushes, for ever."""
        self._peers.clear()
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._nursery = None

    def on_commit(self, commit: Commit) -> None:
        """Tell those that wait for a job of what has become of it, and those with a free slot of new jobs."""
        for node in commit.may_claim:
            self._push(node)
        for event in {event.job_id: event for event in commit.events}.values():
            if event.state is State.QUEUED and self._hub.find(event.job_id) is not None:
                self._ask(event.job_id, event.model)
        for event in commit.events if self._watched else ():
            if event.state is State.WORKING and event.previous in RUNNING:
                continue  # it is read already
            for node in self._watched.get(event.job_id, ()):
                self._push(node)
        for event in commit.all_events if self._watched else ():
            if event.state in TERMINAL:
                self._watched.pop(event.job_id, None)

    def watch(self, node: str, job_ids: Iterable[str]) -> None:
        """Tell a node of these jobs' next events here."""
        for job_id in job_ids:
            self._watched.setdefault(job_id, set()).add(node)
            if len(self._watched) > MOST_WATCHED:
                del self._watched[next(iter(self._watched))]

    def expect(self, job: Job) -> None:
        """Have other nodes tell this one of a job that somebody begins to wait for here."""
        if job.state is State.QUEUED:
            self._ask(job.id, job.model)
        elif job.state in RUNNING and node_of(job.target) not in ("", self._others.name):
            self._push(node_of(job.target), job.id)

    def _ask(self, job_id: str, model: str) -> None:
        """Ask the nodes that may run a queued job to tell this one of it."""
        sites = self._outlook.sites_elsewhere.values()
        for node in {node_of(site.name) for site in sites if site.open and site.serves(model)}:
            self._push(node, job_id)

    def _push(self, node: str, job_id: str | None = None) -> None:
        peer = self._peers.setdefault(node, _Peer())
        if self._nursery is None or trio.current_time() < peer.rests_until:
            return
        if job_id is not None and len(peer.watched) < MOST:
            peer.watched.add(job_id)
        peer.due = True
        if not peer.sending:
            peer.sending = True
            self._nursery.start_soon(self._send, node, peer)

    async def _send(self, node: str, peer: _Peer) -> None:
        """Send pushes to a node until there is nothing more to tell it, or it takes none."""
        try:
            while peer.due:
                body = msgspec.json.encode(Push(list(peer.watched)))
                peer.due, peer.watched = False, set()
                with trio.fail_after(DEADLINE):
                    async with self._others.request(node, "POST", PATH, body) as response:
                        if response.status != TAKEN:
                            raise TargetError(f"it answered {response.status}")
        except (TargetError, trio.TooSlowError) as error:
            log.debug("cannot tell another node of news", node=node, why=str(error) or "no answer")
            peer.rests_until = trio.current_time() + REST
            peer.due, peer.watched = False, set()
        finally:
            peer.sending = False
