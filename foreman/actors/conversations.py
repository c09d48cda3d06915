"""The stored responses that requests may continue."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from foreman.domain.endpoints.responses import ENDPOINT as RESPONSES
from foreman.domain.errors import (
    ConversationTooLong,
    JobUnreadable,
    PreviousResponseNotFound,
    PreviousResponseUnusable,
)
from foreman.domain.job import State
from foreman.domain.responses.conversation import Turn, fields_of
from foreman.domain.responses.ids import job_id_of
from foreman.domain.responses.request import wanted_of
from foreman.domain.responses.shown import status_of
from foreman.offload import offload
from foreman.queue.results import COMPLETION
from foreman.store.protocol import Reader
from foreman.store.readers import Readers


class StoredResponses:
    """The responses in the store."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    async def turn(self, response_id: str, owner: str, *, most: int, took: Callable[[int], None]) -> Turn:
        """See `domain.responses.conversation.Responses`."""
        job_id = job_id_of(response_id) or ""
        try:
            size = await self._readers.read(partial(_size, response_id, job_id, owner))
        except JobUnreadable as error:
            raise PreviousResponseNotFound(response_id) from error
        if size > most:
            raise ConversationTooLong(f"{size} bytes", f"{most} bytes")
        took(size)
        payload, answer = await self._readers.read(
            lambda store: (store.content(job_id), store.content(job_id, COMPLETION))
        )
        if payload is None or answer is None:
            raise PreviousResponseNotFound(response_id)  # deleted meanwhile
        fields = await offload(len(payload), fields_of, payload)
        if not wanted_of(fields).stored:
            raise PreviousResponseNotFound(response_id)
        return Turn(payload, answer)


def _size(response_id: str, job_id: str, owner: str, store: Reader) -> int:
    """Return the bytes of a response's request and answer."""
    job = store.job(job_id)
    if job is None or job.endpoint != RESPONSES.path or job.owner != owner:
        raise PreviousResponseNotFound(response_id)
    if job.state is not State.DONE:
        raise PreviousResponseUnusable(response_id, status_of(job.state))
    return (store.size(job_id) or 0) + (store.size(job_id, COMPLETION) or 0)
