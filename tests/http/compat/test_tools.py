"""Tool calls and thinking as the official clients see them, from a server that always does both."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import ollama
import openai
import pytest

from tests.http.compat.conftest import Front
from tests.support.foreman import Daemon, an_upstream

ASK: Any = [{"role": "user", "content": "#think #tool"}]
WEATHER: Any = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


@pytest.fixture(scope="module", params=["ollama", "openai"])
def before_either(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Foreman in front of a server of either kind."""
    folder = tmp_path_factory.mktemp("tools") / "data"
    with an_upstream("--kind", "both") as upstream, Daemon(folder, **{f"{request.param}_url": upstream.url}) as daemon:
        yield daemon
        assert daemon.errors == []


@pytest.fixture
def scripted(before_either: Daemon) -> Front:
    return Front(before_either)


@pytest.mark.parametrize("stream", [False, True])
def test_the_ollama_client_sees_calls_and_thinking(scripted: Front, stream: bool) -> None:
    client = ollama.Client(host=scripted.url, event_hooks={"response": [scripted.hook]}, trust_env=False)
    with client._client:
        if stream:
            messages = [part.message for part in client.chat("a", ASK, tools=[WEATHER], think=True, stream=True)]
        else:
            messages = [client.chat("a", ASK, tools=[WEATHER], think=True).message]
    assert "".join(message.thinking or "" for message in messages) == "hm"
    [call] = [call for message in messages for call in message.tool_calls or ()]
    assert (call.function.name, call.function.arguments) == ("weather", {"city": "Ulm"})
    assert scripted.ended()["result"]["message"]["tool_calls"][0]["function"]["name"] == "weather"


@pytest.mark.parametrize("stream", [False, True])
def test_the_openai_sdk_sees_calls(scripted: Front, stream: bool) -> None:
    http = httpx2.Client(event_hooks={"response": [scripted.hook]}, trust_env=False)
    with openai.OpenAI(base_url=f"{scripted.url}/v1", api_key="none", http_client=http) as client:
        if stream:
            with client.chat.completions.stream(model="a", messages=ASK, tools=[WEATHER]) as events:
                answer: Any = events.get_final_completion()
        else:
            answer = client.chat.completions.create(model="a", messages=ASK, tools=[WEATHER])
    [call] = answer.choices[0].message.tool_calls
    assert call.function.name == "weather" and json.loads(call.function.arguments) == {"city": "Ulm"}
    assert scripted.ended()["result"]["choices"][0]["message"]["tool_calls"][0]["id"] == call.id
