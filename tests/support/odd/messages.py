"""Odd streams of `/v1/messages`."""

from __future__ import annotations

import functools
import json

from tests.support.odd.scenario import MESSAGES, Answer, Asked, Call, Json, Meant, as_json, event, scenario

HELLO = Meant("Hello there.", finish="end_turn")
USAGE: Json = {"input_tokens": 3, "output_tokens": 5}
TEXT: Json = {"type": "text", "text": "Hello there."}
CALLS: Json = {"type": "tool_use", "id": "call_a", "name": "read", "input": {"path": "a.txt"}}


def message(*content: Json, stop: str | None = "end_turn", usage: Json = USAGE) -> Json:
    top = {"id": "msg_1", "type": "message", "role": "assistant", "model": "odd"}
    return {**top, "content": list(content), "stop_reason": stop, "stop_sequence": None, "usage": usage}


def start() -> Json:
    return {"type": "message_start", "message": message(stop=None, usage={"input_tokens": 3, "output_tokens": 1})}


def end(stop: str = "end_turn") -> list[Json]:
    delta = {"stop_reason": stop, "stop_sequence": None}
    return [{"type": "message_delta", "delta": delta, "usage": {"output_tokens": 5}}, {"type": "message_stop"}]


def block(index: int, begun: Json, *deltas: Json) -> list[Json]:
    filled = [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
    opened = {"type": "content_block_start", "index": index, "content_block": begun}
    return [opened, *filled, {"type": "content_block_stop", "index": index}]


def text(*pieces: str, index: int = 0) -> list[Json]:
    return block(index, {"type": "text", "text": ""}, *({"type": "text_delta", "text": piece} for piece in pieces))


def hello() -> list[Json]:
    return [start(), *text("Hello", " there."), *end()]


def named(values: list[Json]) -> list[bytes]:
    return [event(value, name=value["type"]) for value in values]


def whole(asked: Asked) -> Answer:
    return as_json(message(TEXT))


odd_message = functools.partial(scenario, MESSAGES, whole=whole)


@odd_message(HELLO)
def message_as_documented(asked: Asked) -> Answer:
    return Answer(named(hello()))


@odd_message(HELLO)
def message_with_pings(asked: Asked) -> Answer:
    pings = [piece for one in hello() for piece in ({"type": "ping"}, one)]
    return Answer(named(pings[1:]))


@odd_message(HELLO)
def message_with_unknown_events(asked: Asked) -> Answer:
    told = hello()
    told[1:1] = [{"type": "content_filter", "result": "fine"}]
    return Answer([b": go\n\n", *named(told)])


@odd_message(HELLO)
def message_with_nulls(asked: Asked) -> Answer:
    """Nulls where most servers leave a field out, and one delta without text."""
    told = hello()
    told[0]["message"]["usage"] |= {"cache_read_input_tokens": None, "service_tier": None}
    told[2:2] = [{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": ""}}]
    told[-2]["usage"] |= {"input_tokens": None}
    return Answer(named(told))


@odd_message(HELLO)
def message_with_done(asked: Asked) -> Answer:
    """A `[DONE]` after the end, as in chat completions."""
    return Answer([*named(hello()), event(b"[DONE]")])


@odd_message(HELLO)
def message_counted_at_the_end(asked: Asked) -> Answer:
    """What was read is counted in the last event only."""
    told = hello()
    told[0]["message"]["usage"] = {"input_tokens": 0, "output_tokens": 0}
    told[-2]["usage"] = USAGE
    return Answer(named(told))


@odd_message(HELLO, unread="streamed")
def message_held_open(asked: Asked) -> Answer:
    return Answer(named(hello()), end="held")


@odd_message(HELLO, unread="streamed")
def message_whole_for_a_stream(asked: Asked) -> Answer:
    return whole(asked)


@odd_message(HELLO, unread="streamed")
def message_on_many_lines_for_a_stream(asked: Asked) -> Answer:
    return Answer([json.dumps(message(TEXT), indent=2).encode()], media="application/json", framing="length")


@odd_message(HELLO, unread="streamed")
def message_without_event_names(asked: Asked) -> Answer:
    return Answer([event(value) for value in hello()])


@scenario(MESSAGES, Meant("Hello there.", "Greet.", finish="end_turn"), whole=None)
def message_that_thinks(asked: Asked) -> Answer:
    thought: Json = {"type": "thinking", "thinking": "Greet.", "signature": "c2ln"}
    if not asked.streamed:
        return as_json(message(thought, TEXT))
    deltas: list[Json] = [{"type": "thinking_delta", "thinking": piece} for piece in ("Gre", "et.")]
    deltas.append({"type": "signature_delta", "signature": "c2ln"})
    begun: Json = {"type": "thinking", "thinking": "", "signature": ""}
    return Answer(named([start(), *block(0, begun, *deltas), *text("Hello", " there.", index=1), *end()]))


@scenario(MESSAGES, Meant(calls=(Call("read", {"path": "a.txt"}, "call_a"),), finish="tool_use"), whole=None)
def message_calls(asked: Asked) -> Answer:
    """The input of a tool comes in pieces that are no JSON by themselves, the first one empty."""
    if not asked.streamed:
        return as_json(message(CALLS, stop="tool_use"))
    pieces = [{"type": "input_json_delta", "partial_json": piece} for piece in ("", '{"pa', 'th": "a.txt"}')]
    return Answer(named([start(), *block(0, {**CALLS, "input": {}}, *pieces), *end("tool_use")]))


@scenario(MESSAGES, Meant(calls=(Call("now", {}, "call_a"),), finish="tool_use"), whole=None)
def message_calls_without_input(asked: Asked) -> Answer:
    called: Json = {"type": "tool_use", "id": "call_a", "name": "now", "input": {}}
    if not asked.streamed:
        return as_json(message(called, stop="tool_use"))
    return Answer(named([start(), *block(0, called), *end("tool_use")]))


@scenario(MESSAGES, HELLO, whole=None)
def message_overloaded_once(asked: Asked) -> Answer:
    if asked.nth == 1:
        return as_json({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, 529)
    return Answer(named(hello())) if asked.streamed else whole(asked)


@scenario(MESSAGES, whole=None, unread="both")
def message_error_event(asked: Asked) -> Answer:
    failed: Json = {"type": "error", "error": {"type": "api_error", "message": "engine died"}}
    return Answer(named([*hello()[:3], failed])) if asked.streamed else as_json(failed, 500)
