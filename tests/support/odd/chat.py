"""Odd chunks of text and thinking, odd ends and odd counts on `/v1/chat/completions`."""

from __future__ import annotations

import json

from tests.support.odd.scenario import CHAT, Answer, Asked, Json, Meant, as_json, scenario
from tests.support.odd.shapes import (
    COUNTED,
    HELLO,
    TOP,
    USAGE,
    chunk,
    closing,
    completion,
    hello,
    odd_chat,
    sse,
    texts,
    whole,
)

THOUGHT = Meant("2", thinking="Thinking")
UNCOUNTED = Meant("Hello there.", tokens=None)


@odd_chat(HELLO)
def plain(asked: Asked) -> Answer:
    """Nothing odd: what the others are measured by."""
    return sse(hello(asked))


# Text


@odd_chat(HELLO)
def delta_and_growing_message(asked: Asked) -> Answer:
    """Each chunk has a delta, and all so far as a message (open-webui/open-webui#9927)."""
    grown, chunks = "", []
    for piece in ("Hello", " there", "."):
        grown += piece
        one = chunk({"role": "assistant", "content": piece})
        one["choices"][0]["message"] = {"role": "assistant", "content": grown}
        chunks.append(one)
    last = chunk({"content": ""}, "stop")
    last["choices"][0]["message"] = {"role": "assistant", "content": grown}
    return sse([*chunks, last, *closing(asked)[1:]])


@odd_chat(HELLO)
def delta_and_equal_message(asked: Asked) -> Answer:
    """Each chunk says the same piece as a delta and as a message."""
    chunks = texts("Hello", " there.")
    for one in chunks:
        one["choices"][0]["message"] = dict(one["choices"][0]["delta"])
    return sse([*chunks, *closing(asked)])


@odd_chat(HELLO)
def delta_and_null_message(asked: Asked) -> Answer:
    chunks = hello(asked)
    for one in chunks[:3]:
        one["choices"][0]["message"] = None
    return sse(chunks)


@odd_chat(HELLO)
def called_a_whole_answer(asked: Asked) -> Answer:
    """The `object` of each chunk is `chat.completion`, as if it were whole."""
    return sse([one | {"object": "chat.completion"} for one in hello(asked)])


@odd_chat(HELLO)
def only_choices(asked: Asked) -> Answer:
    """Chunks without id, object, created and model."""
    return sse([{name: one[name] for name in ("choices", "usage") if name in one} for one in hello(asked)])


@odd_chat(Meant("Hi there", thinking="I should greet"))
def content_in_parts_then_text(asked: Asked) -> Answer:
    """Content is a list of parts while the model thinks, then text (BerriAI/litellm#16272)."""

    def part(text: str) -> Json:
        return chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": text}]}]})

    return sse([part("I should"), part(" greet"), *texts("Hi", " there"), *closing(asked)])


@odd_chat(HELLO)
def content_in_parts_of_text(asked: Asked) -> Answer:
    """Content is a list of text parts throughout."""
    parts = [chunk({"content": [{"type": "text", "text": text}]}) for text in ("Hello", " there.")]
    return sse([*parts, *closing(asked)])


@odd_chat(HELLO)
def role_in_every_chunk(asked: Asked) -> Answer:
    return sse([chunk({"role": "assistant", "content": piece}) for piece in ("Hello", " there.")] + closing(asked))


@odd_chat(HELLO)
def nulls_everywhere(asked: Asked) -> Answer:
    """Every field that a delta may have is there and null."""
    nulls = {"refusal": None, "tool_calls": None, "function_call": None, "reasoning_content": None, "role": None}
    chunks = [chunk({"content": piece, **nulls}, logprobs=None, usage=None) for piece in ("Hello", " there.")]
    return sse([*chunks, chunk({"content": None, **nulls}, "stop"), *closing(asked)[1:]])


@odd_chat(HELLO)
def errors_that_are_none(asked: Asked) -> Answer:
    """Every chunk has the fields of an error, and nothing in them."""
    nothing: Json = {"error": None, "detail": None, "message": None, "error_code": 0}
    return sse([one | nothing for one in hello(asked)])


@odd_chat(HELLO)
def error_that_is_empty(asked: Asked) -> Answer:
    return sse([one | {"error": ""} for one in hello(asked)])


@odd_chat(HELLO)
def indices_missing(asked: Asked) -> Answer:
    """The only choice has no index."""
    chunks = hello(asked)
    for one in chunks:
        for choice in one["choices"]:
            del choice["index"]
    return sse(chunks)


