"""The official openai SDK, unmodified, against Foreman on the embedded engine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import openai
import pytest

from tests.http.compat.conftest import MODEL, Front

HELLO: Any = [{"role": "user", "content": "Say hello."}]
SCHEMA: Any = {
    "type": "json_schema",
    "json_schema": {
        "name": "trip",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 12}, "visited": {"type": "boolean"}},
            "required": ["city", "visited"],
            "additionalProperties": False,
        },
    },
}
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "enum": ["Ulm", "Bonn"]}},
            "required": ["city"],
        },
    },
}


@pytest.fixture
def client(front: Front) -> Iterator[openai.OpenAI]:
    http = httpx2.Client(event_hooks={"response": [front.hook]}, trust_env=False)
    with openai.OpenAI(base_url=f"{front.url}/v1", api_key="none", http_client=http) as client:
        yield client


def test_a_chat_is_a_job(front: Front, client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=HELLO, max_tokens=8, temperature=0)
    answer = raw.parse()
    assert answer.object == "chat.completion" and answer.choices[0].message.content
    assert answer.usage and answer.usage.completion_tokens == 8
    job = front.ended(raw.headers["X-Foreman-Job-Id"])
    assert (job["state"], job["endpoint"]) == ("done", "/v1/chat/completions")
    assert job["result"]["choices"][0]["message"]["content"] == answer.choices[0].message.content


@pytest.mark.every_store
@pytest.mark.parametrize("counted", [False, True])
def test_a_streamed_chat_counts_tokens_for_those_who_ask(front: Front, client: openai.OpenAI, counted: bool) -> None:
    more: Any = {"stream_options": {"include_usage": True}} if counted else {}
    stream = client.chat.completions.create(
        model=MODEL, messages=HELLO, max_tokens=8, temperature=0, stream=True, **more
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text and all(chunk.choices for chunk in chunks[:-1])
    if counted:
        assert chunks[-1].choices == [] and chunks[-1].usage and chunks[-1].usage.completion_tokens == 8
    else:
        assert chunks[-1].choices[0].finish_reason == "length"
    result = front.ended()["result"]
    assert result["choices"][0]["message"]["content"] == text and result["usage"]["completion_tokens"] == 8


def test_a_schema_is_followed(front: Front, client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model=MODEL, messages=HELLO, response_format=SCHEMA, max_tokens=60, temperature=0
    )
    assert set(json.loads(answer.choices[0].message.content or "")) == {"city", "visited"}
    assert front.ended()["state"] == "done"


def test_tools_are_taken(front: Front, client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=HELLO, tools=[WEATHER], max_tokens=8, temperature=0)
    assert answer.choices[0].message.content or answer.choices[0].message.tool_calls
    assert front.ended()["state"] == "done"


@pytest.mark.every_store
def test_completions_are_jobs(front: Front, client: openai.OpenAI) -> None:
    answer = client.completions.create(model=MODEL, prompt="one two three", max_tokens=8, temperature=0)
    assert answer.object == "text_completion" and answer.choices[0].text
    assert front.ended()["result"]["choices"][0]["text"] == answer.choices[0].text
    streamed = client.completions.create(model=MODEL, prompt="one two three", max_tokens=8, temperature=0, stream=True)
    text = "".join(chunk.choices[0].text for chunk in streamed)
    assert text and front.ended()["result"]["choices"][0]["text"] == text


@pytest.mark.every_store
def test_responses_are_jobs(front: Front, client: openai.OpenAI) -> None:
    answer = client.responses.create(model=MODEL, input="Say hello.", max_output_tokens=16, temperature=0)
    assert answer.object == "response" and answer.output_text
    assert front.ended()["result"]["id"] == answer.id
    events = list(
        client.responses.create(model=MODEL, input="Say hello.", max_output_tokens=16, temperature=0, stream=True)
    )
    assert events[-1].type == "response.completed" and events[-1].response.output_text
    assert front.ended()["result"]["id"] == events[-1].response.id


def test_embeddings_pass_the_queue(front: Front, client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model=MODEL, input=["a cat", "a kitten"])  # asks for base64 by itself
    assert [item.index for item in answer.data] == [0, 1] and len(answer.data[0].embedding) > 100
    plain = client.embeddings.create(model=MODEL, input="a cat", encoding_format="float")
    assert plain.data[0].embedding == pytest.approx(answer.data[0].embedding, abs=1e-3)
    assert front.ids == []


def test_models_are_listed(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [MODEL]
    assert client.models.retrieve(MODEL).id == MODEL
    with pytest.raises(openai.NotFoundError, match="model 'm' not found"):
        client.models.retrieve("m")


def test_an_unknown_model_is_the_sdks_own_error(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="m", messages=HELLO)
    assert caught.value.code == "model_not_found" and caught.value.param == "model"
    wrong: Any = "x"
    with pytest.raises(openai.BadRequestError, match="array"):
        client.chat.completions.create(model=MODEL, messages=wrong)


@pytest.mark.every_store
def test_messages_are_jobs_in_anthropics_words(front: Front) -> None:
    asked = {"model": MODEL, "max_tokens": 8, "messages": HELLO}
    answer = front.http.post("/v1/messages", json=asked)
    assert answer.json()["type"] == "message" and answer.json()["content"][0]["text"]
    assert front.ended(answer.headers["X-Foreman-Job-Id"])["result"] == answer.json()
    streamed = front.http.post("/v1/messages", json={**asked, "stream": True})
    names = [line.removeprefix("event: ") for line in streamed.text.splitlines() if line.startswith("event: ")]
    assert names[0] == "message_start" and "content_block_delta" in names and names[-1] == "message_stop"
    assert "[DONE]" not in streamed.text
    error = front.http.post("/v1/messages", json={**asked, "model": "m"})
    assert error.status_code == 404 and error.json()["type"] == "error"
    assert error.json()["error"]["type"] == "not_found_error"
