"""One life of the process: the actors as the supervisor starts and drains them, on a disk that takes its time."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import trio

from foreman.actors import pruner
from foreman.actors.attempt import Timeouts
from foreman.actors.feed import Feed, Subscription
from foreman.actors.inventory import NOTE, Inventory
from foreman.actors.output import OutputHub
from foreman.actors.webhook_dispatcher import WebhookDispatcher
from foreman.actors.worker import Worker
from foreman.domain.errors import CursorGone
from foreman.domain.job import Instant, JobEvent
from foreman.domain.scheduling import choose
from foreman.domain.webhooks.admission import Limits
from foreman.queue.actor import QueueActor
from foreman.queue.handlers.dispatch import CommandHandlers
from foreman.queue.handlers.ledger import Rules
from foreman.queue.positions import Outlook
from foreman.restart import keep_running
from tests.simulation.receiver import PER_RECEIVER, TOGETHER, ScriptedReceivers
from tests.simulation.target import ScriptedTarget
from tests.simulation.witness import Book, PowerCut, WatchedStore
from tests.support.actors import InlineReaders

T = TypeVar("T")

TIMEOUT = Timeouts(attempt=300, first_chunk=120, stall=90, max_answer=10_000)
POLL = 300.0  # seconds between probes
INLINE = 16_384  # bytes
LAST_WORDS = 5.0  # seconds


class _Held:
    """In place of Trio's token: what the writer's thread tells the loop comes when the sync has ended."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def run_sync_soon(self, *call: Any) -> None:
        self.calls.append(call)


class Disk:
    """Runs the writer, before which and after which anything may happen meanwhile."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self.dead = False
        self.slow = False

    async def __call__(self, function: Callable[..., T], /, *args: Any) -> T:
        (token,) = args
        held = _Held()
        await self._take_time()
        answer = function(held)
        await self._take_time()
        for call in held.calls:
            token.run_sync_soon(*call)
        return answer

    async def _take_time(self) -> None:
        await trio.sleep(self._dice.choice([0, 0, 0.001, 0.02, 2.0 if self.slow else 0.1]))
        if self.dead:
            raise PowerCut


class App:
    """The actors, built anew over the same file."""

    def __init__(
        self,
        store: WatchedStore,
        rules: Rules,
        target: ScriptedTarget,
        receivers: ScriptedReceivers,
        book: Book,
        dice: random.Random,
        clock: Callable[[], Instant],
    ) -> None:
        self.store = store
        self.book = book
        self.disk = Disk(dice)
        self.leaving = False
        self.target = target
        self.outlook = Outlook(choose.Rules(limit=book.limit, slots=book.slots))
        store.rests = lambda key: self.outlook.turns.rests(key)
        store.breakers = lambda: self.outlook.turns.breakers
        self.queue = QueueActor(
            CommandHandlers(store, rules, self.outlook, clock=clock, chance=dice.random), offload=self.disk
        )
        self.hub = OutputHub()
        self.inventory = Inventory(target, self.queue, poll_interval=POLL, remembered=store.note(NOTE))
        self.worker = Worker(
            self.queue,
            target,
            self.hub,
            self.inventory,
            self.outlook,
            slots=book.slots,
            timeout=TIMEOUT,
            clock=clock,
        )
        self.readers = InlineReaders(store, count=1)
        self.feed = Feed(self.readers, history=50, newest=store.seqs().newest)
        self.webhooks = WebhookDispatcher(
            self.queue, self.readers, receivers, limits=Limits(TOGETHER, PER_RECEIVER), inline=INLINE, clock=clock
        )
        for listener in (self.hub.on_commit, self.feed.on_commit, self.webhooks.on_commit, self.worker.on_commit):
            self.queue.add_listener(listener)

    async def start(self, nursery: trio.Nursery) -> None:
        await nursery.start(self.queue.run)
        actors: dict[str, Callable[..., Any]] = {
            "inventory": self.inventory.run,
            "worker": self.worker.run,
            "webhooks": self.webhooks.run,
            "pruner": partial(pruner.run, self.queue),
        }
        for name, run in actors.items():
            await nursery.start(partial(keep_running, name, run, leaving=lambda: self.leaving))
        nursery.start_soon(self._follow_feed)

    async def drain(self, grace: float) -> None:
        self.leaving = True
        await self.worker.drain(grace)
        await self.queue.close()
        with trio.move_on_after(LAST_WORDS):
            await self.queue.wait_closed()

    def kill(self, nursery: trio.Nursery) -> None:
        """Nothing gets onto the disk any more, and nobody hears anything."""
        self.disk.dead = True
        nursery.cancel_scope.cancel()

    async def _follow_feed(self) -> None:
        """A subscriber hears of every change once, in order, but for those that were deleted before it came to them."""
        reader = Subscription(self.feed, self.feed.newest, lambda event: True)
        last = reader.after
        while True:
            try:
                events: list[JobEvent] = await reader.next()
            except CursorGone:
                reader = Subscription(self.feed, self.feed.newest, lambda event: True)
                last = reader.after
                continue
            for event in events:
                missed = [c for c in self.book.history[last : event.seq - 1] if c.job_id not in self.book.gone]
                if event.seq <= last or missed:
                    self.book.complain(f"the feed goes from {last} to {event.seq}")
                last = event.seq
