"""JSON schemas of /openapi.json: generated from the views; only request bodies are written here."""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec
from msgspec import structs

from foreman.domain import views
from foreman.domain.endpoints import ENDPOINTS
from foreman.domain.fields import MAX_ATTEMPTS, MAX_TIMEOUT, MODEL_LENGTH
from foreman.domain.job import Priority, State

Schema: TypeAlias = dict[str, Any]

ANYTHING: Schema = {}
TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
TIME: Schema = {"type": "string", "format": "date-time"}
REF = "#/components/schemas/{name}"

VIEWS: tuple[type[msgspec.Struct], ...] = (
    views.Accepted,
    views.AnthropicError,
    views.Deliveries,
    views.Delivery,
    views.Error,
    views.Event,
    views.Events,
    views.Health,
    views.Hello,
    views.Job,
    views.Line,
    views.OllamaError,
    views.OpenAIError,
    views.OpenAIModel,
    views.OpenAIModels,
    views.Page,
    views.Paused,
    views.Queue,
    views.Readiness,
    views.Report,
    views.Submitted,
    views.Ticket,
)


def ref(name: str) -> Schema:
    """Return a reference to a schema of the components."""
    return {"$ref": REF.format(name=name)}


def words(*allowed: str) -> Schema:
    """Return the schema of a string out of `allowed`."""
    return {"type": "string", "enum": list(allowed)}


def text(longest: int, *, least: int = 0) -> Schema:
    """Return the schema of a string of `least` to `longest` characters, without NUL."""
    return {"type": "string", "minLength": least, "maxLength": longest, "pattern": r"^[^\u0000]*$"}


def many(item: Schema) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": item}


def or_null(schema: Schema) -> Schema:
    """Return the schema with null allowed."""
    return {"anyOf": [schema, {"type": "null"}]}


def answers() -> dict[str, Schema]:
    """Return the schemas of all views, and of the views in them, by name."""
    _, components = msgspec.json.schema_components(VIEWS, ref_template=REF)
    kinds = {kind.__name__: kind for kind in vars(views).values() if isinstance(kind, type)}
    for name, shown in components.items():
        shown.pop("title")
        if "properties" in shown:
            _demand(shown, kinds[name])
    components["Artifact"]["oneOf"] = [{"required": ["data"]}, {"required": ["url"]}]
    return components


def _demand(shown: Schema, kind: type[msgspec.Struct]) -> None:
    """Say of an object what its writer does, not what its readers put up with: see `foreman.domain.views`."""
    omits = kind.__struct_config__.omit_defaults
    optional = {field.encode_name for field in structs.fields(kind) if omits and field.default is None}
    shown["required"] = [name for name in shown["properties"] if name not in optional]
    for name, value in shown["properties"].items():
        value.pop("default", None)
        if name in optional:
            (only,) = (one for one in value.pop("anyOf") if one != {"type": "null"})
            value.update(only | value)


MODEL = text(MODEL_LENGTH, least=1) | {"description": "Name or alias of a model of the target."}
PRIORITY = words(*(priority.word for priority in Priority))
STATE = words(*(state.value for state in State))
METADATA = answers()["ListedJob"]["properties"]["metadata"]
PROMPT = {"messages": [{"role": "user", "content": "Name three colours."}]}

REQUESTS: dict[str, Schema] = {
    "Submission": {
        "type": "object",
        "description": "The target's request with Foreman's own fields beside it. Only these are listed here. Foreman "
        "removes them, except `model`, and sends the rest to the target unchanged.",
        "required": ["model"],
        "properties": {
            "model": MODEL,
            "endpoint": or_null(words(*ENDPOINTS)) | {"description": "Endpoint of the target; /api/chat by default."},
            "priority": or_null(PRIORITY) | {"description": "normal by default."},
            "not_before": or_null(TIME) | {"description": "Earliest start; at most 100 years from now."},
            "start_by": or_null(TIME)
            | {"description": "Latest start, after which the job expires; must be later than not_before."},
            "timeout": or_null({"type": "number", "minimum": 0.001, "maximum": MAX_TIMEOUT})
            | {"description": "Seconds for each attempt."},
            "max_attempts": or_null({"type": "integer", "minimum": 1, "maximum": MAX_ATTEMPTS}),
            "metadata": METADATA,
            "custom_id": or_null(text(64)),
            "state_webhook_url": or_null(text(2048)) | {"description": "Receives the job's events."},
            "webhook_events": or_null(many(STATE) | {"minItems": 1})
            | {"description": "States whose events are sent; all by default."},
        },
        "additionalProperties": True,
        "examples": [{"model": "smollm2:135m", **PROMPT, "priority": "low", "metadata": {"project": "colours"}}],
    },
    "Call": {
        "type": "object",
        "description": "A request of the target's own API, sent to the target whole. Foreman reads `model`, `stream` "
        "and the options that require reloading the model.",
        "required": ["model"],
        "properties": {"model": MODEL},
        "additionalProperties": True,
        "examples": [{"model": "smollm2:135m", **PROMPT, "prompt": "Name three colours.", "input": "Three colours."}],
    },
}
SCHEMAS: dict[str, Schema] = REQUESTS | answers()
