"""The jobs that occupy slots, as the workers see them."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from foreman.domain.job import Instant, LoadKey
from foreman.domain.scheduling.forecast import Kind


def never_shown() -> bool:
    """Return False: nobody follows the job."""
    return False


def not_begun() -> None:
    """Return None: nothing of the answer has come."""


class AtWork(msgspec.Struct, frozen=True):
    """A job that occupies a slot."""

    kind: Kind
    claimed_at: Instant
    target: str = ""
    fence: int = 0  # of the claim
    began_at: Instant | None = None  # when its target got the request
    shown: Callable[[], bool] = never_shown  # True once somebody has seen a part of its answer; asked in any thread
    first_chunk: Callable[[], float | None] = not_begun  # seconds from the request to the answer's beginning; likewise

    @property
    def key(self) -> LoadKey:
        """Return its load key."""
        return self.kind.key

    def took(self, now: Instant) -> float:
        """Return for how many seconds its target has had the request."""
        return 0.0 if self.began_at is None else max(0.0, now - self.began_at)
