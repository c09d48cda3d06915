"""Whole answers where a stream was asked for: what the official clients make of the chunks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import RawMessageStreamEvent
from openai import omit
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types import Completion
from openai.types.chat import ChatCompletionChunk
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from foreman.domain.answers.chunk import Chunk
from foreman.domain.endpoints import at

Json = dict[str, Any]
RESPONSE_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
MESSAGE_EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
CALLS = [
    {"id": f"call_{x}", "type": "function", "function": {"name": "f", "arguments": json.dumps({"x": x})}} for x in "ab"
]


def completion(*messages: Json, **top: Any) -> Json:
    choices = [
        {"index": n, "message": {"role": "assistant", **message}, "logprobs": None, "finish_reason": "stop"}
        for n, message in enumerate(messages)
    ]
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    base = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": choices, "usage": usage}
    return base | top


def unfolded(endpoint: str, answer: Json) -> list[Json]:
    """Return the values of the stream, once it is clear that the answer itself is kept as it came."""
    data = json.dumps(answer).encode()
    decoder, kept = at(endpoint).decoder("t"), at(endpoint).answer()
    chunks = decoder.take(data, whole=True)
    assert decoder.closed and [chunk.last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    for chunk in chunks:
        kept.add(chunk)
    assert kept.result() == data
    return [json.loads(chunk.data) for chunk in chunks]


@pytest.mark.parametrize(
    "answer",
    [
        completion({"content": "Hello."}),
        completion({"content": "One"}, {"content": "Two", "refusal": None}),
        completion({"content": None, "tool_calls": CALLS}),
        completion({"content": "", "reasoning_content": "Hm."}, timings={"n": 1}),
    ],
    ids=["text", "two choices", "calls", "thinking"],
)
def test_a_chat_completion(answer: Json) -> None:
    state = ChatCompletionStreamState()
    for value in unfolded("/v1/chat/completions", answer):
        state.handle_chunk(ChatCompletionChunk.model_validate(value))
    read: Json = state.get_final_completion().to_dict()
    for was, now in zip(answer["choices"], read["choices"], strict=True):
        for call in now["message"].get("tool_calls") or ():
            call.pop("index", None)
            call["function"].pop("parsed_arguments", None)
        assert {name: now["message"].get(name) for name in was["message"]} == was["message"]
        assert now["finish_reason"] == "stop"
    assert read["usage"] == answer["usage"]


def test_the_usage_comes_in_a_chunk_of_its_own() -> None:
    *others, last = unfolded("/v1/chat/completions", completion({"content": "x"}))
    assert last["choices"] == [] and last["usage"]["total_tokens"] == 3 and all("usage" not in one for one in others)
    assert unfolded("/v1/chat/completions", completion({"content": "x"}, usage=None))[-1]["choices"]


def test_a_text_completion() -> None:
    choice = {"index": 0, "text": "Hello.", "finish_reason": "length", "logprobs": None}
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    answer = {"id": "c", "object": "text_completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
    first, last = (Completion.model_validate(value) for value in unfolded("/v1/completions", answer))
    assert first.choices[0].text == "Hello." and first.usage is None and last.usage and not last.choices


TEXT = {"type": "output_text", "text": "Hello.", "annotations": []}
CALL = {"type": "function_call", "id": "f1", "call_id": "a", "name": "f", "arguments": '{"x":1}', "status": "completed"}
SAID = {"type": "message", "id": "m1", "role": "assistant", "status": "completed", "content": [TEXT]}
THOUGHT = {"type": "reasoning", "id": "r1", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]}
REFUSED = {**SAID, "content": [{"type": "refusal", "refusal": "No."}]}


@pytest.mark.parametrize("output", [[SAID], [CALL], [THOUGHT, SAID, CALL], [REFUSED], []], ids=str)
@pytest.mark.parametrize("status", ["completed", "incomplete"])
def test_a_response(output: list[Json], status: str) -> None:
    fixed = {"parallel_tool_calls": True, "tool_choice": "auto", "tools": []}
    answer = {
        "id": "r",
        "object": "response",
        "created_at": 1.0,
        "model": "m",
        "status": status,
        "output": output,
        **fixed,
    }
    events = [RESPONSE_EVENT.validate_python(one) for one in unfolded("/v1/responses", answer)]
    state = ResponseStreamState(text_format=omit, input_tools=[])
    told: list[Any] = [made for event in events for made in state.handle_event(event)]
    assert [event.type for event in (told[0], told[-1])] == ["response.created", f"response.{status}"]
    final = told[-1].response.to_dict()
    assert [(item["type"], item["id"]) for item in final["output"]] == [(item["type"], item["id"]) for item in output]
    pieces = "".join(event.delta for event in told if event.type.endswith(".delta"))
    assert pieces == "".join(
        part.get("text") or part.get("refusal") or "" for item in output for part in (item.get("content") or [{}])
    ) + "".join(item.get("arguments", "") for item in output)


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "text", "text": "Hello.", "citations": None}],
        [{"type": "thinking", "thinking": "Hm.", "signature": "s"}, {"type": "text", "text": "Hi.", "citations": None}],
        [
            {"type": "tool_use", "id": "t", "name": "f", "input": {"x": [1]}},
            {"type": "tool_use", "id": "u", "name": "g", "input": {}},
        ],
        [],
    ],
    ids=["text", "thinking", "calls", "nothing"],
)
def test_a_message(content: list[Json]) -> None:
    usage = {"input_tokens": 3, "output_tokens": 5}
    said = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": content}
    answer = {**said, "stop_reason": "end_turn", "stop_sequence": None, "usage": usage}
    snapshot, pieces = None, {}  # type: ignore[var-annotated]
    for value in unfolded("/v1/messages", answer):
        event = MESSAGE_EVENT.validate_python(value)
        snapshot = accumulate_event(event=event, current_snapshot=snapshot, json_bufs=pieces)
    assert snapshot is not None
    read = snapshot.to_dict()
    assert read["content"] == content and read["stop_reason"] == "end_turn" and snapshot.usage.output_tokens == 5


@pytest.mark.parametrize("endpoint", ["/v1/responses", "/v1/messages", "/v1/chat/completions"])
def test_a_whole_answer_in_an_event_is_one_too(endpoint: str) -> None:
    answers: dict[str, Json] = {
        "/v1/responses": {"id": "r", "object": "response", "status": "completed", "output": [SAID]},
        "/v1/messages": {"id": "m", "type": "message", "content": [{"type": "text", "text": "Hi."}], "usage": None},
        "/v1/chat/completions": completion({"content": "Hi."}),
    }
    chunks = at(endpoint).decoder("t").take(json.dumps(answers[endpoint]).encode())
    assert len(chunks) > 2 and chunks[-1].last


def test_a_native_answer_is_a_stream_of_one_line() -> None:
    value = b'{"message":{"role":"assistant","content":"x"},"done":true}'
    assert at("/api/chat").decoder("t").take(value, whole=True) == [Chunk(value, last=True, value=json.loads(value))]
