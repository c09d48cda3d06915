"""Requests that go to an Ollama target as they are, and its answers as they come."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from quart import Response, request

from foreman.http.sandbox import keep_from_running
from foreman.targets.http.connection import Response as StreamingCall
from foreman.targets.http.parser import Body
from foreman.targets.ollama import OllamaTarget

# Content types that browsers show as text or save. Nothing may follow: of several in one header the last one counts.
INERT = re.compile(
    r"(application/(([\w.-]+\+)?json|x-ndjson|octet-stream)|text/(plain|event-stream))( *; *charset=\"?[\w-]+\"?)?",
    re.ASCII | re.IGNORECASE,
)
OCTETS = "application/octet-stream"


async def pass_on(
    target: OllamaTarget,
    body: Body | None = None,
    *,
    content_type: str | None = None,
    at_end: Callable[[], Awaitable[None]] | None = None,
) -> Response:
    """Return the target's own answer to the request at hand, its body streamed.

    `content_type` is that of `body` where it is not JSON; `at_end` is awaited once the target has said all of it.
    Raises TargetFault.
    """
    exits = AsyncExitStack()
    try:
        path = request.scope["raw_path"].decode("latin-1")
        if query := request.query_string:
            path += "?" + query.decode("latin-1")
        length = request.content_length
        asking = target.pass_on(request.method, path, body, length=length, content_type=content_type)
        found = await exits.enter_async_context(asking)
    except BaseException:
        await exits.aclose()
        raise
    response = Response(Passed(found, exits, at_end), found.status)
    # Of the answer's head only what is its body's; the rest is the connection's own.
    length_told, kind = found.headers.get("content-length"), found.headers.get("content-type", "")
    if length_told is not None:
        response.headers["Content-Length"] = length_told
    if kind or length_told != "0":
        response.headers["Content-Type"] = kind if INERT.fullmatch(kind) else OCTETS
    else:
        del response.headers["Content-Type"]  # which Quart makes up
    keep_from_running(response)
    response.timeout = None
    return response


class Passed:
    """A body on its way through; closing it closes what it comes from."""

    def __init__(
        self, found: StreamingCall, exits: AsyncExitStack, at_end: Callable[[], Awaitable[None]] | None
    ) -> None:
        self._found = found
        self._exits = exits
        self._at_end = at_end
        length = found.headers.get("content-length")
        self._left = int(length) if length else None

    def __aiter__(self) -> Passed:
        return self

    async def __anext__(self) -> bytes:
        data = await self._found.receive()
        if self._left is not None:
            self._left -= len(data)
        if (not data or self._left == 0) and self._at_end is not None:  # before the caller can know of the end
            at_end, self._at_end = self._at_end, None
            await at_end()
        if not data:
            raise StopAsyncIteration
        return data

    async def aclose(self) -> None:
        await self._exits.aclose()