@odd_chat(Meant("", finish="stop"))
def empty_answer(asked: Asked) -> Answer:
    return sse([chunk({"role": "assistant", "content": ""}), *closing(asked)])


@odd_chat(Meant("One"), Meant("Two", finish="length"))
def two_choices(asked: Asked) -> Answer:
    """The chunks of two choices, mixed (n=2)."""
    pieces = [("O", 0), ("T", 1), ("wo", 1), ("ne", 0)]
    ends = [chunk({}, "length", 1), *closing(asked)]
    return sse([*(chunk({"content": piece}, index=index) for piece, index in pieces), *ends])


@odd_chat(HELLO)
def prompt_filter_first(asked: Asked) -> Answer:
    """The first chunk has no choice, only what a filter said of the prompt (Azure)."""
    return sse([{**TOP, "id": "", "choices": [], "prompt_filter_results": [{"prompt_index": 0}]}, *hello(asked)])


@odd_chat(HELLO, unread="streamed")
def whole_for_a_stream(asked: Asked) -> Answer:
    """A stream was asked for; one JSON answer comes (Amm1rr/WebAI-to-API#55)."""
    return whole(asked)


@odd_chat(HELLO, unread="streamed")
def whole_on_many_lines_for_a_stream(asked: Asked) -> Answer:
    said = json.dumps(completion([HELLO]), indent=2).encode()
    return Answer([said], media="application/json", framing="length")


@odd_chat(HELLO, unread="streamed")
def whole_in_an_event(asked: Asked) -> Answer:
    """The only event of the stream is the whole answer."""
    return sse([completion([HELLO])])


# Thinking


@odd_chat(THOUGHT)
def thinking_beside_null_content(asked: Asked) -> Answer:
    """While it thinks, content is null (can1357/oh-my-pi#2996)."""
    thoughts = [chunk({"content": None, "reasoning_content": piece}) for piece in ("Think", "ing")]
    return sse([*thoughts, chunk({"content": "2", "reasoning_content": None}), *closing(asked)])


@odd_chat(THOUGHT)
def thinking_called_reasoning(asked: Asked) -> Answer:
    thoughts = [chunk({"content": "", "reasoning": piece}) for piece in ("Think", "ing")]
    return sse([*thoughts, chunk({"content": "2"}), *closing(asked)])


@odd_chat(THOUGHT)
def thinking_under_both_names(asked: Asked) -> Answer:
    """`reasoning` and `reasoning_content` say the same."""
    thoughts = [chunk({"reasoning": piece, "reasoning_content": piece}) for piece in ("Think", "ing")]
    return sse([*thoughts, chunk({"content": "2"}), *closing(asked)])


# Ends


@odd_chat(Meant("Hello.", finish=""))
def no_finish_reason(asked: Asked) -> Answer:
    """The stream is ended by `[DONE]`, and no chunk says why (waybarrios/vllm-mlx#628)."""
    return sse([*texts("Hello."), chunk({"content": ""}), *closing(asked)[1:]])


@odd_chat(Meant("Hello, this is", finish="", tokens=None))
def ends_without_a_word(asked: Asked) -> Answer:
    """The body ends cleanly, without finish_reason and `[DONE]` (vllm-project/vllm#52852)."""
    answer = sse(texts("Hello,", " this is"))
    return Answer(list(answer.body)[:-1])


@odd_chat(HELLO, unread="streamed")
def held_open_after_the_usage(asked: Asked) -> Answer:
    """All was said, but neither `[DONE]` nor the end of the body comes (waybarrios/vllm-mlx#101)."""
    answer = sse(hello(asked))
    return Answer(list(answer.body)[:-1], end="held")


@odd_chat(HELLO)
def no_done(asked: Asked) -> Answer:
    """The body ends after the finish_reason, without `[DONE]`."""
    answer = sse(hello(asked))
    return Answer(list(answer.body)[:-1])


@odd_chat(HELLO)
def finish_with_the_last_text(asked: Asked) -> Answer:
    """The last piece of text and the finish_reason come in one chunk."""
    return sse([*texts("Hello"), chunk({"content": " there."}, "stop"), *closing(asked)[1:]])


@odd_chat(HELLO)
def finish_twice(asked: Asked) -> Answer:
    return sse([*texts("Hello there."), chunk({}, "stop"), *closing(asked)])


@odd_chat(HELLO)
def finish_empty_until_the_end(asked: Asked) -> Answer:
    """The finish_reason is "" where it should be null."""
    return sse([*(chunk({"content": piece}, "") for piece in ("Hello", " there.")), *closing(asked)])


