"""Servers that refuse what Foreman adds to a request, and errors that come at once and every time."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from foreman.domain.errors import TargetError, TargetFailed, TargetRefused
from foreman.targets import asking
from foreman.targets.ollama import OllamaTarget
from foreman.targets.openai import OpenAITarget
from tests.targets.conftest import call, chunks_of, joined
from tests.targets.test_http1 import serving

StaticAnswer = tuple[int, Any]  # a status and a JSON value, or for a stream its events
Answer = Callable[[dict[str, Any]], StaticAnswer]

WHOLE = {
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "whole"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8},
}
STREAM = [
    {"choices": [{"index": 0, "delta": {"content": "stre"}, "finish_reason": None}]},
    {"choices": [{"index": 0, "delta": {"content": "amed"}, "finish_reason": "stop"}]},
]
CHATS: list[str] = ["/v1/chat/completions", "/api/chat", "/v1/chat/completions"]
VECTORS = {"object": "list", "data": [{"index": 0, "embedding": [0.5]}]}


class Server:
    """Answers as told, and remembers what it was asked."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.url = ""
        self.asked: list[dict[str, Any]] = []

    async def serve(self, stream: trio.SocketStream) -> None:
        data = b""
        while piece := await stream.receive_some():
            data += piece
            head, found, body = data.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
            if found and len(body) >= length:
                self.asked.append(json.loads(body))
                await stream.send_all(self._told(*self._answer(self.asked[-1])))
                data = b""

    def _told(self, status: int, value: object) -> bytes:
        if isinstance(value, list):
            body = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in value) + b"data: [DONE]\n\n"
        else:
            body = value if isinstance(value, bytes) else json.dumps(value).encode()
        media = "text/event-stream" if isinstance(value, list) else "application/json"
        head = f"HTTP/1.1 {status} Told\r\nContent-Type: {media}\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body


@asynccontextmanager
async def a_server(answer: Answer) -> AsyncIterator[tuple[Server, OpenAITarget]]:
    server = Server(answer)
    async with serving(server.serve) as url:
        target = OpenAITarget(url)
        try:
            yield server, target
        finally:
            target.close()


def unless(refused: Callable[[dict[str, Any]], Any], status: int, words: object) -> Answer:
    """Refuses the requests that `refused` is true of; answers the others, streamed if they ask for it."""

    def answer(asked: dict[str, Any]) -> StaticAnswer:
        if refused(asked):
            return status, words
        return 200, STREAM if asked.get("stream") else WHOLE

    return answer


def counted(asked: dict[str, Any]) -> bool:
    return "stream_options" in asked


def streamed(asked: dict[str, Any]) -> bool:
    return asked.get("stream") is True


NO_USAGE: list[StaticAnswer] = [
    (422, {"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"], "input": {}}]}),
    (400, {"error": {"message": "Unknown parameter", "param": "stream_options"}}),
    (400, {"error": {"message": "Unrecognized request argument supplied"}}),
    (400, {"message": "streamOptions is not supported"}),
    (501, {"error": "include_usage is not implemented"}),
    (500, {"error": "__init__() got an unexpected keyword argument 'stream_options'"}),
]
NO_STREAM: list[StaticAnswer] = [
    (400, {"error": {"message": "streaming is not available for this model"}}),
    (501, {"detail": "Streams are not implemented."}),
    (422, {"detail": [{"loc": ["body", "stream"], "msg": "Input should be False"}]}),
    (500, {"error": {"message": "cannot stream structured answers"}}),
]


@pytest.mark.parametrize(("status", "words"), NO_USAGE)
async def test_a_server_that_counts_no_usage_in_streams_is_asked_without(status: int, words: object) -> None:
    async with a_server(unless(counted, status, words)) as (server, target):
        for _ in range(2):
            asked = call("x", "/v1/chat/completions", stream=True)
            assert joined(asked, await chunks_of(target, asked))["choices"][0]["message"]["content"] == "streamed"
        assert [counted(one) for one in server.asked] == [True, False, False]  # the second call was right at once
        assert all(streamed(one) for one in server.asked)


@pytest.mark.parametrize("endpoint", CHATS[:2])
async def test_who_wants_no_stream_gets_the_counts_of_a_server_that_counts_no_streams(endpoint: str) -> None:
    async with a_server(unless(counted, 400, {"error": "no stream_options"})) as (server, target):
        for _ in range(2):
            asked = call("x", endpoint, stream=False)
            said = joined(asked, await chunks_of(target, asked))
            assert said.get("eval_count", said.get("usage", {}).get("completion_tokens")) == 5
        assert [streamed(one) for one in server.asked] == [True, False, False]


@pytest.mark.parametrize(("status", "words"), NO_STREAM)
async def test_a_server_that_does_not_stream_is_asked_for_a_whole_answer(status: int, words: object) -> None:
    async with a_server(unless(streamed, status, words)) as (server, target):
        for endpoint in CHATS:
            asked = call("x", endpoint)
            said = joined(asked, await chunks_of(target, asked))
            assert (said["message"] if "message" in said else said["choices"][0]["message"])["content"] == "whole"
        assert [streamed(one) for one in server.asked] == [True, False, False, False]
        assert not counted(server.asked[-1])


async def test_the_own_words_of_the_caller_are_what_is_left() -> None:
    own: dict[str, Any] = {"stream": False, "stream_options": {"x": 1}, "seed": 7}
    async with a_server(unless(streamed, 400, {"error": "set stream to false"})) as (server, target):
        await chunks_of(target, call("x", "/v1/chat/completions", **own))
    assert {name: server.asked[-1][name] for name in own} == own


