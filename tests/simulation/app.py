"""One life of the process: the actors as the supervisor starts and drains them, on a disk that takes its time."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, cast

import trio

from foreman.actors.feed import Subscription
from foreman.actors.webhook_sender import WebhookSender
from foreman.app import build
from foreman.config.settings import Settings
from foreman.domain.errors import CursorGone
from foreman.domain.job import Instant, JobEvent
from tests.simulation.receiver import ScriptedReceivers
from tests.simulation.target import ScriptedTarget
from tests.simulation.witness import Book, PowerCut, WatchedStore
from tests.support.actors import InlineReaders

T = TypeVar("T")


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
    """The program itself over the same file, but for the HTTP server."""

    def __init__(
        self,
        store: WatchedStore,
        settings: Settings,
        target: ScriptedTarget,
        receivers: ScriptedReceivers,
        book: Book,
        dice: random.Random,
        clock: Callable[[], Instant],
    ) -> None:
        self.store = store
        self.book = book
        self.disk = Disk(dice)
        self._app = build(
            settings,
            store,
            clock,
            targets={settings.all_targets[0].name: target},
            sender=cast(WebhookSender, receivers),
            make_readers=partial(InlineReaders, count=1),
            offload=self.disk,
            chance=dice.random,
        )
        context = self._app.context
        self.queue, self.readers, self.outlook, self.feed = (
            context.queue,
            context.readers,
            context.outlook,
            context.feed,
        )
        store.clock = clock
        store.rests = lambda key: self.outlook.rests(key)
        store.standing = lambda: self.outlook.turns_of(settings.all_targets[0].name).standing
        store.breakers = lambda: self.outlook.turns_of(settings.all_targets[0].name).breakers

    async def start(self, nursery: trio.Nursery) -> None:
        await self._app.start(nursery, None)
        nursery.start_soon(self._follow_feed)

    async def drain(self, grace: float) -> None:
        await self._app.drain(grace)

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
