"""/v1/batches: OpenAI's Batch API."""

from __future__ import annotations

from typing import Any

import msgspec
from quart import Blueprint, Response, request
from ulid import ULID

from foreman.domain import intake, views
from foreman.domain.batch_kinds.openai import OpenAI
from foreman.domain.batches import BATCH_ID, Batch
from foreman.domain.errors import BatchNotFound, Draining, FieldInvalid
from foreman.domain.fields import OWN, begin_of, read_field
from foreman.domain.files import BATCH
from foreman.domain.json_objects import read_object
from foreman.domain.views.batches import WINDOW
from foreman.http import batches as found
from foreman.http import rate_limit, visibility
from foreman.http.body import read_body
from foreman.http.compat.files import LIFETIME
from foreman.http.context import context
from foreman.http.errors import json_answer
from foreman.http.files import find
from foreman.http.headers import CALLER
from foreman.http.query import whole
from foreman.queue.batch_commands import AddBatch, NewBatch
from foreman.store.protocol import Reader

batches = Blueprint("openai_batches", __name__)

ENDPOINTS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses")
KIND = OpenAI.name
LISTED, MOST_LISTED = 20, 100


@batches.post("/v1/batches")
async def create() -> Response:
    """Make a batch of an uploaded file; what is wrong with its lines is found later.

    Raises:
        FieldInvalid: A field is missing or wrong.
        FileNotFound: The caller has no such file.
    """
    ctx = context()
    if ctx.draining:
        raise Draining
    rate_limit.count()
    caller = intake.read_caller(request.headers.get(CALLER))
    fields = read_object(await read_body())
    endpoint = _text(fields, "endpoint")
    if endpoint not in ENDPOINTS:
        raise FieldInvalid("endpoint", endpoint, f"must be one of {', '.join(ENDPOINTS)}")
    window = _text(fields, "completion_window")
    if window != WINDOW:
        raise FieldInvalid("completion_window", window, f"must be {WINDOW}; the setting batch_window is what counts")
    metadata = read_field("metadata", fields["metadata"], OWN["metadata"]) if "metadata" in fields else None
    lifetime = _lifetime(fields)
    file = await find(_text(fields, "input_file_id"))
    if file.purpose != BATCH:
        raise FieldInvalid("input_file_id", file.id, f"must be a file with the purpose {BATCH}")
    new = NewBatch(
        id=f"batch_{ULID()}",
        kind=KIND,
        owner=ctx.auth.caller(request).name,
        caller=caller,
        endpoint=endpoint,
        input_file=file.id,
        metadata=metadata,
        output_ttl=lifetime,
        repeated=found.is_repeated(),
    )
    batch = await ctx.queue.ask(AddBatch(new))
    ctx.batches.wake()
    return json_answer(views.show_openai_batch(batch))


def _text(fields: dict[str, msgspec.Raw], name: str) -> str:
    value = _decoded(fields, name)
    if not isinstance(value, str):
        raise FieldInvalid(name, begin_of(fields[name]) if name in fields else None, "must be given as text")
    return value


def _decoded(fields: dict[str, msgspec.Raw], name: str) -> Any:
    try:
        return msgspec.json.decode(fields[name]) if name in fields else None
    except (msgspec.DecodeError, RecursionError):
        return None


def _lifetime(fields: dict[str, msgspec.Raw]) -> float | None:
    """Return the seconds of `output_expires_after`, None without it. Raise FieldInvalid."""
    given = _decoded(fields, "output_expires_after")
    if given is None and "output_expires_after" not in fields:
        return None
    least, most = LIFETIME
    seconds: Any = given.get("seconds") if isinstance(given, dict) and given.get("anchor") == "created_at" else None
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not number or not least <= seconds <= most or seconds != int(seconds):
        allowed = f'must be {{"anchor": "created_at", "seconds": …}} with {least} to {most} seconds'
        raise FieldInvalid("output_expires_after", begin_of(fields["output_expires_after"]), allowed)
    return float(seconds)


@batches.get("/v1/batches")
async def listed() -> Response:
    """List the caller's batches, the newest first."""
    limit = whole("limit", request.args.get("limit"), LISTED, MOST_LISTED)
    after = request.args.get("after")

    def read(store: Reader) -> tuple[list[Batch], bool]:
        if after is not None and (not BATCH_ID.fullmatch(after) or store.batch(after) is None):
            raise BatchNotFound(after)
        return found.page(store, kind=KIND, after=after, limit=limit)

    page, more = await visibility.read(read)
    return json_answer(views.show_openai_batches(page, has_more=more))


@batches.get("/v1/batches/<batch_id>")
async def show(batch_id: str) -> Response:
    """Show a batch."""
    return json_answer(views.show_openai_batch(await found.find(batch_id, KIND)))


@batches.post("/v1/batches/<batch_id>/cancel")
async def cancel(batch_id: str) -> Response:
    """Cancel a batch that has not ended."""
    return json_answer(views.show_openai_batch(await found.cancel(batch_id, KIND)))
