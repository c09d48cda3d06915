"""Ports that tests hold, so that no other program can get them meanwhile."""

from __future__ import annotations

import atexit
import socket


def held_port() -> int:
    """Return a loopback port that belongs to the tests until they end.

    It is bound and does not listen: the system gives it to nobody else, and connections to it are refused. A server
    that sets SO_REUSEADDR, as Foreman does, may listen on it, and again after a restart.
    """
    holder = socket.socket()
    atexit.register(holder.close)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    port: int = holder.getsockname()[1]
    return port
