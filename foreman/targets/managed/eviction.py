"""Which servers of a managed target end for another one."""

from __future__ import annotations

from collections.abc import Iterable

from foreman.config.managed_model import ManagedModel
from foreman.targets.managed.child import Child
from foreman.targets.managed.roster import Roster, place_of


def in_the_way(model: ManagedModel | None, running: Iterable[Child], roster: Roster) -> list[Child]:
    """Return the servers that must have ended before that of `model` may start; those to end first come first.

    Unused ones go before used ones, the least recently used before others, and none that need not go. Servers for
    embeddings stay: their memory is no part of the room. An earlier server of the model itself always goes. Without a
    model, they are those that do not fit beside the others.
    """
    running = list(running)
    going = [child for child in running if model is not None and place_of(child.model) == place_of(model)]
    fixed = [child.model for child in running if child.model.embedding and child not in going]
    fixed += [model] if model is not None else []
    staying = [child for child in running if not child.model.embedding and child not in going]
    staying.sort(key=lambda child: (child.in_use, child.used_at))

    def fit(others: Iterable[Child]) -> bool:
        return roster.fits([*fixed, *(child.model for child in others)])

    chosen: list[Child] = []
    while staying and not fit(staying):
        chosen.append(staying.pop(0))
    for child in reversed(chosen[:-1]):  # one that went early may fit beside what is left after a larger one
        if fit([*staying, child]):
            chosen.remove(child)
            staying.append(child)
    return going + chosen
