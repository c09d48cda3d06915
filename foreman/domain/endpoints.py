"""The endpoints that a job may be for, and the families they fall into."""

from __future__ import annotations

from typing import Literal, get_args

Endpoint = Literal[
    "/api/chat",
    "/api/generate",
    "/api/embed",
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/messages",
    "/v1/embeddings",
]
ENDPOINTS: tuple[Endpoint, ...] = get_args(Endpoint)

Counting = Literal["/v1/messages/count_tokens", "/v1/responses/input_tokens"]  # no jobs: answered at once

NATIVE = frozenset({"/api/chat", "/api/generate", "/api/embed"})  # Ollama's own; a stream of theirs is NDJSON
EMBEDDING = frozenset({"/api/embed", "/v1/embeddings"})  # answered whole, and beside the queue
COMPLETIONS = frozenset({"/v1/chat/completions", "/v1/completions"})  # usage on request only; [DONE] ends a stream
TYPED = frozenset({"/v1/responses", "/v1/messages"})  # the events of a stream carry their type as a name too
