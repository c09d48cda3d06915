"""The official ollama client, unmodified, against Foreman on the embedded engine."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import ollama
import pytest

from tests.http.compat.conftest import MODEL, Front

SHORT = {"num_predict": 8, "temperature": 0, "seed": 1}
HELLO = [{"role": "user", "content": "Say hello."}]
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 12}, "visited": {"type": "boolean"}},
    "required": ["city", "visited"],
}


@pytest.fixture
def client(front: Front) -> Any:
    made = ollama.Client(host=front.url, event_hooks={"response": [front.hook]}, trust_env=False)
    yield made
    made._client.close()


@pytest.mark.every_store
def test_chat_is_a_job(front: Front, client: ollama.Client) -> None:
    answer = client.chat(MODEL, messages=HELLO, options=SHORT)
    assert answer.done and answer.done_reason == "length" and answer.model == MODEL
    assert answer.message.role == "assistant" and answer.message.content
    assert answer.eval_count == 8 and (answer.prompt_eval_count or 0) > 5 and (answer.total_duration or 0) > 0
    job = front.ended()
    assert (job["state"], job["endpoint"], job["priority"]) == ("done", "/api/chat", "high")
    assert job["result"]["message"]["content"] == answer.message.content


@pytest.mark.every_store
def test_a_streamed_chat_is_a_job(front: Front, client: ollama.Client) -> None:
    chunks = list(client.chat(MODEL, messages=HELLO, options=SHORT, stream=True))
    assert len(chunks) > 4 and [chunk.done for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert all(chunk.message.content is not None for chunk in chunks)
    text = "".join(chunk.message.content or "" for chunk in chunks)
    assert front.ended()["result"]["message"]["content"] == text


def test_generate_is_a_job(front: Front, client: ollama.Client) -> None:
    answer = client.generate(MODEL, prompt="Count: one, two,", options=SHORT)
    assert answer.done and answer.response and answer.eval_count == 8
    assert front.ended()["result"]["response"] == answer.response
    streamed = list(client.generate(MODEL, prompt="Count: one, two,", options=SHORT, stream=True))
    assert "".join(chunk.response or "" for chunk in streamed) == front.ended()["result"]["response"]
    assert front.ids[0] != front.ids[1]


def test_a_schema_is_followed(front: Front, client: ollama.Client) -> None:
    answer = client.chat(MODEL, messages=HELLO, format=SCHEMA, options={**SHORT, "num_predict": 60})
    told = json.loads(answer.message.content or "")
    assert set(told) == {"city", "visited"} and isinstance(told["visited"], bool)
    assert front.ended()["state"] == "done"


def test_tools_are_taken(front: Front, client: ollama.Client) -> None:
    def weather(city: str) -> str:
        """Tell the weather.

        Args:
          city: where
        """
        return city

    question = [{"role": "user", "content": "What is the weather in Ulm?"}]
    answer = client.chat(MODEL, messages=question, tools=[weather], options=SHORT)
    assert answer.done and (answer.message.content or answer.message.tool_calls)
    assert front.ended()["state"] == "done"


def test_the_lists_know_the_model(front: Front, client: ollama.Client) -> None:
    [listed] = client.list().models
    assert listed.model == MODEL and listed.details is not None
    client.generate(MODEL)  # loads it
    assert front.ended()["result"]["done_reason"] == "load"
    assert [model.model for model in client.ps().models] == [MODEL]
    shown = client.show(MODEL)
    assert shown.modelinfo and set(shown.capabilities or []) == {"completion", "tools", "embedding"}


@pytest.mark.every_store
def test_embeddings_pass_the_queue(front: Front, client: ollama.Client) -> None:
    both = client.embed(MODEL, input=["a cat", "a kitten"])
    assert len(both.embeddings) == 2 and len(both.embeddings[0]) == len(both.embeddings[1]) > 100
    one = client.embeddings(MODEL, prompt="a cat")
    assert list(one.embedding) == pytest.approx(list(both.embeddings[0]), abs=1e-3)
    assert front.ids == []


def test_an_unknown_model_is_the_clients_own_error(client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError) as caught:
        client.chat("m", messages=HELLO)
    assert (caught.value.status_code, caught.value.error) == (404, "model 'm' not found")
    with pytest.raises(ollama.ResponseError, match="model 'm' not found"):
        list(client.generate("m", prompt="x", stream=True))


def test_empty_messages_load_and_unload(front: Front, client: ollama.Client) -> None:
    assert client.chat(MODEL, messages=[]).done_reason == "load"
    if front.daemon.http.get("/queue").json()["resident"]:
        assert client.chat(MODEL, messages=[], keep_alive=0).done_reason == "unload"
    assert client.chat(MODEL, messages=[]).done_reason == "load"


async def test_the_asynchronous_client(front: Front) -> None:
    # It runs on asyncio or Trio alike, whatever httpx finds.
    client = ollama.AsyncClient(host=front.url, event_hooks={"response": [front.async_hook]}, trust_env=False)
    async with client._client:
        answer = await client.chat(MODEL, messages=HELLO, options=SHORT)
        assert answer.done and front.ended()["state"] == "done"
        stream = await client.chat(MODEL, messages=HELLO, options=SHORT, stream=True)
        text = "".join([chunk.message.content or "" async for chunk in stream])
        assert front.ended()["result"]["message"]["content"] == text == answer.message.content


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/", "/api/tags", "/api/ps", "/api/version"])
def test_probes_are_answered(front: Front, method: str, path: str) -> None:
    answer: httpx2.Response = front.http.request(method, path)
    assert answer.status_code == 200
    assert int(answer.headers["content-length"]) > 0 and bool(answer.content) is (method == "GET")
    if (method, path) == ("GET", "/"):
        assert answer.text == "Ollama is running"
