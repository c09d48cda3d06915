"""Views of files, as OpenAI's API shows them."""

from __future__ import annotations

from typing import Annotated

import msgspec

from foreman.domain.files import File
from foreman.domain.views.kinds import schema


class OpenAIFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file, as OpenAI's API shows it. Times are seconds since the epoch."""

    id: str
    object: Annotated[str, schema(enum=["file"])] = "file"
    bytes: int
    created_at: int
    expires_at: int | None
    filename: str
    purpose: str
    status: Annotated[str, schema(enum=["processed"])] = "processed"
    status_details: None = None


class OpenAIFiles(msgspec.Struct, frozen=True, kw_only=True):
    """A list of files, as OpenAI's API shows it."""

    object: Annotated[str, schema(enum=["list"])] = "list"
    data: list[OpenAIFile]
    first_id: str | None
    last_id: str | None
    has_more: bool


class OpenAIFileDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """What OpenAI's API answers to the deletion of a file."""

    id: str
    object: Annotated[str, schema(enum=["file"])] = "file"
    deleted: bool = True


def show_file(file: File) -> OpenAIFile:
    """Return the view of a file."""
    return OpenAIFile(
        id=file.id,
        bytes=file.size,
        created_at=int(file.created_at),
        expires_at=None if file.expires_at is None else int(file.expires_at),
        filename=file.filename,
        purpose=file.purpose,
    )


def show_files(files: list[File], *, has_more: bool) -> OpenAIFiles:
    """Return the view of a page of files."""
    shown = [show_file(file) for file in files]
    first, last = (shown[0].id, shown[-1].id) if shown else (None, None)
    return OpenAIFiles(data=shown, first_id=first, last_id=last, has_more=has_more)
