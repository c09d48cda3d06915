"""Operations on many jobs, one after the other: all pages, and each stored once; no I/O."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from foreman.client import operations, requests
from foreman.client.operations import Emit, Emitting, ask
from foreman.client.types import Job
from foreman.client.writing import encode
from foreman.domain.views import Accepted

PAGE = 500  # jobs; the most that Foreman lists at once


def each(wanted: Mapping[str, Any]) -> Emitting[Job]:
    """Emit the jobs of all pages of a list."""
    after: str | None = None
    while True:
        page = yield from ask(requests.jobs(**{**wanted, "limit": PAGE, "after": after}))
        for job in page.jobs:
            yield Emit(job)
        if page.next is None or page.next == after:
            return
        after = page.next


def submit_once(payloads: Iterable[Mapping[str, Any]], retry_for: float) -> Emitting[Accepted]:
    """Store jobs under keys made of their `custom_id`, or else of their content; emit each answer."""
    for payload in payloads:
        yield Emit((yield from operations.submit(payload, key_of(payload), retry_for)))


def key_of(payload: Mapping[str, Any]) -> str:
    """Return the idempotency key of a payload: the same for the same `custom_id`, or else for the same content."""
    named = payload.get("custom_id")
    told = encode(dict(sorted(payload.items()))) if named is None else str(named).encode(errors="surrogatepass")
    return f"{'content' if named is None else 'custom_id'}-{hashlib.sha256(told).hexdigest()}"
