"""Odd ways in which streams of `/v1/chat/completions` call tools."""

from __future__ import annotations

import functools
import json
from typing import Any

from tests.support.odd.scenario import CHAT, Answer, Asked, Call, Json, Meant, as_json, scenario
from tests.support.odd.shapes import COUNTED, TOP, chunk, closing, odd_chat, sse

A = '{"path":"a.txt"}'
B = '{"path":"b.txt"}'
READ_A = Call("read", {"path": "a.txt"}, "call_a")
READ_B = Call("read", {"path": "b.txt"}, "call_b")
ONE = Meant(calls=(READ_A,), finish="tool_calls")
BOTH = Meant(calls=(READ_A, READ_B), finish="tool_calls")
NOW = Meant(calls=(Call("now", {}, "call_a"),), finish="tool_calls")
TOOLS: list[Json] = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in ("read", "now")
]

odd_calls = functools.partial(odd_chat, extra={"tools": TOOLS})


def piece(index: object = 0, **call: Any) -> Json:
    """Return a chunk with one piece of a call; `name` and `arguments` belong to its function. ... is no index."""
    function = {name: call.pop(name) for name in ("name", "arguments") if name in call}
    return chunk({"tool_calls": [({} if index is ... else {"index": index}) | call | {"function": function}]})


def ended(asked: Asked, *pieces: Json) -> Answer:
    return sse([*pieces, *closing(asked, "tool_calls")])


def opened(index: object, call: str, arguments: object, name: str = "read") -> Json:
    return piece(index, id=call, type="function", name=name, arguments=arguments)


@odd_calls(BOTH)
def calls_as_documented(asked: Asked) -> Answer:
    """Nothing odd: an index each, the id and the name first, the arguments in pieces."""
    first, second = opened(0, "call_a", ""), opened(1, "call_b", "")
    return ended(asked, first, piece(0, arguments=A[:7]), piece(0, arguments=A[7:]), second, piece(1, arguments=B))


@odd_calls(BOTH)
def calls_share_an_index(asked: Asked) -> Answer:
    """Every call has index 0 and an id of its own (ollama/ollama#15457)."""
    return ended(asked, opened(0, "call_a", A), opened(0, "call_b", B))


@odd_calls(BOTH)
def calls_share_an_index_in_pieces(asked: Asked) -> Answer:
    """The same in pieces, whose ids and names are empty."""
    return ended(
        asked,
        opened(0, "call_a", ""),
        piece(0, id="", name="", arguments=A[:7]),
        piece(0, id="", name="", arguments=A[7:]),
        opened(0, "call_b", ""),
        piece(0, id="", name="", arguments=B),
    )


@odd_calls(BOTH)
def calls_share_an_index_and_repeat_ids(asked: Asked) -> Answer:
    """The same with the id in every piece."""
    return ended(
        asked,
        opened(0, "call_a", A[:7]),
        opened(0, "call_a", A[7:]),
        opened(0, "call_b", B[:5]),
        opened(0, "call_b", B[5:]),
    )


@odd_calls(BOTH)
def calls_without_index(asked: Asked) -> Answer:
    """No call has an index (ollama/ollama#7881, langchain-ai/langchain#40562)."""
    return ended(asked, opened(..., "call_a", A), opened(..., "call_b", B))


@odd_calls(BOTH)
def calls_without_index_in_pieces(asked: Asked) -> Answer:
    """A piece with neither index nor id belongs to the last call."""
    return ended(
        asked,
        opened(..., "call_a", A[:7]),
        piece(..., arguments=A[7:]),
        opened(..., "call_b", ""),
        piece(..., arguments=B),
    )


@odd_calls(BOTH)
def calls_with_null_index(asked: Asked) -> Answer:
    return ended(asked, opened(None, "call_a", A), opened(None, "call_b", B))


@odd_calls(BOTH)
def calls_in_one_delta(asked: Asked) -> Answer:
    """Both calls in one chunk, whole."""
    first, second = (
        one["choices"][0]["delta"]["tool_calls"] for one in (opened(0, "call_a", A), opened(1, "call_b", B))
    )
    return ended(asked, chunk({"tool_calls": first + second}))


