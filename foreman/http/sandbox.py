"""The sandbox for foreign content: no browser runs a model's or a target's output as a page of this origin."""

from __future__ import annotations

from quart import Response


def keep_from_running(response: Response) -> None:
    """Add headers that make browsers trust the content type, and withhold this origin and scripts from the body."""
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
