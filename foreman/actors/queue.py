"""The queue actor: the only task that changes a job."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import trio

from foreman.actors.desk import Desk
from foreman.errors import Draining
from foreman.messages import Commit, Listener, Message

T = TypeVar("T")

BATCH = 256  # messages in one transaction: enough to share a sync, few enough to answer soon
INBOX = 1024  # messages that may wait before a sender has to


class Offload(Protocol):
    """Runs a synchronous function where it may block."""

    async def __call__(self, function: Callable[..., T], /, *args: object) -> T: ...


def writer_thread() -> Offload:
    """A thread of its own for the one writer, apart from Trio's shared limiter."""
    limiter = trio.CapacityLimiter(1)

    async def run(function: Callable[..., T], /, *args: object) -> T:
        return await trio.to_thread.run_sync(function, *args, limiter=limiter)

    return run


class QueueActor:
    """Applies messages in groups, one transaction each."""

    def __init__(self, desk: Desk, *, offload: Offload | None = None) -> None:
        self._desk = desk
        self._offload = offload or writer_thread()
        self._send, self._inbox = trio.open_memory_channel[Message[Any]](INBOX)
        self._listeners: list[Listener] = []
        self._closed = trio.Event()

    def add_listener(self, listener: Listener) -> None:
        """Have `listener` called with every commit, on the event loop, right after it."""
        self._listeners.append(listener)

    async def ask(self, message: Message[T]) -> T:
        """Send and wait for the answer, which is on disk when it comes.

        Raises the fault it was answered with; Draining when the queue has closed.
        """
        await self.tell(message)
        return await message.reply.wait()

    async def tell(self, message: Message[T]) -> None:
        """Send without waiting for the answer. Messages of one sender are applied in the order sent."""
        try:
            self._send.send_nowait(message)  # no checkpoint: what is told in one go is committed in one go
        except trio.WouldBlock:
            await self._send.send(message)
        except trio.BrokenResourceError:
            raise Draining from None
        except trio.ClosedResourceError:
            raise Draining from None

    async def close(self) -> None:
        """Take no more messages; `run` returns when it has applied those it has."""
        await self._send.aclose()

    async def wait_closed(self) -> None:
        """Return when `run` has applied all there was."""
        await self._closed.wait()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Apply messages until closed. Raises StoreBroken, which ends the process."""
        task_status.started()
        async with self._inbox:
            while True:
                batch: list[Message[Any]] = []
                with trio.move_on_after(self._patience()):
                    try:
                        batch = [await self._inbox.receive()]
                    except trio.EndOfChannel:
                        self._closed.set()
                        return
                if batch:
                    await self._apply(batch + self._take_nowait(BATCH - 1))
                else:
                    self._ring(await self._offload(self._desk.tick))

    def _patience(self) -> float:
        due = self._desk.next_due
        return float("inf") if due is None else max(0.0, due - self._desk.clock())

    def _take_nowait(self, most: int) -> list[Message[Any]]:
        taken: list[Message[Any]] = []
        while len(taken) < most:
            try:
                taken.append(self._inbox.receive_nowait())
            except (trio.WouldBlock, trio.EndOfChannel):
                break
        return taken

    async def _apply(self, batch: Sequence[Message[Any]]) -> None:
        # Shielded: a commit that has begun is told to those who asked, also while the process is leaving.
        with trio.CancelScope(shield=True):
            answers, commit = await self._offload(self._desk.apply, batch)
        for message, answer in zip(batch, answers, strict=True):
            message.reply.settle(answer)
        self._ring(commit)

    def _ring(self, commit: Commit) -> None:
        for listener in self._listeners:
            listener(commit)
