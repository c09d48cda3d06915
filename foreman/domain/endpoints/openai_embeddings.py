"""The endpoint `/v1/embeddings`: embeddings in OpenAI's API."""

from __future__ import annotations

from foreman.domain.endpoints.values import ValueEndpoint


class Embeddings(ValueEndpoint):
    """See the module."""

    path = "/v1/embeddings"
    operation = "openai_embeddings"
    summary = "Compute embeddings, past the queue"
    content = frozenset({"data"})


ENDPOINT = Embeddings()
