"""Paths as clients build them out of a base address and a route, tidied before anything looks at them."""

from __future__ import annotations

import re
from typing import cast
from urllib.parse import unquote

from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope
from quart_trio import QuartTrio

_ADDRESS = re.compile(rb"^https?://[^/]*", re.IGNORECASE)  # in front of the path, as a client sends it to a proxy
_SLASHES = re.compile(rb"//+")
_TWICE = re.compile(rb"^/(v1|api)(?:/\1)+(?=/)")
_DOUBLED = (b"/v1/v1/", b"/api/api/")


def install(app: QuartTrio) -> None:
    """Have `app` see tidied paths: a redirect would lose the body of a POST, and many clients follow none."""
    inner = app.asgi_app

    async def tidying(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] in ("http", "websocket"):
            raw = scope["raw_path"]
            if raw[-1:] == b"/" or b"//" in raw or raw.startswith(_DOUBLED):
                raw = tidied(raw)
                scope = cast(Scope, {**scope, "raw_path": raw, "path": unquote(raw.decode("latin-1"))})
        await inner(scope, receive, send)

    app.asgi_app = tidying  # type: ignore[method-assign]


def tidied(path: bytes) -> bytes:
    """Return a percent-encoded path with single slashes, none at its end, and `/v1` or `/api` once at its beginning;
    without the address that stands before it in what is sent to a proxy (RFC 9112, 3.2.2).

    What is percent-encoded stays: the slashes in a model's name are its own.
    """
    path = _SLASHES.sub(b"/", _ADDRESS.sub(b"", path))
    return _TWICE.sub(rb"/\1", path).rstrip(b"/") or b"/"
