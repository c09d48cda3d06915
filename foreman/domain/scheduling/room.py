"""Which load keys a target may work on together."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from foreman.domain.job import LoadKey, model_of


@dataclass(frozen=True, slots=True)
class Room:
    """What a target may have loaded at once: a number of models, or as many as fit in its memory.

    A single key always fits, since it would otherwise never run. Whether two keys of one model fit together depends on
    the kind of target:

    - With a number of models they do not. They differ in an option that makes the server load the model anew
      (`num_ctx`), and an Ollama server has each model loaded once: the second key would end the first one.
    - With a budget they do, and count once. A managed model has one server, which no option of a call changes.
    """

    models: int = 1  # at once; not asked for when there is a budget
    budget: int | None = None  # bytes
    sizes: Mapping[str, int] = field(default_factory=dict)  # bytes by model; others are loaded alone

    @classmethod
    def count(cls, models: int) -> Room:
        """Return the room for a number of models, 1 or more."""
        return cls(models)

    @classmethod
    def memory(cls, budget: int, sizes: Mapping[str, int]) -> Room:
        """Return the room in a budget of memory, in bytes, that what always stays loaded has been taken from.

        `sizes` has the bytes of each model. A model without a size takes all of it.
        """
        return cls(budget=budget, sizes=dict(sizes))

    def fits(self, keys: Collection[LoadKey]) -> bool:
        """Return True if the models of all these keys may be loaded, and work, at the same time."""
        distinct = set(keys)
        if len(distinct) <= 1:
            return True
        if self.budget is None:
            return len(distinct) <= self.models and len(set(map(model_of, distinct))) == len(distinct)
        models = set(map(model_of, distinct))
        if len(models) == 1:
            return True
        return models <= self.sizes.keys() and sum(self.sizes[model] for model in models) <= self.budget
