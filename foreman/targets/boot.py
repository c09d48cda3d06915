"""Whether a server is a Foreman, and which run of it."""

from __future__ import annotations

from contextlib import suppress

import msgspec
import trio

from foreman.errors import TargetFault
from foreman.targets.faults import NOT_JSON
from foreman.targets.http1 import Client

TIMEOUT = 5.0  # seconds
LIMIT = 65_536  # bytes


class _Health(msgspec.Struct):
    boot_id: str


async def boot_id_at(client: Client) -> str | None:
    """Return the boot id in what GET /healthz answers; None when no Foreman answers there."""
    with trio.move_on_after(TIMEOUT), suppress(TargetFault, *NOT_JSON):
        _, body = await client.fetch("GET", "/healthz", limit=LIMIT)
        return msgspec.json.decode(body, type=_Health).boot_id
    return None
