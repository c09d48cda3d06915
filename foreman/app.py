"""The composition root: builds the actors, starts them in order, and drains them."""

from __future__ import annotations

import random
import socket
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import structlog
import trio
from ulid import ULID

from foreman import descriptors, tuning
from foreman.actors import auto_slots, pruner
from foreman.actors.batches import Batches
from foreman.actors.blobs import Blobs
from foreman.actors.calls_elsewhere import CallsElsewhere
from foreman.actors.conversations import StoredResponses
from foreman.actors.feed import Feed
from foreman.actors.fleet import Fleet, Member
from foreman.actors.indexer import Indexer
from foreman.actors.membership import Membership
from foreman.actors.metrics import Metrics
from foreman.actors.models_elsewhere import ModelsElsewhere
from foreman.actors.other_nodes import OtherNodes
from foreman.actors.output import OutputHub
from foreman.actors.past_queue import PastQueue
from foreman.actors.pushes import Pushes
from foreman.actors.remote_output import RemoteOutputs
from foreman.actors.upstream import Upstream
from foreman.actors.webhook_dispatcher import WebhookDispatcher
from foreman.actors.webhook_sender import WebhookSender
from foreman.budget import GRACE, Budget
from foreman.config.settings import Settings
from foreman.domain.errors import StoreUnavailable
from foreman.domain.intake import Intake
from foreman.domain.job import at_node
from foreman.domain.node_auth import NodeAuth
from foreman.domain.nodes import DRAINED
from foreman.domain.rate import Rate
from foreman.http import asgi
from foreman.http.auth import Auth
from foreman.http.context import Context
from foreman.http.new_ids import new_job_id
from foreman.http.server import guard, tls
from foreman.members import Makings, Members, Run, note_of, usage_name_of
from foreman.offload import InThread, offload
from foreman.queue.actor import QueueActor
from foreman.queue.commands import Prune
from foreman.queue.handlers.dispatch import CommandHandlers
from foreman.queue.outlook import Outlook
from foreman.reloader import Reloader, itself
from foreman.restart import keep_running
from foreman.store.protocol import Engine
from foreman.store.readers import Readers
from foreman.targets.boot import leads_to
from foreman.targets.protocol import Target
from foreman.watchdog import Watchdog

log = structlog.get_logger()

LAST_WORDS = 5.0  # seconds for the last commits after the drain, and again for the last answers


