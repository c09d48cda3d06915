"""How many files and sockets this process may have open, and how many of them are for clients."""

from __future__ import annotations

import resource

OWN = 512  # besides those of clients: targets, receivers, the database, children


def allow(connections: int) -> int:
    """Ask the system for enough for so many clients, and return how many of them there is room for; 1 or more.

    Many systems let a program open 256 or 1,024 files until it asks for more.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + OWN
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        if soft < most:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return room(connections)


def room(connections: int) -> int:
    """Return how many clients may be connected, up to `connections`: OWN are kept from them, or two thirds of a few."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return connections
    return max(1, min(connections, soft - min(OWN, 2 * soft // 3)))
