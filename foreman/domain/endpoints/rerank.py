"""The endpoint `/v1/rerank` of vLLM, llama.cpp, Infinity and Jina: documents sorted by relevance to a query."""

from __future__ import annotations

from foreman.domain.endpoints.values import ValueEndpoint


class Rerank(ValueEndpoint):
    """See the module."""

    path = "/v1/rerank"
    operation = "rerank"
    summary = "Rank documents by relevance, past the queue"
    content = frozenset({"results"})
    job = False
    on_ollama = False


ENDPOINT = Rerank()
