"""Odd streams of `/v1/responses`."""

from __future__ import annotations

import functools

from tests.support.odd.scenario import RESPONSES, Answer, Asked, Call, Json, Meant, as_json, event, scenario

HELLO = Meant("Hello there.", finish="completed")
CALL = Meant(calls=(Call("read", {"path": "a.txt"}, "call_a"),), finish="completed")
USAGE: Json = {"input_tokens": 3, "output_tokens": 5, "total_tokens": 8}
TEXT: Json = {
    "type": "message",
    "id": "m1",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "Hello there.", "annotations": []}],
}
CALLED: Json = {
    "type": "function_call",
    "id": "f1",
    "call_id": "call_a",
    "name": "read",
    "arguments": '{"path":"a.txt"}',
    "status": "completed",
}


def response(status: str = "completed", *output: Json, **more: object) -> Json:
    counted = {"usage": USAGE} if status != "in_progress" else {}
    return {
        "id": "r1",
        "object": "response",
        "created_at": 1,
        "model": "odd",
        "status": status,
        "output": list(output),
    } | (counted | more)


def events(*middle: Json, last: Json) -> list[Json]:
    begun = response("in_progress")
    told = [{"type": "response.created", "response": begun}, {"type": "response.in_progress", "response": begun}]
    told += [*middle, {"type": f"response.{last['status']}", "response": last}]
    return [one | {"sequence_number": n} for n, one in enumerate(told)]


def deltas(*pieces: str) -> list[Json]:
    where = {"item_id": "m1", "output_index": 0, "content_index": 0}
    return [{"type": "response.output_text.delta", **where, "delta": piece} for piece in pieces]


def hello() -> list[Json]:
    return events(*deltas("Hello", " there."), last=response("completed", TEXT))


def named(values: list[Json]) -> list[bytes]:
    return [event(value, name=value["type"]) for value in values]


def whole(asked: Asked) -> Answer:
    return as_json(response("completed", TEXT))


odd_response = functools.partial(scenario, RESPONSES, whole=whole)


@odd_response(HELLO)
def response_as_documented(asked: Asked) -> Answer:
    return Answer(named(hello()))


@odd_response(HELLO)
def response_with_unknown_events(asked: Asked) -> Answer:
    told = hello()
    told[2:2] = [{"type": "response.thought.delta", "delta": "hm"}, {"type": "keepalive"}]
    return Answer([b": ping\n\n", *named(told)])


@odd_response(HELLO)
def response_without_event_names(asked: Asked) -> Answer:
    return Answer([event(value) for value in hello()])


@odd_response(HELLO)
def response_errors_that_are_none(asked: Asked) -> Answer:
    """As OpenAI has it: a response has an `error`, which is null."""
    told = hello()
    for one in told:
        if "response" in one:
            one["response"] = {**one["response"], "error": None, "incomplete_details": None}
    return Answer(named(told))


@odd_response(HELLO)
def response_with_done(asked: Asked) -> Answer:
    """A `[DONE]` ends it, as in chat completions."""
    return Answer([*named(hello()), event(b"[DONE]")])


@odd_response(HELLO)
def response_without_numbers(asked: Asked) -> Answer:
    return Answer(named([{name: said for name, said in one.items() if name != "sequence_number"} for one in hello()]))


@odd_response(HELLO, unread="streamed")
def response_held_open(asked: Asked) -> Answer:
    return Answer(named(hello()), end="held")


@odd_response(HELLO, unread="streamed")
def response_whole_for_a_stream(asked: Asked) -> Answer:
    return whole(asked)


@scenario(RESPONSES, Meant("Hello there.", finish="incomplete"), whole=None)
def response_incomplete(asked: Asked) -> Answer:
    """It was cut off at `max_output_tokens`."""
    last = response("incomplete", TEXT, incomplete_details={"reason": "max_output_tokens"})
    return Answer(named(events(*deltas("Hello", " there."), last=last))) if asked.streamed else as_json(last)


@scenario(RESPONSES, CALL, whole=None)
def response_calls(asked: Asked) -> Answer:
    last = response("completed", CALLED)
    where = {"item_id": "f1", "output_index": 0}
    middle = [{"type": "response.function_call_arguments.delta", **where, "delta": CALLED["arguments"]}]
    return Answer(named(events(*middle, last=last))) if asked.streamed else as_json(last)


@scenario(RESPONSES, whole=None, unread="both")
def response_failed(asked: Asked) -> Answer:
    """langchain-ai/langchain#39178"""
    last = response("failed", error={"code": "server_error", "message": "engine died"})
    return Answer(named(events(last=last))) if asked.streamed else as_json(last)


@scenario(RESPONSES, whole=None, unread="both")
def response_error_event(asked: Asked) -> Answer:
    failed: Json = {"type": "error", "code": "server_error", "message": "engine died", "param": None}
    if not asked.streamed:
        return as_json({"error": failed}, 500)
    return Answer(named([*events(last=response("completed"))[:1], failed]))
