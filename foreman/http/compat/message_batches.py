"""/v1/messages/batches: Anthropic's API of message batches."""

from __future__ import annotations

import trio
from quart import Blueprint, Response, request
from ulid import ULID

from foreman.domain import intake, views
from foreman.domain.batch_kinds.anthropic import Anthropic
from foreman.domain.batch_kinds.message_requests import NewRequests, lines, read_requests, slices
from foreman.domain.batches import BATCH_ID, Batch
from foreman.domain.errors import BatchNotFound, Draining
from foreman.domain.views.message_batches import MESSAGE_BATCHES
from foreman.http import batch_results, rate_limit, visibility
from foreman.http import batches as found
from foreman.http.body import read_body
from foreman.http.context import context
from foreman.http.errors import json_answer
from foreman.http.headers import CALLER
from foreman.http.query import whole
from foreman.offload import offload
from foreman.queue.batch_commands import DeleteBatch, NewBatch
from foreman.store.protocol import Reader

message_batches = Blueprint("message_batches", __name__, url_prefix=MESSAGE_BATCHES)

KIND = Anthropic.name
ENDPOINT = "/v1/messages"
LISTED, MOST_LISTED = 20, 1000
JSONL = "application/x-jsonl"
PROTO = "X-Forwarded-Proto"


@message_batches.post("")
async def create() -> Response:
    """Make a batch of the requests in the body; what is wrong with their `params` is found later.

    Raises:
        FieldInvalid: There are no requests, or too many, or one has no proper `custom_id` of its own.
        BodyTooLarge: The body exceeds the setting max_body.
        BlobsUnavailable: The requests could not be stored.
    """
    ctx = context()
    if ctx.draining:
        raise Draining
    rate_limit.count()
    caller = intake.read_caller(request.headers.get(CALLER))
    body = await read_body()
    new = NewBatch(
        id=f"msgbatch_{ULID()}",
        kind=KIND,
        owner=ctx.auth.caller(request).name,
        caller=caller,
        endpoint=ENDPOINT,
        repeated=found.is_repeated(),
    )
    batch = await _store(new, await offload(len(body), read_requests, body))
    ctx.batches.wake()
    return _shown(batch)


async def _store(new: NewBatch, asked: NewRequests) -> Batch:
    """Return the batch once its requests and its row are on disk."""
    async with context().blobs.upload() as upload:
        for size, some in slices(asked.requests):
            await upload.write(await offload(size, lines, some))
            await trio.lowlevel.checkpoint()
        return await upload.store_batch(new, len(asked.requests), asked.model)


@message_batches.get("")
async def listed() -> Response:
    """List the caller's batches, the newest first."""
    limit = whole("limit", request.args.get("limit"), LISTED, MOST_LISTED)
    after, before = request.args.get("after_id"), request.args.get("before_id")

    def read(store: Reader) -> list[Batch]:
        for beside in (after, before):
            if beside is not None and (not BATCH_ID.fullmatch(beside) or store.batch(beside) is None):
                raise BatchNotFound(beside)
        return store.batches(kind=KIND, after=after, before=before, limit=limit + 1)

    page = await visibility.read(read)
    has_more = len(page) > limit
    if has_more:
        page = page[:limit] if before is None else page[1:]
    return json_answer(views.show_message_batches(page, _base(), has_more=has_more))


@message_batches.get("/<batch_id>")
async def show(batch_id: str) -> Response:
    """Show a batch."""
    return _shown(await found.find(batch_id, KIND))


@message_batches.post("/<batch_id>/cancel")
async def cancel(batch_id: str) -> Response:
    """Cancel a batch that has not ended."""
    return _shown(await found.cancel(batch_id, KIND))


@message_batches.delete("/<batch_id>")
async def delete(batch_id: str) -> Response:
    """Delete a batch that has ended, with its results and its jobs. Raise BatchNotEnded."""
    ctx = context()
    await found.find(batch_id, KIND)
    await ctx.queue.ask(DeleteBatch(batch_id, ctx.auth.caller(request)))
    return json_answer(views.MessageBatchDeleted(id=batch_id))


@message_batches.get("/<batch_id>/results")
async def results(batch_id: str) -> Response:
    """Answer with the results of a batch that has ended, one a line. Raise BatchNotEnded or BlobMissing."""
    return await batch_results.results(await found.find(batch_id, KIND), JSONL)


def _shown(batch: Batch) -> Response:
    return json_answer(views.show_message_batch(batch, _base()))


def _base() -> str:
    """Return Foreman's URL as the caller knows it: clients follow `results_url` on the origin that they called."""
    told = request.headers.get(PROTO, "").lower()
    scheme = told if told in ("http", "https") else request.scheme
    return f"{scheme}://{request.host}"
