"""The C heap: memory of large bodies and answers goes back to the system once they are gone."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager

EVERY = 30.0  # seconds
ARENA_MAX, MMAP_THRESHOLD = -8, -3  # parameters of mallopt(3)
LARGE = 96 * 1024  # bytes; a block of this size or more is a mapping of its own; one read of a socket is smaller


@contextmanager
def trimmed_heap(every: float = EVERY) -> Iterator[None]:
    """Use one heap without large blocks, and give its free pages back every so many seconds, from a thread.

    By itself glibc makes a heap for each thread, raises the size from which a block is mapped with each one that is
    freed, and keeps what was freed in the middle of a heap: after a few hundred megabytes of bodies the process stayed
    three times as large as before, and it grew for hours (mallopt(3), malloc_trim(3)). Without glibc nothing is done.
    """
    libc = ctypes.CDLL(None)
    over = threading.Event()

    def work() -> None:
        while not over.wait(every):
            libc.malloc_trim(0)

    if hasattr(libc, "malloc_trim"):
        libc.mallopt(ARENA_MAX, 1)
        libc.mallopt(MMAP_THRESHOLD, LARGE)
        threading.Thread(target=work, name="heap", daemon=True).start()
    try:
        yield
    finally:
        over.set()
