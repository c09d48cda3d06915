"""Nodes with all their actors over one store, in one process; they reach each other by HTTP on loopback.

With the autojump clock nothing waits for real: what one end of a loopback socket sends is at the other end at once.
"""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from typing import Any, cast

import trio
from msgspec.structs import replace

from foreman.actors.attempt import Timeouts
from foreman.actors.auto_slots import AutoSlots
from foreman.actors.blobs import Blobs
from foreman.actors.calls_elsewhere import CallsElsewhere
from foreman.actors.conversations import StoredResponses
from foreman.actors.fleet import Fleet, Member
from foreman.actors.inventory import Inventory
from foreman.actors.membership import Membership
from foreman.actors.models_elsewhere import ModelsElsewhere
from foreman.actors.other_nodes import OtherNodes
from foreman.actors.output import OutputHub
from foreman.actors.past_queue import PastQueue
from foreman.actors.pushes import PATH, Pushes
from foreman.actors.remote_output import RemoteOutputs
from foreman.actors.upstream import Upstream
from foreman.actors.worker import Worker
from foreman.budget import Budget
from foreman.config.settings import Settings
from foreman.config.target_settings import TargetSettings
from foreman.domain.intake import Intake
from foreman.domain.job import JobEvent, State
from foreman.domain.node_auth import NodeAuth
from foreman.domain.rate import Rate
from foreman.domain.retry import Backoff
from foreman.domain.scheduling.choose import OrderRules
from foreman.http import asgi
from foreman.http.auth import Auth
from foreman.http.context import Context
from foreman.http.server import guard
from foreman.offload import offload
from foreman.queue.actor import QueueActor
from foreman.queue.commands import Commit, Submit
from foreman.queue.handlers.dispatch import CommandHandlers
from foreman.queue.handlers.job_rules import JobRules
from foreman.queue.outlook import Outlook
from foreman.store.sqlite.writer import SqliteWriter
from foreman.targets.http.connection import Response
from foreman.targets.http.pool import Client
from foreman.tuning import intake_of
from tests.support.actors import EVEN, FakeTarget, InlineReaders, draft, inline, now
from tests.support.shared import NodeStore, Roll

SECRET = b"the secret of the fleet"
LEASE = 20.0


@dataclass
class Node:
    """One node with its actors and its HTTP server."""

    name: str
    url: str
    store: NodeStore
    queue: QueueActor
    hub: OutputHub
    outlook: Outlook
    worker: Worker
    membership: Membership
    outputs: RemoteOutputs
    others: OtherNodes
    target: FakeTarget
    client: Client
    auth: Auth
    fleet: Fleet
    pushes: Pushes
    heard: list[JobEvent] = field(default_factory=list)
    stop: trio.CancelScope = field(default_factory=trio.CancelScope)
    news: trio.Event = field(default_factory=trio.Event)
    served: list[str] = field(default_factory=list)  # requests to its server in order, but for pushes
    pushed: int = 0  # pushes to its server
    serving: trio.CancelScope = field(default_factory=trio.CancelScope)

    def unplug(self) -> None:
        """End its server; all its other actors go on."""
        self.serving.cancel()

    def on_commit(self, commit: Commit) -> None:
        self.heard += commit.all_events
        self.news.set()
        self.news = trio.Event()

    async def submit(self, number: int = 1, model: str = "m", **fields: Any) -> str:
        one = draft(number, model=model, **fields)
        await self.queue.ask(Submit(draft=one))
        return one.id

    async def until(self, condition: Callable[[], bool]) -> None:
        with trio.fail_after(1_000_000):
            while not condition():
                await self.news.wait()

    async def until_state(self, state: State, attempt: int | None = None) -> None:
        await self.until(lambda: any(e.state is state and attempt in (None, e.attempt) for e in self.heard))

    @asynccontextmanager
    async def stream(self, job_id: str) -> AsyncIterator[Response]:
        async with self.client.request("GET", f"/jobs/{job_id}/stream") as response:
            assert response.status == 200
            yield response

    async def get(self, path: str) -> Any:
        response, body = await self.client.fetch("GET", path, limit=10**6)
        assert response.status == 200
        return json.loads(body)

    async def read_stream(self, job_id: str) -> bytes:
        async with self.stream(job_id) as response:
            return await response.read(10**9)


