"""A switch with tasks that wait for it on both sides."""

from __future__ import annotations

import trio


class Switch:
    """A switch that is off at first."""

    def __init__(self) -> None:
        self._on, self._off = trio.Event(), trio.Event()
        self._off.set()

    @property
    def is_on(self) -> bool:
        """True while it is on."""
        return self._on.is_set()

    def turn_on(self) -> None:
        """Turn it on, if it is off."""
        if not self.is_on:
            self._off = trio.Event()
            self._on.set()

    def turn_off(self) -> None:
        """Turn it off, if it is on."""
        if self.is_on:
            self._on = trio.Event()
            self._off.set()

    async def wait_on(self) -> None:
        """Return once it is on."""
        await self._on.wait()

    async def wait_off(self) -> None:
        """Return once it is off."""
        await self._off.wait()