@odd_calls(BOTH)
def calls_in_one_delta_at_one_index(asked: Asked) -> Answer:
    first, second = (
        one["choices"][0]["delta"]["tool_calls"] for one in (opened(0, "call_a", A), opened(0, "call_b", B))
    )
    return ended(asked, chunk({"role": "assistant", "content": None, "tool_calls": first + second}))


@odd_calls(BOTH)
def calls_counted_from_one(asked: Asked) -> Answer:
    return ended(asked, opened(1, "call_a", A), opened(2, "call_b", B))


@odd_calls(BOTH)
def calls_interleaved(asked: Asked) -> Answer:
    """The pieces of two calls, mixed, told apart by their index."""
    return ended(
        asked,
        opened(0, "call_a", A[:7]),
        opened(1, "call_b", B[:5]),
        piece(0, arguments=A[7:]),
        piece(1, arguments=B[5:]),
    )


@odd_calls(Meant(calls=(Call("read", {"path": "a.txt"}), Call("read", {"path": "b.txt"})), finish="tool_calls"))
def calls_without_ids(asked: Asked) -> Answer:
    return ended(asked, opened(0, "", A), opened(1, "", B[:5]), piece(1, arguments=B[5:]))


@odd_calls(ONE)
def call_in_bare_pieces(asked: Asked) -> Answer:
    """The first piece has no function at all, the last no call."""
    bare = chunk({"tool_calls": [{"index": 0, "id": "call_a", "type": "function"}]})
    return ended(asked, bare, piece(0, name="read"), piece(0, arguments=A), piece(0))


@odd_calls(ONE)
def call_with_empty_choices_between(asked: Asked) -> Answer:
    between: Json = {**TOP, "choices": []}
    return ended(asked, between, opened(0, "call_a", A[:7]), between, piece(0, arguments=A[7:]), between)


@odd_calls(ONE)
def call_with_nulls_after_the_first(asked: Asked) -> Answer:
    """Id, type and name are null in every piece but the first."""
    nulls: Json = {"id": None, "type": None, "name": None}
    return ended(
        asked, opened(0, "call_a", None), piece(0, arguments=A[:7], **nulls), piece(0, arguments=A[7:], **nulls)
    )


@odd_calls(ONE)
def call_repeats_its_name(asked: Asked) -> Answer:
    """The name comes again with every piece (ggml-org/llama.cpp#12379)."""
    return ended(asked, opened(0, "call_a", A[:7]), piece(0, name="read", arguments=A[7:]))


@odd_calls(ONE)
def call_repeats_all_but_the_arguments(asked: Asked) -> Answer:
    return ended(asked, opened(0, "call_a", A[:3]), opened(0, "call_a", A[3:9]), opened(0, "call_a", A[9:]))


@odd_calls(ONE)
def call_then_nothing(asked: Asked) -> Answer:
    """An empty piece comes after the call is whole."""
    return ended(asked, opened(0, "call_a", A), piece(0, arguments=""), chunk({"tool_calls": []}))


@odd_calls(ONE)
def call_with_the_finish(asked: Asked) -> Answer:
    one = opened(0, "call_a", A)
    one["choices"][0]["finish_reason"] = "tool_calls"
    return sse([one, *closing(asked)[1:]])


@odd_calls(Meant(calls=(READ_A,), finish="stop"))
def call_that_stops(asked: Asked) -> Answer:
    """The finish_reason says nothing of the call."""
    return sse([opened(0, "call_a", A), *closing(asked, "stop")])


@odd_calls(Meant("Let me see.", calls=(READ_A,), finish="tool_calls"))
def call_after_text(asked: Asked) -> Answer:
    return ended(
        asked, chunk({"content": "Let me ", "tool_calls": []}), chunk({"content": "see."}), opened(0, "call_a", A)
    )


