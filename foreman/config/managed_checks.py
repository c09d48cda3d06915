"""Checks of the managed models: their names, and their memory in that of their targets."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from foreman.config.managed_model import ManagedModel
from foreman.config.target_settings import TargetSettings, models_of
from foreman.domain.errors import SettingInvalid

if TYPE_CHECKING:
    from foreman.config.settings import Settings

_UNITS = ((2**30, "GiB"), (2**20, "MiB"), (1, "B"))


def check_models(settings: Settings) -> None:
    """Raise SettingInvalid for names that are not unique, and for models that their target has no room for."""
    _check_names(settings.models)
    for target in settings.all_targets:
        if target.managed:
            models = models_of(settings, target.name)
            _check_unique(models)
            _check_memory(target, models)


def _check_names(models: list[ManagedModel]) -> None:
    """Check that no name of a model is that of another one, on any target."""
    owners = {(name, model.name) for model in models for name in (model.name, *model.aliases)}
    counts = Counter(name for name, _ in owners)
    if doubled := sorted(name for name, count in counts.items() if count > 1):
        raise SettingInvalid("models", doubled, _UNIQUE)


def _check_unique(models: list[ManagedModel]) -> None:
    named = Counter((name, model.embedding) for model in models for name in (model.name, *model.aliases))
    if doubled := sorted({name for (name, _), count in named.items() if count > 1}):
        raise SettingInvalid("models", doubled, _UNIQUE)


def _check_memory(target: TargetSettings, models: list[ManagedModel]) -> None:
    if target.memory is None:
        for model in models:
            if model.memory is not None:
                allowed = "needs a table of targets with managed = true and the memory that there is"
                raise SettingInvalid(f"models.{model.name}.memory", _shown(model.memory), allowed)
        return
    aside = sum(model.memory or 0 for model in models if model.embedding)
    if aside > target.memory:
        allowed = f"must be at least what its embedding models take: {_shown(aside)}"
        raise SettingInvalid(f"targets.{target.name}.memory", _shown(target.memory), allowed)
    for model in models:
        if not model.embedding and (model.memory or 0) > target.memory - aside:
            room = f"{_shown(target.memory - aside)} of the target {target.name}"
            allowed = f"must be at most {room}" + (", what its embedding models leave" if aside else "")
            raise SettingInvalid(f"models.{model.name}.memory", _shown(model.memory or 0), allowed)


_UNIQUE = "names and aliases must be unique; only an embedding model, or one of another target, may share a name"


def _shown(size: int) -> str:
    least, unit = next((least, unit) for least, unit in _UNITS if size >= least or least == 1)
    return f"{size / least:g} {unit}"
