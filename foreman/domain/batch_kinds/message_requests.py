"""The requests of a message batch: read from the body that makes it, checked, and written as lines."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from foreman.domain.batch_kinds.anthropic import Anthropic
from foreman.domain.batches import LONGEST_LINE
from foreman.domain.errors import FieldInvalid, ModelRequired
from foreman.domain.fields import begin_of, size_of
from foreman.domain.intake import read_model
from foreman.domain.json_objects import read_object
from foreman.domain.json_weight import has_more_items

CUSTOM_ID = re.compile("[a-zA-Z0-9_-]{1,64}")
SLICE = 2**19  # bytes of lines that are written at once

_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


class _Params(msgspec.Struct):
    model: msgspec.Raw = msgspec.Raw(b"null")


class _Request(msgspec.Struct):
    custom_id: object = None
    params: msgspec.Raw = msgspec.Raw(b"null")


_decode_params = msgspec.json.Decoder(_Params).decode
_decode_request = msgspec.json.Decoder(_Request).decode


class NewRequest(NamedTuple):
    """A request of a batch that is being made."""

    custom_id: str
    params: msgspec.Raw

    @property
    def size(self) -> int:
        """Return the bytes of its line, roughly."""
        return len(self.custom_id) + size_of(self.params) + 32


class NewRequests(NamedTuple):
    """The requests of a batch that is being made."""

    requests: Sequence[NewRequest]
    model: str | None  # of all of them, if they have one


def read_requests(body: bytes) -> NewRequests:
    """Return the requests in a body, without a look at what their `params` hold. Raise InvalidJson or FieldInvalid."""
    fields, most = read_object(body), Anthropic.most_lines
    raw = fields.get("requests")
    if raw is None or _begins(raw) != b"[":
        raise FieldInvalid("requests", None if raw is None else begin_of(raw), "must be a list of requests")
    if has_more_items(bytes(raw), most):
        raise FieldInvalid("requests", begin_of(raw), f"must be at most {most} requests")
    requests: list[NewRequest] = []
    seen: dict[str, int] = {}
    models = set[str | None]()
    for number, item in enumerate(_decode_list(raw)):
        request = _read(f"requests.{number}", item)
        if (first := seen.setdefault(request.custom_id, number)) != number:
            allowed = f"must be unique: requests.{first} has it, too"
            raise FieldInvalid(f"requests.{number}.custom_id", request.custom_id, allowed)
        requests.append(request)
        if len(models) < 2:
            models.add(_model(request.params))
    if not requests:
        raise FieldInvalid("requests", "[]", f"must be 1 to {most} requests")
    return NewRequests(requests, models.pop() if len(models) == 1 else None)


def _read(place: str, item: msgspec.Raw) -> NewRequest:
    try:
        found = _decode_request(item)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise FieldInvalid(place, begin_of(item), "must be an object with custom_id and params") from None
    custom_id = found.custom_id
    if not isinstance(custom_id, str) or not CUSTOM_ID.fullmatch(custom_id):
        allowed = "must be 1 to 64 of the characters a-z, A-Z, 0-9, _ and -"
        raise FieldInvalid(f"{place}.custom_id", msgspec.json.encode(custom_id).decode(), allowed)
    if _begins(found.params) != b"{":
        raise FieldInvalid(f"{place}.params", begin_of(found.params), "must be an object")
    request = NewRequest(custom_id, found.params)
    if request.size > LONGEST_LINE:
        raise FieldInvalid(f"{place}.params", begin_of(found.params), f"must be at most {LONGEST_LINE} bytes")
    return request


def _model(params: msgspec.Raw) -> str | None:
    try:
        return read_model({"model": _decode_params(params).model})
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, FieldInvalid, ModelRequired):
        return None


def _begins(raw: msgspec.Raw) -> bytes:
    return bytes(memoryview(raw)[:1])


def slices(requests: Sequence[NewRequest]) -> Iterator[tuple[int, Sequence[NewRequest]]]:
    """Yield all requests in groups, each with the bytes of its lines, roughly."""
    begin, size = 0, 0
    for end, request in enumerate(requests, 1):
        size += request.size
        if size >= SLICE:
            yield size, requests[begin:end]
            begin, size = end, 0
    if size:
        yield size, requests[begin:]


def lines(requests: Sequence[NewRequest]) -> bytes:
    """Return requests as the lines that `Anthropic.read` reads."""
    return b"".join(
        b'{"custom_id":"%s","params":%s}\n' % (custom_id.encode(), _in_one_line(params))
        for custom_id, params in requests
    )


def _in_one_line(params: msgspec.Raw) -> bytes:
    return bytes(params).replace(b"\n", b" ").replace(b"\r", b" ")  # between values: in strings they are escaped
