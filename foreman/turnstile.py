"""A turnstile: tasks woken by one event continue a few at a time, so that other tasks run in between."""

from __future__ import annotations

import trio

AT_ONCE = 16  # tasks per pass of the event loop; their work takes some milliseconds


class Turnstile:
    """A turnstile for a few tasks per pass of the event loop."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._limiter = trio.CapacityLimiter(at_once)

    async def enter(self) -> None:
        """Wait for this task's turn, first come, first served."""
        async with self._limiter:
            await trio.lowlevel.checkpoint()
