"""The settings of one target, and how the short settings make targets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from foreman.config.checks import AUTO, Size, Slots, Url, Words
from foreman.config.managed_model import ManagedModel
from foreman.domain.errors import SettingInvalid

if TYPE_CHECKING:
    from foreman.config.settings import Settings

MOST = 64  # targets
_NO_MANAGED = "needs a target with managed = true"


class TargetSettings(BaseModel):
    """One inference server, or one group of managed models."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(
        pattern=r"^[A-Za-z0-9_.-]{1,64}$",
        description="The target's name in jobs, metrics and commands: letters, digits, `_`, `.` and `-`.",
    )
    ollama_url: Url = Field(default="", description="URL, if it is an Ollama server.")
    openai_url: Url = Field(default="", description="URL, if it is an OpenAI-compatible server.")
    managed: bool = Field(default=False, description="It runs the managed models whose `target` is this name.")
    token: SecretStr = Field(default=SecretStr(""), description="API token of the server.")
    slots: Slots | None = Field(
        default=None, description="Jobs that it runs together, or `auto`. Without it, as the setting `slots` above."
    )
    max_loaded: Annotated[int, Field(ge=1, le=64)] = Field(
        default=1,
        description="Models that the server may have loaded, and work on, at once. For Ollama it is its own "
        "`OLLAMA_MAX_LOADED_MODELS`, or less.",
    )
    memory: Size | None = Field(
        default=None,
        description="Memory for managed models, such as `22 GiB`: what fits together stays loaded together. Without "
        "it, one is loaded at a time.",
    )
    models: Words = Field(
        default=(), description="Only models of these names, with `*` for any text; the default is all that it has."
    )

    @property
    def kind(self) -> str:
        """Return the kind of target: ollama, openai or managed."""
        return "ollama" if self.ollama_url else "openai" if self.openai_url else "managed"

    @property
    def fixed_slots(self) -> int | None:
        """Return the number of slots; None if Foreman finds it."""
        return 1 if self.slots is None else None if self.slots == AUTO else self.slots

    @property
    def url(self) -> str:
        """Return its address; empty for managed models."""
        return self.ollama_url or self.openai_url

    def takes(self, model: str) -> bool:
        """Return True if `models` lets a model of this name run here."""
        return not self.models or any(fnmatchcase(model, pattern) for pattern in self.models)


def targets_of(settings: Settings) -> list[TargetSettings]:
    """Return all targets in order, `slots` filled in: `targets`, else what the short settings name.

    The short ones are called by their kind, further ones of a kind `ollama-2` and so on.
    """
    found = list(settings.targets)
    if not found:
        for kind, urls, token in (
            ("ollama", settings.ollama_url, settings.ollama_token),
            ("openai", settings.openai_url, settings.openai_token),
        ):
            for number, url in enumerate(filter(None, urls.split(",")), start=1):
                name = kind if number == 1 else f"{kind}-{number}"
                found.append(TargetSettings.model_validate({"name": name, f"{kind}_url": url, "token": token}))
        if settings.models or not found:
            found.append(TargetSettings(name="managed", managed=True))
    return [one if one.slots else one.model_copy(update={"slots": settings.slots}) for one in found]


def check_targets(settings: Settings) -> None:
    """Raise SettingInvalid for targets that exclude each other or that nothing belongs to."""
    for name in ("ollama_url", "openai_url"):
        if settings.targets and getattr(settings, name):
            raise SettingInvalid(name, getattr(settings, name), "cannot be set beside targets: make it one of these")
    for one in settings.targets:
        kinds = [kind for kind in ("ollama_url", "openai_url", "managed") if getattr(one, kind)]
        if len(kinds) != 1:
            allowed = "must have one of ollama_url, openai_url and managed = true"
            raise SettingInvalid(f"targets.{one.name}", kinds, allowed)
        if one.memory and not one.managed:
            raise SettingInvalid(f"targets.{one.name}.memory", one.memory, "is for managed targets only")
        if one.max_loaded > 1 and one.managed:
            allowed = "is for servers with an address; managed targets have memory"
            raise SettingInvalid(f"targets.{one.name}.max_loaded", one.max_loaded, allowed)
    every = targets_of(settings)
    if len(every) > MOST:
        raise SettingInvalid("targets", len(every), f"there may be at most {MOST}")
    if doubled := _doubled([one.name for one in every]):
        raise SettingInvalid("targets", doubled, "must have different names")
    if doubled := _doubled([one.url for one in every if one.url]):
        raise SettingInvalid("targets", doubled, "must have different addresses; slots says how many jobs one runs")
    _check_models(settings, [one.name for one in every if one.managed])


def _check_models(settings: Settings, managed: Sequence[str]) -> None:
    """Raise SettingInvalid for a managed model without a target, and for a managed target without models."""
    for model in settings.models:
        if (model.target or len(managed) != 1) and model.target not in managed:
            allowed = f"must have one of these as its target: {', '.join(managed)}" if managed else _NO_MANAGED
            raise SettingInvalid(f"models.{model.name}.target", model.target, allowed)
    for name in managed:
        if settings.targets and not models_of(settings, name):
            raise SettingInvalid(
                f"targets.{name}", name, f'must have a model: a table [[models]] with target = "{name}"'
            )


def models_of(settings: Settings, target: str) -> list[ManagedModel]:
    """Return the managed models of a target; those that name none belong to the only managed one."""
    target = target.partition("@")[0]
    only = sum(one.managed for one in targets_of(settings)) == 1
    return [model for model in settings.models if model.target == target or (only and not model.target)]


def _doubled(values: Sequence[str]) -> list[str]:
    return sorted(value for value, count in Counter(values).items() if count > 1)
