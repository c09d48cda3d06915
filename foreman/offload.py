"""Threads for work that would block the event loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar, TypeVarTuple, Unpack

import trio

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

LIGHT = 64 * 2**10  # bytes of JSON that take at most a few milliseconds
THREADS = 2  # at once: they compete with the loop for the interpreter, and each holds a large parsed text

_limiter = trio.CapacityLimiter(THREADS)


async def offload(size: int, function: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
    """Return `function(*args)`, run in a thread if `size` exceeds LIGHT bytes. Cancellation waits for the thread."""
    if size <= LIGHT:
        return function(*args)
    return await trio.to_thread.run_sync(function, *args, limiter=_limiter)


class InThread(Protocol):
    """A way to run a function that may wait."""

    async def __call__(self, function: Callable[..., T], /, *args: object) -> T:
        """Return `function(*args)`."""
        ...


def threads(number: int) -> InThread:
    """Return a way to run functions in so many threads at a time, independent of Trio's shared limit."""
    limiter = trio.CapacityLimiter(number)

    async def run(function: Callable[..., T], /, *args: object) -> T:
        return await trio.to_thread.run_sync(function, *args, limiter=limiter)

    return run