@dataclass(slots=True)
class App:
    """The running program: its actors, and the order of their start and end."""

    context: Context
    queue: QueueActor
    members: Members
    reloader: Reloader
    webhooks: WebhookDispatcher
    membership: Membership | None  # among nodes that share the store
    remote_outputs: RemoteOutputs | None  # of these
    pushes: Pushes | None  # to these
    indexer: Indexer
    coordinates: Callable[[], bool]  # True while this node removes old jobs
    tls: ssl.SSLContext | None
    closing: trio.Event = field(default_factory=trio.Event)
    closed: trio.Event = field(default_factory=trio.Event)  # the HTTP server has sent its last answers
    down: set[str] = field(default_factory=set)  # failed actors that do not serve again yet

    async def start(self, nursery: trio.Nursery, listening: socket.socket | None) -> None:
        """Start the actors inside-out: each finds its dependencies running. Without a socket, no HTTP is served."""
        await nursery.start(self.queue.run)  # unsupervised: no restart can repair it, so its error ends the process
        self.reloader.start(nursery, listening)
        await self.members.start(nursery, self.supervised, self.down.discard)
        await nursery.start(self.supervised("past queue", self.context.past_queue.run))
        await nursery.start(self.supervised("webhooks", self.webhooks.run))
        await nursery.start(self.supervised("batches", self.context.batches.run))
        prune = partial(pruner.run, self.queue, self.context.blobs, self.coordinates)
        await nursery.start(self.supervised("pruner", prune))
        await nursery.start(self.supervised("indexer", self.indexer.run))
        if self.membership is not None:
            await nursery.start(self.supervised("membership", self.membership.run))
        if self.remote_outputs is not None:
            await nursery.start(self.supervised("remote outputs", self.remote_outputs.run))
        if self.pushes is not None:
            await nursery.start(self.supervised("pushes", self.pushes.run))
        if listening is not None:
            await nursery.start(self.supervised("http", partial(self._serve, listening)))

    async def drain(self, grace: float) -> None:
        """Drain outside-in: no new jobs, no new claims, `grace` seconds for running jobs, then the last commits."""
        self.context.leaving.set()
        if self.membership is not None:
            await self.membership.drain()
        await self.members.drain(grace)
        if self.membership is not None:
            await self.membership.leave()
        await self.queue.close()
        with trio.move_on_after(LAST_WORDS):
            await self.queue.wait_closed()
        self.closing.set()  # only now, so that clients following a job receive its last event
        with trio.move_on_after(LAST_WORDS):
            await self.closed.wait()

    async def look(self, url: str) -> str | None:
        """Return a status line after a check of the queue and a reader, or None while an actor is down."""
        if self.context.draining:
            return "draining"
        with suppress(StoreUnavailable):  # no restart can repair that
            await self.queue.ask(Prune(most=0))  # a round trip through the writer thread that changes nothing
        running = await self.context.readers.insist(lambda store: len(store.running()))
        waiting = self.context.outlook.board.waiting
        members = self.context.fleet.members
        away = "".join(f"; {member.target.address} is away" for member in members if not member.inventory.up)
        return None if self.down else f"{url}: {waiting} waiting, {running} running{away}"

    async def check_addresses(self, listening: socket.socket) -> None:
        """Raise SettingInvalid when a target's address is this process's own, before the first request to it."""
        for member in self.context.fleet.members:
            if (url := member.settings.url) and await leads_to(listening, url):
                raise itself(self.context.settings, member.settings)

    async def check_targets(self) -> None:
        """Raise SettingInvalid when the server that answers as a target is this process, such as behind a proxy."""

        async def check(member: Member) -> None:
            if await member.target.boot_id() == self.context.boot_id:
                found.append(member)

        found: list[Member] = []
        async with trio.open_nursery() as nursery:
            for member in self.context.fleet.members:
                nursery.start_soon(check, member)
        if found:
            raise itself(self.context.settings, found[0].settings)

    async def _serve(self, listening: socket.socket, *, task_status: trio.TaskStatus[None]) -> None:
        settings = self.context.settings
        limits = guard.Limits(descriptors.room(settings.max_connections), settings.idle_timeout, settings.send_timeout)
        served = asgi.build(self.context)
        await guard.serve(
            served,
            listening,
            until=self.closing.wait,
            tls=self.tls,
            limits=limits,
            parser=settings.http_parser,
            task_status=task_status,
        )
        self.closed.set()

    def supervised(self, name: str, run: Run, *, done: Callable[[], bool] = lambda: False) -> Run:
        """Return `run` under supervision: it restarts after failures, within its limit, until it is `done()`."""
        return partial(
            keep_running,
            name,
            run,
            leaving=lambda: self.context.draining,
            done=done,
            restarted=self._failed,
            serves=self.down.discard,
        )

    def _failed(self, name: str) -> None:
        self.down.add(name)
        self.context.metrics.restarted(name)


