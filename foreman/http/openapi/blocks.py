"""Building blocks of the OpenAPI description: operations, responses, parameters."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from foreman.domain.json_schema import COUNT, TEXT, Schema, words
from foreman.http.body import NDJSON
from foreman.http.openapi.codes import STATUSES
from foreman.http.openapi.schemas import ref

Paths: TypeAlias = dict[str, dict[str, Any]]  # operations by path and method

JSON = "application/json"
SSE = "text/event-stream"
ANY = "*/*"

EVERYWHERE = ("host_not_allowed", "origin_not_allowed", "header_unknown", "internal_error")
# target_refused: any client error, and the statuses that have descriptions of their own
REFUSALS = ("4XX", "400", "403", "404", "408", "409", "413", "500", "501")


@dataclass(frozen=True, slots=True)
class Dialect:
    """The error shape of a family of routes."""

    tag: str
    shape: str
    code: tuple[str, ...] = ()  # path of keys to the error code, if there is one
    plainly: bool = False  # 400 instead of 422


OWN = Dialect("jobs", "Error", ("code",))
SERVICE = Dialect("service", "Error", ("code",))
OLLAMA = Dialect("ollama", "OllamaError", plainly=True)
OPENAI = Dialect("openai", "OpenAIError", ("error", "code"), plainly=True)
ANTHROPIC = Dialect("openai", "AnthropicError", ("error", "code"), plainly=True)


def operation(
    name: str,
    summary: str,
    answers: Mapping[str, dict[str, Any]],
    errors: Sequence[str],
    *,
    dialect: Dialect = OWN,
    parameters: Sequence[dict[str, Any]] = (),
    body: Mapping[str, Schema] | None = None,
    description: str = "",
    needs_token: bool = True,
) -> dict[str, Any]:
    """Describe one method of a path: its answers, and its errors besides those of every route."""
    all_errors = (*EVERYWHERE, *(("unauthorized",) if needs_token else ()), *errors)
    shown: dict[str, Any] = {"operationId": name, "summary": summary, "tags": [dialect.tag]}
    if description:
        shown["description"] = description
    if not needs_token:
        shown["security"] = []
    if parameters:
        shown["parameters"] = list(parameters)
    if body:
        shown["requestBody"] = {"required": True, "content": _contents(body)}
    shown["responses"] = _with_errors(answers, all_errors, dialect)
    return shown


def answered(
    description: str, contents: Mapping[str, Schema] | None = None, *, headers: Mapping[str, Schema] | None = None
) -> dict[str, Any]:
    """Describe a response."""
    shown: dict[str, Any] = {"description": description}
    if headers:
        shown["headers"] = {name: {"schema": schema, "required": True} for name, schema in headers.items()}
    if contents:
        shown["content"] = _contents(contents)
    return shown


def given(
    schema: Schema | None = None,
    *,
    headers: Mapping[str, Schema] | None = None,
    links: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Describe a JSON response, or an empty one without a schema."""
    shown = answered("Done.", None if schema is None else {JSON: schema}, headers=headers)
    return shown | {"links": links} if links else shown


def streamed(*media: str, headers: Mapping[str, Schema] | None = None) -> dict[str, Any]:
    """Describe a response that is streamed as NDJSON or server-sent events."""
    event = {"type": "object", "description": "One event.", "properties": {"data": TEXT}}
    shapes = {NDJSON: TEXT | {"description": "One JSON value per line."}, SSE: event}
    return answered("A stream.", {name: shapes[name] for name in media}, headers=headers)


def link(operation_id: str, parameters: Mapping[str, str]) -> dict[str, Any]:
    """Describe a link to another operation."""
    return {"operationId": operation_id, "parameters": parameters}


def path(name: str, schema: Schema) -> dict[str, Any]:
    """Describe a path parameter."""
    return {"name": name, "in": "path", "required": True, "schema": schema}


def query(
    name: str, schema: Schema, description: str = "", *, comma: bool = False, required: bool = False
) -> dict[str, Any]:
    """Describe a query parameter; with `comma` its items are separated by commas in one value."""
    more = ({"explode": False} if comma else {}) | ({"required": True} if required else {})
    shown = {"name": name, "in": "query", "schema": schema} | more
    return shown | {"description": description} if description else shown


def header(name: str, schema: Schema, description: str) -> dict[str, Any]:
    """Describe a header parameter."""
    return {"name": name, "in": "header", "schema": schema, "description": description}


CALLER = header(
    "X-Foreman-Caller",
    {"type": "string", "pattern": "^[!-~]([ -~]{0,126}[!-~])?$"},
    "The caller that shares the slots with others, under the token.",
)


def _contents(shapes: Mapping[str, Schema]) -> dict[str, Any]:
    return {name: {"schema": schema} for name, schema in shapes.items()}


def events(*shapes: Schema) -> Schema:
    """Describe an event of a stream by the schemas of its data."""
    data = {"type": "string", "contentMediaType": JSON, "contentSchema": {"anyOf": list(shapes)}}
    return {"type": "object", "description": "One event.", "properties": {"data": data}}


def _with_errors(answers: Mapping[str, dict[str, Any]], errors: Sequence[str], dialect: Dialect) -> dict[str, Any]:
    shown = dict(answers)
    for status, codes in _by_status(errors, dialect).items():
        error = _error(codes, status, dialect)
        if "default" in shown:  # the target may answer with this status too, in its own shape
            error["content"][ANY] = {"schema": {}}
            error.pop("headers", None)
        elif status in shown:  # either shape
            shapes = [given["content"][JSON]["schema"] for given in (shown[status], error)]
            error = answered(f"{shown[status]['description']} Or: {error['description']}", {JSON: {"anyOf": shapes}})
        shown[status] = error
    return dict(sorted(shown.items()))


def _by_status(errors: Sequence[str], dialect: Dialect) -> dict[str, list[str]]:
    codes: defaultdict[str, list[str]] = defaultdict(list)
    for error in dict.fromkeys(errors):
        status = STATUSES.get(error)
        if status is None:  # the target's own status
            for refusal in REFUSALS:
                codes[refusal].append(error)
        else:
            codes[str(400 if dialect.plainly and status == 422 else status)].append(error)
    return codes


def _error(codes: Sequence[str], status: str, dialect: Dialect) -> dict[str, Any]:
    schema = ref(dialect.shape)
    if dialect.code:
        code = words(*codes)
        for key in reversed(dialect.code):
            code = {"properties": {key: code}}
        schema = {"allOf": [schema, code]}
    headers = {retryable: {"Retry-After": COUNT} for retryable in ("429", "503", "507")} | {
        "401": {"WWW-Authenticate": TEXT}
    }
    return answered(", ".join(codes), {JSON: schema}, headers=headers.get(status))
