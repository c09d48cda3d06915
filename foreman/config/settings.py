"""The settings: one flat record, read at the start and at each reload.

The description of a setting is its line in `foreman serve --help` (the first sentence), in config/foreman.toml and in
docs/settings.md; `make generate` writes the two files.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Annotated, Literal, Self

import platformdirs
from pydantic import ConfigDict, Field, PrivateAttr, SecretStr, ValidationInfo, field_validator
from pydantic.fields import FieldInfo

from foreman.config.checks import (
    IN_DATABASE,
    BlobStore,
    DatabaseUrl,
    NodeName,
    PositiveSeconds,
    Seconds,
    Several,
    SigningSecrets,
    Size,
    Slots,
    Url,
    Urls,
    Weights,
    Words,
    host_name,
)
from foreman.config.cost_settings import Costs
from foreman.config.hiding import HIDDEN as HIDDEN
from foreman.config.http_settings import AT_START, HttpSettings
from foreman.config.macros import Macros
from foreman.config.managed_model import ManagedModel
from foreman.config.origins import Origins
from foreman.config.quota_settings import Quotas
from foreman.config.target_settings import TargetSettings, targets_of
from foreman.domain.job import at_node


class Settings(HttpSettings):
    """All settings in force. Times are seconds, sizes are bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    _origins: Origins = PrivateAttr(default_factory=Origins)

    data_dir: Path = Field(
        json_schema_extra=AT_START,
        default_factory=lambda: Path(platformdirs.user_data_dir("foreman", appauthor=False)),
        examples=["/var/lib/foreman"],
        description="Folder of the database, its lock, and the logs of managed models. The default is the platform's "
        "data folder for foreman; on Linux `~/.local/share/foreman`.",
    )

    database_url: DatabaseUrl = Field(
        json_schema_extra=AT_START,
        default=SecretStr(""),
        description="PostgreSQL database of the queue, `postgresql://USER:PASSWORD@HOST/NAME`, which [several "
        "Foremen](howto/fleet.md) may share; prefer `FOREMAN_DATABASE_URL` or `FOREMAN_DATABASE_URL_FILE`. Empty is "
        "SQLite in `data_dir`.",
    )
    blob_store: BlobStore = Field(
        json_schema_extra=AT_START,
        default="database",
        description="With `database_url`: where the bytes of [files and large "
        "artifacts](operations.md#files-and-large-artifacts) are kept, the `database`, or the path of a folder that "
        "all Foremen share. SQLite keeps them in the folder `blobs` of `data_dir`.",
    )
    node_name: NodeName = Field(
        json_schema_extra=AT_START,
        default_factory=host_name,
        examples=["gpu1"],
        description="Name of this Foreman among those that share a `database_url`: letters, digits, `_`, `.` and `-`. "
        "The default is the host's. Its targets are called `TARGET@NAME`.",
    )
    advertise_url: Url = Field(
        json_schema_extra=AT_START,
        default="",
        description="URL at which the others reach this Foreman, to read the answers of jobs that run here. The "
        "default is made of `addr` and the host's name; with a loopback address there is none.",
    )
    lease: Annotated[PositiveSeconds, Field(ge=10, le=300)] = Field(
        default=20,
        description="Time, 10 s to 5 min, after which a Foreman that is silent is taken for dead: others run its jobs.",
    )

    ollama_url: Urls = Field(
        default="",
        description="URL of the Ollama server to run jobs on, such as `http://127.0.0.1:11434`. Several are separated "
        "by commas, also beside `openai_url`; each is a [target](targets.md#a-fleet-of-targets).",
    )
    ollama_token: SecretStr = Field(default=SecretStr(""), description="API token of the Ollama server.")
    openai_url: Urls = Field(
        default="",
        description="URL of the OpenAI-compatible server to run jobs on (vLLM, llama-server, LM Studio, SGLang, …), "
        "with or without `/v1`; several are separated by commas. llama-server needs another `--port` than its "
        "default, which is Foreman's own.",
    )
    openai_token: SecretStr = Field(default=SecretStr(""), description="API token of the OpenAI-compatible server.")
    targets: list[TargetSettings] = Field(
        default=[],
        description="Any number of [servers to run jobs on](targets.md#a-fleet-of-targets), each with its own slots, "
        "instead of `ollama_url` and `openai_url`. Tables in the TOML file, or a JSON list in the environment.",
    )
    macros: Macros = Field(
        default={},
        description="Texts, numbers or lists of words for the commands of [managed models](targets.md#macros): "
        "`{NAME}` stands for the macro NAME.",
    )
    models: list[ManagedModel] = Field(
        default=[],
        description="Models whose servers Foreman starts when a job needs them, swaps, and stops. Tables in the TOML "
        "file, or a JSON list in the environment.",
    )
    keep_alive: str | int = Field(
        default="",
        description="How long Ollama keeps a model that Foreman loads: seconds, text such as `5m`, or `-1` for ever. "
        "It is sent with the request that [loads the model](targets.md#ollama). Empty leaves it to Ollama, whose own "
        "`OLLAMA_KEEP_ALIVE` is the better place.",
    )
    load_timeout: PositiveSeconds = Field(
        default=180,
        description="Timeout for Ollama to load a model. The attempt is then spent with `load_timeout`. Managed "
        "models have `ready_timeout` instead.",
    )
    poll_interval: PositiveSeconds = Field(
        default=30,
        description="Interval between queries of the target's models. While the target is away it is one second.",
    )
    embed_model: str = Field(
        json_schema_extra=AT_START,
        default="",
        description="Embedding model to load at the start and after an outage of the target.",
    )
    embed_concurrency: Several = Field(
        default=8,
        description="Embedding requests to the target at once. They go past the queue; more "
        "[wait](compatible-apis.md#embeddings).",
    )

    slots: Slots = Field(
        default=1,
        description="Jobs that a target runs together, 1 to 1,024: of one model and its loading options, unless the "
        "target [may have several loaded](targets.md#a-fleet-of-targets). Raise it where the target batches: vLLM, "
        "llama-server with `--parallel`, Ollama with `OLLAMA_NUM_PARALLEL`. With `auto`, Foreman [finds the "
        "number](scheduling.md#how-many-slots) for each target.",
    )
    max_queue: Annotated[int, Field(ge=1)] = Field(
        default=100_000, description="Queued jobs at most; more are refused with 503."
    )
    max_body: Size = Field(default=64 * 2**20, description="Largest request body.")
    max_answer: Size = Field(default=64 * 2**20, description="Largest answer of a target; a longer one fails its job.")
    memory: Size = Field(
        default=512 * 2**20,
        description="Memory for all [request bodies and answers under way](operations.md#memory). Beyond it new "
        "requests are answered 503, and jobs wait. The first 64 KiB of each are not counted.",
    )

    max_attempts: Annotated[int, Field(ge=1, le=20)] = Field(
        default=3, description="Attempts of a job that sets no number of its own, 1 to 20."
    )
    retry_backoff: PositiveSeconds = Field(
        default=2, description="Pause before the second attempt. It doubles with each further one, each ±20 %."
    )
    retry_backoff_max: PositiveSeconds = Field(default=300, description="Longest pause between attempts.")
    attempt_timeout: PositiveSeconds = Field(
        default=3600, description="Timeout of one attempt, loading included, for a job without a `timeout` of its own."
    )
    first_chunk_timeout: PositiveSeconds = Field(
        default=600,
        description="Timeout until the first chunk of an answer. Reading a long prompt counts here, unless the server "
        "sends signs of life meanwhile.",
    )
    stall_timeout: PositiveSeconds = Field(default=120, description="Timeout between two chunks of an answer.")
    starvation_limit: PositiveSeconds = Field(
        default=600,
        description="Wait after which a priority gets its `share`, and a model's turn ends while others wait.",
    )
    share: Annotated[float, Field(ge=0, le=0.4, allow_inf_nan=False)] = Field(
        default=0.1,
        description="Part of the slot time, 0 to 0.4, for a priority that has waited longer than `starvation_limit`. "
        "0 always runs the jobs of a higher priority first.",
    )
    fair_quantum: PositiveSeconds = Field(
        default=20,
        description="Slot time by which one caller may get ahead of others that wait, to go on with prompts that begin "
        "alike.",
    )
    weights: Weights = Field(
        default={},
        description="Shares of the slot time by name of the token, such as `alice=2,batch=0.5`; 1 for the others.",
    )
    quotas: Quotas = Field(
        default={},
        description="Most `waiting` jobs, `running` jobs, `tokens_per_hour` and `max_files`, each optional, by "
        "name of the token: a table such as [quotas.alice](settings.md#a-quota).",
    )
    prefix_turns: bool = Field(
        default=True,
        description="Run jobs whose prompts begin alike one after the other, since servers cache the beginning.",
    )
    give_way: bool = Field(
        default=True,
        description="Stop a job of a lower class when one of class `high` finds no free slot; it starts over later, no "
        "attempt spent.",
    )

    webhook_secret: SigningSecrets = Field(
        default=(),
        description="Secrets to sign webhooks with: `whsec_` and base64, or any text. Give several while one is "
        "replaced; the first signs `X-Foreman-Signature`. Prefer `FOREMAN_WEBHOOK_SECRET`.",
    )
    webhook_timeout: PositiveSeconds = Field(default=15, description="Timeout of one attempt to deliver a webhook.")
    webhook_retries: Annotated[int, Field(ge=0, le=50)] = Field(
        default=5, description="Retries of a failed delivery, 0 to 50, before it is given up."
    )
    webhook_backoff: PositiveSeconds = Field(
        default=5, description="Pause before a delivery's first retry. It doubles with each further one, each ±20 %."
    )
    webhook_backoff_max: PositiveSeconds = Field(
        default=600,
        description="Longest pause between retries of a delivery.",
    )
    webhook_concurrency: Several = Field(
        default=32,
        description="Deliveries under way at once, 1 to 1,024. One caller gets about three quarters at most.",
    )
    webhook_per_receiver: Annotated[int, Field(ge=1, le=256)] = Field(
        default=4, description="Deliveries under way at once to one receiver, 1 to 256."
    )
    webhook_allow: Words = Field(
        default=(),
        description="Networks (CIDR) and host names, besides public ones, to allow for webhooks, such as `10.0.0.0/8` "
        "or `n8n.local`.",
    )
    feed_history: Annotated[int, Field(ge=100, le=10_000_000)] = Field(
        json_schema_extra=AT_START,
        default=10_000,
        description="Events kept in memory for readers of `/events`. Older ones are read from disk; a reader that "
        "falls further behind is closed.",
    )

    job_ttl: Seconds = Field(default=7 * 86400, description="How long to keep an ended job; 0 keeps it for ever.")
    batch_window: Seconds = Field(
        default=86400,
        description="How long a [batch](howto/openai-batch.md) may take from its creation, whatever window its caller "
        "names: lines that have not ended by then expire; 0 sets no limit.",
    )
    file_ttl: Seconds = Field(
        default=30 * 86400,
        description="How long to keep an uploaded [file](compatible-apis.md#files), or one with "
        "results, that sets no `expires_after`; 0 keeps it for ever.",
    )
    max_file: Size = Field(
        default=512 * 2**20,
        description="Largest uploaded file. The lines of a batch may have 200 MiB in all.",
    )
    full_text: bool = Field(
        default=False,
        description="Index the words of requests and answers, so that jobs are [found by them](jobs.md#words). Each "
        "job then takes longer to store, and more space. Jobs that are there already are indexed in the background; "
        "switching it off drops the index.",
    )
    usage_history: Seconds = Field(
        default=400 * 86400, description="How long to keep the hourly [usage](usage.md); 0 keeps it for ever."
    )
    cost: Costs = Field(
        default={},
        description="What tokens and time cost, by model, for the [usage](usage.md#cost): a table such as "
        '[cost."qwen3:8b"](settings.md#a-cost). `*` stands for all other models.',
    )
    artifact_inline_limit: Size = Field(
        default=262_144, description="Largest artifact included in its job; larger ones are fetched by their URL."
    )
    shutdown_grace: Seconds = Field(
        default=30,
        description="How long running jobs may continue after SIGTERM. Then they go back to the queue, the attempt "
        "not spent.",
    )
    log_format: Literal["", "console", "json"] = Field(
        json_schema_extra=AT_START,
        default="",
        description="`console` or `json`; empty is console on a terminal, else JSON. Logs go to standard error. "
        "Prompts and answers are never logged.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="`debug`, `info`, `warning` or `error`."
    )

    @field_validator("models")
    @classmethod
    def _fill_macros(cls, models: list[ManagedModel], info: ValidationInfo) -> list[ManagedModel]:
        return [model.filled(info.data.get("macros", {})) for model in models]

    @property
    def origins(self) -> Origins:
        """Return where the values come from."""
        return self._origins

    def from_sources(self, origins: Origins) -> Self:
        """Return these settings, which come from there."""
        copy = self.model_copy()
        copy._origins = origins
        return copy

    @property
    def all_targets(self) -> list[TargetSettings]:
        """Return the targets in order: `targets`, else what `ollama_url`, `openai_url` and `models` name.

        Where several Foremen may share the queue, their names end in this one's.
        """
        every = targets_of(self)
        if not self.node:
            return every
        return [one.model_copy(update={"name": at_node(one.name, self.node)}) for one in every]

    @property
    def advertised(self) -> str | None:
        """Return the URL at which other nodes reach this one; None where they cannot."""
        if self.advertise_url or self.only_loopback or not self.port:
            return self.advertise_url or None
        host = socket.gethostname() if self.host in ("0.0.0.0", "::") else self.host
        return f"{'https' if self.tls_cert else 'http'}://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def blob_folder(self) -> Path | None:
        """Return the folder of blobs; None where they are in the database of `database_url`."""
        if not self.node:
            return self.data_dir / "blobs"
        return None if self.blob_store == IN_DATABASE else Path(self.blob_store)

    @property
    def node(self) -> str:
        """Return this Foreman's name among those that may share the queue; empty where it has it for itself."""
        return self.node_name if self.database_url.get_secret_value() else ""


def reloads(field: FieldInfo) -> bool:
    """Return True for a setting that a reload takes over while Foreman runs."""
    return field.json_schema_extra != AT_START
