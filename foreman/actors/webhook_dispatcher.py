"""The webhooks: delivers what the outbox holds, in places that are shared out by caller and by history."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import structlog
import trio

from foreman.actors.metrics import Metrics
from foreman.actors.webhook_sender import WebhookSender, payload_of
from foreman.domain.errors import JobUnreadable, StoreUnavailable
from foreman.domain.job import Delivery, Instant
from foreman.domain.retry import Sent
from foreman.domain.webhooks.admission import Admission, Destination, Health, Limits, Place
from foreman.queue.commands import Commit, DeliveryEnded, Queue
from foreman.store.protocol import Due, Reader
from foreman.store.sqlite.readers import Readers

log = structlog.get_logger()

GONE = 410  # the receiver wants no more of this job
READ_AHEAD = 32  # deliveries of a destination that are held at most
READ_BYTES = 2**20  # of payloads after which it reads no further ahead
SLOW = 5.0  # seconds; an answer that takes longer holds a place as if there were none
NOTHING_PAUSE = 1.0  # seconds before a delivery that cannot be read counts as an attempt

Body: TypeAlias = bytes | JobUnreadable  # why there is none

SLEEP_AT_MOST = 60.0  # seconds between looks, so that a clock set forward is noticed
PAGE = 256  # receivers in one read, shared by the callers
PAGE_OF_ONE = 16  # of each caller at least
REST = 9  # times as long as a read took, before the next one
REST_AT_MOST = 1.0  # seconds


class WebhookDispatcher:
    """Reads due deliveries from the store; after a restart it simply reads on.

    A destination that waits for a place is an entry in a list. There is a task for each place that is held, and no
    payload is read before.
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
    ) -> None:
        """`inline` is the size in bytes up to which an artifact travels in the webhook itself."""
        self._queue = queue
        self._readers = readers
        self._sender = sender
        self._limits = limits
        self._inline = inline
        self._clock = clock
        self._metrics = metrics or Metrics()
        self._work_available = trio.Event()

    def on_commit(self, commit: Commit) -> None:
        if commit.posted:
            self._work_available.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look for what is due and deliver it, for ever."""
        self._admission = Admission(self._limits)
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
                    with trio.move_on_after(max(0.0, min(SLEEP_AT_MOST, wake - self._clock()))):
                        await self._work_available.wait()
                    for walk in rounds.values():
                        walk.begin()
                elif self._work_available.is_set():
                    for walk in rounds.values():
                        walk.begin()

    async def _look(self, rounds: dict[str, _Round]) -> None:
        """Have some of each caller's receivers wait for a place, where something is due to them.

        A caller with very many is walked through in several looks, beside which the others are seen in each.
        """
        walks = {caller: walk.after if walk.under_way else None for caller, walk in rounds.items()}

        def read(store: Reader) -> tuple[dict[str, list[Due]], int]:
            callers = store.callers_due()
            page = max(PAGE_OF_ONE, PAGE // max(1, len(callers)))
            afters = {caller: walks.get(caller, "") for caller in callers}
            found = {
                caller: store.receivers_due(caller, after=after, limit=page) if after is not None else []
                for caller, after in afters.items()
            }
            return found, page

        found, page = await self._readers.insist(read)
        now = self._clock()
        for caller in rounds.keys() - found.keys():
            del rounds[caller]
        for caller, some in found.items():
            walk = rounds.setdefault(caller, _Round())
            for due in some:
                if due.at <= now:
                    self._want(Destination(caller, due.receiver), due)
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
        """Make one delivery, if there is one to be made. A fault ends all of the actor, so nothing is undone here."""
        destination, lane = place.destination, self._lanes[place.destination]
        if (found := await self._take(destination, lane)) is not None:
            delivery, body = found
            if await self._deliver(destination, delivery, body) == GONE:
                lane.drop(delivery.job_id)
            del lane.flying[delivery.seq]
        self._admission.leave(place)
        self._ask_for_more(destination, lane)
        if not self._admission.places(destination):
            del self._lanes[destination]
            self._work_available.set()  # the last look saw what was due of it then, and not what becomes due after that

    async def _take(self, destination: Destination, lane: _Lane) -> tuple[Delivery, Body] | None:
        """What is to be delivered next, with its payload; read only if nothing is at hand."""
        while (seq := lane.sendable()) is None:
            if lane.reading is not None:
                await lane.reading.wait()
            elif lane.may_read():
                await self._read(destination, lane)
            else:
                return None
        delivery, body = lane.waiting.pop(seq)
        lane.flying[seq] = delivery.job_id
        self._ask_for_more(destination, lane)
        return delivery, body

    def _ask_for_more(self, destination: Destination, lane: _Lane) -> None:
        """Have a destination wait for another place that has something left; and let all have theirs."""
        if (seq := lane.sendable()) is not None:
            self._admission.wait(destination, lane.waiting[seq][0].due_at)
        elif lane.unread is not None and lane.may_read():
            self._admission.wait(destination, lane.unread)
        self._hand_out()

    async def _read(self, destination: Destination, lane: _Lane) -> None:
        """Read what is due with its payloads, in one visit to the store: more each time, as long as it is sent."""
        besides = frozenset((*lane.flying, *lane.waiting))
        most = min(lane.most, READ_AHEAD - len(lane.waiting))

        def read(store: Reader) -> tuple[dict[int, tuple[Delivery, Body]], Instant | None]:
            found: dict[int, tuple[Delivery, Body]] = {}
            size = 0
            for delivery in store.due(*destination, now=self._clock(), besides=besides, limit=most + 1):
                if len(found) == most or size > READ_BYTES:
                    return found, delivery.due_at
                try:
                    body = payload_of(store, delivery, self._inline)
                    found[delivery.seq] = delivery, body
                    size += len(body)
                except JobUnreadable as error:
                    found[delivery.seq] = delivery, error
            return found, None

        lane.reading, lane.unread = trio.Event(), None
        found, unread = await self._readers.insist(read)
        lane.reading.set()
        lane.reading = None
        lane.waiting |= found
        lane.unread = unread if lane.unread is None else lane.unread
        lane.most = min(READ_AHEAD, 2 * lane.most)

    async def _deliver(self, destination: Destination, delivery: Delivery, body: Body) -> int | None:
        """The status of the receiver's answer, once what it means is on disk."""
        if isinstance(body, JobUnreadable):  # an attempt that failed: it may be mended before the last one
            await trio.sleep(NOTHING_PAUSE)
            await self._store(delivery, Sent(error=str(body)))
            return None
        began = trio.current_time()
        sent = await self._sender.post(delivery, body)
        well = sent.status is not None and sent.status < 500 and trio.current_time() - began <= SLOW
        self._admission.learn(destination, Health.WELL if well else Health.ILL)
        self._metrics.delivered(sent.status)
        log.debug("webhook", job=delivery.job_id, seq=delivery.seq, status=sent.status, error=sent.error)
        await self._store(delivery, sent)
        return sent.status

    async def _store(self, delivery: Delivery, sent: Sent) -> None:
        """Have it written down how an attempt ended, once there is room for it."""
        while True:
            try:
                await self._queue.ask(DeliveryEnded(delivery=delivery, sent=sent))
                return
            except StoreUnavailable as error:
                log.warning("cannot store how a webhook ended", why=str(error))
                await trio.sleep(error.retry_after)


