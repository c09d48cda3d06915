"""The body of a new job: a prompt put the way its endpoint wants it, and Foreman's own fields; no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypedDict

MAX_TOKENS = 4096  # /v1/messages wants a number


class Fields(TypedDict, total=False):
    """Foreman's own fields of a job; see POST /jobs."""

    endpoint: str
    priority: Literal["high", "normal", "low"]
    not_before: datetime
    start_by: datetime
    timeout: float  # seconds one attempt may take
    max_attempts: int
    metadata: Mapping[str, str]
    custom_id: str
    state_webhook_url: str
    webhook_events: Sequence[str]


def body_of(
    model: str,
    prompt: str | None,
    *,
    system: str | None = None,
    options: Mapping[str, Any] | None = None,
    payload: Mapping[str, Any] | None = None,
    fields: Fields | None = None,
) -> dict[str, Any]:
    """The body of POST /jobs.

    `options` go where the endpoint looks for them: into `options` on /api/*, beside `model` on /v1/*. `payload` holds
    whatever else the target shall get, and wins over what was made from the other arguments.
    """
    own: dict[str, Any] = {name: value for name, value in (fields or {}).items() if value is not None}
    endpoint = own.get("endpoint", "/api/chat")
    body: dict[str, Any] = {"model": model}
    if prompt is not None:
        body |= _prompt(endpoint, prompt, system)
    if options:
        body |= {"options": dict(options)} if endpoint.startswith("/api/") else dict(options)
    return body | dict(payload or {}) | own


def _prompt(endpoint: str, prompt: str, system: str | None) -> dict[str, Any]:
    said = {"role": "user", "content": prompt}
    match endpoint:
        case "/api/generate":
            return {"prompt": prompt} | ({"system": system} if system else {})
        case "/v1/completions":
            return {"prompt": f"{system}\n\n{prompt}" if system else prompt}
        case "/v1/responses":
            return {"input": prompt} | ({"instructions": system} if system else {})
        case "/v1/messages":
            return {"messages": [said], "max_tokens": MAX_TOKENS} | ({"system": system} if system else {})
        case "/api/embed" | "/v1/embeddings":
            return {"input": prompt}
        case _:
            return {"messages": [{"role": "system", "content": system}, said] if system else [said]}
