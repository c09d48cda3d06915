"""Loads of a target's models: slots that need the same one ask for it once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import trio

from foreman.domain.job import Instant, LoadKey
from foreman.targets.protocol import Call, Target


class Loads:
    """The loads under way on one target."""

    def __init__(self, target: Target, clock: Callable[[], Instant]) -> None:
        self._target = target
        self._clock = clock
        self._under_way: dict[LoadKey, trio.Event] = {}
        self._loaded_at: dict[LoadKey, Instant] = {}

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
        self._loaded_at[call.key] = self._clock()
        return True

    def since(self, keys: Collection[LoadKey]) -> Mapping[LoadKey, Instant]:
        """Return since when these keys are loaded, or first seen to be: the target may load others by itself."""
        now = self._clock()
        self._loaded_at = {key: self._loaded_at.get(key, now) for key in keys}
        return self._loaded_at
