"""The shapes of what /openapi.json describes: the bodies that callers send, and those that they are shown."""

from __future__ import annotations

from typing import Any, TypeAlias

from foreman.domain.endpoints import ENDPOINTS
from foreman.domain.job import DeliveryState, Priority, State
from foreman.domain.wire import MAX_ATTEMPTS, MAX_TIMEOUT, MODEL_LENGTH
from foreman.http.query import JOB_ID

Schema: TypeAlias = dict[str, Any]

ANYTHING: Schema = {}
TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
FLAG: Schema = {"type": "boolean"}
TIME: Schema = {"type": "string", "format": "date-time"}
SECONDS: Schema = {"type": "number", "minimum": 0}
LINKS = ("self", "events", "stream", "cancel")


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def words(*allowed: str) -> Schema:
    return {"type": "string", "enum": list(allowed)}


def text(longest: int, *, least: int = 0) -> Schema:
    return {"type": "string", "minLength": least, "maxLength": longest, "pattern": r"^[^\u0000]*$"}


def many(item: Schema) -> Schema:
    return {"type": "array", "items": item}


def or_null(schema: Schema) -> Schema:
    if "enum" in schema:
        schema = schema | {"enum": [*schema["enum"], None]}
    return schema | {"type": [schema["type"], "null"]} if "type" in schema else {"anyOf": [schema, {"type": "null"}]}


def record(always: dict[str, Schema], sometimes: dict[str, Schema] | None = None, description: str = "") -> Schema:
    """An object: the keys that it always has, and those that it may have."""
    shape = {"type": "object", "properties": always | (sometimes or {}), "required": list(always)}
    return shape | {"description": description} if description else shape


STATE = words(*(state.value for state in State))
PRIORITY = words(*(priority.word for priority in Priority))
MODEL = text(MODEL_LENGTH, least=1) | {"description": "A model of the target, by name or alias."}
METADATA: Schema = {
    "type": "object",
    "maxProperties": 16,
    "propertyNames": {"maxLength": 64, "pattern": r"^[^\u0000]*$"},
    "additionalProperties": text(1024),
}
PROMPT = {"messages": [{"role": "user", "content": "Name three colours."}]}

_JOB: dict[str, Schema] = {
    "job_id": {"type": "string", "pattern": f"^{JOB_ID}$"},
    "state": STATE,
    "model": TEXT,
    "created_at": TIME,
    "started_at": or_null(TIME),
    "completed_at": or_null(TIME),
    "attempt": COUNT | {"description": "Attempts spent, the running one included."},
    "error": or_null(TEXT),
    "error_code": or_null(TEXT),
    "endpoint": words(*ENDPOINTS),
    "priority": PRIORITY,
    "max_attempts": {"type": "integer", "minimum": 1, "maximum": MAX_ATTEMPTS},
    "metadata": or_null(METADATA),
    "custom_id": or_null(TEXT),
    "owner": or_null(TEXT) | {"description": "The name of the token that it was submitted with."},
    "caller": or_null(TEXT) | {"description": "The same."},
    "queue_position": or_null({"type": "integer", "minimum": 1}) | {"description": "1 is next; 1000 stands for more."},
    "eta_seconds": or_null(SECONDS),
    "not_before": or_null(TIME),
    "expires_at": or_null(TIME) | {"description": "When it will be removed."},
    "links": ref("Links"),
}
_EVENT: dict[str, Schema] = {
    "type": words("state"),
    "seq": COUNT,
    "job_id": TEXT,
    "state": STATE,
    "previous_state": words("", *STATE["enum"]),
    "timestamp": TIME,
    "model": TEXT,
    "attempt": COUNT,
    "error": or_null(TEXT),
    "custom_id": or_null(TEXT),
}
_OPENAI_ERROR = record(
    {"message": TEXT, "type": TEXT, "param": or_null(TEXT), "code": TEXT | {"description": "A stable code."}}
)

