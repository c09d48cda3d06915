"""The webhooks: delivers what the outbox holds, a lane per receiver, so that none waits for another."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import structlog
import trio

from foreman.actors.meters import Meters
from foreman.actors.poster import Poster, payload_of
from foreman.errors import StoreUnavailable
from foreman.job import Delivery, Instant
from foreman.messages import Commit, DeliveryEnded, Queue
from foreman.retry import Sent
from foreman.store.protocol import Reader
from foreman.store.readers import Readers

log = structlog.get_logger()

GONE = 410  # the receiver wants no more of this job
READ_AHEAD = 32  # deliveries that a lane holds at most
READ_BYTES = 2**20  # of payloads after which it reads no further ahead
REMEMBERED = 10_000  # receivers whose last answer is known
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
        meters: Meters | None = None,
    ) -> None:
        """`inline` is the size in bytes up to which an artifact travels in the webhook itself."""
        self._queue = queue
        self._readers = readers
        self._poster = poster
        self._limits = limits
        self._inline = inline
        self._clock = clock
        self._meters = meters or Meters()
        self._bell = trio.Event()
        self._lanes: set[str] = set()
        self._well: dict[str, bool] = {}  # whether the last answer of a receiver was a good one
        # However many receivers hang, there is room left for strangers, and more for those that are known to be well.
        self._room = trio.CapacityLimiter(limits.together)
        self._room_for_strangers = trio.CapacityLimiter(max(1, limits.together * 3 // 4))
        self._room_for_the_ill = trio.CapacityLimiter(max(1, limits.together // 2))

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
                for receiver, due_at in await self._readers.insist(lambda store: store.receivers()):
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
        """Deliver until nothing is due. Changes of one job go one after another, in their order."""
        waiting: dict[int, tuple[Delivery, bytes]] = {}  # what was read and not sent, by seq
        flying: dict[int, str] = {}  # seq to job
        landed = trio.Event()

        async def fly(delivery: Delivery, body: bytes) -> None:
            try:
                if await self._deliver(delivery, body) == GONE:
                    for seq in [seq for seq, (other, _) in waiting.items() if other.job_id == delivery.job_id]:
                        del waiting[seq]
            finally:
                del flying[delivery.seq]
                landed.set()

        try:
            async with trio.open_nursery() as nursery:
                while True:
                    landed, bell = trio.Event(), self._bell
                    if not _sendable(waiting, flying) and len(waiting) < READ_AHEAD:
                        waiting |= await self._read(receiver, frozenset((*flying, *waiting)), READ_AHEAD - len(waiting))
                    while len(flying) < self._width(receiver) and (seq := _sendable(waiting, flying)):
                        delivery, body = waiting.pop(seq)
                        flying[seq] = delivery.job_id
                        nursery.start_soon(fly, delivery, body)
                    if not flying:
                        return
                    await _either(landed, bell if len(flying) < self._width(receiver) else landed)
        finally:
            self._lanes.discard(receiver)
            self._bell.set()  # something may have become due between the last look and here

    def _width(self, receiver: str) -> int:
        return self._limits.per_receiver if self._well.get(receiver) else 1

    async def _read(self, receiver: str, besides: frozenset[int], most: int) -> dict[int, tuple[Delivery, bytes]]:
        """What is due with its payloads, in one visit to the store."""

        def read(store: Reader) -> dict[int, tuple[Delivery, bytes]]:
            found: dict[int, tuple[Delivery, bytes]] = {}
            size = 0
            for delivery in store.due(receiver, now=self._clock(), besides=besides, limit=most):
                body = payload_of(store, delivery, self._inline)
                found[delivery.seq] = delivery, body
                size += len(body)
                if size > READ_BYTES:
                    break
            return found

        return await self._readers.insist(read)

    async def _deliver(self, delivery: Delivery, body: bytes) -> int | None:
        """The status of the receiver's answer, once what it means is on disk."""
        async with self._admitted(delivery.receiver):
            sent = await self._poster.post(delivery, body)
        self._meters.delivered(sent.status)
        self._well.pop(delivery.receiver, None)
        self._well[delivery.receiver] = sent.status is not None and sent.status < 500
        if len(self._well) > REMEMBERED:
            del self._well[next(iter(self._well))]
        log.debug("webhook", job=delivery.job_id, seq=delivery.seq, status=sent.status, error=sent.error)
        await self._store(delivery, sent)
        return sent.status

    async def _store(self, delivery: Delivery, sent: Sent) -> None:
        """Have it written down how an attempt ended, once there is room for it."""
        while True:
            try:
                await self._queue.ask(DeliveryEnded(delivery=delivery, sent=sent))
                return
            except StoreUnavailable as fault:
                log.warning("cannot store how a webhook ended", why=str(fault))
                await trio.sleep(fault.retry_after)

    @asynccontextmanager
    async def _admitted(self, receiver: str) -> AsyncIterator[None]:
        well = self._well.get(receiver)
        async with AsyncExitStack() as rooms:
            if well is False:
                await rooms.enter_async_context(self._room_for_the_ill)
            if not well:
                await rooms.enter_async_context(self._room_for_strangers)
            await rooms.enter_async_context(self._room)
            yield


def _sendable(waiting: dict[int, tuple[Delivery, bytes]], flying: dict[int, str]) -> int | None:
    """The first one that waits for no other of its job."""
    busy = set(flying.values())
    return next((seq for seq, (delivery, _) in waiting.items() if delivery.job_id not in busy), None)


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
