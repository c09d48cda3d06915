"""The caller's files, as routes find and send them."""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import TracebackType
from urllib.parse import quote

from quart import Response

from foreman.domain.errors import FileNotFound
from foreman.domain.files import FILE_ID, File
from foreman.http import visibility
from foreman.http.context import context
from foreman.http.sandbox import keep_from_running
from foreman.http.stored import Stored, ranged, stored_answer
from foreman.store.protocol import Reader


async def download(file: File, content_type: str) -> Response:
    """Answer with the bytes of a file. Raise BlobMissing or RangeInvalid."""
    await context().readers.read(lambda store: store.blob_content(file.blob, 0, 1))  # while there is still a status
    response = stored_answer(StoredFile(file), content_type)
    keep_as(file.filename, response)
    response.set_etag(file.blob)
    return await ranged(response, file.size)


def keep_as(name: str, response: Response) -> None:
    """Have browsers save an answer under a name, and not show it."""
    keep_from_running(response)
    response.headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(name, safe='')}"


async def find(file_id: str) -> File:
    """Return a file that the caller may see. Raise FileNotFound."""
    file = await visibility.read(lambda store: store.file(file_id)) if FILE_ID.fullmatch(file_id) else None
    if file is None:
        raise FileNotFound(file_id)
    return file


class StoredFile(Stored):
    """The bytes of a file, which stay while they are read."""

    def __init__(self, file: File) -> None:
        def part(store: Reader, begin: int, size: int) -> bytes:
            return store.blob_content(file.blob, begin, size)

        super().__init__(context().readers, part, file.size)
        self._kept: AbstractContextManager[None] = context().blobs.reading(file.blob)

    async def __aenter__(self) -> StoredFile:
        self._kept.__enter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._kept.__exit__(None, None, None)
