"""The input of a batch: lines of JSON, read piece by piece, and what may be wrong with them."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from foreman.domain.batches import LONGEST_LINE, MOST_LINES, LineFault
from foreman.domain.errors import FieldInvalid, InvalidJson, ModelRequired
from foreman.domain.fields import begin_of
from foreman.domain.intake import Submission, read_model
from foreman.domain.json_objects import read_object

MOST_FAULTS = 1000  # that are listed
MOST_CUSTOM_ID = 512  # characters
INVALID, MISSING = "invalid_json_line", "missing_required_parameter"


class RawLine(NamedTuple):
    """A line of the input that is not blank."""

    number: int  # 1 is the first, with blank ones
    data: bytes | None  # None when it is too long
    end: int  # bytes of the input up to its end, with the line end


class Request(NamedTuple):
    """A line of the input, read."""

    custom_id: str
    submission: Submission


class _Named(msgspec.Struct):
    custom_id: str


_decode_named = msgspec.json.Decoder(_Named).decode


class LineInvalid(Exception):
    """A line that cannot become a job."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


class Lines:
    """A splitter of the input into lines, given piece by piece, that holds no more than the longest line."""

    def __init__(self, *, begin: int = 0, longest: int = LONGEST_LINE) -> None:
        """Take lines of up to `longest` bytes; `begin` is the place of the first piece in the input."""
        self._longest = longest
        self._rest = bytearray()
        self._skipped = 0  # bytes of a line that is too long
        self._end = begin
        self._number = 0

    @property
    def held(self) -> int:
        """Return the bytes of the line that has not ended."""
        return len(self._rest)

    def feed(self, piece: bytes) -> Iterator[RawLine]:
        """Yield the lines that end in a piece."""
        begin = 0
        while (found := piece.find(b"\n", begin)) >= 0:
            self._add(piece[begin:found])
            begin = found + 1
            yield from self._line(end=1)
        self._add(piece[begin:])

    def finish(self) -> Iterator[RawLine]:
        """Yield the last line when it has no line end."""
        if self._rest or self._skipped:
            yield from self._line(end=0)

    def _add(self, data: bytes) -> None:
        if self._skipped or len(self._rest) + len(data) > self._longest:
            self._skipped += len(self._rest) + len(data)
            self._rest.clear()
        else:
            self._rest += data

    def _line(self, *, end: int) -> Iterator[RawLine]:
        data, too_long = bytes(self._rest), bool(self._skipped)
        self._number += 1
        self._end += len(data) + self._skipped + end
        self._rest.clear()
        self._skipped = 0
        if too_long or data.strip(b" \t\r"):
            yield RawLine(self._number, None if too_long else data, self._end)


def read_line(data: bytes | None, endpoint: str) -> Request:
    """Return a line of the input. Raise LineInvalid."""
    if data is None:
        raise LineInvalid(INVALID, "The line is longer than a request may be.")
    try:
        fields = read_object(data)
    except InvalidJson as error:
        raise LineInvalid(INVALID, f"This line is not a valid JSON object: {error}.") from None
    custom_id = _text(fields, "custom_id")
    if len(custom_id) > MOST_CUSTOM_ID or "\0" in custom_id:
        raise LineInvalid(INVALID, f"custom_id must have 1 to {MOST_CUSTOM_ID} characters, none U+0000.", "custom_id")
    if (method := _text(fields, "method")) != "POST":
        raise LineInvalid(INVALID, f"method must be POST, not {method!r:.40}.", "method")
    if (url := _text(fields, "url")) != endpoint:
        raise LineInvalid("url_mismatch", f"url must be {endpoint}, as the batch's endpoint, not {url!r:.80}.", "url")
    if "body" not in fields:
        raise LineInvalid(MISSING, "Missing required parameter: 'body'.", "body")
    body = bytes(fields["body"])
    try:
        payload = read_object(body)
        return Request(custom_id, Submission(read_model(payload), {}, payload, len(body)))
    except InvalidJson as error:
        raise LineInvalid(INVALID, f"body must be a JSON object: {error}.", "body") from None
    except ModelRequired:
        raise LineInvalid(MISSING, "Missing required parameter: 'body.model'.", "body.model") from None
    except FieldInvalid as error:
        raise LineInvalid(INVALID, f"body.{error}.", "body.model") from None


def read_custom_id(data: bytes | None, endpoint: str) -> str:
    """Return the custom_id of a line that was checked. Raise LineInvalid."""
    try:
        return _decode_named(data or b"").custom_id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # of text that has to be mended first
        return read_line(data, endpoint).custom_id


def _text(fields: dict[str, msgspec.Raw], name: str) -> str:
    raw = fields.get(name)
    if raw is None:
        raise LineInvalid(MISSING, f"Missing required parameter: '{name}'.", name)
    try:
        value = msgspec.json.decode(raw, type=str)
    except msgspec.DecodeError:
        raise LineInvalid(INVALID, f"{name} must be text, not {begin_of(raw)!r:.40}.", name) from None
    if not value:
        raise LineInvalid(INVALID, f"{name} must not be empty.", name)
    return value


class Check:
    """The check of a whole input, piece by piece: all its lines become jobs, or none."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._lines = Lines()
        self._ids = set[bytes]()  # digests
        self._models = set[str]()
        self.total = 0
        self.faults: list[LineFault] = []

    @property
    def held(self) -> int:
        """Return the bytes that `finish` will read."""
        return self._lines.held

    @property
    def is_over(self) -> bool:
        """Return True when no further line can change the outcome."""
        return len(self.faults) >= MOST_FAULTS or self.total > MOST_LINES

    @property
    def model(self) -> str | None:
        """Return the model of all lines, if they have one."""
        return next(iter(self._models)) if len(self._models) == 1 else None

    def feed(self, piece: bytes) -> None:
        """Check the lines that end in a piece."""
        for line in self._lines.feed(piece):
            self._check(line)

    def finish(self) -> None:
        """Check the rest, and how many lines there are."""
        for line in self._lines.finish():
            self._check(line)
        if self.total == 0:
            self.faults.append(LineFault("empty_file", "The input file has no lines."))
        elif self.total > MOST_LINES:
            self.faults = [LineFault("too_many_tasks", f"The input file has more than {MOST_LINES} lines.")]

    def _check(self, line: RawLine) -> None:
        if self.is_over:
            return
        self.total += 1
        try:
            request = read_line(line.data, self._endpoint)
            digest = blake2b(request.custom_id.encode(), digest_size=16).digest()
            if digest in self._ids:
                shown = request.custom_id[:80]
                raise LineInvalid("duplicate_custom_id", f"The custom_id {shown!r} is used before.", "custom_id")
        except LineInvalid as error:
            self.faults.append(LineFault(error.code, str(error), line.number, error.param))
            return
        self._ids.add(digest)
        if len(self._models) < 2:
            self._models.add(request.submission.model)