async def test_what_the_caller_asked_for_is_never_left_out() -> None:
    async with a_server(unless(streamed, 400, {"error": "no streams"})) as (server, target):
        with pytest.raises(TargetRefused, match="no streams"):
            await chunks_of(target, call("x", "/v1/chat/completions", stream=True))
    async with a_server(unless(counted, 400, {"error": "no stream_options"})) as (server, target):
        usage = {"include_usage": True}
        with pytest.raises(TargetRefused):
            await chunks_of(target, call("x", "/v1/chat/completions", stream=True, stream_options=usage))
        assert len(server.asked) == 1


async def test_a_refusal_that_names_a_field_is_remembered_for_requests_with_that_field() -> None:
    refuses = unless(lambda asked: streamed(asked) and asked.get("logprobs"), 400, {"error": "logprob: no stream"})
    async with a_server(refuses) as (server, target):
        for fields in ({"logprobs": True}, {}, {"logprobs": True}, {}):
            asked: dict[str, Any] = fields
            await chunks_of(target, call("x", "/v1/chat/completions", **asked))
    assert [streamed(one) for one in server.asked] == [True, False, True, False, True]


async def test_what_is_learnt_of_one_model_is_not_held_against_another() -> None:
    async with a_server(unless(counted, 400, {"error": "no stream_options"})) as (server, target):
        for model in ("a", "b", "a"):
            await chunks_of(target, call("x", "/v1/chat/completions", model=model))
    assert [one["model"] for one in server.asked] == ["a", "a", "b", "b", "a"]


async def test_embeddings_are_asked_for_without_the_format_that_is_refused() -> None:
    def answer(asked: dict[str, Any]) -> StaticAnswer:
        return (400, {"error": "unknown field encoding_format"}) if "encoding_format" in asked else (200, VECTORS)

    async with a_server(answer) as (server, target):
        asked = call("x", "/api/embed")
        assert joined(asked, await chunks_of(target, asked))["embeddings"] == [[0.5]]
        assert len(server.asked) == 2


async def test_a_template_that_cannot_think_need_not_hear_that_it_shall_not() -> None:
    refuses = unless(lambda asked: "chat_template_kwargs" in asked, 400, {"error": "enable_thinking: unknown"})
    async with a_server(refuses) as (_, target):
        await chunks_of(target, call("x", think=False))
        with pytest.raises(TargetRefused):
            await chunks_of(target, call("x", think=True))


def test_a_server_is_remembered_within_bounds() -> None:
    refusals = asking.Refusals()
    for number in range(3 * asking.KNOWN):
        refusals.learn(f"m{number}", "/v1/responses", "stream", frozenset())
        for field in range(2 * asking.LESSONS):
            refusals.learn("m", "/v1/responses", "stream", frozenset({f"f{field}"}))
    assert len(refusals._known) <= asking.KNOWN
    assert max(map(len, refusals._known.values())) <= asking.LESSONS


LASTING: list[StaticAnswer] = [
    (500, {"error": "template: :1: unexpected EOF"}),
    (500, {"error": {"message": "option top_k must be of type integer"}}),
    (505, {"detail": "not with this version"}),
    (501, {"error": "this model does not support embeddings"}),
]


@pytest.mark.parametrize("endpoint", ["/api/chat", "/v1/responses", "/api/embed", "/v1/embeddings"])
@pytest.mark.parametrize(("status", "words"), LASTING)
@pytest.mark.parametrize("kind", [OllamaTarget, OpenAITarget])
async def test_the_same_error_twice_at_once_is_the_servers_answer(
    kind: type[OllamaTarget] | type[OpenAITarget], endpoint: Any, status: int, words: object
) -> None:
    server = Server(lambda asked: (status, words))
    async with serving(server.serve) as url:
        target = kind(url)
        with pytest.raises(TargetRefused) as caught:
            await chunks_of(target, call("x", endpoint))
        target._client.close()
    assert caught.value.status == status
    assert str(caught.value) in json.dumps(words)
    assert len([one for one in server.asked if "messages" in one or "input" in one]) == (1 if status == 501 else 2)


PASSING: list[list[StaticAnswer]] = [
    [(500, {"error": "first this"}), (500, {"error": "then that"})],
    [(500, {"error": "CUDA out of memory"})] * 2,
    [(500, {"error": {"message": "Overloaded, try again"}})] * 2,
    [(500, {"detail": "Internal Server Error"})] * 2,
    [(500, b"<html>oops</html>")] * 2,
    [(502, {"error": "bad gateway"})] * 2,
    [(504, {"error": "no answer"})] * 2,
    [(529, {"error": "full"})] * 2,
    [(408, {"error": "timed out"})] * 2,
]


@pytest.mark.parametrize("answers", PASSING)
async def test_errors_that_may_pass_cost_an_attempt(answers: list[StaticAnswer]) -> None:
    left = list(answers)
    async with a_server(lambda asked: left.pop(0)) as (_, target):
        with pytest.raises(TargetError) as caught:
            await chunks_of(target, call("x", "/v1/chat/completions"))
    assert isinstance(caught.value, TargetFailed)


async def test_an_error_that_was_an_accident_is_not_told() -> None:
    left: list[StaticAnswer] = [(500, {"error": "boom"}), (200, STREAM)]
    async with a_server(lambda asked: left.pop(0)) as (_, target):
        asked = call("x", "/v1/chat/completions")
        assert joined(asked, await chunks_of(target, asked))["choices"][0]["message"]["content"] == "streamed"
