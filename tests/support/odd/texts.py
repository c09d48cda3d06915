"""Odd answers of `/v1/completions`."""

from __future__ import annotations

import functools

from tests.support.odd.scenario import TEXTS, Answer, Asked, Json, Meant, as_json, event, scenario
from tests.support.odd.shapes import COUNTED, sse

HELLO = Meant("Hello there.")
TOP: Json = {"id": "t1", "object": "text_completion", "created": 1, "model": "odd"}


def piece(text: str = "", finish: str | None = None, **top: object) -> Json:
    return {**TOP, "choices": [{"index": 0, "text": text, "finish_reason": finish}], **top}


def hello(asked: Asked) -> list[Json]:
    usage: list[Json] = [{**TOP, "choices": [], "usage": COUNTED}] if asked.counted else []
    return [piece("Hello"), piece(" there."), piece("", "stop"), *usage]


def whole(asked: Asked) -> Answer:
    return as_json(piece("Hello there.", "stop", usage=COUNTED))


odd_text = functools.partial(scenario, TEXTS, whole=whole)


@odd_text(HELLO)
def text_as_documented(asked: Asked) -> Answer:
    return sse(hello(asked))


@odd_text(HELLO, unread="streamed")
def text_whole_for_a_stream(asked: Asked) -> Answer:
    return whole(asked)


@odd_text(HELLO)
def text_with_zeros_for_usage(asked: Asked) -> Answer:
    """Asked for the usage, it says zeros in every chunk until the last (Ollama)."""
    zeros = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    return sse([one if one.get("usage") or not asked.counted else one | {"usage": zeros} for one in hello(asked)])


@odd_text(HELLO, only="uncounted")
def text_refuses_options(asked: Asked) -> Answer:
    if asked.counted:
        return as_json({"error": {"message": "Unsupported parameter: stream_options"}}, 400)
    return sse(hello(asked))


@odd_text(HELLO)
def text_ended_by_crlf_with_comments(asked: Asked) -> Answer:
    return Answer([b": go\n\n" + said.replace(b"\n", b"\r\n") for said in sse(hello(asked)).body])


@odd_text(HELLO)
def text_with_the_finish(asked: Asked) -> Answer:
    return sse([piece("Hello"), piece(" there.", "stop"), *hello(asked)[3:]])


@odd_text(HELLO)
def text_with_empty_and_null_pieces(asked: Asked) -> Answer:
    null = piece()
    null["choices"][0]["text"] = None
    return sse([piece(""), null, *hello(asked)])


@odd_text()
def text_error_flat(asked: Asked) -> Answer:
    failed = {"object": "error", "message": "engine died", "code": 500}
    return Answer([event(piece("Half")), event(failed)]) if asked.streamed else as_json(failed, 500)