@odd_calls(Meant("", "Look first.", (READ_A,), "tool_calls"))
def call_after_thinking(asked: Asked) -> Answer:
    return ended(asked, chunk({"reasoning_content": "Look first.", "tool_calls": None}), opened(0, "call_a", A))


@odd_calls(NOW)
def arguments_null(asked: Asked) -> Answer:
    """No arguments, written as null (langchain-ai/langchain#34242)."""
    return ended(asked, opened(0, "call_a", None, "now"))


@odd_calls(NOW)
def arguments_empty(asked: Asked) -> Answer:
    """No arguments, written as an empty text (agno-agi/agno#10254)."""
    return ended(asked, opened(0, "call_a", "", "now"))


@odd_calls(NOW)
def arguments_missing(asked: Asked) -> Answer:
    return ended(asked, piece(0, id="call_a", type="function", name="now"))


@odd_calls(NOW)
def arguments_empty_object_in_pieces(asked: Asked) -> Answer:
    return ended(asked, opened(0, "call_a", "", "now"), piece(0, arguments="{"), piece(0, arguments="}"))


@scenario(CHAT, ONE, whole=None, extra={"tools": TOOLS})
def arguments_as_object(asked: Asked) -> Answer:
    """Arguments are an object, not its text, streamed or not."""
    call = {"index": 0, "id": "call_a", "type": "function", "function": {"name": "read", "arguments": json.loads(A)}}
    if asked.streamed:
        return ended(asked, chunk({"tool_calls": [call]}))
    message = {"role": "assistant", "content": "", "tool_calls": [call]}
    return _whole(message, "tool_calls")


@scenario(
    CHAT, Meant(calls=(Call("read", {"path": "a.txt"}, "7"),), finish="tool_calls"), whole=None, extra={"tools": TOOLS}
)
def id_as_integer(asked: Asked) -> Answer:
    call = {"index": 0, "id": 7, "type": "function", "function": {"name": "read", "arguments": A}}
    if asked.streamed:
        return ended(asked, chunk({"tool_calls": [call]}))
    return _whole({"role": "assistant", "content": "", "tool_calls": [call]}, "tool_calls")


@scenario(CHAT, ONE, whole=None, extra={"tools": TOOLS})
def type_missing(asked: Asked) -> Answer:
    """Calls without `"type": "function"`."""
    call: Json = {"index": 0, "id": "call_a", "function": {"name": "read", "arguments": A}}
    if asked.streamed:
        return ended(asked, chunk({"tool_calls": [call]}))
    return _whole({"role": "assistant", "content": None, "tool_calls": [call]}, "tool_calls")


@scenario(
    CHAT, Meant(calls=(Call("read", {"path": "a.txt"}),), finish="function_call"), whole=None, extra={"tools": TOOLS}
)
def function_call(asked: Asked) -> Answer:
    """The form before `tool_calls`: one `function_call`, without an id."""
    if not asked.streamed:
        return _whole(
            {"role": "assistant", "content": None, "function_call": {"name": "read", "arguments": A}}, "function_call"
        )
    pieces = [{"name": "read", "arguments": ""}, {"arguments": A[:7]}, {"arguments": A[7:]}]
    return sse([*(chunk({"function_call": one}) for one in pieces), *closing(asked, "function_call")])


@odd_calls(ONE, Meant(calls=(READ_B,), finish="tool_calls"))
def calls_of_two_choices(asked: Asked) -> Answer:
    """Each of two choices calls a tool, at index 0 both (n=2)."""
    chunks = [
        opened(0, "call_a", A[:7]),
        opened(0, "call_b", B[:5]),
        piece(0, arguments=A[7:]),
        piece(0, arguments=B[5:]),
    ]
    for one, index in zip(chunks, (0, 1, 0, 1), strict=True):
        one["choices"][0]["index"] = index
    return sse([*chunks, chunk({}, "tool_calls", 1), *closing(asked, "tool_calls")])


def _whole(message: Json, finish: str) -> Answer:
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return as_json({**TOP, "object": "chat.completion", "choices": [choice], "usage": COUNTED})
