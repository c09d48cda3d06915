"""The body of a request: its type, its compression, and reading it within the limits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import trio
from quart import request
from werkzeug.exceptions import RequestTimeout

from foreman.budget import Lease
from foreman.domain.encodings import CODINGS, BadCoding, Unpacker, applied
from foreman.domain.errors import BodyTooLarge, BodyUnreadable, WrongContentEncoding, WrongContentType
from foreman.http.context import context
from foreman.http.server.inflow import Inflow, inflow

BREATH = 64  # slices of a compressed body between checkpoints: about a millisecond, in which no other request is served
LEAST_RATE = 2**14  # bytes a second of an upload, on the whole: by drips it would hold its file for days
NDJSON = "application/x-ndjson"


async def read_json_body() -> bytes:
    """Return the body of a JSON request. Raise WrongContentType for another type; otherwise as `read_body`."""
    if media_type() != "application/json":
        raise WrongContentType(request.headers.get("Content-Type", ""), f"application/json or {NDJSON}")
    return await read_body()


def media_type() -> str:
    """Return the request's media type in lower case, without parameters."""
    return request.headers.get("Content-Type", "").partition(";")[0].strip().lower()


async def read_body() -> bytes:
    """Return the whole body, unpacked.

    Received bytes count as held until the request is answered. The declared length only has to find room: counting it
    would let clients reserve memory without sending.

    Raises:
        BodyTooLarge: The body exceeds the setting max_body.
        MemoryFull: The body finds no room in the budget.
        BodyUnreadable: The body cannot be unpacked.
        WrongContentEncoding: The compression is not supported.
        RequestTimeout: The body takes longer than the setting body_timeout.
    """
    body, settings = inflow(request), context().settings
    lease, size = body.held, 0
    parts: list[bytes] = []
    plain = coding() is None
    if plain and body.here:
        return _at_once(body, settings.max_body)
    declared = request.content_length or 0
    if plain and declared <= settings.max_body:
        lease.check(declared)
    with trio.move_on_after(settings.body_timeout):
        async for piece in _pieces():
            size += len(piece)
            lease.resize(max(lease.size, size))
            parts.append(piece)
        return b"".join(parts)
    raise RequestTimeout


def _at_once(body: Inflow, limit: int) -> bytes:
    data = body.take()
    if len(data) > limit:
        raise BodyTooLarge(limit)
    body.held.resize(len(data))
    return data


async def pieces(limit: int | None = None) -> AsyncIterator[bytes]:
    """Yield the body as it arrives, unpacked.

    Raises:
        BodyTooLarge: The body exceeds `limit` bytes, the setting max_body unless given.
        WrongContentEncoding: The compression is not supported.
        BodyUnreadable: The body cannot be unpacked, or the sender stalls.
    """
    try:
        async for piece in _pieces(limit):
            yield piece
    except RequestTimeout:
        raise BodyUnreadable from None


async def uploaded(limit: int) -> AsyncIterator[bytes]:
    """Yield the body of an upload as it arrives, unpacked. Raise as `pieces` and `arriving` do."""
    async for piece in _pieces(limit, arriving()):
        yield piece


async def arriving() -> AsyncIterator[bytes]:
    """Yield the body of an upload as it arrives.

    Raise RequestTimeout when nothing comes for `body_timeout`, or all comes much too slowly.
    """
    body, allowed = inflow(request), context().settings.body_timeout
    waited, size = 0.0, 0  # what is done with the data takes its own time
    while True:
        since = trio.current_time()
        data = await anext(body, None)
        if data is None:
            return
        waited += trio.current_time() - since
        size += len(data)
        if waited > allowed + size / LEAST_RATE:
            raise RequestTimeout
        yield data


def held() -> Lease:
    """Return the lease that counts the bytes held for the current request; it ends with the answer."""
    return inflow(request).held


async def _pieces(limit: int | None = None, source: AsyncIterator[bytes] | None = None) -> AsyncIterator[bytes]:
    limit = context().settings.max_body if limit is None else limit
    packed = coding()
    if request.content_length is not None and request.content_length > limit:
        raise BodyTooLarge(limit)
    raw = _within(limit, inflow(request) if source is None else source)
    async for piece in raw if packed is None else _unpacked(raw, packed, limit):
        yield piece


def coding(allowed: Sequence[str] = CODINGS) -> str | None:
    """Return the body's compression, if any. Raise WrongContentEncoding for one that is not `allowed`."""
    if "Content-Encoding" not in request.headers:
        return None
    given = ", ".join(request.headers.getlist("Content-Encoding")).lower()
    codings = applied(given)
    if not codings:
        return None
    if len(codings) > 1 or codings[0] not in allowed:
        raise WrongContentEncoding(given, allowed)
    return codings[0]


async def _within(limit: int, source: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    size = 0
    async for piece in source:
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
        raise BodyUnreadable(f"it is not {packed}, its Content-Encoding: {error}") from None