@dataclass(slots=True)
class _Lane:
    """What is at hand of a destination while it holds places. Changes of one job go one after another, in order."""

    waiting: dict[int, tuple[Delivery, Body]] = field(default_factory=dict)  # read and not sent, by seq
    flying: dict[int, str] = field(default_factory=dict)  # seq to job
    reading: trio.Event | None = None  # set when what is being read is there
    unread: Instant | None = 0.0  # since when more may be due in the store
    most: int = 1  # to read next time

    def sendable(self) -> int | None:
        """The first one that waits for no other of its job."""
        busy = set(self.flying.values())
        return next((seq for seq, (delivery, _) in self.waiting.items() if delivery.job_id not in busy), None)

    def may_read(self) -> bool:
        return self.unread is not None and self.reading is None and len(self.waiting) < READ_AHEAD

    def drop(self, job_id: str) -> None:
        for seq in [seq for seq, (delivery, _) in self.waiting.items() if delivery.job_id == job_id]:
            del self.waiting[seq]


@dataclass(slots=True)
class _Round:
    """How far the walk through a caller's receivers has come."""

    after: str = ""
    under_way: bool = True
    again: bool = False  # something may have become due behind it
    soonest: Instant = math.inf  # when the first becomes due of what is not yet

    def begin(self) -> None:
        """Walk through all of them: from here on if none has been seen, else once more when this round has ended."""
        if self.under_way:
            self.again = bool(self.after)
        else:
            self.under_way, self.soonest = True, math.inf

    def go_on(self, after: str | None) -> None:
        """Continue after this one; None at the end of the round."""
        self.after = after or ""
        if after is None:
            self.under_way, self.again = self.again, False
            if self.under_way:
                self.soonest = math.inf
