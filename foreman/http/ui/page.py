"""The web UI at `/`: static files that use the public API alone."""

from __future__ import annotations

import hashlib
from importlib import resources
from types import MappingProxyType

import msgspec
from quart import Blueprint, Response, request
from werkzeug.exceptions import NotFound

page = Blueprint("page", __name__)

TYPES = MappingProxyType(
    {
        "html": "text/html; charset=utf-8",
        "css": "text/css; charset=utf-8",
        "js": "text/javascript; charset=utf-8",
        "svg": "image/svg+xml",
    }
)
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class _File(msgspec.Struct, frozen=True):
    data: bytes
    content_type: str
    etag: str


def _read() -> dict[str, _File]:
    found = {}
    for entry in resources.files("foreman.http.ui").joinpath("static").iterdir():
        kind = TYPES.get(entry.name.rpartition(".")[2])
        if kind is not None:
            data = entry.read_bytes()
            found[entry.name] = _File(data, kind, hashlib.sha256(data).hexdigest()[:16])
    return found


_FILES = _read()


@page.get("/")
async def root() -> Response:
    """Return the page to browsers, and to all others the text by which Ollama's clients detect a server."""
    if "text/html" in request.headers.get("Accept", ""):
        return await _shown(_FILES["index.html"])
    response = Response("Ollama is running", content_type="text/plain; charset=utf-8")
    response.vary.add("Accept")
    return response


@page.get("/static/<name>")
async def static(name: str) -> Response:
    """Return a file of the page."""
    if name not in _FILES:
        raise NotFound
    return await _shown(_FILES[name])


async def _shown(file: _File) -> Response:
    response = Response(file.data, content_type=file.content_type)
    response.set_etag(file.etag)
    response.vary.add("Accept")
    response.headers["Cache-Control"] = "no-cache"  # revalidated each time, sent again only when it has changed
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return await response.make_conditional(request)
