"""Indexes that tell the parts of a message apart, where those of its server do not; no I/O."""

from __future__ import annotations

from typing import Any


class Indexes:
    """Gives each part an index of its own: the server's where it is free, else the next."""

    def __init__(self) -> None:
        self._taken: set[int] = set()
        self._next = 0

    def free(self, wanted: object) -> int:
        """Return `wanted` if it is an index that no other part has, else the next, and take it."""
        index = wanted if isinstance(wanted, int) and not isinstance(wanted, bool) else -1
        if index < 0 or index in self._taken:
            index = self._next
        self._taken.add(index)
        self._next = max(self._next, index + 1)
        return index


class BlockSorter:
    """Tells the content blocks of a `/v1/messages` stream apart: each one that starts is another."""

    def __init__(self) -> None:
        self._indexes = Indexes()
        self._now: dict[object, int] = {}  # by the server's index: the block that last had it
        self._last = 0

    def sort(self, event: dict[str, Any]) -> bool:
        """Give an event the index of its block. Return True if it had to be changed."""
        kind, index = event.get("type"), event.get("index")
        if kind == "content_block_start":
            self._last = self._now[index] = self._indexes.free(index)
        elif kind not in ("content_block_delta", "content_block_stop"):
            return False
        told = self._now.get(index, self._last)
        event["index"] = told
        return index != told or isinstance(index, bool)
