"""How many jobs and calls a caller may send in a minute."""

from __future__ import annotations

import trio
from quart import request

from foreman.domain.errors import RateLimited
from foreman.http.context import deps


def count() -> None:
    """Count one more of the caller at hand. Raises RateLimited."""
    known = deps()
    if known.rate is None:
        return
    wait = known.rate.take(known.gate.caller(request), trio.current_time())
    if wait:
        raise RateLimited(known.settings.rate, wait)
