"""One life of the process: the actors as the supervisor starts and drains them, on a disk that takes its time."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar, cast

import trio

from foreman.actors.feed import Subscription
from foreman.actors.webhook_sender import WebhookSender
from foreman.app import build
from foreman.config.settings import Settings
from foreman.domain.errors import CursorGone, Draining
from foreman.domain.job import Instant, JobEvent
from foreman.queue import actor
from tests.simulation.receiver import ScriptedReceivers
from tests.simulation.target import ScriptedTarget
from tests.simulation.witness import Book, PowerCut, WatchedStore
from tests.support.actors import InlineReaders

T = TypeVar("T")

LOOK = 100.0  # seconds between looks for slots that stand idle


class _Held:
    """In place of Trio's token: what the writer's thread tells the loop comes when the sync has ended.

    Only what it lends before its first commit comes at once.
    """

    def __init__(self, token: trio.lowlevel.TrioToken) -> None:
        self._token = token
        self.calls: list[tuple[Any, ...]] = []

    def run_sync_soon(self, *call: Any) -> None:
        if call[0] is actor.lend and not self.calls:
            self._token.run_sync_soon(*call)
        else:
            self.calls.append(call)


class Disk:
    """Runs the writer, and what else waits for the disk, before which and after which anything may happen meanwhile."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self.dead = False
        self.slow = False

    async def __call__(self, function: Callable[..., T], /, *args: Any) -> T:
        if not (args and isinstance(args[0], trio.lowlevel.TrioToken)):
            await self._take_time()
            return function(*args)
        token = args[0]
        held = _Held(token)
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
        targets: Sequence[ScriptedTarget],
        receivers: ScriptedReceivers,
        book: Book,
        dice: random.Random,
        clock: Callable[[], Instant],
        *,
        disk: Disk | None = None,
    ) -> None:
        self.store = store
        self.book = book
        self.patient = 2 * book.limit  # seconds: a turn, and what a pause or a load may add
        self.disk = disk or Disk(dice)
        self._app = build(
            settings,
            store,
            clock,
            targets={target.name: target for target in targets},
            sender=cast(WebhookSender, receivers),
            make_readers=partial(InlineReaders, count=1),
            in_thread=self.disk,
            chance=dice.random,
        )
        context = self._app.context
        self.fleet = context.fleet
        self.queue, self.readers, self.outlook, self.feed = (
            context.queue,
            context.readers,
            context.outlook,
            context.feed,
        )
        store.clock = clock
        store.rests = lambda key: self.outlook.rests(key)
        store.state = lambda: self.outlook.state_of(targets[0].name)
        store.breakers = lambda name: self.outlook.state_of(name).breakers
        store.serving = lambda key: [name for name, site in self.outlook.sites.items() if site.serves(key)]

    async def start(self, nursery: trio.Nursery) -> None:
        await self._app.start(nursery, None)
        nursery.start_soon(self._follow_feed)
        nursery.start_soon(self._look_for_idle_slots)

    async def hold(self, name: str) -> None:
        """Drain one target; one that shuts down takes no orders."""
        if member := self.fleet.get(name):
            with suppress(Draining):
                await self.fleet.drain(member)

    async def release(self, name: str) -> None:
        """Have a target take jobs again."""
        if member := self.fleet.get(name):
            with suppress(Draining):
                await self.fleet.resume(member)

    async def drain(self, grace: float) -> None:
        await self._app.drain(grace)

    def kill(self, nursery: trio.Nursery) -> None:
        """Nothing gets onto the disk any more, and nobody hears anything."""
        self.disk.dead = True
        nursery.cancel_scope.cancel()

    async def _look_for_idle_slots(self) -> None:
        """A job does not wait for ever while a target that could take it has a slot free."""
        since: dict[tuple[str, str], float] = {}
        while True:
            await trio.sleep(LOOK)
            now, seen = trio.current_time(), since
            since = {pair: seen.get(pair, now) for pair in self._could_run()}
            for (job_id, name), began in since.items():
                if now - began > self.patient:
                    self.book.complain(f"{job_id} waits for {now - began:g} s while {name} has a slot free")
                    since[job_id, name] = now

    def _could_run(self) -> Iterator[tuple[str, str]]:
        """Yield each waiting job with each target that could start it now."""
        if self.outlook.paused or self.disk.slow or self.disk.dead or self.store.full:
            return
        running = self.book.running()
        waiting = self.store._sql.rows("SELECT id, drain_key FROM jobs WHERE state = 'queued' AND ready_at IS NULL", ())
        for site in self.outlook.sites.values():
            keys = [seen.draft.key for seen in running if seen.target == site.name]
            if not site.open or len(keys) >= site.slots:
                continue
            room, state = site.room(), self.outlook.state_of(site.name)
            for job_id, key in waiting:
                if site.serves(key) and not state.rests(key) and room.fits({*keys, key}):
                    yield job_id, site.name

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
                logged = self.book.history[event.seq - 1]
                if (event.job_id, event.state) != (logged.job_id, logged.state):
                    self.book.complain(f"the feed says {event}, the log {logged}")
                missed = [c for c in self.book.history[last : event.seq - 1] if c.job_id not in self.book.gone]
                if event.seq <= last or missed:
                    self.book.complain(f"the feed goes from {last} to {event.seq}")
                last = event.seq
