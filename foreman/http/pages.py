"""Pages of lists, bounded in bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import msgspec

T = TypeVar("T")

PAGE_SIZE = 2**20  # bytes after which a page of a list ends early: metadata may take 70 KB a job


def page_of(entries: Iterable[T], show: Callable[[T], object]) -> list[msgspec.Raw]:
    """Return entries as JSON, up to the one that exceeds PAGE_SIZE bytes in all."""
    shown: list[msgspec.Raw] = []
    size = 0
    for entry in entries:
        shown.append(msgspec.Raw(msgspec.json.encode(show(entry))))
        size += len(memoryview(shown[-1]))
        if size > PAGE_SIZE:
            break
    return shown
