"""Supervision of actors: restarts after failures, within a limit."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import structlog
import trio

from foreman.domain.errors import Draining, StoreBroken

log = structlog.get_logger()


class ActorReturned(Exception):
    """An actor returned before the shutdown."""


class OutOfRestarts(Exception):
    """An actor failed more often than its limit allows."""


@dataclass(frozen=True, slots=True)
class RestartLimit:
    """At most `most` restarts in `window` seconds; the pauses double from `first` to `longest` seconds."""

    most: int = 5
    window: float = 60
    first: float = 1
    longest: float = 60


async def keep_running(
    name: str,
    run: Callable[..., Awaitable[None]],
    *,
    leaving: Callable[[], bool],
    done: Callable[[], bool] = lambda: False,
    restarted: Callable[[str], None] = lambda name: None,
    serves: Callable[[str], None] = lambda name: None,
    limit: RestartLimit | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run an actor and restart it after each failure; return when it returns while `leaving()` or once `done()`.

    `run` takes a `task_status` and calls `started()` each time it serves. `serves` is called then, `restarted` after
    each failure.

    Raises:
        OutOfRestarts: The limit is reached.
        StoreBroken: At once, since no restart can repair a store.
    """
    limit = limit or RestartLimit()
    failures: deque[float] = deque(maxlen=limit.most)
    pause = limit.first
    starting = _OnlyOnce(task_status, partial(serves, name))
    while True:
        began = trio.current_time()
        try:
            await run(task_status=starting)
            if leaving() or done():
                return
            raise ActorReturned(f"{name} returned")
        except StoreBroken:
            raise
        except Exception as error:  # the boundary between an actor and the rest
            if leaving() and _only_draining(error):
                starting.started()  # what starts it need not wait
                return  # the queue closed before this actor did
            if leaving() or starting.pending:
                raise  # a failure at the first start is a refusal to start, not a crash
            log.error("actor failed", actor=name, error=repr(error), exc_info=error)
        except BaseExceptionGroup as group:  # has a cancellation in it, from the shutdown
            if leaving() and (rest := group.split(Draining)[1]):
                raise rest from None
            raise
        now = trio.current_time()
        if len(failures) == limit.most and now - failures[0] < limit.window:
            raise OutOfRestarts(f"{name} failed {limit.most + 1} times in {limit.window:g} s")
        failures.append(now)
        restarted(name)
        pause = limit.first if now - began > limit.window else pause
        await trio.sleep(pause * random.uniform(0.8, 1.2))
        pause = min(limit.longest, pause * 2)


def _only_draining(error: Exception) -> bool:
    if isinstance(error, ExceptionGroup):
        return error.split(Draining)[1] is None
    return isinstance(error, Draining)


class _OnlyOnce(trio.TaskStatus[None]):
    """A task status that forwards the first `started()` only, and calls `serves` each time."""

    def __init__(self, status: trio.TaskStatus[None], serves: Callable[[], None]) -> None:
        self._status: trio.TaskStatus[None] | None = status
        self._serves = serves

    @property
    def pending(self) -> bool:
        return self._status is not None

    def started(self, value: None = None) -> None:
        self._serves()
        if self._status is not None:
            self._status.started()
            self._status = None
