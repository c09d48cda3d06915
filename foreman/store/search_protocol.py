"""The part of the protocol of storage engines that is about the index of words."""

from __future__ import annotations

from typing import Protocol

from foreman.store.records import Indexing


class SearchReader(Protocol):
    """The reads of the index. A selection with words raises NotIndexed without one."""

    def indexing(self) -> Indexing | None:
        """Return how far the index is, or None without one."""


class SearchWriter(SearchReader, Protocol):
    """The writes of the index: jobs that are added, ended or deleted change it by themselves."""

    can_index: bool  # False when the engine cannot have an index

    def keep_index(self, *, wanted: bool, most: int) -> bool:
        """Make or drop the index by one step, of up to `most` jobs; return True while there is more to do."""