class Nodes:
    """Starts nodes over one store."""

    def __init__(self, store: SqliteWriter, nursery: trio.Nursery) -> None:
        self._store = store
        self._nursery = nursery
        self.roll = Roll()
        self._nowhere: list[socket.socket] = []

    def cut(self, node: Node, *, silent: bool = False) -> None:
        """Have the others no longer reach a node, which goes on: nobody answers, or all is refused."""
        nowhere = socket.socket()
        nowhere.bind(("127.0.0.1", 0))
        if silent:
            nowhere.listen()
        self._nowhere.append(nowhere)
        url = f"http://127.0.0.1:{nowhere.getsockname()[1]}"
        self.roll.change(replace(self.roll.nodes[node.name], url=url))

    def close(self) -> None:
        for nowhere in self._nowhere:
            nowhere.close()

    async def start(
        self,
        name: str,
        target: FakeTarget | None = None,
        *,
        slots: int = 1,
        held: bool = False,
        reachable: bool = True,
        secret: bytes = SECRET,
        memory: int | None = None,
        **settings: Any,
    ) -> Node:
        """Start a node; its target takes no jobs while it is `held`."""
        target = target or FakeTarget()
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        shared = cast(Any, NodeStore(self._store, name, self.roll, now(), url=url if reachable else None))
        outlook, own = Outlook(OrderRules()), f"t@{name}"
        rules = JobRules(backoff=Backoff(2, 300), lease=LEASE)
        handlers = CommandHandlers(shared, rules, outlook, clock=now, chance=lambda: EVEN, node=name)
        queue, readers = QueueActor(handlers, in_thread=inline), InlineReaders(self._store)
        budget = Budget(memory) if memory else Budget()
        hub = OutputHub(budget)
        inventory = Inventory(target, queue, poll_interval=30, note=own)
        worker = Worker(queue, target, hub, inventory, outlook, name=own, auto=AutoSlots(slots=slots), clock=now)
        if held:
            worker.start_drained()
        setting = TargetSettings(name="t", managed=True).model_copy(update={"name": own})
        member = Member(setting, target, inventory, worker)
        outlook.own_sites = {own: member}
        timeouts = Timeouts(attempt=300)
        fleet = Fleet([member], queue, elsewhere=ModelsElsewhere(outlook))
        membership = Membership(fleet, queue)
        node_auth = NodeAuth(secret)
        others = OtherNodes(name, node_auth, outlook, handlers.clock)
        outputs = RemoteOutputs(others, hub, readers)
        pushes = Pushes(others, hub, outlook)
        every = Settings(**settings)
        auth = Auth(every)
        auth.admit_nodes(node_auth, handlers.clock)
        context = Context(
            settings=every,
            queue=queue,
            readers=readers,
            hub=hub,
            fleet=fleet,
            intake=Intake(fleet, cast(Any, None), StoredResponses(readers), intake_of(every), offload=offload),
            outlook=outlook,
            past_queue=PastQueue(fleet, concurrency=4, timeout=timeouts),
            upstream=Upstream(fleet, timeouts),
            remote_outputs=outputs,
            pushes=pushes,
            calls_elsewhere=CallsElsewhere(others, fleet.elsewhere),
            auth=auth,
            blobs=Blobs(shared.blobs, queue, readers, in_thread=inline),
            batches=cast(Any, None),
            rate=Rate(0, 0),
            budget=budget,
            clock=handlers.clock,
            feed=cast(Any, None),
            sender=cast(Any, None),
            metrics=cast(Any, None),
            watchdog=cast(Any, None),
            log_size=lambda: 0,
            store_away=lambda: False,
            boot_id=name,
        )
        client = Client(url, name=f"the node {name}")
        node = Node(
            name,
            url,
            shared,
            queue,
            hub,
            outlook,
            worker,
            membership,
            outputs,
            others,
            target,
            client,
            auth,
            fleet,
            pushes,
        )
        for listener in (hub.on_commit, outputs.on_commit, pushes.on_commit, worker.on_commit, node.on_commit):
            queue.add_listener(listener)
        app = asgi.build(context)
        inner = app.asgi_app

        async def counted(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http" and scope["path"] == PATH:
                node.pushed += 1
            elif scope["type"] == "http":
                node.served.append(f"{scope['method']} {scope['path']}")
            await inner(scope, receive, send)

        app.asgi_app = counted  # type: ignore[method-assign]

        async def serve(*, task_status: trio.TaskStatus[None]) -> None:
            with node.serving, listening:
                await guard.serve(app, listening, until=trio.sleep_forever, task_status=task_status)

        async def run(*, task_status: trio.TaskStatus[None]) -> None:
            with node.stop, listening, closing(client):
                async with trio.open_nursery() as actors:
                    for actor in (queue.run, inventory.run, membership.run, worker.run, outputs.run, pushes.run, serve):
                        await actors.start(actor)
                    task_status.started()

        await self._nursery.start(run)
        return node
