"""Garbage collection: a full collection blocks the event loop, so only few of them walk through all objects."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LEAST = 60.0  # seconds between two collections of all objects
SHARE = 1000  # the pause is at least this many times the duration of the last one


@contextmanager
def collection_paused() -> Iterator[None]:
    """Collect nothing: what is imported stays, and walking through it takes a tenth of the start."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def rare_full_collections(clock: Callable[[], float] = time.monotonic) -> Iterator[None]:
    """Make most full collections skip the objects that survived the previous one.

    Imported modules stay, and so do most objects of open connections: 900 clients of the feed are 250,000 objects,
    which take a fifth of a second to walk. Skipped objects are still freed by reference counting; only those in
    reference cycles wait for a collection of all objects.
    """
    began = due = 0.0
    whole = True

    def note(phase: str, info: dict[str, int]) -> None:
        nonlocal began, due, whole
        if info["generation"] < 2:
            return
        if phase == "start":
            began = clock()
            whole = began >= due
            if whole:
                gc.unfreeze()
        else:
            gc.freeze()
            if whole:
                ended = clock()
                due = ended + max(LEAST, SHARE * (ended - began))

    gc.collect()  # so that the collector knows how much there is, and is in no hurry
    gc.freeze()
    due = clock() + LEAST
    gc.callbacks.append(note)
    try:
        yield
    finally:
        gc.callbacks.remove(note)
        gc.unfreeze()
