"""OpenAI's service tiers as priority classes."""

from __future__ import annotations

from contextlib import suppress

import msgspec

from foreman.domain.job import Priority

TIER = "service_tier"
PRIORITIES = {
    "priority": Priority.HIGH,
    "fast": Priority.HIGH,
    "ultrafast": Priority.HIGH,
    "scale": Priority.HIGH,
    "flex": Priority.LOW,
}


def priority_of(tier: msgspec.Raw | None) -> Priority | None:
    """Return the class that a `service_tier` asks for, None for one that leaves it to the route."""
    if tier is not None and len(memoryview(tier)) < 16:
        with suppress(msgspec.DecodeError):
            return PRIORITIES.get(msgspec.json.decode(tier, type=str))
    return None


def tier_of(priority: Priority, *, asked: msgspec.Raw) -> str:
    """Return the tier that a job of this class had, in the caller's own word where that holds."""
    if priority_of(asked) is priority:
        return msgspec.json.decode(asked, type=str)
    if priority is Priority.LOW:
        return "flex"
    return "default" if priority_of(asked) is None or priority is Priority.NORMAL else "priority"
