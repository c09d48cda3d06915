"""Work that is too large for the event loop, done in threads of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple, Unpack

import trio

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

LIGHT = 64 * 2**10  # bytes of JSON whose handling takes a few milliseconds at most
THREADS = 2  # at once; they share the interpreter with the loop, and each holds objects made of a large text

_limiter = trio.CapacityLimiter(THREADS)


async def offload(size: int, function: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
    """Return `function(*args)`, called in a thread if it is about more than LIGHT bytes. A cancel waits for its end."""
    if size <= LIGHT:
        return function(*args)
    return await trio.to_thread.run_sync(function, *args, limiter=_limiter)