def build(
    settings: Settings,
    store: Engine,
    clock: Callable[[], float],
    *,
    targets: Mapping[str, Target] | None = None,
    sender: WebhookSender | None = None,
    make_readers: Callable[..., Readers] = Readers,
    in_thread: InThread | None = None,
    chance: Callable[[], float] = random.random,
    reread: Callable[[], Settings] | None = None,
) -> App:
    """Build the app from the settings; its actors are connected but not started.

    `reread` reads the settings once more, for a reload. The simulation gives targets by name, a sender, readers, a
    way to run what may wait (`in_thread`) and a randomness of its own.

    Raises:
        SettingInvalid: A setting cannot be used.
    """
    timeouts = tuning.timeouts_of(settings)
    outlook = Outlook(tuning.order_of(settings))
    handlers = CommandHandlers(
        store,
        tuning.job_rules_of(settings),
        outlook,
        clock=clock,
        chance=chance,
        target=usage_name_of(settings),
        node=settings.node,
    )
    clock = handlers.clock  # the store's, which nodes agree on
    queue = QueueActor(handlers, in_thread=in_thread)
    budget = Budget(settings.memory, grace=min(GRACE, settings.send_timeout))
    hub = OutputHub(budget)
    metrics, watchdog = Metrics(), Watchdog()
    makings = Makings(queue=queue, hub=hub, outlook=outlook, timeout=timeouts, clock=clock, metrics=metrics)
    fleet = Fleet(
        [
            makings.build(
                settings,
                one,
                (targets or {}).get(one.name),
                remembered=store.note(note_of(settings, one)),
                found=store.note(auto_slots.note_of(one.name)),
            )
            for one in settings.all_targets
        ],
        queue,
        drained=store.note(drained := at_node(DRAINED, settings.node)),
        note=drained,
        elsewhere=(elsewhere := ModelsElsewhere(outlook)),
    )
    readers = make_readers(store, broken=queue.lose)
    feed = Feed(readers, history=settings.feed_history, newest=store.seqs().newest)
    sender = sender or WebhookSender(
        tuning.receivers_of(settings),
        secrets=tuning.secrets_of(settings),
        timeout=settings.webhook_timeout,
        clock=clock,
    )
    webhooks = WebhookDispatcher(
        queue,
        # Separate, so that HTTP and webhooks do not wait for each other.
        make_readers(store, count=1, broken=queue.lose),
        sender,
        limits=tuning.deliveries_of(settings),
        inline=settings.artifact_inline_limit,
        metrics=metrics,
        clock=clock,
        coordinates=lambda: handlers.coordinates,
    )
    auth = Auth(settings)
    calls_elsewhere = remote_outputs = pushes = None
    queue.add_listener(hub.on_commit)
    if store.secret is not None:
        signed = NodeAuth(store.secret)
        auth.admit_nodes(signed, clock)
        others = OtherNodes(settings.node, signed, outlook, clock)
        calls_elsewhere = CallsElsewhere(others, elsewhere)
        remote_outputs = RemoteOutputs(others, hub, readers)
        queue.add_listener(remote_outputs.on_commit)
        pushes = Pushes(others, hub, outlook)
        queue.add_listener(pushes.on_commit)
    queue.add_listener(feed.on_commit)
    queue.add_listener(webhooks.on_commit)
    members = Members(fleet, queue, outlook)
    queue.add_listener(metrics.on_commit)
    intake = Intake(fleet, sender, StoredResponses(readers), tuning.intake_of(settings), offload=offload)
    blobs = Blobs(store.blobs, queue, readers, in_thread=in_thread)
    batches = Batches(
        queue,
        make_readers(store, count=1, broken=queue.lose),
        blobs,
        intake,
        clock=clock,
        new_id=new_job_id,
        coordinates=lambda: handlers.coordinates,
        shared=store.secret is not None,
    )
    queue.add_listener(batches.on_commit)
    context = Context(
        settings=settings,
        queue=queue,
        readers=readers,
        feed=feed,
        sender=sender,
        hub=hub,
        fleet=fleet,
        intake=intake,
        outlook=outlook,
        past_queue=PastQueue(
            fleet, concurrency=settings.embed_concurrency, timeout=timeouts, warm=settings.embed_model
        ),
        upstream=Upstream(fleet, timeouts),
        auth=auth,
        blobs=blobs,
        batches=batches,
        calls_elsewhere=calls_elsewhere,
        remote_outputs=remote_outputs,
        pushes=pushes,
        rate=Rate(settings.rate, settings.rate_burst),
        budget=budget,
        metrics=metrics,
        watchdog=watchdog,
        store_away=store.is_away,
        log_size=store.log_size,
        coordinator=lambda: store.coordinator,
        boot_id=str(ULID()),
        clock=clock,
    )
    tuned = tuning.Tuning(
        handlers=handlers,
        outlook=outlook,
        makings=makings,
        intake=context.intake,
        past_queue=context.past_queue,
        upstream=context.upstream,
        sender=sender,
        webhooks=webhooks,
        budget=budget,
        rate=context.rate,
        auth=context.auth,
    )
    reloader = Reloader(context, members, makings, tuned, reread or (lambda: settings))
    context.reload = reloader.reload
    membership = Membership(fleet, queue) if store.secret is not None else None
    return App(
        context=context,
        queue=queue,
        members=members,
        reloader=reloader,
        webhooks=webhooks,
        membership=membership,
        remote_outputs=remote_outputs,
        pushes=pushes,
        indexer=Indexer(queue, readers, lambda: handlers.coordinates),
        coordinates=lambda: handlers.coordinates,
        tls=tls.tls_of(settings.tls_cert, settings.tls_key),
    )
