"""Tokens are counted past the queue, by the official SDKs of both APIs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from tests.http.compat.conftest import MODEL, Front
from tests.support.api import chat
from tests.support.foreman import Daemon, an_upstream

ASKED: Any = [{"role": "user", "content": "How many tokens is this?"}]
ROUTES = ("/v1/messages/count_tokens", "/v1/responses/input_tokens")


def test_the_sdks_count(front: Front) -> None:
    before = front.http.get("/jobs", params={"limit": 1}).json()["jobs"]
    with anthropic.Anthropic(base_url=front.url, api_key="none") as claude:
        counted = claude.messages.count_tokens(model=MODEL, messages=ASKED).input_tokens
        longer = claude.messages.count_tokens(model=MODEL, messages=2 * ASKED).input_tokens
    assert 0 < counted < longer
    with openai.OpenAI(
        base_url=f"{front.url}/v1", api_key="none", http_client=httpx2.Client(trust_env=False)
    ) as client:
        found = client.responses.input_tokens.count(model=MODEL, input=ASKED[0]["content"])
    assert (found.object, found.input_tokens) == ("response.input_tokens", counted)
    assert front.http.get("/jobs", params={"limit": 1}).json()["jobs"] == before


@pytest.mark.parametrize("kind", ["ollama_url", "openai_url"])
def test_a_target_without_means_is_told_of_in_the_shape_of_the_api(serve: Callable[..., Daemon], kind: str) -> None:
    with an_upstream("--kind", "both") as upstream:
        daemon = serve(**{kind: upstream.url})
        daemon.http.post("/queue/pause")  # nothing waits for the queue
        for path in ROUTES:
            answer = daemon.http.post(path, json=chat("x"))
            assert answer.status_code == 501
            said = answer.json()
            assert ("type" in said) == ("messages" in path)
            assert said["error"]["code"] == "not_served" and path in said["error"]["message"]
            unknown = daemon.http.post(path, json=chat("x", "nope"))
            assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")
            assert daemon.http.post(path, content=b"").json()["error"]["code"] == "invalid_json"