SHAPES: dict[str, Schema] = {
    "Submission": {
        "type": "object",
        "description": "The request for the target, as its endpoint wants it, with Foreman's own fields beside it. "
        "Only these are listed; they are taken out (`model` stays), and every other goes to the target as it is.",
        "required": ["model"],
        "properties": {
            "model": MODEL,
            "endpoint": or_null(words(*ENDPOINTS)) | {"description": "Where the request goes; /api/chat by default."},
            "priority": or_null(PRIORITY) | {"description": "normal by default."},
            "not_before": or_null(TIME) | {"description": "Stays queued until then; within the next 100 years."},
            "start_by": or_null(TIME) | {"description": "Expires if not started by then; later than not_before."},
            "timeout": or_null({"type": "number", "minimum": 0.001, "maximum": MAX_TIMEOUT})
            | {"description": "Seconds that one attempt may run."},
            "max_attempts": or_null({"type": "integer", "minimum": 1, "maximum": MAX_ATTEMPTS}),
            "metadata": or_null(METADATA),
            "custom_id": or_null(text(64)),
            "state_webhook_url": or_null(text(2048)) | {"description": "Every change of state is posted there."},
            "webhook_events": or_null(many(STATE) | {"minItems": 1}) | {"description": "Only these; all by default."},
        },
        "additionalProperties": True,
        "examples": [{"model": "smollm2:135m", **PROMPT, "priority": "low", "metadata": {"project": "colours"}}],
    },
    "Call": {
        "type": "object",
        "description": "The request as the target's own API wants it. All of it is for the target; Foreman reads "
        "`model` and `stream`, and the options that decide whether the model has to be loaded anew.",
        "required": ["model"],
        "properties": {"model": MODEL},
        "additionalProperties": True,
        "examples": [{"model": "smollm2:135m", **PROMPT, "prompt": "Name three colours.", "input": "Three colours."}],
    },
    "Links": record(dict.fromkeys(LINKS, TEXT)),
    "Accepted": record(
        {
            "job_id": TEXT,
            "state": STATE,
            "queue_position": or_null({"type": "integer", "minimum": 1}),
            "links": ref("Links"),
        },
        description="A job that is on disk.",
    ),
    "Taken": record({"line": COUNT, "job_id": TEXT, "custom_id": or_null(TEXT)}),
    "Rejected": record({"line": COUNT, "error": TEXT, "code": TEXT}, {"hint": TEXT}),
    "Submitted": record(
        {"accepted": COUNT, "rejected": COUNT, "jobs": many(ref("Taken")), "errors": many(ref("Rejected"))},
        description="What became of each line.",
    ),
    "ListedJob": record(_JOB),
    "Job": record(
        _JOB
        | {
            "result": {"description": "The target's answer, in the shape of `endpoint`; null until done."},
            "artifacts": many(ref("Artifact")),
        }
    ),
    "Page": record({"jobs": many(ref("ListedJob")), "next": or_null(TEXT)}, description="Newest first."),
    "Line": record(
        {
            "jobs": many(ref("ListedJob")) | {"description": "The first in line first."},
            "scheduled": many(ref("ListedJob")) | {"description": "Those whose time is to come, the soonest first."},
        }
    ),
    "Artifact": record(
        {"name": TEXT, "content_type": TEXT, "size": COUNT},
        {"data": TEXT, "encoding": words("base64"), "url": TEXT},
        "`data` is the text itself, or base64 as `encoding` says; large ones have a `url` in its place.",
    )
    | {"oneOf": [{"required": ["data"]}, {"required": ["url"]}]},
    "Change": record(_EVENT),
    "Changes": record({"events": many(ref("Change")), "next": or_null(COUNT)}, description="Oldest first."),
    "Hello": record({"type": words("hello"), "seq": COUNT, "oldest": COUNT}),
    "Delivery": record(
        {
            "delivery_id": TEXT,
            "seq": COUNT,
            "url": TEXT,
            "state": words(*(state.value for state in DeliveryState)),
            "attempts": COUNT,
            "due_at": TIME,
            "status": or_null(COUNT),
            "error": or_null(TEXT),
            "ended_at": or_null(TIME),
        },
        description="The webhook of one change.",
    ),
    "Deliveries": record({"deliveries": many(ref("Delivery")), "next": or_null(COUNT)}, description="Oldest first."),
    "Running": record(
        {
            "job_id": TEXT,
            "model": TEXT,
            "custom_id": or_null(TEXT),
            "state": STATE,
            "attempt": COUNT,
            "started_at": or_null(TIME),
        }
    ),
    "Queue": record(
        {
            "queued": COUNT,
            "scheduled": COUNT | {"description": "How many of them wait for a time to come."},
            "by_model": {
                "type": "object",
                "additionalProperties": record(dict.fromkeys(PRIORITY["enum"], COUNT)),
            },
            "running": many(ref("Running")),
            "resident": or_null(TEXT),
            "slots": {"type": "integer", "minimum": 1},
            "paused": FLAG,
            "degraded": FLAG,
            "failing_models": many(ref("FailingModel")),
            "defaults": record({"max_attempts": {"type": "integer", "minimum": 1}, "timeout": SECONDS})
            | {"description": "What holds for a job that does not say it."},
            "oldest_seconds": or_null(SECONDS),
        }
    ),
    "FailingModel": record(
        {"model": TEXT, "error_code": TEXT, "since": TIME, "retry_at": or_null(TIME)},
        description="Its calls failed one after the other; until `retry_at`, null while one is tried, its jobs wait.",
    ),
    "Usage": record(
        {
            "step": words("minute", "hour", "day"),
            "from": TIME,
            "to": TIME,
            "since": or_null(TIME),
            "rows": many(ref("UsageRow")),
        },
        description="By time; every step from `from` up to `to` has a row, but with `by` only those with something.",
    ),
    "UsageRow": record(
        {
            "from": TIME,
            "by": or_null(TEXT),
            "submitted": COUNT,
            "done": COUNT,
            "failed": COUNT,
            "cancelled": COUNT,
            "expired": COUNT,
            "prompt_tokens": COUNT,
            "cached_tokens": COUNT | {"description": "Of those of the prompts."},
            "answer_tokens": COUNT,
            "busy_seconds": SECONDS | {"description": "Of all slots together."},
            "wait_p50": or_null(SECONDS) | {"description": "Half of the jobs that started had waited no longer."},
            "wait_p95": or_null(SECONDS),
            "loads": COUNT,
            "waiting": or_null(COUNT) | {"description": "The most at once; null with `by`."},
            "running": or_null(COUNT) | {"description": "The most at once; null with `by`."},
        },
    ),
    "Paused": record({"paused": FLAG}),
    "Ticket": record({"ticket": TEXT, "expires_in": COUNT | {"description": "Seconds."}}),
    "Health": record(
        {
            "status": words("ok"),
            "degraded": FLAG,
            "target_silent_seconds": SECONDS | {"description": "For how long the target has owed an answer."},
            "version": TEXT,
            "boot_id": TEXT | {"description": "Of this run of the process."},
        },
        {"target_error": TEXT},
    ),
    "Readiness": record({"status": words("ready", "draining")}),
    "OpenAIModel": record({"id": TEXT, "object": words("model"), "created": {"type": "integer"}, "owned_by": TEXT}),
    "OpenAIModels": record({"object": words("list"), "data": many(ref("OpenAIModel"))}),
    "Fault": record({"error": TEXT, "code": TEXT}, {"hint": TEXT}, "What is wrong, in a sentence and as a code."),
    "OllamaFault": record({"error": TEXT}),
    "OpenAIFault": record({"error": _OPENAI_ERROR}),
    "AnthropicFault": record({"type": words("error"), "error": _OPENAI_ERROR}),
}
