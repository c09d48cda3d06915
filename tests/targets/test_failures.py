"""Answers with status 200 that say they failed: each is a fault with the server's words, and nothing else is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from foreman.domain.answers.chunk import Chunk
from foreman.domain.answers.decoder import Decoder
from foreman.domain.endpoints import ENDPOINTS, at
from foreman.domain.errors import TargetFailed

Json = dict[str, Any]
WORDS = "out of memory"
SOME: dict[str, list[Json]] = {  # how an answer begins
    "/api/chat": [{"message": {"role": "assistant", "content": "Half"}, "done": False}],
    "/api/generate": [{"response": "Half", "done": False}],
    "/v1/chat/completions": [{"choices": [{"index": 0, "delta": {"content": "Half"}, "finish_reason": None}]}],
    "/v1/completions": [{"choices": [{"index": 0, "text": "Half", "finish_reason": None}]}],
    "/v1/responses": [{"type": "response.output_text.delta", "delta": "Half", "item_id": "m", "output_index": 0}],
    "/v1/messages": [
        {"type": "message_start", "message": {"id": "m", "type": "message", "content": []}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Half"}},
    ],
}
ANYWHERE: list[Json] = [
    {"error": WORDS},
    {"error": {"message": WORDS, "type": "server_error", "code": None}},
    {"error": {"error": {"message": WORDS}}},
    {"type": "error", "error": {"type": "api_error", "message": WORDS}},
    {"type": "error", "message": WORDS},
    {"object": "error", "message": WORDS, "code": 500},
    {"detail": WORDS},
    {"detail": {"message": WORDS}},
    {"error_code": 50002, "text": WORDS},
    {"message": WORDS, "code": 500},
    {"code": 1302, "msg": WORDS},
    {"status": "failed", "reason": WORDS},
    {"error_message": WORDS},
]
OWN: list[tuple[str, Json]] = [
    ("/v1/chat/completions", {"choices": [], "message": WORDS}),
    ("/v1/chat/completions", {"choices": None, "detail": WORDS, "usage": None}),
    ("/v1/chat/completions", {"choices": [{"index": 0, "delta": {}, "error": {"message": WORDS}}]}),
    (
        "/v1/chat/completions",
        {"choices": [{"index": 0, "delta": {}, "finish_reason": {"type": "abort", "message": WORDS}}]},
    ),
    ("/v1/responses", {"type": "response.failed", "response": {"status": "failed", "error": {"message": WORDS}}}),
    ("/v1/responses", {"type": "response.error", "error": {"message": WORDS}}),
    ("/v1/responses", {"type": "response.completed", "response": {"status": "failed", "error": {"message": WORDS}}}),
    ("/v1/responses", {"object": "response", "status": "failed", "error": {"code": "x", "message": WORDS}}),
]


def begun(endpoint: str) -> Decoder:
    decoder = at(endpoint).decoder("t")
    for value in SOME.get(endpoint, []):
        assert decoder.take(json.dumps(value).encode())
    return decoder


@pytest.mark.parametrize("value", ANYWHERE, ids=json.dumps)
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_an_error_of_any_shape_is_a_failure_in_its_words(endpoint: str, value: Json) -> None:
    data = json.dumps(value).encode()
    with pytest.raises(TargetFailed, match=WORDS):
        begun(endpoint).take(data)
    with pytest.raises(TargetFailed, match=WORDS):
        at(endpoint).decoder("t").take(data, whole=True)
    with pytest.raises(TargetFailed, match=WORDS):
        at(endpoint).answer().add(Chunk(data))


@pytest.mark.parametrize(("endpoint", "value"), OWN, ids=str)
def test_the_shapes_of_one_endpoint(endpoint: str, value: Json) -> None:
    with pytest.raises(TargetFailed, match=WORDS):
        begun(endpoint).take(json.dumps(value).encode())


@pytest.mark.parametrize("reason", ["error", "abort", "failed", "insufficient_system_resource", "network_error"])
def test_an_answer_that_ended_in_an_error_failed(reason: str) -> None:
    ends: list[tuple[str, Json]] = [
        ("/v1/chat/completions", {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}),
        ("/v1/completions", {"choices": [{"index": 0, "text": "", "finish_reason": reason}]}),
        ("/api/generate", {"response": "", "done": True, "done_reason": reason}),
        ("/v1/messages", {"type": "message_delta", "delta": {"stop_reason": reason}}),
    ]
    for endpoint, value in ends:
        with pytest.raises(TargetFailed, match=f"reason is {reason}"):
            begun(endpoint).take(json.dumps(value).encode())


@pytest.mark.parametrize("end", ["[DONE]", None])
def test_a_last_chunk_with_neither_choices_nor_usage_is_a_failure(end: str | None) -> None:
    decoder = begun("/v1/chat/completions")
    decoder.take(b'{"id":"c","choices":[],"state":"engine stopped"}')
    with pytest.raises(TargetFailed, match="engine stopped"):
        decoder.take(end.encode()) if end else decoder.end(framed=True)


@pytest.mark.parametrize(
    "values",
    [
        [],
        [{"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]}],
        [{"choices": [], "usage": {"total_tokens": 3}}],
    ],
    ids=["nothing", "only a role", "only usage"],
)
def test_a_stream_without_an_answer_is_a_failure(values: list[Json]) -> None:
    decoder = at("/v1/chat/completions").decoder("t")
    for value in values:
        decoder.take(json.dumps(value).encode())
    with pytest.raises(TargetFailed, match="without an answer"):
        decoder.take(b"[DONE]")


@pytest.mark.parametrize("endpoint", ["/v1/chat/completions", "/v1/completions"])
@pytest.mark.parametrize("value", [{}, {"choices": []}, {"id": "x", "choices": None}], ids=str)
def test_a_whole_answer_without_choices_is_a_failure(endpoint: str, value: Json) -> None:
    with pytest.raises(TargetFailed):
        at(endpoint).decoder("t").take(json.dumps(value).encode(), whole=True)


HARMLESS: list[tuple[str, Json]] = [
    ("/v1/chat/completions", {"choices": [], "prompt_filter_results": [{}]}),
    ("/v1/chat/completions", {"choices": [], "error": None, "x_groq": {"id": "r"}}),
    ("/v1/chat/completions", {"choices": [{"index": 0, "delta": {"content": "error"}, "finish_reason": None}]}),
    ("/v1/chat/completions", {"choices": [{"index": 0, "delta": {}, "finish_reason": "content_filter"}]}),
    ("/v1/completions", {"usage": {"total_tokens": 1}, "message": "fine"}),
    ("/v1/responses", {"type": "response.incomplete", "response": {"status": "incomplete", "error": None}}),
    ("/v1/responses", {"type": "response.created", "response": {"status": "queued", "error": None}}),
    ("/v1/messages", {"type": "ping", "message": "hello"}),
    ("/v1/messages", {"type": "message_delta", "delta": {"stop_reason": "refusal"}}),
    ("/api/chat", {"message": {"role": "assistant", "content": "x"}, "done": False, "error": ""}),
    ("/api/generate", {"response": "", "done": True, "done_reason": "length", "detail": "y"}),
]


@pytest.mark.parametrize(("endpoint", "value"), HARMLESS, ids=str)
def test_what_only_looks_like_a_failure_is_none(endpoint: str, value: Json) -> None:
    begun(endpoint).take(json.dumps(value).encode())


def test_every_endpoint_is_looked_at() -> None:
    assert set(SOME) == set(ENDPOINTS) - {"/api/embed", "/v1/embeddings"}
