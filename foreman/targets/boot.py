"""Detection of a target that is a Foreman, or this very process."""

from __future__ import annotations

import socket
from contextlib import suppress
from ipaddress import ip_address
from urllib.parse import urlsplit

import msgspec
import trio

from foreman.domain.answers.refusals import NOT_JSON
from foreman.domain.errors import TargetError
from foreman.targets.http.pool import Client

TIMEOUT = 5.0  # seconds
CONNECT_TIMEOUT = 1.0  # seconds
LIMIT = 65_536  # bytes
PORTS = {"http": 80, "https": 443}


class _Health(msgspec.Struct):
    boot_id: str


async def boot_id_at(client: Client) -> str | None:
    """Return the boot id from GET /healthz; None when the server is not a Foreman."""
    with trio.move_on_after(TIMEOUT), suppress(TargetError, *NOT_JSON):
        _, body = await client.fetch("GET", "/healthz", limit=LIMIT)
        return msgspec.json.decode(body, type=_Health).boot_id
    return None


async def leads_to(listening: socket.socket, url: str) -> bool:
    """Return True if a connection to `url` ends at this socket, which need not accept it.

    The host name alone does not tell. Both ends of a connection within one machine have addresses of that machine, and
    a socket that listens on all of them has its port for itself.
    """
    parts = urlsplit(url)
    port = parts.port or PORTS[parts.scheme]
    own, own_port = listening.getsockname()[:2]
    if port != own_port:
        return False
    with trio.move_on_after(CONNECT_TIMEOUT), suppress(OSError):
        async with await trio.open_tcp_stream(parts.hostname or "", port) as stream:
            theirs, ours = stream.socket.getpeername()[0], stream.socket.getsockname()[0]
            return bool(theirs == own or (ip_address(own).is_unspecified and theirs == ours))
    return False
