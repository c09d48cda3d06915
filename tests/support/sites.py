"""Targets as the scheduler sees them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from foreman.domain.scheduling.room import Room


@dataclass
class FakeSite:
    """A target of which everything can be set."""

    name: str
    models: Collection[str] = "abcd"
    slots: int = 1
    open: bool = True
    version: object = None
    models_known: bool = True
    most: int | Room = 1  # models at once
    endpoints: Collection[str] = ("/api/chat", "/api/generate")
    memory: set[str] = field(default_factory=set)
    bounds: dict[str, int] = field(default_factory=dict)

    def serves(self, key: str, endpoint: str | None = None) -> bool:
        return key in self.models and (endpoint is None or endpoint in self.endpoints)

    def is_loaded(self, key: str) -> bool:
        return key in self.memory

    def in_memory(self) -> Collection[str]:
        return self.memory

    def room(self) -> Room:
        return self.most if isinstance(self.most, Room) else Room.count(self.most)

    def slots_of(self, key: str) -> int | None:
        return self.bounds.get(key)
