"""What a server says reaches the caller as it was said, streamed and not, and so does what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from tests.support.foreman import Daemon
from tests.support.odd.scenario import MESSAGES, RESPONSES, SCENARIOS, Scenario
from tests.support.odd.server import OddServer

Before = Callable[[str], Daemon]

AS_IT_WAS_SAID = [  # whole and streamed: what one says the other says too
    "plain",
    "thinking-beside-null-content",
    "two-choices",
    "finish-reason-of-its-own",
    "usage-never",
    "calls-as-documented",
    "calls-interleaved",
    "call-after-text",
    "text-as-documented",
    "response-as-documented",
    "response-incomplete",
    "response-calls",
    "message-as-documented",
    "message-that-thinks",
    "message-calls",
    "native-as-documented",
    "native-that-thinks",
    "native-calls-in-two-chunks",
    "native-calls-with-the-end",
    "generate-as-documented",
    "generate-that-thinks",
    "embed-as-documented",
    "vectors-as-numbers",
    "vectors-in-base64",
    "vectors-uncounted",
]
STREAMED_AS_IT_WAS_SAID = [
    *(name for name in AS_IT_WAS_SAID if "embed" not in name and "vectors" not in name),
    "only-choices",
    "role-in-every-chunk",
    "prompt-filter-first",
    "thinking-called-reasoning",
    "finish-twice",
    "finish-with-the-last-text",
    "timings-last",
    "content-in-parts-of-text",
    "text-with-zeros-for-usage",
    "text-with-the-finish",
    "response-with-unknown-events",
    "response-without-numbers",
    "message-with-pings",
    "message-with-unknown-events",
    "native-with-unknown-keys",
    "native-says-more-in-the-last-chunk",
    "native-ends-without-a-word",
]
ADDED = {"parallel_tool_calls": True, "tool_choice": "auto", "tools": []}  # to responses without them
REFUSED = [  # by servers that say so at once and every time
    "bad-request",
    "detail-of-a-bad-request",
    "forbidden",
    "not-implemented",
    "internal-error",
    "native-bad-option",
    "native-bad-template",
    "embed-not-served",
    "vectors-not-served",
]


def question(odd: Scenario, text: str, **more: Any) -> dict[str, Any]:
    """Return what is asked of any endpoint; each reads what it knows."""
    given: dict[str, Any] = {"messages": [{"role": "user", "content": text}], "prompt": text, "input": text}
    if odd.path == MESSAGES:
        more["max_tokens"] = 9
    if odd.path in (MESSAGES, RESPONSES):
        del given["prompt"]
    return {"model": odd.name, **given, **odd.extra, **more}


def said(text: str) -> Any:
    """Return an answer or an event as the server gave it: responses have an id of Foreman's, and what all have."""
    value = json.loads(text)
    answer = value.get("response", value)
    if isinstance(answer, dict) and answer.get("id", "").startswith("resp_"):
        answer["id"] = "r1"
        assert [answer.pop(name) for name in ADDED] == list(ADDED.values())
    return value


def values(response: httpx2.Response) -> list[Any]:
    """Return the JSON values of a stream."""
    lines = (line.removeprefix("data:").strip() for line in response.text.splitlines() if not line.startswith(":"))
    return [said(line) for line in lines if line.startswith("{")]


@pytest.mark.parametrize("name", AS_IT_WAS_SAID)
def test_a_whole_answer_is_what_the_server_says(before_it: Before, odd_server: OddServer, name: str) -> None:
    odd = SCENARIOS[name]
    asked = question(odd, "whole", stream=False)
    direct = httpx2.post(odd_server.url + odd.path, json=asked, trust_env=False)
    through = before_it(odd.kind).http.post(odd.path, json=asked)
    assert (through.status_code, said(through.text)) == (direct.status_code, direct.json())


@pytest.mark.parametrize("name", STREAMED_AS_IT_WAS_SAID)
def test_a_stream_is_what_the_server_says_chunk_by_chunk(before_it: Before, odd_server: OddServer, name: str) -> None:
    odd = SCENARIOS[name]
    asked = question(odd, "streamed", stream=True)
    direct = httpx2.post(odd_server.url + odd.path, json=asked, trust_env=False)
    through = before_it(odd.kind).http.post(odd.path, json=asked)
    assert values(through) == values(direct)
    assert "stream_options" not in odd_server.asked("streamed")[-2].payload


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_is_told_with_the_servers_own_status_and_words(
    before_it: Before, odd_server: OddServer, name: str, streamed: bool
) -> None:
    odd = SCENARIOS[name]
    asked = question(odd, f"refused {streamed}", stream=streamed)
    direct = httpx2.post(odd_server.url + odd.path, json=asked, trust_env=False)
    through = before_it(odd.kind).http.post(odd.path, json=asked)
    assert through.status_code == direct.status_code
    assert words_of(direct.json()) in words_of(through.json())
    assert "127.0.0.1" not in through.text  # the address of the server is nobody's business
    tries = [one for one in odd_server.asked(f"refused {streamed}") if one.model == name]
    assert len(tries) <= 3, "once directly, and through Foreman twice at most"


@pytest.mark.parametrize(
    "named",
    [
        "native-as-documented",
        "native-as-documented:latest",
        "Native-As-Documented:LATEST",
        "library/native-as-documented",
        "registry.ollama.ai/library/NATIVE-as-documented:latest",
    ],
)
def test_an_ollama_knows_its_models_by_several_names(before_it: Before, odd_server: OddServer, named: str) -> None:
    asked = {"model": named, "messages": [{"role": "user", "content": "x"}], "stream": False}
    direct = httpx2.post(f"{odd_server.url}/api/chat", json=asked, trust_env=False)
    through = before_it("ollama").http.post("/api/chat", json=asked)
    assert (through.status_code, through.json()) == (200, direct.json())
    assert odd_server.asked(named)[-1].payload["model"] == named  # as the caller wrote it


def words_of(error: Any) -> str:
    """Return what an error says, in any of its shapes."""
    while isinstance(error, dict):
        error = next(error[name] for name in ("error", "detail", "message") if name in error)
    return error if isinstance(error, str) else json.dumps(error, separators=(",", ":"))
