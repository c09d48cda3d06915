"""The queue actor: the only task that changes a job."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import structlog
import trio

from foreman.domain.errors import Draining, StoreAway, StoreBroken, StoreLost
from foreman.offload import InThread, threads
from foreman.queue.commands import Claim, Commit, DeliveryEnded, Listener, Message, Rescue, Work
from foreman.queue.handlers.dispatch import Answer, CommandHandlers

log = structlog.get_logger()

T = TypeVar("T")

BATCH = 256  # messages per transaction: enough to share a sync, few enough to answer soon
INBOX = 1024  # messages that may wait; further senders block
ANSWERS_WITHIN = 10.0  # seconds in which a store that is on a server must have answered a caller
UNANSWERED = f"no answer within {ANSWERS_WITHIN:g} s"
MAY_BE = "this may be stored: send it again, a submission with the same Idempotency-Key"
UNHURRIED = (Claim, DeliveryEnded, Rescue)  # messages whose senders wait as long as it takes
LAST_ANSWERS = 1.0  # seconds to answer callers with StoreLost before the process ends
QUICK_WITHIN = 0.02  # seconds after which a transaction waits no more for the ends of quick jobs in it
LINGER = 0.05  # seconds the writer thread waits for more messages: restarting it costs more than a transaction


class QueueActor:
    """The single writer: applies messages in batches, one transaction each.

    The writer thread takes messages itself while there are any. Under load it never waits for the event loop, and each
    batch holds the messages that arrived during the previous transaction.
    """

    def __init__(self, handlers: CommandHandlers, *, in_thread: InThread | None = None) -> None:
        self._handlers = handlers
        self._in_thread = in_thread or threads(1)
        self._linger = 0.0 if in_thread else LINGER
        self._inbox: SimpleQueue[Message[Any]] = SimpleQueue()
        self._full = trio.lowlevel.ParkingLot()  # senders waiting for room in the inbox
        self._news = trio.Event()  # set by a new message and by closing
        self._listeners: list[Listener] = []
        self._error: Exception | None = None  # raised by a listener or the store
        self._lost = False  # the store broke
        self._in_doubt: Sequence[Message[Any]] = ()  # the batch being applied: unknown fate if the store breaks
        self._hangs = False  # nothing was answered in time, and nothing since
        self._closing = False
        self._closed = trio.Event()

    def add_listener(self, listener: Listener) -> None:
        """Register `listener`: it is called on the event loop right after every commit."""
        self._listeners.append(listener)

    def remove_listener(self, listener: Listener) -> None:
        """Call `listener` no more."""
        self._listeners.remove(listener)

    async def ask(self, message: Message[T]) -> T:
        """Send a message and return its answer once the transaction is on disk.

        Raises:
            ForemanError: The message was answered with this error.
            Draining: The queue has closed.
            StoreAway: The store's server does not answer; the text says if the message may be stored.
            StoreLost: The store broke.
        """
        if self._handlers.store.looks_every is None or isinstance(message, UNHURRIED):
            await self.tell(message)
            return await message.reply.wait()
        if self._hangs:
            raise StoreAway(UNANSWERED)
        with trio.move_on_after(ANSWERS_WITHIN):
            await self.tell(message)
            return await message.reply.wait()
        dropped = message.reply.give_up()
        if message.reply.settled:
            return await message.reply.wait()
        self._hangs = True
        raise StoreAway(UNANSWERED if dropped else f"{UNANSWERED}, and {MAY_BE}")

    async def tell(self, message: Message[T]) -> None:
        """Send a message without waiting for its answer. One sender's messages are applied in the order sent."""
        while self._inbox.qsize() >= INBOX and not self._closing and not self._lost:
            await self._full.park()
        if self._closing:
            raise Draining
        if self._lost:
            message.reply.settle(StoreLost())
            return
        self._inbox.put(message)
        self._news.set()

    async def close(self) -> None:
        """Accept no more messages; `run` returns once the inbox is empty."""
        self._closing = True
        self._news.set()
        self._full.unpark_all()

    async def wait_closed(self) -> None:
        """Return once the queue has closed and every message is applied."""
        await self._closed.wait()

    def lose(self, error: StoreBroken) -> None:
        """Accept no more messages, answer all pending ones with StoreLost, and make `run` raise `error` soon."""
        if self._lost:
            return
        log.critical("the database is lost: foreman stops", why=str(error))
        self._lost, self._error = True, error
        doubtful, self._in_doubt = list(self._in_doubt), ()
        with suppress(Empty):
            while True:
                doubtful.append(self._inbox.get_nowait())
        for message in doubtful:
            message.reply.settle(StoreLost())
        self._full.unpark_all()
        self._news.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Apply messages until closed.

        Raises:
            StoreBroken: The state on disk is unknown; the process must end.
            Exception: A listener raised it.
        """
        token = trio.lowlevel.current_trio_token()
        task_status.started()
        while True:
            with trio.move_on_after(self._timeout()):
                await self._news.wait()
            self._news = trio.Event()
            # Shielded: a commit that has begun must be answered, even during shutdown.
            with trio.CancelScope(shield=True):
                try:
                    await self._in_thread(self._write, token)
                except StoreBroken as broken:
                    self.lose(broken)
                if self._lost:
                    await trio.sleep(LAST_ANSWERS)
            if error := self._error:
                self._error = None
                raise error
            if self._closing and self._inbox.empty() and not self._handlers.owes:
                self._closed.set()
                return

    def _timeout(self) -> float:
        due = self._handlers.next_due
        return float("inf") if due is None else max(0.0, due - self._handlers.clock())

    def _write(self, token: trio.lowlevel.TrioToken) -> None:
        """Apply messages until the inbox stays empty; with none at first, run the work that is due."""
        until = 0.0

        def lending(claims: Sequence[tuple[Claim, Work | None]]) -> None:
            token.run_sync_soon(lend, claims)

        def more(seconds: float) -> list[Message[Any]]:
            taken = self._take(max(0.0, min(seconds, until - time.monotonic())))
            self._in_doubt = [*self._in_doubt, *taken]
            return taken

        if self._error is None and self._inbox.empty() and self._timeout() == 0:
            token.run_sync_soon(self._settle, *self._handlers.apply([]))
        while self._error is None and (batch := self._take(min(self._linger, self._timeout()))):
            self._in_doubt, until = batch, time.monotonic() + QUICK_WITHIN
            answers, commit = self._handlers.apply(batch, lending, more if self._linger else None)
            self._in_doubt = ()
            token.run_sync_soon(self._settle, answers, commit)

    def _take(self, timeout: float) -> list[Message[Any]]:
        taken: list[Message[Any]] = []
        with suppress(Empty):
            wait = 0 if self._closing else timeout
            while len(taken) < BATCH:
                message = self._inbox.get_nowait() if taken else self._inbox.get(timeout=wait)
                if message.reply.take():
                    taken.append(message)
        return taken

    def _settle(self, answers: Sequence[Answer], commit: Commit) -> None:
        self._hangs = False
        self._full.unpark_all()
        for message, answer in answers:
            message.reply.settle(answer)
        try:
            for listener in self._listeners:
                listener(commit)
        except Exception as error:  # an exception in an event loop callback crashes Trio; `run` raises it instead
            self._error = error
            self._news.set()


def lend(claims: Sequence[tuple[Claim, Work | None]]) -> None:
    """Give slots the work of commits under way, or take it back."""
    for claim, work in claims:
        if work is None:
            claim.reply.settle(None)
        else:
            claim.reply.lend(work)
