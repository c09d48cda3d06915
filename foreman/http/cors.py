"""CORS headers, so that pages of the origins that auth allows can use this server."""

from __future__ import annotations

from quart import Response
from quart.wrappers import Request

from foreman.http.auth import Auth
from foreman.http.errors import no_content

METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
EXPOSED = (
    "X-Foreman-Job-Id, X-Foreman-Queue-Position, X-Should-Retry, Retry-After, Location, Preference-Applied, "
    "Content-Range, ETag"
)
REMEMBERED = "600"  # seconds for which a browser caches a preflight


def is_preflight(request: Request) -> bool:
    """Return True for a CORS preflight, which carries no token."""
    return request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers


def preflight(request: Request) -> Response:
    """Answer a preflight: allow all methods and the headers that the page requests."""
    response = no_content()
    response.headers["Access-Control-Allow-Methods"] = METHODS
    response.headers["Access-Control-Max-Age"] = REMEMBERED
    if wanted := request.headers.get("Access-Control-Request-Headers"):
        response.headers["Access-Control-Allow-Headers"] = wanted
    return response


def permit(auth: Auth, request: Request, response: Response) -> None:
    """Add the headers that let the requesting page read the answer, if its origin is allowed."""
    response.headers.add("Vary", "Origin")
    origin = request.headers.get("Origin")
    if origin is not None and auth.allows(origin):
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Expose-Headers"] = EXPOSED
