"""Errors of the store."""

from __future__ import annotations

from foreman.domain.errors.base import ForemanError, Unavailable


class StoreUnavailable(Unavailable):
    """The store cannot be written now."""


class StoreFull(StoreUnavailable):
    """The disk is full; nothing of the message was stored."""

    code = "store_full"
    retry_after = 30

    def __init__(self) -> None:
        super().__init__("no space left to store this")


class StoreBusy(StoreUnavailable):
    """Another program keeps the database locked; nothing of the message was stored."""

    code = "store_busy"
    retry_after = 2

    def __init__(self, why: str) -> None:
        super().__init__(f"the database cannot be used now: {why}")


class StoreAway(StoreUnavailable):
    """The database server cannot be reached; unless the message says so, nothing of it was stored."""

    code = "store_away"
    retry_after = 2

    def __init__(self, why: str) -> None:
        super().__init__(f"the database cannot be reached: {why}")


class StoreLost(StoreUnavailable):
    """The database broke and Foreman stops. Its restart shows if the message was stored."""

    code = "store_lost"

    def __init__(self) -> None:
        super().__init__("the database is lost, and foreman stops: whether this was stored shows after its restart")


class StoreRefused(ForemanError):
    """The database cannot be opened: it is in use, made by a newer program, or not a database."""

    code = "store_refused"


class StoreRejected(ForemanError):
    """The store cannot hold a value that the checks let pass; nothing of its message was stored."""

    code = "store_rejected"

    def __init__(self, why: Exception) -> None:
        super().__init__(f"the store rejected a value ({type(why).__name__}: {why})")


class StoreBroken(ForemanError):
    """A commit failed and left the state on disk unknown; only a restart can tell."""

    code = "store_broken"
