"""langchain-ollama, unmodified, against Foreman on the embedded engine."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from langchain_ollama import ChatOllama, OllamaEmbeddings

from tests.http.compat.conftest import MODEL, Front

# It never closes its connections by itself.
CLOSING: dict[str, Any] = {"trust_env": False, "limits": httpx.Limits(max_keepalive_connections=0)}


def chat_at(front: Front, model: str = MODEL) -> ChatOllama:
    return ChatOllama(
        model=model,
        base_url=front.url,
        num_predict=8,
        temperature=0,
        validate_model_on_init=True,
        sync_client_kwargs={**CLOSING, "event_hooks": {"response": [front.hook]}},
    )


def test_invoke_is_a_job(front: Front) -> None:
    answer = chat_at(front).invoke("Say hello.")
    assert answer.content and answer.response_metadata["done_reason"] == "length"
    assert answer.usage_metadata is not None and answer.usage_metadata["output_tokens"] == 8
    assert front.ended()["result"]["message"]["content"] == answer.content


def test_stream_is_a_job(front: Front) -> None:
    pieces = [str(chunk.content) for chunk in chat_at(front).stream("Say hello.")]
    assert len(pieces) > 4
    assert front.ended()["result"]["message"]["content"] == "".join(pieces)


def test_a_model_is_validated(front: Front) -> None:
    with pytest.raises(ValueError, match="not found"):
        chat_at(front, "m")


def test_embeddings_pass_the_queue(front: Front) -> None:
    embeddings = OllamaEmbeddings(model=MODEL, base_url=front.url, sync_client_kwargs=CLOSING)
    cat, kitten = embeddings.embed_documents(["a cat", "a kitten"])
    assert len(cat) == len(kitten) > 100 and cat != kitten
