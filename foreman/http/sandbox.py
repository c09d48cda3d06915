"""Words that are not Foreman's own, a model's or a target's: no browser runs them as a page of this origin."""

from __future__ import annotations

from quart import Response


def keep_from_running(response: Response) -> None:
    """Have browsers take the body for nothing but what its content type says, and give it no origin and no scripts."""
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
