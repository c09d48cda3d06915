"""The models of a managed target, by name, and which of them fit in its memory together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from foreman.config.managed_model import ManagedModel
from foreman.domain.scheduling.room import Room
from foreman.targets.managed.entries import listed

Place: TypeAlias = tuple[str, bool]  # the name of a model, and True for its embedding server

_BESIDE: dict[str, Any] = {
    "aliases": [],
    "context": None,
    "macros": {},
    "memory": None,
    "preload": False,
    "target": "",
}  # what no server is given


class Roster:
    """The models of one target at a time; it never changes."""

    def __init__(self, models: Sequence[ManagedModel], memory: int | None) -> None:
        """Take the bytes of `memory` for the models; None is room for one model at a time."""
        self.models = list(models)
        self.budgeted = memory is not None
        self.listed = listed(models)
        self._memory = memory
        self._places = {place_of(model): model for model in models}
        named = [(name, model) for model in models for name in (model.name, *model.aliases)]
        self._chatting = {name: model for name, model in named if not model.embedding}
        self._embedding = {name: model for name, model in named if model.embedding}
        self.room = self._room(models)

    @property
    def names(self) -> list[str]:
        """Return the names and aliases of all models."""
        return list(dict.fromkeys([*self._chatting, *self._embedding]))

    def find(self, name: str, *, embedding: bool = False) -> ManagedModel | None:
        """Return the model that serves such a call, or the one of that name that refuses it."""
        first, second = (self._embedding, self._chatting) if embedding else (self._chatting, self._embedding)
        return first.get(name) or second.get(name)

    def at(self, place: Place) -> ManagedModel | None:
        """Return the model of this place, or None."""
        return self._places.get(place)

    def fits(self, models: Iterable[ManagedModel]) -> bool:
        """Return True if the servers of these models may run together; some may be of an earlier roster."""
        models = list(models)
        return self._room(models).fits([model.name for model in models if not model.embedding])

    def _room(self, models: Iterable[ManagedModel]) -> Room:
        """Return the room for chat models, from which that of embedding servers is taken."""
        if self._memory is None:
            return Room.memory(0, {})
        sizes = {model.name: model.memory for model in models if model.memory and not model.embedding}
        aside = {place: model for place, model in self._places.items() if model.embedding}
        aside |= {place_of(model): model for model in models if model.embedding}
        return Room.memory(max(0, self._memory - sum(model.memory or 0 for model in aside.values())), sizes)


def place_of(model: ManagedModel) -> Place:
    """Return where the server of a model is kept: there is one at a time."""
    return model.name, model.embedding


def same_server(one: ManagedModel, other: ManagedModel) -> bool:
    """Return True if a server started for one model serves the other as well: they differ in nothing it is given."""
    return one.model_copy(update=_BESIDE) == other.model_copy(update=_BESIDE)
