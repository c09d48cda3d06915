"""The rate limit: jobs and calls per caller and minute."""

from __future__ import annotations

import trio
from quart import request

from foreman.domain.errors import RateLimited
from foreman.http.context import context


def count() -> None:
    """Count one job or call of the current caller. Raise RateLimited beyond the setting rate."""
    ctx = context()
    if not ctx.rate.a_minute:
        return
    wait = ctx.rate.take(ctx.auth.caller(request).name, trio.current_time())
    if wait:
        raise RateLimited(ctx.rate.a_minute, wait)
