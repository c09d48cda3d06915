"""Loads of a target's models: slots that need the same one ask for it once."""

from __future__ import annotations

import trio

from foreman.domain.job import LoadKey
from foreman.targets.protocol import Call, Target


class Loads:
    """The loads under way on one target."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._under_way: dict[LoadKey, trio.Event] = {}

    async def load(self, call: Call) -> bool:
        """Load the call's key, after the load of that key under way; return True when it had to be loaded.

        If that load fails, every call that waited for it tries for itself.

        Raises:
            TargetError: The model cannot be loaded.
        """
        if call.key in self._under_way:
            await self._under_way[call.key].wait()
        if self._target.is_loaded(call.key):
            await self._target.load(call)
            return False
        over = self._under_way.setdefault(call.key, trio.Event())
        try:
            await self._target.load(call)
        finally:
            over.set()
            if self._under_way.get(call.key) is over:
                del self._under_way[call.key]
        return True
