"""The proxy: requests forwarded to an Ollama target unchanged, and its answers streamed back."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from quart import Response, request

from foreman.http.sandbox import keep_from_running
from foreman.targets.http.connection import Response as StreamingCall
from foreman.targets.http.parser import Body
from foreman.targets.protocol import OllamaApi

# Content types that browsers show as text or media, or save. The match is full: of several types in a header the last
# counts.
INERT = re.compile(
    r"(application/(([\w.-]+\+)?json|x-ndjson|octet-stream)|text/(plain|event-stream))( *; *charset=\"?[\w-]+\"?)?"
    r"|(audio|video)/[\w.-]+|image/(png|jpeg|gif|webp)",
    re.ASCII | re.IGNORECASE,
)
OCTETS = "application/octet-stream"


async def pass_on(
    api: OllamaApi,
    body: Body | None = None,
    *,
    content_type: str | None = None,
    path: str = "",
    at_end: Callable[[], Awaitable[None]] | None = None,
) -> Response:
    """Forward the current request; return the target's answer, its body streamed.

    `content_type` is that of `body`, JSON by default; `path` another one than the request's; `at_end` is awaited once
    the answer is complete. Raise TargetError when the target fails before it answers.
    """
    exits = AsyncExitStack()
    try:
        path = path or request.scope["raw_path"].decode("latin-1")
        if query := request.query_string:
            path += "?" + query.decode("latin-1")
        length = request.content_length
        asking = api.pass_on(request.method, path, body, length=length, content_type=content_type)
        found = await exits.enter_async_context(asking)
    except BaseException:
        await exits.aclose()
        raise
    response = Response(ProxiedBody(found, exits, at_end), found.status)
    # Only the headers of the body are forwarded; the others belong to the connection.
    body_length, kind = found.headers.get("content-length"), found.headers.get("content-type", "")
    if body_length is not None:
        response.headers["Content-Length"] = body_length
    if kind or body_length != "0":
        response.headers["Content-Type"] = kind if INERT.fullmatch(kind) else OCTETS
    else:
        del response.headers["Content-Type"]  # Quart's default
    keep_from_running(response)
    response.timeout = None
    return response


class ProxiedBody:
    """A body that is streamed through; closing it closes the call to the target."""

    def __init__(
        self, found: StreamingCall, exits: AsyncExitStack, at_end: Callable[[], Awaitable[None]] | None
    ) -> None:
        self._found = found
        self._exits = exits
        self._at_end = at_end
        length = found.headers.get("content-length")
        self._left = int(length) if length else None

    def __aiter__(self) -> ProxiedBody:
        return self

    async def __anext__(self) -> bytes:
        data = await self._found.receive()
        if self._left is not None:
            self._left -= len(data)
        if (not data or self._left == 0) and self._at_end is not None:  # before the caller sees the end
            at_end, self._at_end = self._at_end, None
            await at_end()
        if not data:
            raise StopAsyncIteration
        return data

    async def aclose(self) -> None:
        """Close the call to the target."""
        await self._exits.aclose()
