"""The input of a batch: what it is, by its first line, and its bytes as they are sent."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from io import SEEK_END, BytesIO
from pathlib import Path
from typing import IO, Any, TypeAlias
from uuid import uuid4

import anyio.to_thread
import msgspec

from foreman.client.errors import ArgumentInvalid
from foreman.client.reading import decode
from foreman.client.writing import text

PIECE = 2**18  # bytes read and sent at once
LONGEST_LINE = 64 * 2**20  # bytes of the first line
NATIVE = "a body of POST /jobs with a model"
OPENAI = 'a request of OpenAI\'s Batch API with "custom_id", "method", "url" and "body"'
WANTED = f"must be {OPENAI}, or {NATIVE}"

Given: TypeAlias = "str | os.PathLike[str] | bytes | IO[bytes]"


@contextmanager
def opened(file: Given, sent: Callable[[int], None] | None = None) -> Iterator[BatchInput]:
    """Open the input of a batch. Raise as BatchInput."""
    if isinstance(file, (str, os.PathLike)):
        with Path(file).open("rb") as own:
            yield BatchInput(own, sent)
    else:
        yield BatchInput(BytesIO(file) if isinstance(file, bytes) else file, sent)


class BatchInput:
    """The input of a batch, which is sent while it is read; `sent` is called with the bytes sent so far."""

    def __init__(self, file: IO[bytes], sent: Callable[[int], None] | None = None) -> None:
        """Look at its first line. Raise ArgumentInvalid for one that is of no batch, or OSError."""
        self._file = file
        self._sent = sent
        name = getattr(file, "name", None)
        self.name = Path(text(name)).name if isinstance(name, str) and not name.startswith("<") else "batch.jsonl"
        self.size = size_of(file)  # bytes; None for a pipe
        self._before = self._after = self._begin = b""
        self._first = self._look()

    @property
    def is_native(self) -> bool:
        """Return True if its lines are bodies of POST /jobs, not requests of OpenAI's Batch API."""
        return "body" not in self._first

    @property
    def endpoint(self) -> str:
        """The `url` of its first line."""
        return str(self._first.get("url", ""))

    @property
    def length(self) -> int | None:
        """The bytes to send; None where that is not known."""
        return None if self.size is None else len(self._before) + self.size + len(self._after)

    def as_form(self) -> str:
        """Send it as the file of an upload form, and return the media type of that."""
        boundary = uuid4().hex
        name = "".join({'"': "%22", "\r": "%0D", "\n": "%0A"}.get(sign, sign) for sign in self.name)
        self._before = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
            "Content-Type: application/jsonl\r\n\r\n"
        ).encode()
        self._after = f"\r\n--{boundary}--\r\n".encode()
        return f"multipart/form-data; boundary={boundary}"

    def pieces(self) -> Iterator[bytes]:
        """Yield its bytes. Raise OSError."""
        yield self._before + self._begin
        sent = len(self._begin)
        while piece := self._file.read(PIECE):
            yield piece
            sent += len(piece)
            if self._sent is not None:
                self._sent(sent)
        yield self._after

    async def async_pieces(self) -> AsyncIterator[bytes]:
        """Yield its bytes, which a thread reads. Raise OSError."""
        pieces = self.pieces()
        while (piece := await anyio.to_thread.run_sync(next, pieces, None)) is not None:
            yield piece

    def _look(self) -> dict[str, Any]:
        line = b""
        while not line.strip():
            line = self._file.readline(LONGEST_LINE + 1)
            if not line:
                raise ArgumentInvalid(f"{self.name} has no lines", f"each line {WANTED}")
            self._begin += line
        try:
            first = decode(line, dict[str, Any])
        except msgspec.DecodeError:
            raise ArgumentInvalid(f"the first line of {self.name} is no JSON object", f"it {WANTED}") from None
        if not (isinstance(first.get("url"), str) and "body" in first) and not isinstance(first.get("model"), str):
            raise ArgumentInvalid(f"the first line of {self.name} is no request", f"it {WANTED}")
        return first


def size_of(file: IO[bytes]) -> int | None:
    """Return the bytes from the place where a file is up to its end; None for a pipe."""
    if not file.seekable():
        return None
    begin = file.tell()
    end = file.seek(0, SEEK_END)
    file.seek(begin)
    return end - begin
