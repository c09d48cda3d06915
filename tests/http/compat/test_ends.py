"""Answers whose servers end them in their own ways, as callers get them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.http.compat.conftest import Front
from tests.support.foreman import Daemon
from tests.support.odd.server import OddServer


@pytest.fixture(scope="module")
def odd() -> Iterator[OddServer]:
    with OddServer() as server:
        yield server


@pytest.fixture(scope="module")
def before_odd(odd: OddServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("odd") / "data", openai_url=odd.url) as daemon:
        yield daemon
        assert daemon.errors == []


def asked(model: str, **fields: object) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "x"}], **fields}


def marked(front: Front, answer: Any) -> str:
    job = front.ended(answer.headers["X-Foreman-Job-Id"])
    assert (job["state"], job["attempt"]) == ("done", 1)
    return str(job["error_code"])


def test_a_native_answer_that_is_cut_is_passed_on_as_it_is(serve: Callable[..., Daemon], odd: OddServer) -> None:
    front = Front(serve(ollama_url=odd.url))
    streamed = front.http.post("/api/chat", json=asked("native-ends-without-a-word"))
    lines = [json.loads(line) for line in streamed.text.splitlines()]
    assert [line["message"]["content"] for line in lines] == ["Hello,", " this is"]
    assert not any(line["done"] for line in lines) and marked(front, streamed) == "answer_cut"
    whole = front.http.post("/api/chat", json=asked("native-ends-without-a-word", stream=False))
    assert whole.json()["message"]["content"] == "Hello, this is" and whole.json()["done"] is False
    assert "done_reason" not in whole.json() and marked(front, whole) == "answer_cut"


def test_an_answer_that_is_cut_has_no_last_mark_for_callers_either(
    serve: Callable[..., Daemon], odd: OddServer
) -> None:
    front = Front(serve(openai_url=odd.url))
    streamed = front.http.post("/v1/chat/completions", json=asked("ends-without-a-word", stream=True))
    assert " this is" in streamed.text and "[DONE]" not in streamed.text and '"error"' not in streamed.text
    assert marked(front, streamed) == "answer_cut"
    whole = front.http.post("/v1/chat/completions", json=asked("ends-without-a-word")).json()
    assert whole["choices"][0] == {
        "index": 0,
        "message": {"role": "assistant", "content": "Hello, this is"},
        "finish_reason": None,
    }
    native = front.http.post("/api/chat", json=asked("ends-without-a-word"))
    assert not any(json.loads(line)["done"] for line in native.text.splitlines())
    assert marked(front, native) == "answer_cut"


def test_an_answer_that_said_its_end_needs_no_end_of_its_connection(
    serve: Callable[..., Daemon], odd: OddServer
) -> None:
    front = Front(serve(openai_url=odd.url, stall_timeout=30))
    streamed = front.http.post("/v1/chat/completions", json=asked("held-open-after-the-usage", stream=True), timeout=20)
    assert '"finish_reason": "stop"' in streamed.text and streamed.text.endswith("data: [DONE]\n\n")
    assert front.ended(streamed.headers["X-Foreman-Job-Id"])["error_code"] is None


@pytest.mark.parametrize("model", ["text-with-zeros-for-usage", "text-whole-for-a-stream", "text-as-documented"])
@pytest.mark.parametrize("counted", [False, True])
def test_usage_reaches_those_who_asked_for_it(before_odd: Daemon, model: str, counted: bool) -> None:
    front = Front(before_odd)
    options = {"stream_options": {"include_usage": True}} if counted else {}
    streamed = front.http.post("/v1/completions", json={"model": model, "prompt": "x", "stream": True, **options})
    assert ('"usage"' in streamed.text) is counted and "logprobs" not in streamed.text
    whole = front.http.post("/v1/completions", json={"model": model, "prompt": "x"}).json()
    assert whole["usage"]["completion_tokens"] == 5 and "logprobs" not in whole["choices"][0]
