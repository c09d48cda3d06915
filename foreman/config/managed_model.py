"""A managed model: the table `[[models]]` of the settings."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from foreman.config.checks import PositiveSeconds, Seconds, Several, Size
from foreman.config.macros import Macros, fill_text, fill_words

OWN_KEYS = frozenset({"model", "stream", "stream_options"})  # of a request, set by Foreman


class ManagedModel(BaseModel):
    """A model whose server is started, checked, swapped and stopped by Foreman."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, description="The model's name in jobs.")
    command: list[str] = Field(
        min_length=1,
        description="The command line, a list of words. `{port}`, `{model}`, `{name}`, `{slots}` and `{key}` are "
        "filled in, `{env.NAME}` with a variable of Foreman's environment, and [macros](targets.md#macros).",
    )
    stop_command: list[str] = Field(
        default=[],
        description="Run to stop the server, instead of SIGTERM, such as `docker stop`; it may take 30 s. Filled in as "
        "`command` is, and with `{pid}`.",
    )
    macros: Macros = Field(default={}, description="Macros of this model, before those of all models.")
    port: Annotated[int, Field(ge=1, le=65535)] | None = Field(
        default=None,
        description="The value of `{port}`, where the server listens at 127.0.0.1. Without it, it is a free one.",
    )
    model: str | None = Field(
        default=None,
        description="The value of `{model}`, and the server's own name for the model. Without it, it is `name`.",
    )
    slots: Several = Field(
        default=1,
        description="The value of `{slots}`, 1 to 1,024. How many jobs run together is the setting `slots` above, or "
        "`concurrency`.",
    )
    concurrency: Several | None = Field(
        default=None,
        description="Jobs and calls that its server has at once, where it takes fewer than its target has `slots`.",
    )
    target: str = Field(
        default="", description="The name of the managed target that it belongs to; not needed where there is one."
    )
    memory: Size | None = Field(
        default=None,
        description="What its server takes of the `memory` of its target, such as `12 GiB`. Without it, it is loaded "
        "alone. That of an `embedding` server is set aside for good.",
    )
    preload: bool = Field(
        default=False, description="Start the server with Foreman, as far as the memory goes, before a job needs it."
    )
    ttl: Seconds = Field(default=0, description="Idle time until the server is stopped; 0 keeps it running.")
    set: dict[str, Any] = Field(
        default={},
        description="Keys of the JSON body of each request, and the values to send to the server instead of the "
        "caller's.",
    )
    strip: list[str] = Field(default=[], description="Keys of the JSON body that the server does not get.")
    ready: str = Field(default="/health", description="A path that answers 200 once the model can be used.")
    ready_timeout: PositiveSeconds = Field(default=600, description="Timeout of the start, until `ready` answers 200.")
    liveness_timeout: PositiveSeconds = Field(
        default=20,
        description="A server that answers neither calls nor `ready` for so long, while a call waits, is killed. "
        "Raise it for one that answers nothing else while it works.",
    )
    env: dict[str, str] = Field(default={}, description="Variables added to the child's environment.")
    aliases: list[str] = Field(
        default=[],
        description="Other names for it. Names and aliases must be unique, but for one more entry of a name with "
        "`embedding`, and on another target.",
    )
    context: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="Tokens of one call, prompt and answer, as shown by `/api/show` and `/api/ps`. The server itself "
        "gets the number from `command`.",
    )
    embedding: bool = Field(
        default=False, description="The server serves embeddings, and stays beside whatever else is loaded."
    )

    @field_validator("set", "strip")
    @classmethod
    def _spare_what_foreman_sets(cls, named: Any) -> Any:
        if taken := OWN_KEYS.intersection(named):
            raise ValueError(f"must not name {', '.join(sorted(taken))}: Foreman sets it")
        return named

    def filled(self, macros: Macros) -> ManagedModel:
        """Return the model with `macros`, and those of its own before them, filled in. Raise ValueError."""
        macros = {**macros, **self.macros}
        words = {name: fill_words(getattr(self, name), macros) for name in ("command", "stop_command")}
        texts = {name: fill_text(text, macros) for name in ("model", "ready") if (text := getattr(self, name))}
        env = {name: fill_text(text, macros) for name, text in self.env.items()}
        return self.model_copy(update={**words, **texts, "env": env, "macros": {}})
