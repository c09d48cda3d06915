"""The jobs that occupy slots, as the workers see them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from foreman.domain.job import Instant, LoadKey


def never_shown() -> bool:
    """Return False: nobody follows the job."""
    return False


@dataclass(frozen=True, slots=True)
class AtWork:
    """A job that occupies a slot."""

    key: LoadKey
    most_tokens: int | None
    claimed_at: Instant
    target: str = ""
    began_at: Instant | None = None  # when its target got the request
    shown: Callable[[], bool] = never_shown  # True once somebody has seen a part of its answer; asked in any thread
