"""Errors of this process: its settings, and what it has no room for."""

from __future__ import annotations

import math

from foreman.domain.errors.base import Cost, ForemanError, Unavailable, as_json


def _in_words(wait: float) -> str:
    """Return seconds as text: whole seconds, from two minutes on whole minutes, both rounded up."""
    return f"{math.ceil(wait)} s" if wait < 120 else f"{math.ceil(wait / 60)} min"


class SettingInvalid(ForemanError):
    """A setting has an invalid value."""

    code = "setting_invalid"

    def __init__(self, name: str, given: object, allowed: str) -> None:
        super().__init__(
            f"setting {name}: {allowed}; given: {repr(given) if isinstance(given, str) else as_json(given)}"
        )


class Draining(Unavailable):
    """Foreman is shutting down."""

    code = "draining"

    def __init__(self) -> None:
        super().__init__("foreman is shutting down")


class QueueFull(Unavailable):
    """The queue has no room for another job (`max_queue`), or for another model with other load options."""

    code = "queue_full"

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what)
        self.hint = hint


class RateLimited(Unavailable):
    """The caller exceeds the setting `rate`; `Retry-After` says when the next call is allowed."""

    code = "rate_limited"

    def __init__(self, a_minute: int, wait: float) -> None:
        """Build the text; `wait` is the time in seconds until the next call is allowed."""
        super().__init__(f"a caller may send {a_minute} jobs and calls a minute, and this one has")
        self.hint = f"send the next one in {math.ceil(wait)} s; the settings rate and rate_burst allow more"
        self.retry_after = wait


class QuotaExceeded(Unavailable):
    """The token's quota of waiting jobs, files or tokens an hour is full; `Retry-After` says when to come back."""

    code = "quota_exceeded"

    def __init__(self, what: str, limit: int, wait: float) -> None:
        """Build the text; `what` says how much there is, `wait` is the time in seconds until there may be room."""
        super().__init__(f"{what}, and the quota of this token allows {limit}")
        self.hint = f"come back in {_in_words(wait)}; the setting quotas may allow more"
        self.retry_after = wait


class TooManyConnections(Unavailable):
    """All client connections are in use (`max_connections`); this one is closed."""

    code = "too_many_connections"

    def __init__(self, most: int) -> None:
        super().__init__(f"all {most} connections are taken")


class MemoryFull(Unavailable):
    """The bodies and answers in flight have used up the setting `memory`."""

    code = "memory_full"

    def __init__(self, size: int, limit: int) -> None:
        """Build the text; `size` is the need in bytes of this one, `limit` the bytes for all."""
        alone = size > limit
        super().__init__(
            f"this takes {size} bytes or more, and all that is under way may take {limit} together"
            if alone
            else f"what is under way takes almost all of the {limit} bytes that it may"
        )
        self.cost = Cost.JOB if alone else Cost.NOTHING  # a retry of one that never fits is useless
        self.hint = "the setting memory raises the limit"


class GaveWay(MemoryFull):
    """The memory held for a slow client was given to others."""

    code = "too_slow"

    def __init__(self, limit: int) -> None:
        super().__init__(0, limit)
        self.args = (f"it was taken so slowly that its memory went to others: all may take {limit} bytes together",)
        self.hint = "answers of jobs are kept and can be read again"
