"""Answers that would take many times their bytes, and chunks that make no sense."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from foreman.domain.answers.chunk import Chunk
from foreman.domain.answers.joiner import Answer
from foreman.domain.answers.parsers import Ndjson, Sse
from foreman.domain.answers.tokens import tokens
from foreman.domain.endpoints import at
from foreman.domain.endpoints.completion import ChoiceDecoder
from foreman.domain.errors import TargetGarbled
from foreman.domain.json_weight import MOST_VALUES
from foreman.targets.chunks import Chunks
from foreman.targets.openai import _Translating

Json = dict[str, Any]

MORE_PARTS = 260_000  # than an answer may have


class Body:
    """A response whose body is there at once."""

    over = framed = True

    def __init__(self, *pieces: bytes) -> None:
        self._left = list(pieces)

    async def receive(self) -> bytes:
        return self._left.pop(0) if self._left else b""


async def told(endpoint: str, *pieces: bytes, asked: str | None = None) -> list[Chunk]:
    decoder = at(asked or endpoint).decoder("t")
    decoding: Any = decoder
    if asked is not None:
        decoding = _Translating(at(endpoint).translator("m", "t", load_ns=0), decoder, 0)
    parser = Ndjson("t") if (asked or endpoint).startswith("/api/") else Sse("t")
    body: Any = Body(*pieces)
    return [chunk async for chunk in Chunks(body, parser, decoding, "t")]


def event(value: Json) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


@pytest.mark.parametrize(
    ("head", "filling"),
    [
        (b'{"choices":[{"delta":{"tool_calls":[', b'{"index":1,"function":{}},'),
        (b'{"choices":[', b"{},"),
        (b'{"choices":[],"usage":[', b'[["a",{"b":[]}]],'),
        (b'{"choices":[{"delta":{"content":[', b"0,"),
    ],
)
async def test_a_chunk_is_not_built_if_it_holds_too_much(head: bytes, filling: bytes) -> None:
    with pytest.raises(TargetGarbled, match=f"more than {MOST_VALUES} values"):
        await told("/v1/chat/completions", b"data: " + head + filling * MOST_VALUES + b"\n\n")


async def test_a_large_embedding_is_passed_on_as_it_was_written() -> None:
    numbers = b"0.1250," * 300_000 + b"1]]"
    whole = b'{"object":"x","embeddings":[[' + numbers + b',"prompt_eval_count":3}'
    [chunk] = await told("/api/embed", whole + b"\n")
    assert chunk.data == whole
    assert chunk.value is not None
    assert chunk.value["prompt_eval_count"] == 3
    assert not isinstance(chunk.value["embeddings"], list)  # nothing was made of it


def many(make: Callable[[int], Json]) -> Callable[[str], Answer]:
    def build(endpoint: str) -> Answer:
        answer = at(endpoint).answer()
        for start in range(0, MORE_PARTS, 10_000):
            answer.add(Chunk(b"{}", value=make(start)))
        return answer

    return build


@pytest.mark.parametrize(
    ("endpoint", "build"),
    [
        ("/v1/chat/completions", many(lambda n: {"choices": [{"index": n + i} for i in range(10_000)]})),
        ("/v1/chat/completions", many(lambda _: {"choices": [{"logprobs": {"content": [{}] * 10_000}}]})),
        ("/v1/chat/completions", many(lambda n: {f"x{n + i}": 1 for i in range(10_000)})),
        ("/api/chat", many(lambda _: {"message": {"images": ["i"] * 10_000}})),
        ("/api/chat", many(lambda n: {"message": {f"x{n + i}": 1 for i in range(10_000)}})),
        (
            "/v1/messages",
            many(lambda n: {"type": "content_block_start", "index": n, "content_block": {"a": [0] * 10_000}}),
        ),
    ],
)
def test_an_answer_is_joined_of_so_many_parts_at_most(endpoint: str, build: Callable[[str], Answer]) -> None:
    with pytest.raises(TargetGarbled, match="more than 250000 parts"):
        build(endpoint)


def test_what_is_joined_takes_little_more_than_its_bytes() -> None:
    entry = {
        "token": "abc",
        "logprob": -1.5,
        "bytes": [97, 98, 99],
        "top_logprobs": [{"token": "x", "logprob": -2}] * 20,
    }
    answer = at("/v1/chat/completions").answer()
    for _ in range(100):
        answer.add(Chunk(b"{}", value={"choices": [{"index": 0, "logprobs": {"content": [dict(entry)]}}]}))
    choice = json.loads(answer.result())["choices"][0]
    assert choice["logprobs"]["content"] == [entry] * 100
    held = answer._joiner._choices[0]["logprobs"]["content"].items  # type: ignore[attr-defined]
    assert not any(isinstance(item, dict) for item in held)


STOP = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
WORD = {"choices": [{"index": 0, "delta": {"content": "a"}}]}


@pytest.mark.parametrize(
    "odd",
    [
        {"choices": [], "usage": {"prompt_tokens": 1e300}},
        {"choices": [], "usage": {"x": 1}, "timings": {"prompt_ms": 1e308}},
        {"choices": [{"delta": {"tool_calls": [{"function": {"name": 5, "arguments": "{}"}}]}}]},
        {"choices": [{"delta": {"content": {"a": 1}}}]},
        {"choices": [{"delta": {"content": [5]}}]},
        {"choices": [{"delta": 5}]},
        {"choices": [{"delta": {"content": "a"}, "logprobs": {"content": [{}]}}]},
        {"choices": [{"index": [], "delta": {}}]},
        {"choices": 5},
        {"choices": [], "usage": 7},
    ],
)
async def test_an_odd_chunk_is_garbled_and_no_bug(odd: Json) -> None:
    try:
        chunks = await told(
            "/api/chat", event(WORD), event(odd), event(STOP), b"data: [DONE]\n\n", asked="/v1/chat/completions"
        )
        answer = at("/api/chat").answer()
        for chunk in chunks:
            answer.add(chunk)
        answer.result()
    except TargetGarbled:
        return
    assert chunks[-1].last  # it was overlooked


@pytest.mark.parametrize("count", [b"1e999", b"[" * 3000 + b"]" * 3000, b"0," * 10, b'{"a":' + b"1," * 3000 + b"}"])
def test_odd_counts_count_nothing(count: bytes) -> None:
    assert tokens(b'{"eval_count":7,"usage":' + count + b"}").answer in (0, 7)


def test_choices_are_counted_once_each() -> None:
    """A chunk looks at the choices in it, however many others have begun."""

    class Counted(dict[int, bool]):
        looks = 0

        def __iter__(self) -> Iterator[int]:
            Counted.looks += len(self)
            return super().__iter__()

        def values(self) -> Any:
            Counted.looks += len(self)
            return super().values()

        def items(self) -> Any:
            Counted.looks += len(self)
            return super().items()

    decoder = ChoiceDecoder(at("/v1/chat/completions"), "t", choices=2000)
    decoder._begun = Counted()
    for index in range(2000):
        [chunk] = decoder.take(json.dumps({"choices": [{"index": index, "delta": {"content": "a"}}]}).encode())
        assert not decoder.ending
        assert not chunk.last
    assert decoder._begun.looks == 0
    assert len(decoder._begun) == 2000
