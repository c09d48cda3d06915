"""The webhook dispatcher: delivers the outbox, with places shared by owner and by the receiver's health."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import structlog
import trio

from foreman.actors.metrics import Metrics
from foreman.actors.webhook_sender import Content, WebhookSender, content_of
from foreman.domain.errors import JobUnreadable, StoreUnavailable
from foreman.domain.job import Instant
from foreman.domain.retry import Sent
from foreman.domain.webhooks.admission import Admission, Destination, Health, Limits, Place
from foreman.domain.webhooks.endpoints import AnyDelivery
from foreman.queue.commands import Commit, DeliveryEnded, Queue
from foreman.store.protocol import Reader
from foreman.store.readers import Readers
from foreman.store.records import Due

log = structlog.get_logger()

GONE = 410  # the receiver wants no more webhooks of this job
READ_AHEAD = 32  # deliveries in memory per destination, at most
READ_BYTES = 2**20  # of payloads per read
SLOW = 5.0  # seconds; a slower answer counts as ill health, like a failure
NOTHING_PAUSE = 1.0  # seconds before an unreadable delivery counts as an attempt

Body: TypeAlias = Content | JobUnreadable  # the error when it cannot be read

SLEEP_AT_MOST = 60.0  # seconds between looks, so that a clock set forward is noticed
PAGE = 256  # receivers in one read, shared by the owners
PAGE_OF_ONE = 16  # receivers of each owner in one read, at least
REST = 9  # times the duration of a read, as the pause after it
REST_AT_MOST = 1.0  # seconds


class WebhookDispatcher:
    """Delivers what is due in the store's outbox; after a restart it reads on.

    A destination that waits for a place costs an entry in a list. Each held place has a task, and payloads are read
    only then.
    """

    def __init__(
        self,
        queue: Queue,
        readers: Readers,
        sender: WebhookSender,
        *,
        limits: Limits,
        inline: int,
        clock: Callable[[], Instant],
        metrics: Metrics | None = None,
        coordinates: Callable[[], bool] = lambda: True,
    ) -> None:
        """Include artifacts of up to `inline` bytes in a webhook. Unless `coordinates`, another node delivers."""
        self._queue = queue
        self._readers = readers
        self._sender = sender
        self._admission = Admission(limits)
        self._inline = inline
        self._clock = clock
        self._metrics = metrics or Metrics()
        self._coordinates = coordinates
        self._work_available = trio.Event()

    def change(self, limits: Limits, *, inline: int) -> None:
        """Make new deliveries by these limits; one too many ends first."""
        self._inline = inline
        self._admission.limits = limits
        self._work_available.set()  # there may be free places

    def on_commit(self, commit: Commit) -> None:
        """Look for due deliveries when the commit added some."""
        if commit.posted:
            self._work_available.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Deliver what is due, for ever."""
        self._admission = Admission(self._admission.limits)
        self._lanes: dict[Destination, _Lane] = {}
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            rounds: dict[str, _Round] = {}
            while True:
                self._work_available = trio.Event()
                began = trio.current_time()
                await self._look(rounds)
                await trio.sleep(min(REST_AT_MOST, REST * (trio.current_time() - began)))
                if not any(walk.under_way for walk in rounds.values()):
                    wake = min((walk.soonest for walk in rounds.values()), default=math.inf)
                    rest = min(SLEEP_AT_MOST, wake - self._clock(), self._sender.expires_in())
                    with trio.move_on_after(max(0.0, rest)):
                        await self._work_available.wait()
                    await self._sender.close_expired()
                    for walk in rounds.values():
                        walk.begin()
                elif self._work_available.is_set():
                    for walk in rounds.values():
                        walk.begin()

    async def _look(self, rounds: dict[str, _Round]) -> None:
        """Queue some of each owner's receivers with due deliveries for a place.

        An owner with many receivers takes several looks; each look also serves the other owners.
        """
        walks = {owner: walk.after if walk.under_way else None for owner, walk in rounds.items()}

        def read(store: Reader) -> tuple[dict[str, list[Due]], int]:
            owners = store.owners_due() if self._coordinates() else []
            page = max(PAGE_OF_ONE, PAGE // max(1, len(owners)))
            afters = {owner: walks.get(owner, "") for owner in owners}
            found = {
                owner: store.receivers_due(owner, after=after, limit=page) if after is not None else []
                for owner, after in afters.items()
            }
            return found, page

        found, page = await self._readers.insist(read)
        now = self._clock()
        for owner in rounds.keys() - found.keys():
            del rounds[owner]
        for owner, some in found.items():
            walk = rounds.setdefault(owner, _Round())
            for due in some:
                if due.at <= now:
                    self._want(Destination(owner, due.receiver), due)
                else:
                    walk.soonest = min(walk.soonest, due.at)
            if walk.under_way:
                walk.go_on(some[-1].receiver if len(some) == page else None)
        self._hand_out()

    def _want(self, destination: Destination, due: Due) -> None:
        if due.failed and self._admission.health(destination) is Health.UNKNOWN:
            self._admission.learn(destination, Health.ILL)
        if (lane := self._lanes.get(destination)) is not None:
            lane.unread = due.at
        self._admission.wait(destination, due.at)

    def _hand_out(self) -> None:
        while (place := self._admission.admit()) is not None:
            self._lanes.setdefault(place.destination, _Lane())
            self._nursery.start_soon(self._work, place)
        if self._admission.is_short():
            self._work_available.set()

    async def _work(self, place: Place) -> None:
        """Make one delivery, if any is due. An exception ends the whole actor, so nothing is undone here."""
        destination, lane = place.destination, self._lanes[place.destination]
        if (found := await self._take(destination, lane)) is not None:
            delivery, body = found
            if await self._deliver(destination, delivery, body) == GONE:
                lane.drop(delivery.group)
            del lane.in_flight[delivery.key]
        self._admission.leave(place)
        self._ask_for_more(destination, lane)
        if not self._admission.places(destination):
            del self._lanes[destination]
            self._work_available.set()  # deliveries that became due after the last look are seen by another

    async def _take(self, destination: Destination, lane: _Lane) -> tuple[AnyDelivery, Body] | None:
        """Return the next delivery and its payload; read from the store when none is in memory."""
        while (key := lane.sendable()) is None:
            if lane.reading is not None:
                await lane.reading.wait()
            elif lane.may_read():
                await self._read(destination, lane)
            else:
                return None
        delivery, body = lane.waiting.pop(key)
        lane.in_flight[key] = delivery.group
        self._ask_for_more(destination, lane)
        return delivery, body

    def _ask_for_more(self, destination: Destination, lane: _Lane) -> None:
        """Queue the destination for another place if it has deliveries left, then hand out the free places."""
        if (key := lane.sendable()) is not None:
            self._admission.wait(destination, lane.waiting[key][0].due_at)
        elif lane.unread is not None and lane.may_read():
            self._admission.wait(destination, lane.unread)
        self._hand_out()

    async def _read(self, destination: Destination, lane: _Lane) -> None:
        """Read due deliveries and their payloads in one transaction, twice as many as the last time."""
        besides = frozenset((*lane.in_flight, *lane.waiting))
        most = min(lane.most, READ_AHEAD - len(lane.waiting))

        def read(store: Reader) -> tuple[dict[int | str, tuple[AnyDelivery, Body]], Instant | None]:
            found: dict[int | str, tuple[AnyDelivery, Body]] = {}
            size, now = 0, self._clock()
            if not self._coordinates():
                return found, None
            for delivery in store.due(*destination, now=now, besides=besides, limit=most + 1):
                if len(found) == most or size > READ_BYTES:
                    return found, delivery.due_at
                try:
                    content = content_of(store, delivery, self._inline, now)
                    found[delivery.key] = delivery, content
                    size += len(content.body)
                except JobUnreadable as error:
                    found[delivery.key] = delivery, error
            return found, None

        lane.reading, lane.unread = trio.Event(), None
        found, unread = await self._readers.insist(read)
        lane.reading.set()
        lane.reading = None
        lane.waiting |= found
        lane.unread = unread if lane.unread is None else lane.unread
        lane.most = min(READ_AHEAD, 2 * lane.most)

    async def _deliver(self, destination: Destination, delivery: AnyDelivery, body: Body) -> int | None:
        """Send the webhook; return the status of the answer once the outcome is on disk."""
        if isinstance(body, JobUnreadable):  # counts as a failed attempt: it may be repaired before the last one
            await trio.sleep(NOTHING_PAUSE)
            await self._store(delivery, Sent(error=str(body)))
            return None
        began = trio.current_time()
        sent = await self._sender.post(delivery, body)
        well = sent.status is not None and sent.status < 500 and trio.current_time() - began <= SLOW
        self._admission.learn(destination, Health.WELL if well else Health.ILL)
        self._metrics.delivered(sent.status)
        log.debug("webhook", id=delivery.webhook_id, status=sent.status, error=sent.error)
        await self._store(delivery, sent)
        return sent.status

    async def _store(self, delivery: AnyDelivery, sent: Sent) -> None:
        """Store the outcome of an attempt; retry until the store takes it."""
        while True:
            try:
                await self._queue.ask(DeliveryEnded(delivery=delivery, sent=sent))
                return
            except StoreUnavailable as error:
                log.warning("cannot store the outcome of a webhook", why=str(error))
                await trio.sleep(error.retry_after)


@dataclass(slots=True)
class _Lane:
    """A destination's deliveries in memory, while it holds places. Those of a group are sent in order, one by one."""

    waiting: dict[int | str, tuple[AnyDelivery, Body]] = field(default_factory=dict)  # read and not sent, by key
    in_flight: dict[int | str, str] = field(default_factory=dict)  # group by key
    reading: trio.Event | None = None  # set once the read under way has ended
    unread: Instant | None = 0.0  # since when more may be due in the store
    most: int = 1  # deliveries in the next read

    def sendable(self) -> int | str | None:
        """Return the key of the first delivery whose group has none in flight."""
        busy = set(self.in_flight.values())
        return next((key for key, (delivery, _) in self.waiting.items() if delivery.group not in busy), None)

    def may_read(self) -> bool:
        return self.unread is not None and self.reading is None and len(self.waiting) < READ_AHEAD

    def drop(self, group: str) -> None:
        for key in [key for key, (delivery, _) in self.waiting.items() if delivery.group == group]:
            del self.waiting[key]


@dataclass(slots=True)
class _Round:
    """The progress of a walk through an owner's receivers."""

    after: str = ""
    under_way: bool = True
    again: bool = False  # a delivery may have become due for a receiver already passed
    soonest: Instant = math.inf  # when the next delivery becomes due

    def begin(self) -> None:
        """Start a walk, or have another follow the one under way if it has passed any receiver."""
        if self.under_way:
            self.again = bool(self.after)
        else:
            self.under_way, self.soonest = True, math.inf

    def go_on(self, after: str | None) -> None:
        """Continue after this receiver; None ends the walk."""
        self.after = after or ""
        if after is None:
            self.under_way, self.again = self.again, False
            if self.under_way:
                self.soonest = math.inf
