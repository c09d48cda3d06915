"""Foreman's own request headers."""

from __future__ import annotations

from difflib import get_close_matches

from quart.wrappers import BaseRequestWebsocket

from foreman.domain.errors import HeaderUnknown

PRIORITY = "X-Foreman-Priority"
ON_DISCONNECT = "X-Foreman-On-Disconnect"
CALLER = "X-Foreman-Caller"
# Clients send them with each request: a route without a use for one ignores it.
KNOWN = (PRIORITY, ON_DISCONNECT, CALLER)

_PREFIX = "x-foreman-"
_RAW_PREFIX = _PREFIX.encode()
_TAKEN = {name.lower(): name for name in KNOWN}


def check(request: BaseRequestWebsocket) -> None:
    """Raise HeaderUnknown for an unknown X-Foreman-* header: a misspelt one would be ignored silently."""
    for raw, _ in request.scope["headers"]:
        if raw.startswith(_RAW_PREFIX) and (name := raw.decode("latin-1")) not in _TAKEN:
            ends = {lower.removeprefix(_PREFIX): shown for lower, shown in _TAKEN.items()}
            near = get_close_matches(name.removeprefix(_PREFIX), ends, n=1)
            raise HeaderUnknown(name, [ends[end] for end in near] or KNOWN)
