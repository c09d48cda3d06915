"""multipart/form-data (RFC 7578), read as it arrives: no part is ever whole in memory but for short fields."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import TypeAlias

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from foreman.domain.errors import BodyUnreadable, FieldInvalid, WrongContentType

FORM = "multipart/form-data"
LONGEST_FIELD = 4096  # bytes
MOST_PARTS = 64

Sink: TypeAlias = Callable[[bytes], Awaitable[None]]


@dataclass(slots=True)
class Form:
    """The fields of a form that has been read."""

    fields: dict[str, str] = field(default_factory=dict)
    filename: str | None = None  # of the part with the file; None without one


@dataclass(slots=True)
class _Part:
    name: str
    filename: str | None
    data: bytearray = field(default_factory=bytearray)


async def read_form(
    content_type: str, body: AsyncIterable[bytes], fields: Collection[str], file: str, sink: Sink
) -> Form:
    """Read these fields of a form, and the bytes of the part named `file` into the sink; parts may come in any order.

    Others are left out, however often they come.

    Raises:
        WrongContentType: It is no form.
        BodyUnreadable: It is malformed, or ends early.
        FieldInvalid: A field is too long, or comes twice.
    """
    reader = _Reader(content_type, fields, file)
    async for data in body:
        for piece in reader.feed(data):
            await sink(piece)
    reader.end()
    return reader.form


class _Reader:
    """The parser, with what it has found since the last call."""

    def __init__(self, content_type: str, fields: Collection[str], file: str) -> None:
        kind, options = parse_options_header(content_type)
        if kind != FORM.encode():
            raise WrongContentType(content_type, FORM)
        self.form = Form()
        self._fields = fields
        self._file = file
        self._parts = 0
        self._part: _Part | None = None
        self._header = bytearray(), bytearray()  # name and value
        self._headers: dict[bytes, bytes] = {}
        self._pieces: list[bytes] = []
        self._ended = False
        callbacks = {
            "on_part_begin": self._begin,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_end,
            "on_part_data": self._data,
            "on_part_end": self._part_end,
            "on_end": self._end,
        }
        boundary = options.get(b"boundary", b"")
        if not boundary:
            raise BodyUnreadable("its Content-Type has no boundary")
        try:
            self._parser = MultipartParser(boundary, callbacks)  # type: ignore[arg-type] # a TypedDict of just these
        except FormParserError as error:
            raise BodyUnreadable(str(error)) from None

    def feed(self, data: bytes) -> list[bytes]:
        """Return what of the file is in the data."""
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise BodyUnreadable(f"it is no {FORM}: {error}") from None
        pieces, self._pieces = self._pieces, []
        return pieces

    def end(self) -> None:
        """Raise BodyUnreadable unless the form is whole."""
        if not self._ended:
            raise BodyUnreadable(f"it ends before the last boundary of its {FORM}")

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise BodyUnreadable(f"it has more than {MOST_PARTS} parts")
        self._headers = {}

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._header[0].extend(data[start:end])

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1].extend(data[start:end])

    def _header_end(self) -> None:
        name, value = self._header
        self._headers[bytes(name).lower()] = bytes(value)
        self._header = bytearray(), bytearray()

    def _headers_end(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b"").decode("latin-1"))
        name = options.get(b"name", b"").decode(errors="replace")
        filename = options.get(b"filename")
        self._part = _Part(name, None if filename is None else filename.decode(errors="replace"))
        if name == self._file:
            if self.form.filename is not None:
                raise FieldInvalid(name, "twice", "must be given once")
            self.form.filename = self._part.filename or ""
        elif name in self.form.fields:
            raise FieldInvalid(name, "twice", "must be given once")

    def _data(self, data: bytes, start: int, end: int) -> None:
        part = self._part
        assert part is not None
        if part.name == self._file:
            self._pieces.append(data[start:end])
            return
        part.data += data[start:end]
        if len(part.data) > LONGEST_FIELD:
            raise FieldInvalid(part.name, "more", f"must have at most {LONGEST_FIELD} bytes")

    def _part_end(self) -> None:
        part, self._part = self._part, None
        if part is not None and part.name in self._fields:
            self.form.fields[part.name] = part.data.decode(errors="replace")

    def _end(self) -> None:
        self._ended = True
