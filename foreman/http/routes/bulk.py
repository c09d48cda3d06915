"""Many jobs in one request: NDJSON, read as a stream and stored in groups; bad lines are reported by number."""

from __future__ import annotations

from collections.abc import AsyncIterator

import trio
from quart import Response, request

from foreman.domain import intake, views
from foreman.domain.errors import (
    BodyTooLarge,
    BodyUnreadable,
    FieldInvalid,
    ForemanError,
    InvalidJson,
    MemoryFull,
    QuotaExceeded,
    RateLimited,
)
from foreman.domain.job import Draft
from foreman.http import rate_limit
from foreman.http.body import coding, held, pieces
from foreman.http.context import Context, context
from foreman.http.errors import json_answer, retry_after
from foreman.http.headers import CALLER
from foreman.http.new_ids import new_job_id
from foreman.queue.commands import SubmitMany

GROUP = 1000  # jobs in one transaction
BREATH = 50  # lines between checkpoints: about a millisecond, in which no other request is served
MOST_LINES = 100_000


async def submit() -> Response:
    """`POST /jobs` with NDJSON: store each good line; stored lines stay stored if a later one fails."""
    if "Idempotency-Key" in request.headers:
        raise FieldInvalid(
            "Idempotency-Key", request.headers["Idempotency-Key"], "is for single jobs; leave it out for NDJSON"
        )
    largest = context().settings.max_body
    if request.content_length is not None and request.content_length > largest:
        raise BodyTooLarge(largest)
    coding()  # a bad Content-Encoding is refused before anything is stored
    outcomes = _Outcomes(context())
    number = 0
    refused: MemoryFull | None = None
    try:
        async for lines, rest in _lines():
            await outcomes.make_room(sum(map(len, lines)) + rest)
            for line in lines:
                number += 1
                if number > MOST_LINES:
                    raise FieldInvalid("line", number, f"a request takes at most {MOST_LINES} lines")
                if line.strip():
                    await outcomes.take(number, line)
                if number % BREATH == 0:
                    await trio.lowlevel.checkpoint()
    except (BodyTooLarge, BodyUnreadable, MemoryFull) as error:  # the caller must learn which lines were stored
        outcomes.reject(number + 1, error)
        refused = error if isinstance(error, MemoryFull) else None
    except FieldInvalid as error:
        outcomes.reject(number, error)
    await outcomes.store()
    if refused and not outcomes.accepted:
        raise refused
    if not outcomes.accepted and not outcomes.rejected:
        outcomes.reject(1, InvalidJson("there is no line with a job"))
    response = json_answer(outcomes.shown(), 202 if outcomes.accepted else 422)
    if outcomes.limited is not None:
        response.headers["Retry-After"] = retry_after(outcomes.limited)
    return response


class _Outcomes:
    """The outcome of each line."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._owner = ctx.auth.caller(request).name
        self._caller = intake.read_caller(request.headers.get(CALLER))
        self._drafts: list[tuple[int, Draft]] = []
        self._held, self._size = held(), 0  # bytes of the lines that are read and not stored yet
        self._validated: dict[str, str | None] = {}  # by receiver, the reason of a refusal
        self._stored: list[views.Taken] = []  # as JSON: 100,000 small objects take much more memory
        self._errors: list[tuple[int, views.Rejected]] = []
        self.limited: RateLimited | QuotaExceeded | None = None  # of the last line over the rate or a quota

    @property
    def accepted(self) -> int:
        return len(self._stored)

    @property
    def rejected(self) -> int:
        return len(self._errors)

    async def make_room(self, size: int) -> None:
        """Count `size` more bytes; store the pending lines first when there is no room for both.

        Raise MemoryFull when there is still no room.
        """
        try:
            self._held.resize(self._size + size)
        except MemoryFull:
            await self.store()
            self._held.resize(size)

    async def take(self, number: int, line: bytes) -> None:
        """Read a line; store the pending ones once they make a group."""
        self._size += len(line)
        try:
            rate_limit.count()
            self._drafts.append((number, await self._read(line)))
        except ForemanError as error:
            self.reject(number, error)
            self.limited = error if isinstance(error, RateLimited) else self.limited
        if len(self._drafts) >= GROUP:
            await self.store()

    async def store(self) -> None:
        """Store the pending lines."""
        self._size = 0
        if not self._drafts:
            return
        drafts, self._drafts = self._drafts, []
        try:
            refused = await self._ctx.queue.ask(SubmitMany(drafts=[draft for _, draft in drafts]))
        except ForemanError as error:
            for number, _ in drafts:
                self.reject(number, error)
            return
        for index, (number, draft) in enumerate(drafts):
            if over := refused.get(index):
                self.reject(number, over)
                self.limited = over if isinstance(over, QuotaExceeded) else self.limited
                continue
            self._stored.append(views.encoded(views.Taken(number, draft.id, draft.custom_id)))

    def reject(self, number: int, error: ForemanError) -> None:
        """Record that a line was rejected."""
        shown = views.show_error(error)
        self._errors.append((number, views.encoded(views.Rejected(number, shown.error, shown.code, shown.hint))))

    def shown(self) -> views.Submitted:
        """Return the answer's body."""
        self._errors.sort(key=lambda error: error[0])
        errors = [error for _, error in self._errors]
        return views.Submitted(self.accepted, self.rejected, self._stored, errors)

    async def _read(self, line: bytes) -> Draft:
        ctx = self._ctx
        submission = await ctx.intake.read(line, now=ctx.clock())
        return await ctx.intake.draft(
            submission, new_job_id(), owner=self._owner, caller=self._caller, judged=self._validated
        )


async def _lines() -> AsyncIterator[tuple[list[bytes], int]]:
    """Yield the request's lines as they arrive, and the number of bytes received of the next one.

    Raise BodyTooLarge, or BodyUnreadable when the body breaks off or cannot be unpacked.
    """
    rest: list[bytes] = []  # parts of an unfinished line
    size = 0  # bytes of them
    async for piece in pieces():
        first, *lines = piece.split(b"\n")
        rest.append(first)
        size += len(first)
        if lines:
            lines.insert(0, b"".join(rest))
            rest = [lines.pop()]
            size = len(rest[0])
        yield lines, size
    if last := b"".join(rest):
        yield [last], 0
