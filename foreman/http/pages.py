"""Pages of lists, bounded in bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from foreman.domain import views

Entry = TypeVar("Entry")
View = TypeVar("View")

PAGE_SIZE = 2**20  # bytes after which a page of a list ends early: metadata may take 70 KB a job


def page_of(entries: Iterable[Entry], show: Callable[[Entry], View]) -> list[View]:
    """Return the views of entries, encoded already, up to the one that exceeds PAGE_SIZE bytes in all."""
    shown: list[View] = []
    size = 0
    for entry in entries:
        shown.append(views.encoded(show(entry)))
        size += views.size_of(shown[-1])
        if size > PAGE_SIZE:
            break
    return shown
