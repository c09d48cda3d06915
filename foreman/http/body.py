"""The body of a request: its kind, and the whole of it within the limit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import trio
from quart import request
from werkzeug.exceptions import RequestTimeout

from foreman.budget import Lease
from foreman.domain.encodings import CODINGS, BadCoding, Unpacker, applied
from foreman.domain.errors import BodyTooLarge, BodyUnreadable, WrongContentEncoding, WrongContentType
from foreman.http.context import context
from foreman.http.server.exchange import inflow

BREATH = 64  # slices of a compressed body between checkpoints: a millisecond or so, in which nobody else is served
NDJSON = "application/x-ndjson"


async def read_json_body() -> bytes:
    """The body of a JSON request. Raises WrongContentType, BodyTooLarge, BodyUnreadable."""
    if media_type() != "application/json":
        raise WrongContentType(request.headers.get("Content-Type", ""), f"application/json or {NDJSON}")
    return await read_body()


def media_type() -> str:
    return request.headers.get("Content-Type", "").partition(";")[0].strip().lower()


async def read_body() -> bytes:
    """Return the whole body, unpacked.

    What has come of it is counted as held until the request is answered; its declared length only has to find room, so
    that nobody takes any by a mere promise. Raises BodyTooLarge, MemoryFull, BodyUnreadable, WrongContentEncoding, and
    RequestTimeout when all of it takes too long.
    """
    fence, size = held(), 0
    parts: list[bytes] = []
    declared = request.content_length or 0
    if declared <= context().settings.max_body and coding() is None:
        fence.check(declared)
    with trio.move_on_after(context().settings.body_timeout):
        async for piece in _pieces():
            size += len(piece)
            fence.resize(max(fence.size, size))
            parts.append(piece)
        return b"".join(parts)
    raise RequestTimeout


async def pieces() -> AsyncIterator[bytes]:
    """Yield the body as it arrives, unpacked.

    Raises BodyTooLarge, WrongContentEncoding, and BodyUnreadable, also when nothing comes for too long.
    """
    try:
        async for piece in _pieces():
            yield piece
    except RequestTimeout:
        raise BodyUnreadable from None


def held() -> Lease:
    """Return what counts the bytes held for the request at hand, which end with its answer."""
    return inflow(request).held


async def _pieces() -> AsyncIterator[bytes]:
    limit = context().settings.max_body
    packed = coding()
    if request.content_length is not None and request.content_length > limit:
        raise BodyTooLarge(limit)
    raw = _within(limit)
    async for piece in raw if packed is None else _unpacked(raw, packed, limit):
        yield piece


def coding(allowed: Sequence[str] = CODINGS) -> str | None:
    """Return how the body is compressed; None if it is not. Raises WrongContentEncoding."""
    given = ", ".join(request.headers.getlist("Content-Encoding")).lower()
    codings = applied(given)
    if not codings:
        return None
    if len(codings) > 1 or codings[0] not in allowed:
        raise WrongContentEncoding(given, allowed)
    return codings[0]


async def _within(limit: int) -> AsyncIterator[bytes]:
    size = 0
    async for piece in request.body:
        size += len(piece)
        if size > limit:
            raise BodyTooLarge(limit)
        yield piece


async def _unpacked(raw: AsyncIterator[bytes], packed: str, limit: int) -> AsyncIterator[bytes]:
    unpacker, size, slices = Unpacker(packed), 0, 0
    try:
        async for piece in raw:
            for part in unpacker.feed(piece):
                size += len(part)
                if size > limit:
                    raise BodyTooLarge(limit)
                slices += 1
                if slices % BREATH == 0:
                    await trio.lowlevel.checkpoint()
                yield part
        unpacker.end()
    except BadCoding as error:
        raise BodyUnreadable(f"it is not {packed}, which its Content-Encoding says it is: {error}") from None
