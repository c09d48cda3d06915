"""JSON schemas of /openapi.json, generated from the views and from the fields of submissions."""

from __future__ import annotations

from functools import cache

import msgspec
from msgspec import structs

from foreman.domain import views
from foreman.domain.fields import MODEL, OWN
from foreman.domain.json_schema import Schema

REF = "#/components/schemas/{name}"

VIEWS: tuple[type[msgspec.Struct], ...] = (
    views.Accepted,
    views.Acted,
    views.AnthropicError,
    views.Batched,
    views.BatchError,
    views.BatchPage,
    views.BatchWebhook,
    views.CancelledMany,
    views.Deliveries,
    views.Delivery,
    views.Error,
    views.Event,
    views.EventDeliveries,
    views.EventDelivery,
    views.Events,
    views.Health,
    views.Hello,
    views.InputItems,
    views.Job,
    views.Line,
    views.Me,
    views.MessageBatch,
    views.MessageBatchDeleted,
    views.MessageBatches,
    views.OllamaError,
    views.OpenAIBatch,
    views.OpenAIBatches,
    views.OpenAIError,
    views.Nodes,
    views.OpenAIFile,
    views.OpenAIFileDeleted,
    views.OpenAIFiles,
    views.OpenAIModel,
    views.OpenAIModels,
    views.OpenAIWebhookEndpoint,
    views.OpenAIWebhookEndpointDeleted,
    views.OpenAIWebhookEndpointTest,
    views.OpenAIWebhookEndpoints,
    views.OpenAIWebhookEventTypes,
    views.Page,
    views.Paused,
    views.Reloaded,
    views.Queue,
    views.Readiness,
    views.Report,
    views.ResponseDeleted,
    views.Settings,
    views.Submitted,
    views.Target,
    views.TargetLog,
    views.Targets,
    views.Ticket,
)


def ref(name: str) -> Schema:
    """Return a reference to a schema of the components."""
    return {"$ref": REF.format(name=name)}


def or_null(schema: Schema) -> Schema:
    """Return the schema with null allowed; its description stays outside."""
    described = {"description": schema["description"]} if "description" in schema else {}
    inner = {key: value for key, value in schema.items() if key != "description"}
    return {"anyOf": [inner, {"type": "null"}]} | described


@cache
def schemas() -> dict[str, Schema]:
    """Return all schemas by name; made when they are first asked for, which takes some milliseconds."""
    return REQUESTS | _answers()


def _answers() -> dict[str, Schema]:
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


PROMPT = {"messages": [{"role": "user", "content": "Name three colours."}]}

REQUESTS: dict[str, Schema] = {
    "Order": {
        "type": "object",
        "description": "A model of the target.",
        "required": ["model"],
        "properties": {"model": MODEL.schema},
        "additionalProperties": False,
        "examples": [{"model": "smollm2:135m"}],
    },
    "Submission": {
        "type": "object",
        "description": "The target's request with Foreman's own fields beside it. Only these are listed here. Foreman "
        "removes them, except `model`, and sends the rest to the target unchanged.",
        "required": ["model"],
        "properties": {"model": MODEL.schema} | {name: or_null(field.schema) for name, field in OWN.items()},
        "additionalProperties": True,
        "examples": [{"model": "smollm2:135m", **PROMPT, "priority": "low", "metadata": {"project": "colours"}}],
    },
    "Call": {
        "type": "object",
        "description": "A request of the target's own API, sent to the target whole. Foreman reads `model`, `stream` "
        "and the options that require reloading the model.",
        "required": ["model"],
        "properties": {"model": MODEL.schema},
        "additionalProperties": True,
        "examples": [{"model": "smollm2:135m", **PROMPT, "prompt": "Name three colours.", "input": "Three colours."}],
    },
}
