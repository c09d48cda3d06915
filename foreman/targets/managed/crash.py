"""The error for a call whose connection to a child server broke."""

from __future__ import annotations

from collections.abc import AsyncIterator

import trio

from foreman.domain.answers.chunk import Chunk
from foreman.domain.errors import TargetError, TargetLost, TargetUnavailable
from foreman.targets.managed.child import Child

DEATH_TIMEOUT = 1.0  # seconds to wait for the end of a child after a broken connection


class Watched:
    """The chunks of a child; if it crashes, the error has its last lines of output."""

    def __init__(self, chunks: AsyncIterator[Chunk], child: Child) -> None:
        self._chunks = chunks
        self._child = child

    def __aiter__(self) -> Watched:
        return self

    async def __anext__(self) -> Chunk:
        try:
            return await self._chunks.__anext__()
        except (TargetLost, TargetUnavailable) as error:
            raise await explained(error, self._child) from error


async def explained(error: TargetError, child: Child) -> TargetError:
    """Return the error for a broken connection: the crash of the child, or `error` if it runs on.

    A child that runs but refuses connections is stopped and counts as crashed.
    """
    with trio.move_on_after(DEATH_TIMEOUT):
        await child.wait_ended()
    if child.ended or child.stopping:
        return child.crash()
    if isinstance(error, TargetUnavailable):
        child.abandon()
        return child.crash("refuses connections")
    return error
