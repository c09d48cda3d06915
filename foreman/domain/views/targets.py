"""Views of the targets."""

from __future__ import annotations

from typing import Annotated

import msgspec

from foreman.domain.views.kinds import AtLeastOne, Count, Moment, Seconds, about, schema

KINDS = ("ollama", "openai", "managed")


class LoadedModel(msgspec.Struct, frozen=True):
    """A model that a target has loaded, with the options that it was loaded with."""

    model: str
    load_key: str
    since: Annotated[Moment, about("When Foreman loaded it, or first saw it loaded.")]
    size: Annotated[Count | None, about("Bytes in memory; null where the server does not tell.")] = None
    size_vram: Annotated[Count | None, about("Part of `size` on the GPU.")] = None
    expires_at: Annotated[Moment | None, about("When its server unloads it unless it is used, if known.")] = None
    context_length: Annotated[Count | None, about("Tokens that it was loaded for.")] = None


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A target: an inference server, or a group of managed models."""

    name: str
    kind: Annotated[str, schema(enum=list(KINDS))] = ""
    url: Annotated[str | None, about("Null for managed models.")] = None
    up: bool = True
    error: Annotated[str | None, about("Why it is away.")] = None
    away_seconds: Annotated[Seconds | None, about("Since it went away; null while it is up.")] = None
    draining: Annotated[bool, about("It takes no jobs until it is resumed.")] = False
    slots: Annotated[AtLeastOne, about("Jobs that it runs together now.")] = 1
    slots_auto: Annotated[bool, about("Foreman finds the number of slots.")] = False
    running: Annotated[Count, about("Jobs that run there now.")] = 0
    max_loaded: Annotated[AtLeastOne, about("Models that it may have loaded at once, where its memory allows.")] = 1
    loaded: Annotated[list[LoadedModel], about("The one used last is first.")] = []
    models: Annotated[list[str], about("The models that it serves.")] = []
    jobs_done: Annotated[Count, about("Since this process started.")] = 0
    tokens_per_second: Annotated[
        Seconds | None, about("Answer tokens per second of one job, averaged over recent jobs; null until known.")
    ] = None


class Targets(msgspec.Struct, frozen=True):
    """All targets, in the order of the settings."""

    targets: list[Target] = []


class ModelLog(msgspec.Struct, frozen=True):
    """The last lines that the server of a managed model has written."""

    model: str
    lines: list[str] = []


class TargetLog(msgspec.Struct, frozen=True):
    """The last lines of a target's managed servers, of those that were ever started."""

    logs: list[ModelLog] = []
