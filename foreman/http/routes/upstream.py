"""/upstream: requests passed on to the server of a managed model, for what Foreman does not know."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote

from quart import Blueprint, Response, abort, request, websocket
from werkzeug.datastructures import Headers

from foreman.actors.upstream import SHOWN
from foreman.domain.errors import Draining, FieldInvalid, ModelNotFound, NotOnThisTarget
from foreman.http import rate_limit
from foreman.http.body import coding, pieces
from foreman.http.compat.proxy import INERT, OCTETS
from foreman.http.context import context
from foreman.http.sandbox import keep_from_running
from foreman.targets.http.parser import Body, Header

upstream = Blueprint("upstream", __name__)

PREFIX = "/upstream/"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
WITH_BODY = ("POST", "PUT", "PATCH")
# Not the server's concern: headers of one connection (RFC 9110, 7.6.1), of the body's framing, which is made anew, and
# what is between the caller and Foreman.
DROPPED = frozenset(
    re.findall(
        r"[\w-]+",
        """
        connection keep-alive proxy-connection proxy-authenticate proxy-authorization te trailer transfer-encoding
        upgrade content-length content-encoding content-type expect accept-encoding host user-agent
        authorization x-api-key cookie origin referer forwarded via x-real-ip
        """,
    )
)
DROPPED_STARTS = ("x-foreman-", "x-forwarded-", "sec-", "access-control-")
# Of an answer only what describes it: its cookies and permissions would be taken for this origin's.
KEPT = (
    "Cache-Control",
    "Content-Disposition",
    "Content-Language",
    "Content-Range",
    "Accept-Ranges",
    "ETag",
    "Last-Modified",
    "Retry-After",
)
_VALUE = re.compile(r"[\x20-\x7e\xa0-\xff]*")


@upstream.websocket(f"{PREFIX}<path:model_and_path>")
async def refuse_websocket(model_and_path: str) -> None:
    """Refuse a websocket: only requests are passed on."""
    raise _no_upgrade(websocket.headers)


@upstream.route(f"{PREFIX}<path:model_and_path>", methods=METHODS, provide_automatic_options=False)
async def pass_on(model_and_path: str) -> Response:
    """Pass a request on to the server of the model that the path begins with; load it first."""
    ctx = context()
    if ctx.draining:
        raise Draining
    if ctx.settings.private_jobs:  # the server's own routes may show the prompts of others
        ctx.auth.check_admin(request)
    if "Upgrade" in request.headers:
        raise _no_upgrade(request.headers)
    rate_limit.count()
    model, path = _place(model_and_path)
    body, length = _body()
    passage = await ctx.upstream.pass_on(
        model, request.method, path, body, length=length, headers=list(_passed(request.headers))
    )
    response = Response(passage, passage.status)
    if (size := passage.headers.get("content-length")) is not None:
        response.headers["Content-Length"] = size
    kind = passage.headers.get("content-type", "")
    response.headers["Content-Type"] = kind if INERT.fullmatch(kind) else OCTETS
    if not kind:
        del response.headers["Content-Type"]
    for name in KEPT:
        if (value := passage.headers.get(name.lower())) is not None:
            response.headers[name] = value
    keep_from_running(response)
    response.timeout = None
    return response


def _place(given: str) -> tuple[str, str]:
    """Return the model and the path at its server, with the query.

    Raise ModelNotFound, or NotOnThisTarget where no model is managed.
    """
    ctx = context()
    raw = request.scope["raw_path"].decode("latin-1").partition(PREFIX)[2]
    found = ctx.upstream.find(raw)
    if found is None:
        if not ctx.upstream.models:
            raise NotOnThisTarget(PREFIX.rstrip("/"), "a target without managed models")
        raise ModelNotFound(given, ctx.upstream.models[:SHOWN])
    model, path = found
    if not {".", ".."}.isdisjoint(re.split(r"[/\\]", unquote(path))):
        abort(404)
    query = request.query_string.decode("latin-1")
    return model, f"{path}?{query}" if query else path


def _body() -> tuple[Body | None, int | None]:
    """Return the body as it arrives, unpacked, and its length if that is known; None for a request without one."""
    length = request.content_length
    if length == 0:
        return b"", 0
    if length is None and request.method not in WITH_BODY and "Transfer-Encoding" not in request.headers:
        return None, None
    return pieces(), length if coding() is None else None


def _passed(headers: Headers) -> Iterator[Header]:
    """Yield the headers for the server."""
    dropped = DROPPED | {name.strip().lower() for name in headers.get("Connection", "").split(",")}
    for name, value in headers.items():
        lower = name.lower()
        if lower not in dropped and not lower.startswith(DROPPED_STARTS) and _VALUE.fullmatch(value):
            yield name, value
    if (kind := headers.get("Content-Type")) and _VALUE.fullmatch(kind):
        yield "Content-Type", kind


def _no_upgrade(headers: Headers) -> FieldInvalid:
    allowed = "must be absent: only requests are passed on to a model's server, no websockets"
    return FieldInvalid("Upgrade", headers.get("Upgrade", ""), allowed)
