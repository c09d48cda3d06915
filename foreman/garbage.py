"""Collections of garbage: a full one holds the event loop for as long as it walks, so few walk through all objects."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LEAST = 60.0  # seconds between two collections that walk through everything
SHARE = 1000  # times as long as the last one took, if that is more


@contextmanager
def few_walk_through_all(clock: Callable[[], float] = time.monotonic) -> Iterator[None]:
    """Have full collections pass over what was there before, but for one from time to time.

    What was imported stays, and so does most of what serves a connection while that is open: 900 readers of the feed
    are 250,000 objects, which take a fifth of a second. What a collection passed over and nobody holds any more is
    freed as ever, unless it holds itself: that waits for a whole collection.
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

    due = clock()
    gc.callbacks.append(note)
    try:
        gc.collect()
        yield
    finally:
        gc.callbacks.remove(note)
        gc.unfreeze()
