"""Detection of resource shortages (descriptors, memory, threads, ports) among errors; no I/O."""

from __future__ import annotations

import errno
import os
import socket

from foreman.domain.errors import Shortage

SHORT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN, errno.EADDRNOTAVAIL})
LOOKUPS = frozenset({socket.EAI_MEMORY, socket.EAI_SYSTEM})  # EMFILE shows up as EAI_SYSTEM
NO_THREAD = "can't start new thread"


def shortage_in(error: BaseException) -> Shortage | None:
    """Return the shortage that caused an error, or None for any other cause.

    All members of a group must come from a shortage, such as connections to several addresses.
    """
    if isinstance(error, Shortage):
        return error
    if isinstance(error, BaseExceptionGroup):
        found = [shortage_in(one) for one in error.exceptions]
        return found[0] if all(found) else None
    if isinstance(error, MemoryError):
        return Shortage("out of memory")
    if isinstance(error, socket.gaierror):
        return Shortage(f"names cannot be looked up ({error.strerror})") if error.errno in LOOKUPS else None
    if isinstance(error, OSError) and error.errno is not None:
        return Shortage(os.strerror(error.errno).lower()) if error.errno in SHORT else None
    if isinstance(error, RuntimeError) and NO_THREAD in str(error):
        return Shortage(NO_THREAD)
    return None if error.__cause__ is None else shortage_in(error.__cause__)
