"""Servers that refuse what a caller did not ask for, or refuse once and then answer."""

from __future__ import annotations

import functools
from typing import Any

from tests.support.odd.scenario import CHAT, Answer, Asked, Say, as_json, scenario
from tests.support.odd.shapes import HELLO, hello, odd_chat, sse, whole
from tests.support.odd.tools import TOOLS

only_uncounted = functools.partial(odd_chat, only="uncounted")
only_unstreamed = functools.partial(scenario, CHAT, whole=whole, only="unstreamed")


def _error(words: str, **more: object) -> dict[str, Any]:
    return {"error": {"message": words, "type": "invalid_request_error", **more}}


def _unless_counted(asked: Asked, status: int, refusal: dict[str, Any]) -> Answer:
    return as_json(refusal, status) if asked.counted else sse(hello(asked))


# The usage in a stream


@only_uncounted(HELLO)
def options_forbidden(asked: Asked) -> Answer:
    """Extra fields are refused (openai/openai-agents-python#442)."""
    detail = [{"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted"}]
    return _unless_counted(asked, 422, {"object": "error", "message": {"detail": detail}})


@only_uncounted(HELLO)
def options_forbidden_by_fastapi(asked: Asked) -> Answer:
    detail = [{"loc": ["body", "stream_options"], "msg": "extra fields not permitted", "type": "value_error.extra"}]
    return _unless_counted(asked, 422, {"detail": detail})


@only_uncounted(HELLO)
def options_unrecognized(asked: Asked) -> Answer:
    return _unless_counted(asked, 400, _error("Unrecognized request argument supplied: stream_options"))


@only_uncounted(HELLO)
def options_unknown(asked: Asked) -> Answer:
    return _unless_counted(asked, 400, _error("Unknown parameter: 'stream_options'.", param="stream_options"))


@only_uncounted(HELLO)
def options_unknown_in_plain_text(asked: Asked) -> Answer:
    answer = _unless_counted(asked, 400, {})
    return Answer([b"unknown field `stream_options`"], 400, "text/plain") if asked.counted else answer


@only_uncounted(HELLO)
def include_usage_unknown(asked: Asked) -> Answer:
    return _unless_counted(asked, 400, _error("include_usage is not supported by this model"))


@only_uncounted(HELLO)
def options_only_for_streams(asked: Asked) -> Answer:
    """What OpenAI says where `stream_options` stand without `stream`; here they always do."""
    words = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
    return _unless_counted(asked, 400, _error(words, param="stream_options"))


@only_uncounted(HELLO)
def options_crash_the_server(asked: Asked) -> Answer:
    """The refusal is a 500 that names what it trips over."""
    return _unless_counted(asked, 500, _error("ChatRequest.__init__() got an unexpected argument 'stream_options'"))


# The stream itself


@only_unstreamed(HELLO, extra={"tools": TOOLS})
def no_tools_in_a_stream(asked: Asked) -> Answer:
    """simonw/llm-llama-server#3"""
    return as_json({"error": {"code": 500, "message": "Cannot use tools with stream", "type": "server_error"}}, 500)


@only_unstreamed(HELLO, extra={"tools": TOOLS})
def no_functions_in_a_stream(asked: Asked) -> Answer:
    return as_json(_error("Streaming is not supported when tools are given. Set stream to false."), 400)


@only_unstreamed(HELLO, extra={"extra_body": {"prompt_logprobs": 1}})
def no_prompt_logprobs_in_a_stream(asked: Asked) -> Answer:
    """vllm-project/vllm#7453"""
    words = "`prompt_logprobs` are not available when `stream=True`."
    return as_json({"object": "error", "message": words, "type": "BadRequestError", "code": 400}, 400)


@only_unstreamed(HELLO)
def no_streams(asked: Asked) -> Answer:
    return as_json(_error("This model does not support streaming.", param="stream", code="unsupported_value"), 400)


@only_unstreamed(HELLO)
def no_streams_yet(asked: Asked) -> Answer:
    return as_json({"detail": "stream=true is not implemented"}, 501)


@only_unstreamed(HELLO)
def streams_refused_by_fastapi(asked: Asked) -> Answer:
    detail = [{"loc": ["body", "stream"], "msg": "Input should be False", "type": "literal_error", "input": True}]
    return as_json({"detail": detail}, 422)


# Once, and then no more


ONCE: dict[str, tuple[int, str, dict[str, str]]] = {
    "request-timeout-once": (408, "stream disconnected before completion", {}),  # anomalyco/opencode#39221
    "too-early-once": (425, "too early", {"x-should-retry": "true"}),
    "conflict-once": (409, "conflict, try again", {"x-should-retry": "true"}),
    "model-is-loading-once": (409, "The model is being loaded. Please try again in a moment.", {}),
    "too-many-requests-once": (429, "slow down", {"Retry-After": "0"}),
    "loading-once": (503, "Loading model", {"Retry-After": "0"}),
    "internal-error-once": (500, "boom", {}),
    "bad-gateway-once": (502, "bad gateway", {}),
    "gateway-timeout-once": (504, "gateway timeout", {}),
    "overloaded-once": (529, "Overloaded", {}),
}


def refused_once(status: int, words: str, headers: dict[str, str]) -> Say:
    """Return what refuses the first call, and answers the next, streamed or not."""

    def say(asked: Asked) -> Answer:
        if asked.nth == 1:
            return as_json(_error(words), status, {"retry-after-ms": "5", **headers})  # read by the SDK alone
        return sse(hello(asked)) if asked.streamed else whole(asked)

    return say


for _name, _told in ONCE.items():
    scenario(CHAT, HELLO, whole=None, name=_name)(refused_once(*_told))


@scenario(CHAT, HELLO, whole=None, unread="streamed")
def connection_lost_once(asked: Asked) -> Answer:
    """The first answer breaks off before its first event."""
    if asked.nth == 1:
        return Answer([b""], end="broken") if asked.streamed else Answer([b"{"], media="application/json", end="broken")
    return sse(hello(asked)) if asked.streamed else whole(asked)
