"""Request paths, tidied before routing: clients join base URLs and routes in many ways."""

from __future__ import annotations

import re
from typing import TypeVar, cast
from urllib.parse import unquote

from hypercorn.typing import HTTPScope, WebsocketScope

AnyScope = TypeVar("AnyScope", HTTPScope, WebsocketScope)

_ADDRESS = re.compile(rb"^https?://[^/]*", re.IGNORECASE)  # precedes the path in requests to a proxy
_SLASHES = re.compile(rb"//+")
_TWICE = re.compile(rb"^/(v1|api)(?:/\1)+(?=/)")
_PASSED_ON = b"/upstream/"  # begins the paths of other servers
_DOUBLED = (b"/v1/v1/", b"/api/api/")


def with_tidy_path(scope: AnyScope) -> AnyScope:
    """Return the scope with its path tidied: a redirect would lose a POST's body, and many clients follow none."""
    raw = scope["raw_path"]
    if not raw.startswith(_PASSED_ON) and (raw[-1:] == b"/" or b"//" in raw or raw.startswith(_DOUBLED)):
        raw = tidied(raw)
        return cast(AnyScope, {**scope, "raw_path": raw, "path": unquote(raw.decode("latin-1"))})
    return scope


def tidied(path: bytes) -> bytes:
    """Return a percent-encoded path, tidied.

    Slashes are single, with none at the end; `/v1` or `/api` stands once at the beginning; the address of a request to
    a proxy is removed (RFC 9112, 3.2.2). Percent-encoded slashes stay: they belong to a model's name.
    """
    path = _SLASHES.sub(b"/", _ADDRESS.sub(b"", path))
    return _TWICE.sub(rb"/\1", path).rstrip(b"/") or b"/"
