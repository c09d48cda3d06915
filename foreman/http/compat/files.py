"""/v1/files: OpenAI's Files API. Uploads are streamed to the store, and downloads from it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from functools import wraps
from typing import Any

from quart import Blueprint, Response, request
from ulid import ULID

from foreman.domain import views
from foreman.domain.batches import LARGEST_INPUT
from foreman.domain.errors import Draining, FieldInvalid, FilesNotServed, FileTooLarge
from foreman.domain.files import BATCH, BATCH_OUTPUT, FILE_ID, PIECE, File
from foreman.http import visibility
from foreman.http.body import arriving, coding, held
from foreman.http.compat.openai import MESSAGES_DIALECT
from foreman.http.context import context
from foreman.http.errors import json_answer
from foreman.http.files import download, find
from foreman.http.multipart import Form, read_form
from foreman.http.query import choice, whole
from foreman.queue.commands import DeleteFile, NewFile
from foreman.store.protocol import Reader

files = Blueprint("files", __name__)

PURPOSES = (BATCH,)  # of uploads
FIELDS = ("purpose", "expires_after[anchor]", "expires_after[seconds]")  # of an upload
LISTED = (BATCH, BATCH_OUTPUT)  # purposes of all files there are
UNNAMED = "upload"  # the filename of a part without one
MOST_LISTED = 10_000
LIFETIME = 3600, 2_592_000  # seconds: least and most of expires_after
ANTHROPIC = "anthropic-version"  # a header of Anthropic's clients, whose Files API has the same paths
LONGEST_NAME = 1024  # characters

Route = Callable[..., Coroutine[Any, Any, Response]]


def _of_openai(route: Route) -> Route:
    """Refuse what Anthropic's clients ask for, in their API's shape."""

    @wraps(route)
    async def answer(**arguments: str) -> Response:
        if ANTHROPIC in request.headers:
            return MESSAGES_DIALECT.error(FilesNotServed())
        return await route(**arguments)

    return answer


@files.post("/v1/files")
@_of_openai
async def create() -> Response:
    """Store an uploaded file.

    Raises:
        FieldInvalid: A part is missing or wrong.
        FileTooLarge: The file exceeds `max_file`, or what a batch may have.
        QuotaExceeded: The caller has as many files as allowed.
    """
    ctx = context()
    if ctx.draining:
        raise Draining
    coding(())  # none is known: the limits are those of the bytes that are stored
    size = request.content_length or 0
    if size > ctx.settings.max_file + PIECE:  # the other parts are small
        raise _too_large(ctx.settings.max_file)
    held().resize(PIECE)
    async with ctx.blobs.upload() as upload:

        async def take(data: bytes) -> None:
            if upload.size + len(data) > ctx.settings.max_file:
                raise _too_large(ctx.settings.max_file)
            await upload.write(data)

        form = await read_form(request.headers.get("Content-Type", ""), _bounded(), FIELDS, "file", take)
        lifetime = _check(form, upload.size)
        new = NewFile(
            id=f"file-{ULID()}",
            owner=ctx.auth.caller(request).name,
            purpose=form.fields["purpose"],
            filename=form.filename or UNNAMED,
            lifetime=lifetime,
        )
        file = await upload.store(new)
    return json_answer(views.show_file(file))


async def _bounded() -> AsyncIterator[bytes]:
    """Yield the body as it arrives.

    Raises:
        FileTooLarge: It goes on and on, in whatever part.
        RequestTimeout: Nothing comes for `body_timeout`, or all comes much too slowly.
    """
    size, most = 0, context().settings.max_file
    async for data in arriving():
        size += len(data)
        if size > most + PIECE:
            raise _too_large(most)
        yield data


def _check(form: Form, size: int) -> float | None:
    """Check the parts of an upload; return its lifetime in seconds, None without one. Raise FieldInvalid."""
    purpose = form.fields.get("purpose")
    if purpose not in PURPOSES:
        raise FieldInvalid("purpose", purpose, f"must be {' or '.join(PURPOSES)}")
    if form.filename is None:
        raise FieldInvalid("file", None, "must be a part of the upload")
    if "\0" in form.filename or len(form.filename) > LONGEST_NAME:
        raise FieldInvalid("file", form.filename, f"must have a name of at most {LONGEST_NAME} characters, none U+0000")
    if size > LARGEST_INPUT:
        raise FileTooLarge(LARGEST_INPUT, "divide the lines among several batches")
    anchor, seconds = (form.fields.get(f"expires_after[{key}]") for key in ("anchor", "seconds"))
    if anchor is None and seconds is None:
        return None
    if anchor != "created_at":
        raise FieldInvalid("expires_after[anchor]", anchor, "must be created_at")
    least, most = LIFETIME
    return whole("expires_after[seconds]", seconds or "", 0, most, least=least)


def _too_large(limit: int) -> FileTooLarge:
    return FileTooLarge(limit, "the setting max_file raises the limit")


@files.get("/v1/files")
@_of_openai
async def listed() -> Response:
    """List the caller's files."""
    limit = whole("limit", request.args.get("limit"), MOST_LISTED, MOST_LISTED)
    newest = choice("order", request.args.get("order"), {"asc": False, "desc": True})
    after, purpose = request.args.get("after"), request.args.get("purpose")

    def read(store: Reader) -> list[File]:
        if purpose is not None and purpose not in LISTED:
            return []
        if after is not None and (FILE_ID.fullmatch(after) is None or store.file(after) is None):
            raise FieldInvalid("after", after, "must be the id of a file")
        return store.files(purpose=purpose, after=after, newest=newest is not False, limit=limit + 1)

    found = await visibility.read(read)
    return json_answer(views.show_files(found[:limit], has_more=len(found) > limit))


@files.get("/v1/files/<file_id>")
@_of_openai
async def show(file_id: str) -> Response:
    """Show a file."""
    return json_answer(views.show_file(await find(file_id)))


@files.delete("/v1/files/<file_id>")
@_of_openai
async def delete(file_id: str) -> Response:
    """Delete a file."""
    await find(file_id)  # by the form of its id too
    await context().queue.ask(DeleteFile(file_id, context().auth.caller(request)))
    return json_answer(views.OpenAIFileDeleted(id=file_id))


@files.get("/v1/files/<file_id>/content")
@_of_openai
async def content(file_id: str) -> Response:
    """Answer with the bytes of a file; honour one byte range and If-None-Match.

    Raises:
        FileNotFound: The caller has no such file.
        BlobMissing: Its bytes are gone.
        RangeInvalid: The range lies beyond the file's end.
    """
    return await download(await find(file_id), "application/octet-stream")
