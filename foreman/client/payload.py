"""Build the body of POST /jobs from keyword arguments; no I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypeAlias, TypedDict, Unpack

from foreman.client.errors import ArgumentInvalid
from foreman.client.prompt import place_prompt
from foreman.client.typed import schema_of

JsonObject: TypeAlias = Mapping[str, object]

MAX_TOKENS = 4096  # /v1/messages requires it


class OwnFields(TypedDict, total=False):
    """Foreman's own fields of a job; see POST /jobs."""

    endpoint: str | None
    priority: Literal["high", "normal", "low"] | None
    not_before: datetime | None
    start_by: datetime | None
    timeout: float | None  # seconds one attempt may take
    max_attempts: int | None
    metadata: Mapping[str, str] | None
    custom_id: str | None
    state_webhook_url: str | None
    webhook_events: Sequence[str] | None


class Fields(OwnFields, total=False):
    """Keyword arguments of a new job besides model and prompt; None is the same as not given.

    Each goes to its place in the request of the job's `endpoint`: on /api/chat `max_tokens` is the option
    `num_predict`.
    """

    # Input of the model
    system: str | None
    messages: Sequence[JsonObject] | None  # a conversation; the prompt is its last turn
    images: Sequence[bytes | str] | None  # shown with the prompt: the bytes, or their base64
    input: str | Sequence[object] | None
    instructions: str | None
    suffix: str | None

    # Output of the model
    options: JsonObject | None  # any option of the model by the server's own name for it
    temperature: float | None
    top_p: float | None
    top_k: int | None
    min_p: float | None
    seed: int | None
    stop: str | Sequence[str] | None
    max_tokens: int | None
    frequency_penalty: float | None
    presence_penalty: float | None
    format: Literal["json"] | JsonObject | type[Any] | None  # a JSON schema, the type of `Job.read`, or any JSON
    response_format: JsonObject | None
    text: JsonObject | None
    tools: Sequence[JsonObject] | None
    tool_choice: str | JsonObject | None
    parallel_tool_calls: bool | None
    think: bool | Literal["low", "medium", "high"] | None
    thinking: JsonObject | None
    reasoning: JsonObject | None
    reasoning_effort: str | None
    max_completion_tokens: int | None
    max_output_tokens: int | None
    stop_sequences: Sequence[str] | None
    n: int | None
    logprobs: bool | int | None
    top_logprobs: int | None
    logit_bias: Mapping[str, float] | None
    dimensions: int | None
    encoding_format: str | None
    truncate: bool | None
    keep_alive: float | str | None  # how long the model stays loaded: seconds, or text such as "5m"
    raw: bool | None
    template: str | None

    # Further fields of the request, sent unchanged; they override all above except Foreman's own
    extra: JsonObject | None
    payload: JsonObject | None  # the former name of `extra`


def payload_of(model: str, prompt: str | None = None, **fields: Unpack[Fields]) -> dict[str, Any]:
    """Return the body of POST /jobs that `submit` sends, for `submit_many`, `submit_once` and `submit_parts`.

    Raise ArgumentInvalid for an argument that is unknown or that the job's endpoint does not take.
    """
    return body_of(model, prompt, fields)


_ANY_JSON = {"type": "json_object"}
_SAMPLING = "temperature top_p top_k min_p seed stop max_tokens frequency_penalty presence_penalty"
_TOOLS = "tools tool_choice parallel_tool_calls"
_TAKES = {  # by name, besides the input and `options`
    endpoint: frozenset(f"{names} {'' if 'embed' in endpoint else _SAMPLING}".split())
    for endpoint, names in {
        "/api/chat": "format tools think logprobs top_logprobs truncate keep_alive",
        "/api/generate": "format think suffix raw template logprobs top_logprobs truncate keep_alive",
        "/api/embed": "input dimensions truncate keep_alive",
        "/v1/chat/completions": f"{_TOOLS} format response_format reasoning_effort max_completion_tokens n logprobs "
        "top_logprobs logit_bias",
        "/v1/completions": "suffix n logprobs logit_bias",
        "/v1/responses": f"{_TOOLS} input instructions format text reasoning max_output_tokens top_logprobs",
        "/v1/messages": f"{_TOOLS} thinking stop_sequences",
        "/v1/embeddings": "input dimensions encoding_format",
    }.items()
}
_CALLED = {  # arguments that an endpoint names differently
    "/api/chat": {"max_tokens": "num_predict"},
    "/api/generate": {"max_tokens": "num_predict"},
    "/v1/responses": {"max_tokens": "max_output_tokens", "format": "text"},
    "/v1/messages": {"stop": "stop_sequences"},
    "/v1/chat/completions": {"format": "response_format"},
}


def body_of(model: str, prompt: str | None = None, fields: Fields | None = None) -> dict[str, Any]:
    """Return the body of POST /jobs. Raise ArgumentInvalid for an argument that the job's endpoint does not take."""
    given: dict[str, Any] = {name: value for name, value in (fields or {}).items() if value is not None}
    extra = {**given.pop("payload", {}), **given.pop("extra", {})}
    if "format" in given and given["format"] != "json" and not isinstance(given["format"], Mapping):
        given["format"] = schema_of(given["format"])
    own = {name: given.pop(name) for name in list(given) if name in OwnFields.__annotations__}
    endpoint = own.get("endpoint", "/api/chat")
    native = endpoint.startswith("/api/")
    body: dict[str, Any] = {"model": model} | place_prompt(endpoint, prompt, given)
    if options := given.pop("options", None):
        body |= {"options": dict(options)} if native else options
    for name, value in given.items():
        if endpoint in _TAKES and name not in _TAKES[endpoint]:
            raise ArgumentInvalid(f"{endpoint} has no place for {name!r}", "extra={…} reaches the model as it is")
        place = _CALLED.get(endpoint, {}).get(name, name)
        within = body.setdefault("options", {}) if native and name in _SAMPLING.split() else body
        if place in within:
            raise ArgumentInvalid(f"{name!r} is given twice", f"{endpoint} has one place for it, {place!r}")
        within[place] = _value(endpoint, name, value)
    if endpoint == "/v1/messages":
        body.setdefault("max_tokens", MAX_TOKENS)
    return body | extra | own


def _value(endpoint: str, name: str, value: Any) -> Any:
    """Return the value of an argument in the shape of the endpoint."""
    match name, endpoint:
        case "stop", _:
            return [value] if isinstance(value, str) else list(value)
        case "format", "/v1/chat/completions":
            return _ANY_JSON if value == "json" else {"type": "json_schema", "json_schema": _named(value)}
        case "format", "/v1/responses":
            return {"format": _ANY_JSON if value == "json" else {"type": "json_schema", **_named(value)}}
    return value


def _named(schema: Mapping[str, Any]) -> dict[str, Any]:
    name = re.sub(r"[^A-Za-z0-9_-]", "_", str(schema.get("title") or "answer"))  # OpenAI allows only these characters
    return {"name": name, "schema": schema, "strict": True}
