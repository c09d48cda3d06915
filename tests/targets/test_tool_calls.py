"""Calls of tools, told apart however their server numbers them: joined, translated, and for who goes by the index."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.lib.streaming._deltas import accumulate_delta

from foreman.domain.answers.chunk import Chunk
from foreman.domain.answers.tool_calls import CallSorter, arguments_of
from foreman.domain.endpoints import at
from foreman.domain.translate.answer import NativeStream

Json = dict[str, Any]
A, B = '{"path":"a"}', '{"path":"b{"}'


def piece(index: object = None, id: object = None, name: object = None, arguments: object = None) -> Json:
    """Return one entry of `tool_calls`, without the keys that are None."""
    function = {key: said for key, said in (("name", name), ("arguments", arguments)) if said is not None}
    keys = {"index": index, "id": id, "function": function or None}
    return {key: said for key, said in keys.items() if said is not None}


def chunk(*pieces: Json, reason: str | None = None, **delta: Any) -> bytes:
    said = {"tool_calls": list(pieces), **delta} if pieces else delta
    return json.dumps({"choices": [{"index": 0, "delta": said, "finish_reason": reason}]}).encode()


def sent(*values: bytes) -> list[Chunk]:
    decoder = at("/v1/chat/completions").decoder("t")
    values = (*values, chunk(reason="tool_calls"), b"[DONE]")
    return [made for value in values for made in decoder.take(value)]


def joined(chunks: list[Chunk]) -> Json:
    answer = at("/v1/chat/completions").answer()
    for one in chunks:
        answer.add(Chunk(one.data))
    message: Json = json.loads(answer.result())["choices"][0]["message"]
    return message


def by_index(chunks: list[Chunk]) -> list[Json]:
    """What the official client makes of the chunks."""
    message: dict[object, object] = {}
    for one in chunks:
        accumulate_delta(message, json.loads(one.data)["choices"][0]["delta"])
    calls: Any = message.get("tool_calls")
    return list(calls)


def translated(chunks: list[Chunk]) -> list[Json]:
    stream = NativeStream("/api/chat", "m", "t")
    told = [made for one in chunks for made in stream.take(json.loads(one.data), created_at="T", elapsed_ns=1)]
    told += stream.finish(created_at="T", elapsed_ns=2)
    return [call for one in told for call in json.loads(one.data)["message"].get("tool_calls", ())]


def function(call: Json) -> tuple[str, Json]:
    return call["function"]["name"], json.loads(call["function"]["arguments"])


STREAMS: dict[str, tuple[list[bytes], list[tuple[str, Json]]]] = {
    "three at one index, the last in pieces without an id": (
        [
            chunk(piece(0, "a", "f", A)),
            chunk(piece(0, "b", "f", A)),
            chunk(piece(0, "c", "g", '{"x"')),
            chunk(piece(0, None, None, ":1}")),
        ],
        [("f", {"path": "a"}), ("f", {"path": "a"}), ("g", {"x": 1})],
    ),
    "ids tell mixed pieces at one index apart": (
        [
            chunk(piece(0, "a", "f", A[:5]), piece(0, "b", "f", B[:5])),
            chunk(piece(0, "a", None, A[5:])),
            chunk(piece(0, "b", None, B[5:])),
        ],
        [("f", {"path": "a"}), ("f", {"path": "b{"})],
    ),
    "one index is shared, the next is not": (
        [chunk(piece(0, "a", "f", A)), chunk(piece(0, "b", "g", B)), chunk(piece(1, "c", "h", "{}"))],
        [("f", {"path": "a"}), ("g", {"path": "b{"}), ("h", {})],
    ),
    "neither index nor id, names only": (
        [chunk(piece(None, None, "f", A)), chunk(piece(None, None, "f", B)), chunk(piece(None, None, "g", "{}"))],
        [("f", {"path": "a"}), ("f", {"path": "b{"}), ("g", {})],
    ),
    "neither index nor id, in pieces": (
        [
            chunk(piece(None, None, "f", '{"x": "}')),
            chunk(piece(None, None, None, "\\")),
            chunk(piece(arguments='""}')),
        ],
        [("f", {"x": '}"'})],
    ),
    "one index, no id, names only": (
        [chunk(piece(0, None, "f", A)), chunk(piece(0, None, "g", B))],
        [("f", {"path": "a"}), ("g", {"path": "b{"})],
    ),
    "no index in one chunk, without arguments": (
        [chunk(piece(None, None, "f"), piece(None, None, "f"))],
        [("f", {}), ("f", {})],
    ),
    "ids without index in every piece": (
        [chunk(piece(None, "a", "f", A[:4])), chunk(piece(None, "b", "g", B)), chunk(piece(None, "a", None, A[4:]))],
        [("f", {"path": "a"}), ("g", {"path": "b{"})],
    ),
    "one id for all, at indexes of their own": (
        [chunk(piece(0, "call", "f", A)), chunk(piece(1, "call", "g", B))],
        [("f", {"path": "a"}), ("g", {"path": "b{"})],
    ),
    "the id comes late": (
        [chunk(piece(0, "", "f", A[:3])), chunk(piece(0, "a", "f", A[3:]))],
        [("f", {"path": "a"})],
    ),
    "the name in each piece": (
        [chunk(piece(0, "a", "f", A[:3])), chunk(piece(0, None, "f", A[3:8])), chunk(piece(0, None, "f", A[8:]))],
        [("f", {"path": "a"})],
    ),
    "the name in pieces": (
        [chunk(piece(0, "a", "get_", "")), chunk(piece(0, None, "weather", "")), chunk(piece(0, None, "", A))],
        [("get_weather", {"path": "a"})],
    ),
    "an index that counts the pieces": (
        [chunk(piece(0, "a", "f", "")), chunk(piece(1, "a", None, A[:5])), chunk(piece(2, "a", None, A[5:]))],
        [("f", {"path": "a"})],
    ),
    "the index as text": (
        [chunk(piece("0", "a", "f", A)), chunk(piece("1", "b", "g", B[:3])), chunk(piece("1", None, None, B[3:]))],
        [("f", {"path": "a"}), ("g", {"path": "b{"})],
    ),
    "arguments as objects": (
        [chunk(piece(0, "a", "f", {"x": 1})), chunk(piece(0, "b", "g", {}))],
        [("f", {"x": 1}), ("g", {})],
    ),
    "blank arguments": ([chunk(piece(0, "a", "f", " ")), chunk(piece(0, None, None, "\n"))], [("f", {})]),
}


@pytest.mark.parametrize(("values", "meant"), STREAMS.values(), ids=STREAMS)
def test_calls_are_told_apart(values: list[bytes], meant: list[tuple[str, Json]]) -> None:
    chunks = sent(*values)
    assert [(call["function"]["name"], call["function"]["arguments"]) for call in translated(chunks)] == meant
    whole = joined(chunks)["tool_calls"]
    assert [function(call) for call in whole] == meant and all("index" not in call for call in whole)
    read = [call["function"] for call in by_index(chunks)]
    assert [(call["name"], arguments_of(call.get("arguments"))) for call in read] == meant
    ids = [call["id"] for call in whole if "id" in call]
    assert all(isinstance(id, str) for id in ids)


def test_chunks_that_clients_read_as_they_are_stay_as_they_came() -> None:
    values = [
        chunk(piece(0, "a", "f", ""), content="x"),
        chunk(piece(0, None, None, A[:5])),
        chunk(piece(1, "b", "g", B)),
        chunk(piece(0, None, None, A[5:])),
    ]
    assert [one.data for one in sent(*values)][:4] == values


@pytest.mark.parametrize("arguments", [None, "", "null", {}])
def test_arguments_that_are_missing_are_an_empty_object(arguments: object) -> None:
    chunks = sent(chunk({"index": 0, "id": "a", "function": {"name": "f", "arguments": arguments}}))
    assert joined(chunks)["tool_calls"][0]["function"]["arguments"] == "{}"
    assert translated(chunks) == [{"id": "a", "function": {"index": 0, "name": "f", "arguments": {}}}]


@pytest.mark.parametrize(
    "pieces",
    [
        [{"name": "f", "arguments": A[:4]}, {"name": "f", "arguments": A[4:]}],
        [{"name": "f", "arguments": {"path": "a"}}],
        [{"name": "f"}, {"arguments": None}, {"arguments": A}],
    ],
    ids=["name repeated", "object", "null"],
)
def test_the_form_before_tool_calls(pieces: list[Json]) -> None:
    chunks = sent(*(chunk(function_call=one) for one in pieces))
    assert joined(chunks)["function_call"] == {"name": "f", "arguments": A}
    assert translated(chunks) == [{"function": {"index": 0, "name": "f", "arguments": {"path": "a"}}}]


def test_calls_of_custom_tools_have_no_function() -> None:
    first = {"index": 0, "id": "a", "type": "custom", "custom": {"name": "f", "input": "he"}}
    again = {"index": 0, "id": "a", "type": "custom", "custom": {"name": "f", "input": "y"}}
    other = {"index": 0, "id": "b", "type": "custom", "custom": {"name": "g", "input": "x"}}
    assert joined(sent(chunk(first), chunk(again), chunk(other)))["tool_calls"] == [
        {"id": "a", "type": "custom", "custom": {"name": "f", "input": "hey"}},
        {"id": "b", "type": "custom", "custom": {"name": "g", "input": "x"}},
    ]


def test_choices_have_calls_of_their_own() -> None:
    said = [piece(0, "a", "f", A), piece(0, "b", "g", B)]
    values = [
        json.dumps({"choices": [{"index": n, "delta": {"tool_calls": [one]}}]}).encode() for n, one in enumerate(said)
    ]
    decoder = at("/v1/chat/completions").decoder("t")
    assert [made.data for value in values for made in decoder.take(value)] == values


@pytest.mark.parametrize("arguments", [None, "", '{"x": 1}', '"{\\"x\\": 1}"'])
def test_native_calls_have_an_object_for_arguments(arguments: object) -> None:
    call = {"function": {"name": "f", "arguments": arguments}}
    value = {"message": {"role": "assistant", "content": "", "tool_calls": [call]}, "done": False}
    [made] = at("/api/chat").decoder("t").take(json.dumps(value).encode())
    [told] = json.loads(made.data)["message"]["tool_calls"]
    assert told["function"]["arguments"] == ({"x": 1} if arguments else {})


def test_native_calls_are_never_merged() -> None:
    answer = at("/api/chat").answer()
    for x in (1, 2):
        call = {"index": 0, "id": f"c{x}", "function": {"index": 0, "name": "f", "arguments": {"x": x}}}
        value = {"message": {"content": "", "tool_calls": [call]}, "done": False}
        answer.add(Chunk(json.dumps(value).encode()))
    calls = json.loads(answer.result())["message"]["tool_calls"]
    assert [call["function"]["arguments"] for call in calls] == [{"x": 1}, {"x": 2}]


def test_sorting_what_is_sorted_changes_nothing() -> None:
    for values, _ in STREAMS.values():
        sorter = CallSorter()
        for one in sent(*values):
            assert not sorter.sort(json.loads(one.data)["choices"][0]["delta"])
