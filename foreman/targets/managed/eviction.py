"""Which servers of a managed target end for another one."""

from __future__ import annotations

from collections.abc import Iterable

from foreman.config.managed_model import ManagedModel
from foreman.domain.scheduling.room import Room
from foreman.targets.managed.child import Child


def in_the_way(model: ManagedModel, running: Iterable[Child], room: Room) -> list[Child]:
    """Return the servers that must have ended before that of `model` may start; those to end first come first.

    Unused ones go before used ones, the least recently used before others, and none that need not go. Servers for
    embeddings stay: their memory is no part of the room. An earlier server of the model itself always goes.
    """
    going = [child for child in running if (child.model.name, child.model.embedding) == (model.name, model.embedding)]
    if model.embedding:
        return going
    staying = [child for child in running if not child.model.embedding and child not in going]
    staying.sort(key=lambda child: (child.in_use, child.used_at))
    chosen: list[Child] = []
    while staying and not _fits(model, staying, room):
        chosen.append(staying.pop(0))
    for child in reversed(chosen[:-1]):  # one that went early may fit beside what is left after a larger one
        if _fits(model, [*staying, child], room):
            chosen.remove(child)
            staying.append(child)
    return going + chosen


def _fits(model: ManagedModel, others: Iterable[Child], room: Room) -> bool:
    return room.fits([model.name, *(child.model.name for child in others)])
