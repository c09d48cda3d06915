"""How many jobs and calls a caller may send in a minute."""

from __future__ import annotations

import trio
from quart import request

from foreman.domain.errors import RateLimited
from foreman.http.context import context


def count() -> None:
    """Count one more of the caller at hand. Raises RateLimited."""
    ctx = context()
    if ctx.rate is None:
        return
    wait = ctx.rate.take(ctx.auth.caller(request), trio.current_time())
    if wait:
        raise RateLimited(ctx.settings.rate, wait)
