"""The endpoints of jobs and their families."""

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

Counting = Literal["/v1/messages/count_tokens", "/v1/responses/input_tokens"]  # answered at once, without a job

NATIVE = frozenset({"/api/chat", "/api/generate", "/api/embed"})  # Ollama's own; they stream NDJSON
EMBEDDING = frozenset({"/api/embed", "/v1/embeddings"})  # never streamed; calls skip the queue
COMPLETIONS = frozenset({"/v1/chat/completions", "/v1/completions"})  # usage on request only; [DONE] ends a stream
TYPED = frozenset({"/v1/responses", "/v1/messages"})  # SSE events carry their type as the event name too
