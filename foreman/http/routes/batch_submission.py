"""Batches of POST /jobs: NDJSON whose lines are all checked, stored as one input and fed as room comes."""

from __future__ import annotations

import re
from functools import partial

import trio
from quart import Response, request
from ulid import ULID

from foreman.domain import intake, views
from foreman.domain.batch_input import Lines, RawLine
from foreman.domain.batch_kinds.native import DEFAULT_ENDPOINT, Native
from foreman.domain.batches import LARGEST_INPUT, Batch
from foreman.domain.errors import BodyTooLarge, FieldInvalid, FileTooLarge, ForemanError, InvalidJson, Unavailable
from foreman.domain.files import PIECE
from foreman.http import rate_limit
from foreman.http.batches import shown
from foreman.http.body import NDJSON, coding, held, media_type, uploaded
from foreman.http.context import context
from foreman.http.errors import json_answer
from foreman.http.headers import CALLER
from foreman.http.new_ids import new_job_id
from foreman.http.query import check_names
from foreman.http.routes.bulk import BREATH
from foreman.queue.batch_commands import NewBatch
from foreman.store.protocol import Reader

NAME, WEBHOOK = "batch", "state_webhook_url"  # query parameters
NAMED = re.compile(r"[^\x00-\x1f\x7f]{1,128}")
MOST_ERRORS = 1000  # that are listed


async def submit() -> Response:
    """`POST /jobs?batch=NAME` with NDJSON: make a batch of all lines, or store nothing.

    Raises:
        FieldInvalid: The body is no NDJSON, or a parameter is wrong.
        WebhookRefused: No webhook may go to `state_webhook_url`.
        FileTooLarge: The body is larger than the input of a batch may be.
        RequestTimeout: The body comes much too slowly.
        IdempotencyMismatch: The Idempotency-Key belongs to another batch.
        Unavailable: A line cannot be judged now, or the input cannot be stored.
    """
    ctx = context()
    check_names(NAME, WEBHOOK)
    name, url = request.args[NAME], request.args.get(WEBHOOK)
    if not NAMED.fullmatch(name):
        raise FieldInvalid(NAME, name, "must be a name of 1 to 128 characters, none of them a control character")
    if media_type() != NDJSON:
        raise FieldInvalid(NAME, name, f"goes with Content-Type: {NDJSON}, one job a line")
    key = intake.read_idempotency_key(request.headers.get("Idempotency-Key"))
    caller = intake.read_caller(request.headers.get(CALLER))
    owner = ctx.auth.caller(request).name
    coding()  # a bad Content-Encoding is refused before anything is read
    rate_limit.count()
    known = None if key is None else await ctx.readers.read(partial(_known, owner, key))
    if url is not None and known is None:
        await ctx.sender.check(url)
    check = _Check(owner, caller)
    most = min(LARGEST_INPUT, ctx.settings.max_file)
    async with ctx.blobs.upload() as upload:
        try:
            async for piece in uploaded(most):
                await upload.write(piece)
                await check.feed(piece)
        except BodyTooLarge:
            raise FileTooLarge(most, "divide the lines among several batches") from None
        await check.finish()
        if check.rejected and known is None:
            return json_answer(check.shown(), 422)
        new = NewBatch(
            id=f"batch_{ULID()}",
            kind=Native.name,
            owner=owner,
            caller=caller,
            endpoint=check.endpoint,
            name=name,
            webhook_url=url,
            idempotency_key=key,
        )
        batch = await upload.store_batch(new, check.total, check.model)
    ctx.batches.wake()
    response = json_answer(shown(batch), 202)
    response.headers["Location"] = f"/batches/{batch.id}"
    return response


def _known(owner: str, key: str, store: Reader) -> Batch | None:
    return store.batch_by_key(owner, key)


class _Check:
    """The check of all lines as they arrive, by the rules of a single job."""

    def __init__(self, owner: str, caller: str) -> None:
        self._ctx = context()
        self._owner = owner
        self._caller = caller
        self._lines = Lines(longest=self._ctx.settings.max_body)
        self._judged: dict[str, str | None] = {}  # by receiver, the reason of a refusal
        self._models, self._endpoints = set[str](), set[str]()
        self._errors: list[views.Rejected] = []
        self.total = 0
        self.rejected = 0

    @property
    def model(self) -> str | None:
        """Return the model of all lines, if they have one."""
        return next(iter(self._models)) if len(self._models) == 1 else None

    @property
    def endpoint(self) -> str:
        """Return the endpoint of all lines; empty when they have several."""
        return next(iter(self._endpoints)) if len(self._endpoints) == 1 else ""

    async def feed(self, piece: bytes) -> None:
        """Check the lines that end in a piece. Raise Unavailable when one cannot be judged."""
        held().resize(PIECE + self._lines.held + len(piece))
        for line in self._lines.feed(piece):
            await self._take(line)

    async def finish(self) -> None:
        """Check the rest, and how many lines there are."""
        for line in self._lines.finish():
            await self._take(line)
        if not self.total:
            self._reject(1, InvalidJson("there is no line with a job"))

    def shown(self) -> views.Submitted:
        """Return the body of the answer when a line is rejected: nothing is stored."""
        return views.Submitted(0, self.rejected, [], self._errors)

    async def _take(self, line: RawLine) -> None:
        self.total += 1
        if self.total > Native.most_lines:
            if self.total == Native.most_lines + 1:
                over = FieldInvalid("line", line.number, f"a batch takes at most {Native.most_lines} lines")
                self._reject(line.number, over)
            return
        if self.total % BREATH == 0:
            await trio.lowlevel.checkpoint()
        try:
            if line.data is None:
                raise BodyTooLarge(self._ctx.settings.max_body)
            submission = await self._ctx.intake.read(line.data, now=self._ctx.clock())
            await self._ctx.intake.draft(
                submission, new_job_id(), owner=self._owner, caller=self._caller, judged=self._judged
            )
        except Unavailable:
            raise
        except ForemanError as error:
            self._reject(line.number, error)
            return
        if len(self._models) < 2:
            self._models.add(submission.model)
        if len(self._endpoints) < 2:
            self._endpoints.add(submission.own.get("endpoint", DEFAULT_ENDPOINT))

    def _reject(self, number: int, error: ForemanError) -> None:
        self.rejected += 1
        if len(self._errors) < MOST_ERRORS:
            said = views.show_error(error)
            self._errors.append(views.Rejected(number, said.error, said.code, said.hint))
