"""Targets as the scheduler sees them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from foreman.domain.job import LoadKey
from foreman.domain.scheduling.choose import ONE, OrderRules
from foreman.domain.scheduling.room import Room
from foreman.queue.outlook import Outlook


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


class OnlySite:
    """A target that serves every key, one at a time; jobs name none."""

    name = ""
    version = None
    models_known = True
    open = True

    def __init__(self, slots: int) -> None:
        self.slots = slots

    def serves(self, key: LoadKey, endpoint: str | None = None) -> bool:
        return True

    def is_loaded(self, key: LoadKey) -> bool:
        return False

    def in_memory(self) -> Collection[LoadKey]:
        return ()

    def room(self) -> Room:
        return ONE

    def slots_of(self, key: LoadKey) -> int | None:
        return None


def only_site(rules: OrderRules | None = None) -> Outlook:
    """An outlook whose one target serves every key."""
    rules = rules or OrderRules()
    return Outlook(rules, {"": OnlySite(rules.slots)})
