"""The targets as the scheduler sees them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from foreman.domain.job import LoadKey
from foreman.domain.nodes import TargetReport
from foreman.domain.scheduling.room import Room


class Site(Protocol):
    """A target. All of this may be asked in any thread."""

    @property
    def name(self) -> str:
        """Return its name in jobs."""

    @property
    def slots(self) -> int:
        """Return how many jobs it runs together."""

    @property
    def version(self) -> object:
        """Return an object that is replaced whenever what it serves has changed."""

    @property
    def models_known(self) -> bool:
        """Return True once it has said what it serves; until then it may serve any key."""

    @property
    def open(self) -> bool:
        """Return True while it takes jobs: it is up and not drained."""

    def serves(self, key: LoadKey, endpoint: str | None = None) -> bool:
        """Return True if jobs of the key, and of the endpoint, may run there."""

    def is_loaded(self, key: LoadKey) -> bool:
        """Return True if a job of the key can start there without loading."""

    def in_memory(self) -> Collection[LoadKey]:
        """Return the load keys that it has loaded, as far as is known."""

    def room(self) -> Room:
        """Return which load keys it may work on together."""

    def slots_of(self, key: LoadKey) -> int | None:
        """Return how many jobs of the key it runs together, where they are fewer than its slots."""


class SiteElsewhere:
    """A target of another node, as that node has told of it."""

    def __init__(self, report: TargetReport, *, claims: bool) -> None:
        """`claims` is False while its node claims no jobs."""
        self.report = report
        self.claims = claims
        self.name, self.slots = report.name, report.slots
        self.version: object = report
        self.models_known = report.models_known
        self.open = report.open and claims

    def serves(self, key: LoadKey, endpoint: str | None = None) -> bool:
        """See `Site.serves`."""
        return self.report.serves(key, endpoint)

    def is_loaded(self, key: LoadKey) -> bool:
        """See `Site.is_loaded`."""
        return key in self.report.loaded

    def in_memory(self) -> Collection[LoadKey]:
        """See `Site.in_memory`."""
        return self.report.loaded

    def room(self) -> Room:
        """See `Site.room`."""
        return self.report.room

    def slots_of(self, key: LoadKey) -> int | None:
        """See `Site.slots_of`."""
        return None
