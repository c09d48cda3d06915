"""Odd answers of an Ollama's own `/api/chat`, `/api/generate` and `/api/embed`."""

from __future__ import annotations

import functools
import gzip
import json
from collections.abc import Iterable
from typing import Any

from tests.support.odd.scenario import (
    NATIVE_CHAT,
    NATIVE_EMBED,
    NATIVE_GENERATE,
    SCENARIOS,
    Answer,
    Asked,
    Call,
    Json,
    Meant,
    as_json,
    scenario,
)

HELLO = Meant("Hello there.")
CALLS = (Call("read", {"path": "a.txt"}), Call("read", {"path": "b.txt"}))
TOP: Json = {"model": "odd", "created_at": "2030-01-01T00:00:00Z"}
NDJSON = "application/x-ndjson"
COUNTS: Json = {"prompt_eval_count": 3, "eval_count": 5, "total_duration": 9, "eval_duration": 4}


def said(content: str = "", **message: Any) -> Json:
    return {**TOP, "message": {"role": "assistant", "content": content, **message}, "done": False}


def last(reason: str = "stop", **message: Any) -> Json:
    return {**said("", **message), "done": True, "done_reason": reason, **COUNTS}


def hello() -> list[Json]:
    return [said("Hello"), said(" there."), last()]


def lines(values: Iterable[Json], **how: Any) -> Answer:
    return Answer([json.dumps(value).encode() + b"\n" for value in values], **{"media": NDJSON, **how})


def whole(asked: Asked) -> Answer:
    [meant] = SCENARIOS[asked.model].meant
    assert isinstance(meant, Meant)
    message: Json = {"role": "assistant", "content": meant.text}
    if meant.thinking:
        message["thinking"] = meant.thinking
    if meant.calls:
        message["tool_calls"] = [called(call) for call in meant.calls]
    return as_json({**TOP, "message": message, "done": True, "done_reason": meant.finish, **COUNTS})


def called(call: Call) -> Json:
    return {"function": {"name": call.name, "arguments": dict(call.arguments)}}


odd_native = functools.partial(scenario, NATIVE_CHAT, whole=whole)


@odd_native(HELLO)
def native_as_documented(asked: Asked) -> Answer:
    return lines(hello())


@odd_native(HELLO)
def native_labelled_json(asked: Asked) -> Answer:
    return lines(hello(), media="application/json")


@odd_native(HELLO)
def native_labelled_json_with_a_length(asked: Asked) -> Answer:
    return lines(hello(), media="application/json", framing="length")


@odd_native(HELLO)
def native_lines_ended_by_crlf(asked: Asked) -> Answer:
    return Answer([json.dumps(value).encode() + b"\r\n" for value in hello()], media=NDJSON)


@odd_native(HELLO, unread="streamed")
def native_with_a_byte_order_mark(asked: Asked) -> Answer:
    body = b"".join(lines(hello()).body)
    return Answer([b"\xef\xbb\xbf" + body], media=NDJSON)


@odd_native(Meant("Hello there.", finish="", tokens=None))
def native_with_a_bare_end(asked: Asked) -> Answer:
    """The last chunk says that it is the last, and no more."""
    return lines([said("Hello"), said(" there."), {**said(), "done": True}])


@odd_native(HELLO)
def native_errors_that_are_none(asked: Asked) -> Answer:
    return lines([value | {"error": None} for value in hello()])


@odd_native(HELLO, unread="streamed")
def native_with_empty_lines(asked: Asked) -> Answer:
    return Answer([b"\n" + json.dumps(value).encode() + b"\n\n" for value in hello()], media=NDJSON)


@odd_native(HELLO)
def native_without_the_last_line_end(asked: Asked) -> Answer:
    return Answer([b"\n".join(json.dumps(value).encode() for value in hello())], media=NDJSON)


@odd_native(HELLO)
def native_ended_by_closing(asked: Asked) -> Answer:
    return lines(hello(), framing="close")


@odd_native(HELLO)
def native_whole_for_a_stream(asked: Asked) -> Answer:
    return whole(asked)


@odd_native(HELLO, unread="streamed")
def native_whole_on_many_lines_for_a_stream(asked: Asked) -> Answer:
    body = json.dumps({**last(), "message": {"role": "assistant", "content": "Hello there."}}, indent=2).encode()
    return Answer([body], media="application/json", framing="length")


@odd_native(Meant("one\u2028two\u0085three"), unread="streamed")
def native_line_ends_of_unicode(asked: Asked) -> Answer:
    """U+2028 and U+0085 as they are."""
    values = [said("one\u2028"), said("two\u0085three"), last()]
    return Answer([json.dumps(value, ensure_ascii=False).encode() + b"\n" for value in values], media=NDJSON)


@odd_native(HELLO)
def native_says_more_in_the_last_chunk(asked: Asked) -> Answer:
    """The last chunk has text too."""
    end = last()
    end["message"]["content"] = " there."
    return lines([said("Hello"), end])


@odd_native(HELLO)
def native_with_unknown_keys(asked: Asked) -> Answer:
    return lines([value | {"remote_model": "x", "load": {"now": 1}} for value in hello()])


@odd_native(HELLO)
def native_in_gzip(asked: Asked) -> Answer:
    body = b"".join(lines(hello()).body)
    return Answer([gzip.compress(body)], media=NDJSON, headers={"Content-Encoding": "gzip"})


