"""Whether a server has a free slot again, after an answer was left before its end."""

from __future__ import annotations

import msgspec
import trio

from foreman.domain.answers.refusals import NOT_JSON
from foreman.domain.errors import TargetError
from foreman.targets.counting import MISSING
from foreman.targets.http.pool import Client

WITHIN = 2.0  # seconds until a slot is taken to be free
LOOK = 0.05  # seconds between two looks
LIMIT = 2**20  # bytes of the list


class Vacancy:
    """Sees in the list of slots that llama.cpp's server has whether one is free.

    It stops an answer between two batches only, which may be a second after its connection was closed. Other servers
    have no such list; there the closed connection is trusted.
    """

    def __init__(self, client: Client) -> None:
        """Ask the server of `client`."""
        self._client = client
        self._listed = True  # as far as is known
        self._left = 0  # answers that were left early
        self._seen = 0  # so many of them had been left when a slot was last seen to be free

    def left(self) -> None:
        """Record that an answer was left before its end."""
        self._left += 1

    async def wait(self) -> None:
        """Return once a slot is free again: at once if no answer was left, and WITHIN seconds later at the latest."""
        left = self._left
        if left == self._seen or not self._listed:
            return
        with trio.move_on_after(WITHIN):
            while not await self._is_free():  # noqa: ASYNC110 - another process changes it
                await trio.sleep(LOOK)
        self._seen = max(self._seen, left)

    async def _is_free(self) -> bool:
        """Return False while every slot works; True also if the server does not say."""
        try:
            response, body = await self._client.fetch("GET", "/slots", limit=LIMIT)
        except TargetError:
            return True  # the next request will tell
        if response.status >= 500 and response.status not in MISSING:
            return True
        try:
            slots = _SLOTS.decode(body) if response.status == 200 else []
        except NOT_JSON:
            slots = []
        self._listed = bool(slots)
        return not slots or any(not slot.is_processing for slot in slots)


class _Slot(msgspec.Struct):
    is_processing: bool


_SLOTS = msgspec.json.Decoder(list[_Slot])
