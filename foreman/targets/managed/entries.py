"""The inventory's entries of managed models, made from the settings."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from foreman.config.managed_model import ManagedModel
from foreman.targets.managed.gguf import size_of
from foreman.targets.protocol import Model


def listed(models: Sequence[ManagedModel]) -> list[Model]:
    """Return one inventory entry for each name; a name with a chat and an embedding server lists both capabilities."""
    entries: dict[str, Model] = {}
    for model in sorted(models, key=lambda model: model.embedding):
        known = entries.get(model.name)
        if known is None:
            details = msgspec.Raw(msgspec.json.encode(_details(model)))
            aliases = tuple(model.aliases)
            entries[model.name] = Model(name=model.name, aliases=aliases, embedding=model.embedding, details=details)
        else:
            both = tuple(dict.fromkeys((*known.aliases, *model.aliases)))
            told = known.told() | {"capabilities": ["completion", "tools", "embedding"]}
            details = msgspec.Raw(msgspec.json.encode(told))
            entries[model.name] = Model(name=model.name, aliases=both, details=details)
    return list(entries.values())


def _details(model: ManagedModel) -> dict[str, object]:
    """Return the details of a model known before its server runs: tokens of context, bytes of its files."""
    known = {"max_model_len": model.context, "size": size_of(model)}
    return {name: value for name, value in known.items() if value is not None}
