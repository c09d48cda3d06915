"""Views of the queue, the usage and the service itself."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import field

from foreman.domain.job import State
from foreman.domain.views.kinds import AtLeastOne, ByPriority, Count, Moment, Seconds, about, schema


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """A running job."""

    job_id: str
    model: str
    custom_id: str | None = None
    state: State
    attempt: Count = 0
    target: str | None = None
    started_at: Moment | None = None


class Defaults(msgspec.Struct, frozen=True):
    """Values for the fields that a submission leaves out."""

    max_attempts: AtLeastOne = 1
    timeout: Annotated[Seconds, about("For each attempt.")] = 0.0
    max_body: Annotated[Count, about("Bytes of a request at most.")] = 0


class FailingModel(msgspec.Struct, frozen=True):
    """A model whose calls to a target failed repeatedly.

    The target gets no jobs of it until `retry_at`, null during a trial call.
    """

    model: str
    error_code: str
    since: Moment
    retry_at: Moment | None = None
    target: str | None = None


class ByTarget(msgspec.Struct, frozen=True, kw_only=True):
    """A target in short."""

    name: str
    up: bool = True
    draining: Annotated[bool, about("It takes no jobs until it is resumed.")] = False
    slots: AtLeastOne = 1
    running: Count = 0
    loaded: Annotated[list[str], about("The models that it has loaded.")] = []


class ByCaller(msgspec.Struct, frozen=True):
    """The jobs of one caller."""

    queued: Count = 0
    running: Count = 0


class Queue(msgspec.Struct, frozen=True):
    """The state of the queue."""

    queued: Count
    scheduled: Annotated[Count, about("How many of `queued` have a future start.")] = 0
    by_model: Annotated[dict[str, ByPriority], about("Waiting jobs by model and priority.")] = {}
    running: list[Running] = []
    resident: Annotated[str | None, about("The first model that is loaded.")] = None
    slots: AtLeastOne = 1
    paused: bool = False
    degraded: Annotated[bool, about("A target cannot be reached.")] = False
    failing_models: list[FailingModel] = []
    defaults: Defaults = Defaults()
    oldest_seconds: Annotated[Seconds | None, about("How long the oldest job has waited.")] = None
    targets: list[ByTarget] = []
    by_caller: Annotated[
        dict[str, ByCaller],
        about("Waiting and running jobs by the name of the caller, where it has one; of many the 500 with the most."),
    ] = {}


class Paused(msgspec.Struct, frozen=True):
    """The pause switch of the queue."""

    paused: bool


class Reloaded(msgspec.Struct, frozen=True):
    """What a reload of the settings has changed."""

    changed: Annotated[list[str], about("Settings taken over; `targets.NAME` and `models.NAME` are tables.")] = []
    needs_restart: Annotated[list[str], about("Settings that differ and need a restart.")] = []


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """A setting in force. Secrets are shown as `***`."""

    name: str
    value: Any = None
    text: Annotated[str, about("The value as `foreman config` shows it.")] = ""
    source: Annotated[str, about("flag, environment, secret file, .env, file or default.")] = field(
        name="from", default_factory=str
    )
    default: Annotated[str, about("The default, as text.")] = ""
    is_default: bool = True
    unit: Annotated[str | None, schema(enum=["seconds", "bytes", None])] = None
    description: str = ""
    changes_at_reload: Annotated[bool, about("False where a change needs a restart.")] = True


class Settings(msgspec.Struct, frozen=True):
    """The settings in force, and the file that they were read from."""

    file: str | None = None
    settings: list[Setting] = []


class Health(msgspec.Struct, frozen=True, omit_defaults=True):
    """The liveness of Foreman and its target."""

    status: Annotated[str, schema(enum=["ok"])]
    degraded: bool = field(default_factory=bool)
    target_silent_seconds: Annotated[Seconds, about("Seconds since the last unanswered probe began, else 0.")] = field(
        default_factory=float
    )
    version: str = field(default_factory=str)
    boot_id: Annotated[str, about("Identifies this run of the process.")] = field(default_factory=str)
    target_error: Annotated[str | None, about("Why it is degraded.")] = None


class Readiness(msgspec.Struct, frozen=True):
    """The answer of the readiness probe."""

    status: Annotated[str, schema(enum=["ready", "draining", "store_away"])]


class Ticket(msgspec.Struct, frozen=True):
    """A ticket, which replaces the token on one request."""

    ticket: str
    expires_in: Annotated[Count, about("Seconds.")]


class Figures(msgspec.Struct, frozen=True):
    """Usage in one minute, hour or day, in total or for one name."""

    start: Moment = field(name="from")
    by: Annotated[str | None, about("The model, caller, target or endpoint; null for all.")] = None
    submitted: Count = 0
    done: Count = 0
    failed: Count = 0
    cancelled: Count = 0
    expired: Count = 0
    prompt_tokens: Count = 0
    cached_tokens: Annotated[Count, about("Part of `prompt_tokens`.")] = 0
    answer_tokens: Count = 0
    busy_seconds: Annotated[Seconds, about("Sum over all slots.")] = 0.0
    wait_p50: Annotated[Seconds | None, about("Median wait of the jobs that started.")] = None
    wait_p95: Seconds | None = None
    loads: Count = 0
    cost: Annotated[float | None, about("By the setting cost; null where no model has one.")] = None
    waiting: Annotated[Count | None, about("Maximum at one time; null with `by` or a filter.")] = None
    running: Annotated[Count | None, about("Maximum at one time; null with `by` or a filter.")] = None


class Report(msgspec.Struct, frozen=True):
    """Usage by time: one row per step from `from` up to `to`; with `by` one per name and step, without empty ones."""

    step: Annotated[str, schema(enum=["minute", "hour", "day"])]
    start: Moment = field(name="from")
    end: Moment = field(name="to")
    since: Annotated[Moment | None, about("The start of the records.")] = None
    rows: list[Figures] = []


class OpenAIModel(msgspec.Struct, frozen=True):
    """A model, as OpenAI's API shows it."""

    id: str
    object: Annotated[str, schema(enum=["model"])] = "model"
    created: int = 0
    owned_by: str = ""


class OpenAIModels(msgspec.Struct, frozen=True, kw_only=True):
    """The models, as OpenAI's API lists them."""

    object: Annotated[str, schema(enum=["list"])] = "list"
    data: list[OpenAIModel]
