"""The webhooks: delivers what the outbox holds, a lane per receiver, so that none waits for another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog
import trio

from foreman.actors.poster import Poster, payload_of
from foreman.job import Delivery, Instant
from foreman.messages import Commit, DeliveryEnded, Queue
from foreman.store.protocol import Reader
from foreman.store.readers import Readers

log = structlog.get_logger()

READ_AHEAD = 16  # deliveries that a lane reads at once
SLEEP_AT_MOST = 60.0  # seconds between looks, so that a clock set forward is noticed


@dataclass(frozen=True, slots=True)
class Limits:
    """How many deliveries run at once."""

    together: int = 32
    per_receiver: int = 4


class Webhooks:
    """Reads due deliveries from the store; after a restart it simply reads on."""

    def __init__(
        self,
        queue: Queue,
        readers: Readers,
        poster: Poster,
        *,
        limits: Limits,
        inline: int,
        clock: Callable[[], Instant],
    ) -> None:
        """`inline` is the size in bytes up to which an artifact travels in the webhook itself."""
        self._queue = queue
        self._readers = readers
        self._poster = poster
        self._limits = limits
        self._inline = inline
        self._clock = clock
        self._bell = trio.Event()
        self._lanes: set[str] = set()
        self._suspects: set[str] = set()  # receivers whose last answer was none or no good one
        # Receivers in trouble share half of the room: however many hang, there is some left for the others.
        self._room = trio.CapacityLimiter(limits.together)
        self._room_for_suspects = trio.CapacityLimiter(max(1, limits.together // 2))

    def notice(self, commit: Commit) -> None:
        if commit.posted:
            self._bell.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Open a lane for every receiver with something due, for ever."""
        self._lanes.clear()
        async with trio.open_nursery() as nursery:
            task_status.started()
            while True:
                self._bell = trio.Event()
                now = self._clock()
                wake = now + SLEEP_AT_MOST
                for receiver, due_at in await self._readers.read(lambda store: store.receivers()):
                    if receiver in self._lanes:
                        continue
                    if due_at <= now:
                        self._lanes.add(receiver)
                        nursery.start_soon(self._lane, receiver)
                    else:
                        wake = min(wake, due_at)
                with trio.move_on_after(max(0.0, wake - self._clock())):
                    await self._bell.wait()

    async def _lane(self, receiver: str) -> None:
        """Deliver until nothing is due. The changes of one job fly one after another; one that waits for a retry holds up none."""
        flying: dict[int, str] = {}  # seq to job
        landed = trio.Event()

        async def fly(delivery: Delivery) -> None:
            nonlocal landed
            try:
                await self._deliver(delivery)
            finally:
                del flying[delivery.seq]
                landed.set()

        try:
            async with trio.open_nursery() as nursery:
                while True:
                    landed = trio.Event()
                    bell = self._bell
                    ready = await self._ready(receiver, flying)
                    for delivery in ready:
                        if len(flying) >= self._width(receiver):
                            break
                        if delivery.job_id not in flying.values():
                            flying[delivery.seq] = delivery.job_id
                            nursery.start_soon(fly, delivery)
                    if not flying:
                        return
                    await _either(landed, bell if len(flying) < self._width(receiver) else landed)
        finally:
            self._lanes.discard(receiver)
            self._bell.set()  # something may have become due between the last look and here

    def _width(self, receiver: str) -> int:
        return 1 if receiver in self._suspects else self._limits.per_receiver

    async def _ready(self, receiver: str, flying: dict[int, str]) -> list[Delivery]:
        now, besides = self._clock(), frozenset(flying)
        return await self._readers.read(lambda store: store.due(receiver, now=now, besides=besides, limit=READ_AHEAD))

    async def _deliver(self, delivery: Delivery) -> None:
        body = await self._readers.read(lambda store: self._payload(store, delivery))
        if body is None:
            return  # the job was deleted meanwhile
        room = self._room_for_suspects if delivery.receiver in self._suspects else self._room
        async with room:
            sent = await self._poster.post(delivery, body)
        good = sent.status is not None and sent.status < 500
        (self._suspects.discard if good else self._suspects.add)(delivery.receiver)
        log.debug("webhook", job=delivery.job_id, seq=delivery.seq, status=sent.status, error=sent.error)
        await self._queue.ask(DeliveryEnded(delivery=delivery, sent=sent))

    def _payload(self, store: Reader, delivery: Delivery) -> bytes | None:
        return payload_of(store, delivery, self._inline)


async def _either(one: trio.Event, other: trio.Event) -> None:
    if one is other:
        await one.wait()
        return
    async with trio.open_nursery() as nursery:

        async def first(event: trio.Event) -> None:
            await event.wait()
            nursery.cancel_scope.cancel()

        nursery.start_soon(first, one)
        nursery.start_soon(first, other)
