"""Unique indexes for the parts of a message, where those of the server are not; no I/O."""

from __future__ import annotations

from typing import Any


class Indexes:
    """A set of indexes in use; gives each part the server's index if it is free, else the next."""

    def __init__(self) -> None:
        self._taken: set[int] = set()
        self._next = 0

    def free(self, wanted: object) -> int:
        """Return `wanted` if it is a free index, else the next one, and mark it as used."""
        index = wanted if isinstance(wanted, int) and not isinstance(wanted, bool) else -1
        if index < 0 or index in self._taken:
            index = self._next
        self._taken.add(index)
        self._next = max(self._next, index + 1)
        return index


class BlockSorter:
    """Unique indexes for the content blocks of a `/v1/messages` stream; each start opens a new block."""

    def __init__(self) -> None:
        self._indexes = Indexes()
        self._now: dict[object, int] = {}  # by the server's index: the latest block with it
        self._last = 0

    def sort(self, event: dict[str, Any]) -> bool:
        """Give an event the index of its block; return True if that changed it."""
        kind, index = event.get("type"), event.get("index")
        if kind == "content_block_start":
            self._last = self._now[index] = self._indexes.free(index)
        elif kind not in ("content_block_delta", "content_block_stop"):
            return False
        own = self._now.get(index, self._last)
        event["index"] = own
        return index != own or isinstance(index, bool)
