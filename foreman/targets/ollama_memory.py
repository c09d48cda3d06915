"""What an Ollama server tells of the models in its memory."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from foreman.domain.job import Instant
from foreman.targets.model_listing import Entry
from foreman.targets.model_names import ollama_form

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
NEVER = datetime(2200, 1, 1, tzinfo=UTC)  # a model that stays is said to expire after centuries


class Held(msgspec.Struct, frozen=True):
    """A model in memory; None for what the server does not tell."""

    name: str  # in its canonical form
    size: int | None = None  # bytes
    size_vram: int | None = None  # bytes of them on the GPU
    expires_at: Instant | None = None  # None if never
    context_length: int | None = None  # tokens


def read_held(name: str, entry: Entry) -> Held:
    """Return an entry of `/api/ps`."""
    return Held(
        ollama_form(name),
        size=_count(entry.get("size")),
        size_vram=_count(entry.get("size_vram")),
        expires_at=_moment(entry.get("expires_at")),
        context_length=_count(entry.get("context_length")) or None,
    )


def _count(given: object) -> int | None:
    return given if type(given) is int and 0 <= given < 2**63 else None


def _moment(given: object) -> Instant | None:
    try:
        found = datetime.fromisoformat(given) if isinstance(given, str) else NEVER
        return found.timestamp() if found.tzinfo is not None and EARLIEST < found < NEVER else None
    except ValueError:
        return None
