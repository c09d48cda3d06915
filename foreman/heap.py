"""The C heap: what large bodies and answers took of it goes back to the system once they are gone."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager

EVERY = 30.0  # seconds


@contextmanager
def trimmed(every: float = EVERY) -> Iterator[None]:
    """Give free pages back to the system every so many seconds, from a thread of its own.

    glibc keeps what was freed in the middle of a heap: after a few hundred megabytes of bodies the process stayed three
    times as large as before (malloc_trim(3)). Where there is no glibc nothing is done.
    """
    libc = ctypes.CDLL(None)
    over = threading.Event()

    def work() -> None:
        while not over.wait(every):
            libc.malloc_trim(0)

    if hasattr(libc, "malloc_trim"):
        threading.Thread(target=work, name="heap", daemon=True).start()
    try:
        yield
    finally:
        over.set()
