"""Answers of `/v1/chat/completions` that are failures, in whichever shape: a caller shall hear of an error."""

from __future__ import annotations

import functools
from collections.abc import Callable

from tests.support.odd.scenario import CHAT, DONE, Answer, Asked, Json, as_json, event, scenario
from tests.support.odd.shapes import TOP, chunk, sse, texts

failure = functools.partial(scenario, CHAT, whole=None, unread="both")


def _in_the_stream(value: Json, **how: bool) -> Callable[[Asked], Answer]:
    """Return an answer whose stream breaks off with `value` after two words, and which unstreamed is a 500."""

    def say(asked: Asked) -> Answer:
        if not asked.streamed:
            return as_json(value, 500)
        return Answer([*map(event, [*texts("Half", " an"), value]), *([DONE] if how.get("done", True) else [])])

    return say


@failure()
def error_object(asked: Asked) -> Answer:
    return _in_the_stream({"error": {"message": "engine died", "code": 500}})(asked)


@failure()
def error_as_text(asked: Asked) -> Answer:
    return _in_the_stream({"error": "engine died"})(asked)


@failure()
def error_flat(asked: Asked) -> Answer:
    """As older vLLM and FastChat have it."""
    value = {"object": "error", "message": "engine died", "type": "InternalServerError", "param": None, "code": 500}
    return _in_the_stream(value)(asked)


@failure()
def error_by_code(asked: Asked) -> Answer:
    """As FastChat's workers have it."""
    return _in_the_stream({"text": "engine died", "error_code": 50001})(asked)


@failure()
def error_as_detail(asked: Asked) -> Answer:
    """As FastAPI has it."""
    return _in_the_stream({"detail": "engine died"})(asked)


@failure()
def error_without_done(asked: Asked) -> Answer:
    return _in_the_stream({"object": "error", "message": "engine died"}, done=False)(asked)


@failure()
def error_event(asked: Asked) -> Answer:
    """An event named error, whose data says nothing of one."""
    if not asked.streamed:
        return as_json({"message": "engine died"}, 500)
    return Answer([*map(event, texts("Half", " an")), event({"message": "engine died"}, name="error")])


@failure()
def error_as_finish_reason(asked: Asked) -> Answer:
    if not asked.streamed:
        return as_json({"error": {"message": "engine died"}}, 500)
    return sse([*texts("Half", " an"), chunk({}, "error")])


@failure()
def error_in_the_choice(asked: Asked) -> Answer:
    """The last choice has an error beside the finish_reason (OpenRouter)."""
    if not asked.streamed:
        return as_json({"error": {"message": "engine died"}}, 500)
    last = chunk({"content": ""}, "error")
    last["choices"][0]["error"] = {"code": 502, "message": "engine died"}
    return sse([*texts("Half", " an"), last])


@failure()
def error_at_the_top(asked: Asked) -> Answer:
    """A chunk like others with an error at its top (OpenRouter)."""
    return _in_the_stream({**TOP, "error": {"code": "server_error", "message": "engine died"}, "choices": []})(asked)


@failure()
def neither_choices_nor_usage(asked: Asked) -> Answer:
    """The last chunk is an object of another kind."""
    return _in_the_stream({"status": "failed", "reason": "engine died"}, done=False)(asked)


@failure()
def only_done(asked: Asked) -> Answer:
    """The model failed before its first word; only `[DONE]` comes (vllm-project/vllm#40986)."""
    return sse([]) if asked.streamed else as_json({"error": {"message": "engine died"}}, 500)


@failure()
def nothing_at_all(asked: Asked) -> Answer:
    """An empty body with status 200."""
    return Answer([], framing="length")


@failure()
def error_with_status_200(asked: Asked) -> Answer:
    """LM Studio, for an unknown route (lmstudio-ai/lmstudio-bug-tracker#618)."""
    return as_json({"error": f"Unexpected endpoint or method. (POST {asked.path})"})


@failure()
def flat_error_with_status_200(asked: Asked) -> Answer:
    return as_json({"object": "error", "message": "engine died", "code": 40303})


@failure()
def page_with_status_200(asked: Asked) -> Answer:
    return Answer([b"<!doctype html><title>nginx</title><h1>It works</h1>"], media="text/html", framing="length")


@failure()
def page_with_status_502(asked: Asked) -> Answer:
    page = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1>nginx</body></html>"
    return Answer([page], 502, "text/html", framing="length")


@failure()
def moved(asked: Asked) -> Answer:
    return Answer([], 307, "", {"Location": "https://example.invalid/v1/chat/completions"}, framing="length")


@failure()
def broken_off(asked: Asked) -> Answer:
    """The connection is lost in the middle."""
    if not asked.streamed:
        return Answer([b'{"id": "c1",'], media="application/json", framing="length", end="broken")
    return Answer([*map(event, texts("Half", " an"))], end="broken")


@failure()
def bad_request(asked: Asked) -> Answer:
    return as_json({"error": {"message": "temperature is too high", "type": "invalid_request_error"}}, 400)


@failure()
def detail_of_a_bad_request(asked: Asked) -> Answer:
    detail = [{"loc": ["body", "temperature"], "msg": "Input should be less than 2", "type": "less_than"}]
    return as_json({"detail": detail}, 422)


@failure()
def forbidden(asked: Asked) -> Answer:
    return as_json({"message": "no access to this model"}, 403)


@failure()
def not_implemented(asked: Asked) -> Answer:
    return as_json({"error": "this model does not support chat"}, 501)


@failure()
def request_timeout(asked: Asked) -> Answer:
    return as_json({"error": {"message": "request timed out", "code": "request_timeout"}}, 408)


@failure()
def conflict(asked: Asked) -> Answer:
    return as_json({"error": {"message": "conflict, try again"}}, 409)


@failure()
def garbage(asked: Asked) -> Answer:
    return Answer([b"\x00\x01\x02"], media="application/octet-stream", framing="length")


@failure()
def internal_error(asked: Asked) -> Answer:
    return as_json({"error": {"message": "boom"}}, 500)
