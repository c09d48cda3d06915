"""JSON schemas of /openapi.json: request bodies and responses."""

from __future__ import annotations

from typing import Any, TypeAlias

from foreman.domain.endpoints import ENDPOINTS
from foreman.domain.fields import MAX_ATTEMPTS, MAX_TIMEOUT, MODEL_LENGTH
from foreman.domain.job import DeliveryState, Priority, State
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
    """Return a reference to a schema of the components."""
    return {"$ref": f"#/components/schemas/{name}"}


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
    if "enum" in schema:
        schema = schema | {"enum": [*schema["enum"], None]}
    return schema | {"type": [schema["type"], "null"]} if "type" in schema else {"anyOf": [schema, {"type": "null"}]}


def record(always: dict[str, Schema], sometimes: dict[str, Schema] | None = None, description: str = "") -> Schema:
    """Return the schema of an object with its required and its optional keys."""
    shape = {"type": "object", "properties": always | (sometimes or {}), "required": list(always)}
    return shape | {"description": description} if description else shape


STATE = words(*(state.value for state in State))
PRIORITY = words(*(priority.word for priority in Priority))
MODEL = text(MODEL_LENGTH, least=1) | {"description": "Name or alias of a model of the target."}
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
    "attempt": COUNT | {"description": "Attempts spent, including the running one."},
    "error": or_null(TEXT),
    "error_code": or_null(TEXT),
    "endpoint": words(*ENDPOINTS),
    "priority": PRIORITY,
    "max_attempts": {"type": "integer", "minimum": 1, "maximum": MAX_ATTEMPTS},
    "metadata": or_null(METADATA),
    "custom_id": or_null(TEXT),
    "owner": or_null(TEXT) | {"description": "Name of the token that submitted the job."},
    "caller": or_null(TEXT) | {"description": "The same as `owner`."},
    "queue_position": or_null({"type": "integer", "minimum": 1})
    | {"description": "1 is next; 1000 means 1000 or more."},
    "eta_seconds": or_null(SECONDS),
    "not_before": or_null(TIME),
    "expires_at": or_null(TIME) | {"description": "Time of removal."},
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
            "metadata": or_null(METADATA),
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
    "Links": record(dict.fromkeys(LINKS, TEXT)),
    "Accepted": record(
        {
            "job_id": TEXT,
            "state": STATE,
            "queue_position": or_null({"type": "integer", "minimum": 1}),
            "links": ref("Links"),
        },
        description="A job that was stored.",
    ),
    "Taken": record({"line": COUNT, "job_id": TEXT, "custom_id": or_null(TEXT)}),
    "Rejected": record({"line": COUNT, "error": TEXT, "code": TEXT}, {"hint": TEXT}),
    "Submitted": record(
        {"accepted": COUNT, "rejected": COUNT, "jobs": many(ref("Taken")), "errors": many(ref("Rejected"))},
        description="The outcome of each line.",
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
            "jobs": many(ref("ListedJob")) | {"description": "Jobs ready to run, the next one first."},
            "scheduled": many(ref("ListedJob")) | {"description": "Jobs with a future start, the soonest first."},
        }
    ),
    "Artifact": record(
        {"name": TEXT, "content_type": TEXT, "size": COUNT},
        {"data": TEXT, "encoding": words("base64"), "url": TEXT},
        "`data` is text, or base64 if `encoding` says so; large artifacts have a `url` instead.",
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
        description="The webhook of one event.",
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
            "scheduled": COUNT | {"description": "How many of `queued` have a future start."},
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
            | {"description": "Defaults for jobs that leave a field out."},
            "oldest_seconds": or_null(SECONDS),
        }
    ),
    "FailingModel": record(
        {"model": TEXT, "error_code": TEXT, "since": TIME, "retry_at": or_null(TIME)},
        description="A model whose calls failed repeatedly. Its jobs wait until `retry_at`, null during a trial call.",
    ),
    "Usage": record(
        {
            "step": words("minute", "hour", "day"),
            "from": TIME,
            "to": TIME,
            "since": or_null(TIME),
            "rows": many(ref("UsageRow")),
        },
        description="Rows by time: one per step from `from` up to `to`; with `by` one per name and step, without "
        "empty ones.",
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
            "cached_tokens": COUNT | {"description": "Part of `prompt_tokens`."},
            "answer_tokens": COUNT,
            "busy_seconds": SECONDS | {"description": "Sum over all slots."},
            "wait_p50": or_null(SECONDS) | {"description": "Median wait of the jobs that started."},
            "wait_p95": or_null(SECONDS),
            "loads": COUNT,
            "waiting": or_null(COUNT) | {"description": "Maximum at one time; null with `by`."},
            "running": or_null(COUNT) | {"description": "Maximum at one time; null with `by`."},
        },
    ),
    "Paused": record({"paused": FLAG}),
    "Ticket": record({"ticket": TEXT, "expires_in": COUNT | {"description": "Seconds."}}),
    "Health": record(
        {
            "status": words("ok"),
            "degraded": FLAG,
            "target_silent_seconds": SECONDS
            | {"description": "Seconds since the last unanswered probe began, else 0."},
            "version": TEXT,
            "boot_id": TEXT | {"description": "Identifies this run of the process."},
        },
        {"target_error": TEXT},
    ),
    "Readiness": record({"status": words("ready", "draining")}),
    "OpenAIModel": record({"id": TEXT, "object": words("model"), "created": {"type": "integer"}, "owned_by": TEXT}),
    "OpenAIModels": record({"object": words("list"), "data": many(ref("OpenAIModel"))}),
    "Fault": record({"error": TEXT, "code": TEXT}, {"hint": TEXT}, "An error: a sentence and a code."),
    "OllamaFault": record({"error": TEXT}),
    "OpenAIFault": record({"error": _OPENAI_ERROR}),
    "AnthropicFault": record({"type": words("error"), "error": _OPENAI_ERROR}),
}
