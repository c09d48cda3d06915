"""Tickets: one-time stand-ins for a token, for requests to which a browser adds no header."""

from __future__ import annotations

import hashlib
import secrets
from collections import Counter

from foreman.domain.caller import Caller

LIFE = 60.0  # seconds
OF_ONE_CALLER = 100  # kept at a time
MOST = 10_000  # kept in all
BYTES = 32  # of randomness in a ticket


class Tickets:
    """The valid tickets, in memory alone: none outlives the process.

    Each admits one request within LIFE, so that a logged URL is worthless. Tickets are looked up by hash, so that the
    time taken does not reveal how near a guess was. Times are seconds of a monotonic clock.
    """

    def __init__(self) -> None:
        self._out: dict[bytes, tuple[Caller, float]] = {}  # by hash: the caller and the expiry; the oldest first
        self._held: Counter[Caller] = Counter()

    def __len__(self) -> int:
        return len(self._out)

    def issue(self, caller: Caller, now: float) -> str:
        """Return a new ticket; beyond the limits it ends the oldest one, of the same caller or of all."""
        while self._out and next(iter(self._out.values()))[1] <= now:
            self._end(next(iter(self._out)))
        if self._held[caller] >= OF_ONE_CALLER:
            self._end(next(name for name, (holder, _) in self._out.items() if holder == caller))
        elif len(self._out) >= MOST:
            self._end(next(iter(self._out)))
        ticket = secrets.token_urlsafe(BYTES)
        self._out[_hash(ticket)] = caller, now + LIFE
        self._held[caller] += 1
        return ticket

    def take(self, ticket: str, now: float) -> Caller | None:
        """Return the ticket's caller and end the ticket; None when it is unknown or expired."""
        name = _hash(ticket)
        if name not in self._out:
            return None
        caller, until = self._end(name)
        return caller if now < until else None

    def _end(self, name: bytes) -> tuple[Caller, float]:
        caller, until = self._out.pop(name)
        self._held[caller] -= 1
        if not self._held[caller]:
            del self._held[caller]
        return caller, until


def _hash(ticket: str) -> bytes:
    return hashlib.sha256(ticket.encode(errors="surrogatepass")).digest()
