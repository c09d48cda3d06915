"""The body of a request: its kind, and the whole of it within the limit."""

from __future__ import annotations

from quart import request

from foreman.errors import BodyTooLarge, BodyUnreadable, WrongContentType
from foreman.http.deps import deps

NDJSON = "application/x-ndjson"


async def read_json_body() -> bytes:
    """The body of a JSON request. Raises WrongContentType, BodyTooLarge, BodyUnreadable."""
    if media_type() != "application/json":
        raise WrongContentType(request.headers.get("Content-Type", ""), f"application/json or {NDJSON}")
    return await read_body()


def media_type() -> str:
    return request.headers.get("Content-Type", "").partition(";")[0].strip().lower()


async def read_body() -> bytes:
    limit = deps().settings.max_body
    if request.content_length is not None and request.content_length > limit:
        raise BodyTooLarge(limit)
    body = await request.get_data(cache=False)
    if not isinstance(body, bytes):
        raise BodyUnreadable
    return body