@odd_native(Meant("party 🎉"))
def native_cut_within_a_character(asked: Asked) -> Answer:
    body = b"".join(
        json.dumps(one, ensure_ascii=False).encode() + b"\n" for one in [said("party "), said("🎉"), last()]
    )
    middle = body.index("🎉".encode()) + 1
    return Answer([body[:middle], body[middle:]], media=NDJSON)


@odd_native(Meant("party 🎉"))
def native_surrogates_in_two_chunks(asked: Asked) -> Answer:
    return lines([said("party "), said("\ud83c"), said("\udf89"), last()])


@odd_native(Meant("Hello there.", "Greet."))
def native_that_thinks(asked: Asked) -> Answer:
    return lines([said(thinking="Gre"), said(thinking="et."), *hello()])


@odd_native(Meant(calls=CALLS))
def native_calls_in_two_chunks(asked: Asked) -> Answer:
    return lines([*(said(tool_calls=[called(call)]) for call in CALLS), last()])


@odd_native(Meant(calls=CALLS))
def native_calls_at_one_index(asked: Asked) -> Answer:
    """Every call has index 0, in a chunk of its own (ollama/ollama#15457)."""
    calls = [{"id": f"call_{n}", "function": {"index": 0, **called(call)["function"]}} for n, call in enumerate(CALLS)]
    return lines([*(said(tool_calls=[call]) for call in calls), last()])


@odd_native(Meant(calls=CALLS))
def native_calls_with_the_end(asked: Asked) -> Answer:
    return lines([last(tool_calls=[called(call) for call in CALLS])])


@odd_native(Meant(calls=(Call("now", {}),)))
def native_call_without_arguments(asked: Asked) -> Answer:
    return lines([said(tool_calls=[{"function": {"name": "now", "arguments": {}}}]), last()])


@odd_native(Meant("Hello, this is", finish="", tokens=None))
def native_ends_without_a_word(asked: Asked) -> Answer:
    """The body ends cleanly without `done: true`: Ollama gave up on an answer that repeats itself."""
    return lines([said("Hello,"), said(" this is")])


@odd_native(unread="both")
def native_error_line(asked: Asked) -> Answer:
    if not asked.streamed:
        return as_json({"error": "an error was encountered while running the model"}, 500)
    return lines([said("Half"), {"error": "an error was encountered while running the model"}])


@odd_native(unread="both")
def native_broken_off(asked: Asked) -> Answer:
    return lines([said("Half")], end="broken")


@scenario(NATIVE_CHAT, whole=None, unread="both")
def native_bad_option(asked: Asked) -> Answer:
    """Ollama says 500 to a bad option, every time."""
    return as_json({"error": 'option "temperature" must be of type float32'}, 500)


@scenario(NATIVE_CHAT, whole=None, unread="both")
def native_bad_template(asked: Asked) -> Answer:
    return as_json({"error": "template: :1: unexpected EOF"}, 500)


def generated(asked: Asked) -> Answer:
    return as_json({**TOP, "response": "Hello there.", "done": True, "done_reason": "stop", **COUNTS})


def grown(text: str, **more: Any) -> Json:
    return {**TOP, "response": text, "done": False, **more}


odd_generate = functools.partial(scenario, NATIVE_GENERATE, whole=generated)


@odd_generate(HELLO)
def generate_as_documented(asked: Asked) -> Answer:
    return lines([grown("Hello"), grown(" there."), {**grown(""), "done": True, "done_reason": "stop", **COUNTS}])


@odd_generate(HELLO)
def generate_labelled_json(asked: Asked) -> Answer:
    return lines(
        [grown("Hello"), grown(" there."), {**grown(""), "done": True, "done_reason": "stop", **COUNTS}],
        media="application/json",
    )


@odd_generate(HELLO)
def generate_whole_for_a_stream(asked: Asked) -> Answer:
    return generated(asked)


@scenario(NATIVE_GENERATE, Meant("Hello there.", "Greet."), whole=None)
def generate_that_thinks(asked: Asked) -> Answer:
    end = {**grown(""), "done": True, "done_reason": "stop", **COUNTS}
    if not asked.streamed:
        return as_json({**end, "response": "Hello there.", "thinking": "Greet."})
    return lines([grown("", thinking="Gre"), grown("", thinking="et."), grown("Hello"), grown(" there."), end])


VECTORS = ((0.5, -1.0, 2.0), (0.25, 8.0, -0.5))


@scenario(NATIVE_EMBED, *VECTORS, whole=None)
def embed_as_documented(asked: Asked) -> Answer:
    return as_json({"model": "odd", "embeddings": VECTORS, "total_duration": 9, "prompt_eval_count": 3})


@scenario(NATIVE_EMBED, *VECTORS, whole=None)
def embed_in_gzip(asked: Asked) -> Answer:
    body = gzip.compress(json.dumps({"model": "odd", "embeddings": VECTORS}).encode())
    return Answer([body], media="application/json", headers={"Content-Encoding": "gzip"}, framing="length")


@scenario(NATIVE_EMBED, whole=None, unread="both")
def embed_not_served(asked: Asked) -> Answer:
    return as_json({"error": "this model does not support embeddings"}, 501)
