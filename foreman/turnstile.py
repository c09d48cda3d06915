"""Lets many who were woken by one event go on a few at a time, so that everybody else has turns in between."""

from __future__ import annotations

import trio

AT_ONCE = 16  # in one pass of the event loop: what they then do takes some milliseconds


class Turnstile:
    """Each pass of the event loop lets a few tasks through."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._limiter = trio.CapacityLimiter(at_once)

    async def enter(self) -> None:
        """Return when it is this task's turn, in the order of coming."""
        async with self._limiter:
            await trio.lowlevel.checkpoint()
