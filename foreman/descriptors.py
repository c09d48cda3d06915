"""The limit of open files and sockets, and its share for clients."""

from __future__ import annotations

import resource
from contextlib import suppress

OWN = 512  # descriptors reserved for targets, receivers, the database and children


def allow(connections: int) -> int:
    """Raise the process's limit for `connections` clients; return how many fit, 1 or more.

    Many systems allow only 256 or 1,024 open files by default.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + OWN
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        if soft < most:
            with suppress(ValueError, OSError):  # macOS has a limit below the hard one; then fewer fit
                resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return room(connections)


def room(connections: int) -> int:
    """Return how many clients may connect, up to `connections`.

    OWN descriptors are reserved, or two thirds of a low limit.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return connections
    return max(1, min(connections, soft - min(OWN, 2 * soft // 3)))