@odd_chat(HELLO)
def finish_without_delta(asked: Asked) -> Answer:
    last = {**TOP, "choices": [{"index": 0, "finish_reason": "stop"}]}
    return sse([*texts("Hello", " there."), last, *closing(asked)[1:]])


@odd_chat(HELLO)
def finish_with_null_delta(asked: Asked) -> Answer:
    last = {**TOP, "choices": [{"index": 0, "delta": None, "finish_reason": "stop"}]}
    return sse([*texts("Hello", " there."), last, *closing(asked)[1:]])


@odd_chat(Meant("Hello there.", finish="eos"))
def finish_reason_of_its_own(asked: Asked) -> Answer:
    return sse([*texts("Hello", " there."), *closing(asked, "eos")])


@odd_chat(HELLO)
def text_after_the_finish(asked: Asked) -> Answer:
    """An empty piece comes after the finish_reason."""
    return sse([*texts("Hello", " there."), chunk({}, "stop"), *texts(""), *closing(asked)[1:]])


@odd_chat(HELLO)
def timings_last(asked: Asked) -> Answer:
    """A chunk without choices carries the server's own timings (llama.cpp)."""
    timings = {**TOP, "choices": [], "timings": {"prompt_n": 3, "predicted_n": 5}}
    return sse([*hello(asked), timings])


# Counts


@odd_chat(HELLO)
def usage_with_null_choices(asked: Asked) -> Answer:
    return sse([*texts("Hello", " there."), chunk({}, "stop"), *_usage(asked, choices=None)])


@odd_chat(HELLO)
def usage_without_choices(asked: Asked) -> Answer:
    usage = [{name: said for name, said in one.items() if name != "choices"} for one in _usage(asked)]
    return sse([*texts("Hello", " there."), chunk({}, "stop"), *usage])


@odd_chat(HELLO)
def usage_of_an_unknown_object(asked: Asked) -> Answer:
    """The usage comes by itself, without a word on what it belongs to."""
    usage: list[Json] = [{"usage": COUNTED}] if asked.counted else []
    return sse([*texts("Hello", " there."), chunk({}, "stop"), *usage])


@odd_chat(HELLO)
def usage_in_every_chunk(asked: Asked) -> Answer:
    """It grows with each chunk, asked for or not (memex-lab/dart_agent_core#23)."""

    def counted(tokens: int) -> Json:
        return {"prompt_tokens": 3, "completion_tokens": tokens, "total_tokens": 3 + tokens}

    pieces = [chunk({"content": piece}, usage=counted(n)) for n, piece in ((2, "Hello"), (4, " there."))]
    return sse([*pieces, chunk({}, "stop", usage=counted(5))])


@odd_chat(HELLO)
def usage_null_until_the_end(asked: Asked) -> Answer:
    """As OpenAI does it when the usage is asked for."""
    chunks = hello(asked)
    return sse([one if one.get("usage") else one | {"usage": None} for one in chunks])


@odd_chat(HELLO)
def usage_empty_until_the_end(asked: Asked) -> Answer:
    chunks = hello(asked)
    return sse([one if one.get("usage") else one | {"usage": {}} for one in chunks])


@odd_chat(HELLO)
def usage_twice(asked: Asked) -> Answer:
    return sse([*texts("Hello", " there."), chunk({}, "stop"), *_usage(asked), *_usage(asked)])


@odd_chat(HELLO)
def usage_before_the_finish(asked: Asked) -> Answer:
    return sse([*texts("Hello", " there."), *_usage(asked), chunk({}, "stop")])


@odd_chat(HELLO)
def usage_with_the_finish(asked: Asked) -> Answer:
    more: Json = {"usage": COUNTED} if asked.counted else {}
    return sse([*texts("Hello", " there."), chunk({}, "stop", **more)])


@odd_chat(HELLO)
def usage_in_the_choice(asked: Asked) -> Answer:
    """Some count in the last choice (Moonshot) and at the top."""
    last = chunk({}, "stop")
    last["choices"][0]["usage"] = COUNTED
    return sse([*texts("Hello", " there."), last, *closing(asked)[1:]])


@scenario(CHAT, UNCOUNTED, whole=None)
def usage_never(asked: Asked) -> Answer:
    """The server does not count, streamed or not."""
    if asked.streamed:
        return sse([*texts("Hello", " there."), chunk({}, "stop")])
    value = completion([UNCOUNTED])
    del value["usage"]
    return as_json(value)


def _usage(asked: Asked, **top: object) -> list[Json]:
    return [{**USAGE, **top}] if asked.counted else []
