"""Ollama's API and OpenAI's, translated both ways."""

from __future__ import annotations

import base64
import json
import struct
from functools import partial
from typing import Any

import pytest

from foreman.domain.answers.chunk import Chunk
from foreman.domain.endpoints import at
from foreman.domain.errors import TargetGarbled, TargetRefused
from foreman.domain.translate.answer import NativeStream, native_embed, native_logprobs
from foreman.domain.translate.request import (
    MOST_CALLS,
    MOST_IMAGES,
    MOST_MESSAGES,
    embed_as_embeddings,
    embeddings_as_embed,
    is_zero,
)
from tests.support.counting import steps

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(40)).decode()
ASK: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
STREAMED = {"stream": True, "stream_options": {"include_usage": True}}


def asked(endpoint: str, payload: object, model: str = "m") -> tuple[str, Any]:
    made = at(endpoint).translated(json.dumps(payload).encode(), model)
    return made.endpoint, json.loads(made.payload())


def chat(**fields: Any) -> Any:
    endpoint, payload = asked("/api/chat", ASK | fields)
    assert endpoint == "/v1/chat/completions"
    return payload


def test_a_plain_chat() -> None:
    assert chat() == {"model": "m", "messages": [{"role": "user", "content": "hi"}], **STREAMED}


def test_the_servers_own_name_of_the_model_is_used() -> None:
    assert asked("/api/chat", ASK, model="org/real")[1]["model"] == "org/real"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"temperature": 0.1, "top_p": 0.2, "top_k": 3, "min_p": 0.4, "seed": 5}, None),
        ({"stop": ["a", "b"]}, None),
        ({"presence_penalty": 1, "frequency_penalty": -1, "mirostat": 2, "mirostat_tau": 5.0}, None),
        ({"num_predict": 12}, {"max_tokens": 12}),
        ({"num_predict": -1}, {}),
        ({"num_predict": -2}, {}),
        ({"repeat_penalty": 1.1}, {"repeat_penalty": 1.1, "repetition_penalty": 1.1}),
        ({"num_ctx": 9, "num_gpu": 1}, {}),
        ({"num_predict": 12.0, "seed": 42.0, "mirostat": 1.0}, {"max_tokens": 12, "seed": 42, "mirostat": 1}),
        ({"dry_multiplier": 0.8, "samplers": ["top_k"]}, None),
        ({"stop": "one"}, None),
        ({"temperature": None}, {}),
        (None, {}),
    ],
)
def test_options(given: dict[str, Any] | None, expected: dict[str, Any] | None) -> None:
    payload = chat(options=given)
    rest = {name: payload[name] for name in payload if name not in ("model", "messages", *STREAMED)}
    assert rest == (given if expected is None else expected)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"num_predict": 5.5}, "options.num_predict: must be a whole number; given: 5.5"),
        ({"num_predict": "5"}, 'options.num_predict: must be a whole number; given: "5"'),
        ({"seed": True}, "options.seed: must be a whole number; given: true"),
        ({"top_k": 1e300}, "options.top_k: must be a whole number"),
        ({"repeat_last_n": [1]}, "options.repeat_last_n: must be a whole number; given: [1]"),
        ({"temperature": "hot"}, 'options.temperature: must be a number; given: "hot"'),
        ({"top_p": {}}, "options.top_p: must be a number; given: {}"),
        ({"repeat_penalty": False}, "options.repeat_penalty: must be a number; given: false"),
        ({"stop": [1]}, "options.stop: must be text or a list of texts; given: [1]"),
        ({"stream": False}, "options.stream: unknown option"),
        ("hot", "options"),
    ],
)
def test_options_of_a_wrong_type_are_refused_by_name(given: object, words: str) -> None:
    with pytest.raises(TargetRefused) as caught:
        chat(options=given)
    assert caught.value.status == 400 and words in str(caught.value)


@pytest.mark.parametrize("number", [3, 3.0])
def test_whole_numbers_beside_the_options(number: float) -> None:
    payload = chat(logprobs=True, top_logprobs=number)
    assert payload["top_logprobs"] == 3 and type(payload["top_logprobs"]) is int
    assert asked("/api/embed", {"model": "m", "input": "a", "dimensions": number})[1]["dimensions"] == 3
    with pytest.raises(TargetRefused, match="dimensions: must be a whole number"):
        asked("/api/embed", {"model": "m", "input": "a", "dimensions": 2.5})


SCHEMA = {"type": "object", "properties": {"x": {"type": "integer"}}}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"format": "json"}, {"response_format": {"type": "json_object"}}),
        ({"format": ""}, {}),
        ({"format": None}, {}),
        (
            {"format": SCHEMA},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
                }
            },
        ),
        ({"think": True}, {"chat_template_kwargs": {"enable_thinking": True}}),
        ({"think": False}, {"chat_template_kwargs": {"enable_thinking": False}}),
        (
            {"think": "max"},
            {
                "reasoning_effort": "high",
                "chat_template_kwargs": {"enable_thinking": True, "reasoning_effort": "high"},
            },
        ),
        ({"logprobs": True, "top_logprobs": 3}, {"logprobs": True, "top_logprobs": 3}),
        ({"logprobs": False, "top_logprobs": 3}, {}),
        ({"tools": [{"type": "function"}]}, {"tools": [{"type": "function"}]}),
        ({"keep_alive": "5m", "stream": False, "unknown": 1}, {}),
    ],
)
def test_fields(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    payload = chat(**fields)
    assert {name: payload[name] for name in payload if name not in ("model", "messages", *STREAMED)} == expected


@pytest.mark.parametrize(
    ("magic", "kind"),
    [(b"\x89PNG\r\n", "png"), (b"\xff\xd8\xff\xe0", "jpeg"), (b"GIF89a", "gif"), (b"RIFF\0\0\0\0WEBP", "webp")],
)
def test_images_become_data_addresses(magic: bytes, kind: str) -> None:
    image = base64.b64encode(magic + bytes(30)).decode()
    payload = chat(messages=[{"role": "user", "content": "what?", "images": [image]}])
    assert payload["messages"][0]["content"] == [
        {"type": "text", "text": "what?"},
        {"type": "image_url", "image_url": {"url": f"data:image/{kind};base64,{image}"}},
    ]


@pytest.mark.parametrize(
    "given",
    [
        "\r\n".join(PNG[at : at + 7] for at in range(0, len(PNG), 7)),
        PNG + "\n",
        f"data:image/png;base64,{PNG}",
        f"DATA:;charset=utf-8;BASE64,\n{PNG}",
        PNG.rstrip("="),
        base64.urlsafe_b64encode(base64.b64decode(PNG)).decode(),
    ],
)
@pytest.mark.parametrize("endpoint", ["/api/chat", "/api/generate"])
def test_base64_may_come_in_any_of_its_forms(given: str, endpoint: str) -> None:
    message = {"content": "x", "images": [given]}
    payload = {"messages": [message]} if endpoint == "/api/chat" else {"prompt": "x", "images": [given]}
    [_, image] = asked(endpoint, {"model": "m", **payload})[1]["messages"][0]["content"]
    assert image["image_url"]["url"] == f"data:image/png;base64,{PNG}"


@pytest.mark.parametrize("given", [None, "", "  ", {}, "{}"])
def test_a_call_without_arguments_has_an_empty_object_of_them(given: object) -> None:
    called = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "now", "arguments": given}}]}
    [message] = chat(messages=[called])["messages"]
    assert message["tool_calls"][0]["function"] == {"name": "now", "arguments": "{}"}


def test_null_is_what_nothing_would_be() -> None:
    nulls = dict.fromkeys(("format", "options", "think", "tools", "logprobs", "keep_alive", "top_logprobs"))
    empty = {"role": None, "images": None, "tool_calls": None, "thinking": None, "name": None}
    payload = chat(messages=[{"content": "hi", **empty}], **nulls)
    assert payload == chat(messages=[{"role": "user", "content": "hi"}])
    assert asked("/api/embed", {"model": "m", "input": None, "dimensions": None})[1]["input"] == ""


def test_tool_calls_and_their_answers_find_each_other() -> None:
    def call(name: str, **extra: str) -> dict[str, Any]:
        return {"function": {"name": name, "arguments": {"x": "ü"}}, **extra}

    told = chat(
        messages=[
            {"role": "assistant", "content": "", "tool_calls": [call("f"), call("g"), call("h", id="own")]},
            {"role": "tool", "tool_name": "g", "content": "2"},
            {"role": "tool", "content": "1"},
            {"role": "tool", "tool_call_id": "own", "content": "3"},
            {"role": "assistant", "thinking": "hm", "tool_calls": [call("f")]},
            {"role": "tool", "tool_name": "f", "content": "4"},
            {"role": "tool", "content": "nobody asked"},
        ]
    )["messages"]
    calls = told[0]["tool_calls"]
    assert [one["id"] for one in calls] == ["call_0", "call_1", "own"]
    assert json.loads(calls[0]["function"]["arguments"]) == {"x": "ü"}
    answers = [message["tool_call_id"] for message in told if message["role"] == "tool"]
    assert answers == ["call_1", "call_0", "own", "call_3", "call_unknown"]
    assert told[4]["reasoning_content"] == "hm"


def test_names_count_in_any_letter_case_but_not_the_callers_own() -> None:
    called = {"ID": "c", "Function": {"NAME": "f", "Arguments": {"Name": 1}}}
    made = chat(
        messages=[
            {"Role": "user", "Content": "look", "Images": [PNG]},
            {"role": "assistant", "CONTENT": "", "Tool_Calls": [called], "Thinking": "hm"},
            {"role": "tool", "content": "x", "Tool_Name": "f"},
        ]
    )
    look, call, told = made["messages"]
    assert (look["role"], look["content"][0]["text"], len(look["content"])) == ("user", "look", 2)
    assert call["reasoning_content"] == "hm" and told["tool_call_id"] == "c"
    [answered] = call["tool_calls"]
    assert answered == {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"Name":1}'}}


def test_generate_is_a_chat_of_one_prompt() -> None:
    ask = {"model": "m", "prompt": "p", "system": "s", "images": [PNG], "options": {"seed": 1}}
    endpoint, payload = asked("/api/generate", ask)
    assert endpoint == "/v1/chat/completions" and payload["seed"] == 1
    assert payload["messages"][0] == {"role": "system", "content": "s"}
    assert payload["messages"][1]["content"][0] == {"type": "text", "text": "p"}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"raw": True}, {"prompt": "p"}),
        ({"suffix": "s"}, {"prompt": "p", "suffix": "s"}),
        ({"raw": True, "logprobs": True, "top_logprobs": 2}, {"prompt": "p", "logprobs": 2}),
    ],
)
def test_raw_prompts_and_suffixes_go_to_completions(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    endpoint, payload = asked("/api/generate", {"model": "m", "prompt": "p", **fields})
    assert endpoint == "/v1/completions" and payload == {"model": "m", **expected, **STREAMED}


def test_embed_both_ways() -> None:
    endpoint, payload = asked("/api/embed", {"model": "m", "input": ["a", "b"], "dimensions": 2, "truncate": True})
    assert endpoint == "/v1/embeddings"
    assert payload == {"model": "m", "input": ["a", "b"], "encoding_format": "float", "dimensions": 2}
    data = [{"index": 1, "embedding": [0.30]}, {"index": 0, "embedding": [1e-7]}]
    answer = json.dumps({"data": data, "usage": {"prompt_tokens": 4}}).encode()
    native = json.loads(native_embed(answer, "mine", "t", load_ns=1, elapsed_ns=2).data)
    assert native == {
        "model": "mine",
        "embeddings": [[1e-7], [0.3]],
        "total_duration": 3,
        "load_duration": 1,
        "prompt_eval_count": 4,
    }
    with pytest.raises(TargetGarbled):
        native_embed(b'{"data": 1}', "m", "t", load_ns=0, elapsed_ns=0)


def test_embeddings_that_come_packed_are_unpacked() -> None:
    packed = base64.b64encode(struct.pack("<2f", 0.5, -2)).decode()
    answer = json.dumps({"data": [{"index": 1, "embedding": [1, 2.50]}, {"index": 0, "embedding": packed}]})
    assert b"[[0.5,-2.0],[1, 2.5]]" in native_embed(answer.encode(), "m", "t", load_ns=0, elapsed_ns=0).data
    for broken in ('"AAA="', '"no base64!"', '"AAAAAAA="'):
        with pytest.raises(TargetGarbled):
            native_embed(b'{"data": [{"embedding": %s}]}' % broken.encode(), "m", "t", load_ns=0, elapsed_ns=0)


def test_the_older_embeddings() -> None:
    assert json.loads(embeddings_as_embed(b'{"model":"m","prompt":"p"}')) == {"model": "m", "input": "p"}
    assert json.loads(embed_as_embeddings(b'{"embeddings":[[1.5]]}')) == {"embedding": [1.5]}
    assert json.loads(embed_as_embeddings(b"{}")) == {"embedding": []}
    assert json.loads(embed_as_embeddings(b'{"embeddings":null}')) == {"embedding": []}


def test_embeddings_in_the_older_shape_stay_as_they_were_written() -> None:
    assert embed_as_embeddings(b'{"embeddings":[[1.50e0, 2],[3]]}') == b'{"embedding":[1.50e0, 2]}'
    with pytest.raises(TargetGarbled):
        embed_as_embeddings(b'{"embeddings":[' + b"[]," * 2_000_000 + b"[]]}")


@pytest.mark.parametrize(
    ("endpoint", "payload", "expected"),
    [
        ("/api/chat", {"messages": []}, "load"),
        ("/api/chat", {}, "load"),
        ("/api/chat", {"messages": [], "keep_alive": 0}, "unload"),
        ("/api/chat", {"messages": [], "keep_alive": "0s"}, "unload"),
        ("/api/chat", {"messages": [], "keep_alive": "10m"}, "load"),
        ("/api/chat", {"messages": [{"content": "x"}], "keep_alive": 0}, None),
        ("/api/generate", {"prompt": ""}, "load"),
        ("/api/generate", {"keep_alive": 0}, "unload"),
        ("/api/generate", {"prompt": "x"}, None),
        ("/api/embed", {}, None),
        ("/v1/chat/completions", {"messages": []}, None),
    ],
)
def test_requests_that_only_load(endpoint: str, payload: dict[str, Any], expected: str | None) -> None:
    assert at(endpoint).only_loads(json.dumps(payload).encode()) == expected


@pytest.mark.parametrize("value", [0, 0.0, "0", "0s", "0m"])
def test_keep_alive_zero(value: object) -> None:
    assert is_zero(value) and not is_zero(None) and not is_zero(-1) and not is_zero("-1") and not is_zero("10s")


@pytest.mark.parametrize(
    ("endpoint", "payload"),
    [
        ("/api/chat", {"messages": "hi"}),
        ("/api/chat", {"messages": [{"content": 5}]}),
        ("/api/chat", {"messages": [{"content": "x", "images": ["not base64!"]}]}),
        ("/api/chat", {"messages": [{"content": "x", "images": ["data:image/png,%89PNG"]}]}),
        ("/api/chat", {"messages": [{"content": "x", "images": ["A"]}]}),
        ("/api/chat", {"messages": [{"content": "x", "images": [PNG + "?"]}]}),
        ("/api/chat", {"messages": [{"content": "x"}], "format": "yaml"}),
        ("/api/generate", {"prompt": 5}),
        ("/api/embed", {"input": 5}),
        ("/api/chat", []),
    ],
)
def test_what_is_wrong_in_a_request_is_refused(endpoint: str, payload: object) -> None:
    with pytest.raises(TargetRefused) as caught:
        at(endpoint).translated(json.dumps(payload).encode(), "m")
    assert caught.value.status == 400


def test_the_answer_to_a_load() -> None:
    said = json.loads(at("/api/chat").loaded("m", "T", "load").data)
    message = {"role": "assistant", "content": ""}
    assert said == {"model": "m", "created_at": "T", "message": message, "done": True, "done_reason": "load"}
    assert json.loads(at("/api/generate").loaded("m", "T", "unload").data)["response"] == ""


def native(endpoint: str, *values: dict[str, Any], load_ns: int = 0) -> list[dict[str, Any]]:
    stream = NativeStream(endpoint, "mine", "t", load_ns=load_ns)
    chunks: list[Chunk] = []
    for number, value in enumerate(values):
        chunks += stream.take(value, created_at="T", elapsed_ns=100 * (number + 1))
    chunks += stream.finish(created_at="T", elapsed_ns=1000)
    assert [chunk.last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    return [json.loads(chunk.data) for chunk in chunks]


def delta(reason: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"model": "theirs", "choices": [{"index": 0, "delta": fields, "finish_reason": reason}]}


def test_a_chat_answer() -> None:
    first, second, third, last = native(
        "/api/chat",
        delta(role="assistant", content=None),
        delta(reasoning_content="hm"),
        delta(content="Hel"),
        delta(content="lo"),
        delta("stop"),
        {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2}},
        load_ns=50,
    )
    assert first["message"] == {"role": "assistant", "content": "", "thinking": "hm"}
    assert (second["message"]["content"], third["message"]["content"]) == ("Hel", "lo")
    assert all(chunk["model"] == "mine" and chunk["created_at"] == "T" for chunk in (first, second, third, last))
    assert second == {"model": "mine", "created_at": "T", "message": second["message"], "done": False}
    assert last == {
        "model": "mine",
        "created_at": "T",
        "message": {"role": "assistant", "content": ""},
        "done": True,
        "done_reason": "stop",
        "total_duration": 1050,
        "load_duration": 50,
        "prompt_eval_count": 7,
        "prompt_eval_duration": 200,
        "eval_count": 2,
        "eval_duration": 800,
    }


def test_a_generate_answer_of_either_endpoint() -> None:
    chat_said = native("/api/generate", delta(content="a"), delta("length"))
    text_said = native("/api/generate", {"choices": [{"index": 0, "text": "a", "finish_reason": "length"}]})
    for first, last in (chat_said, text_said):
        assert first == {"model": "mine", "created_at": "T", "response": "a", "done": False}
        assert last["response"] == "" and last["done_reason"] == "length"


@pytest.mark.parametrize(
    ("said", "meant"),
    [("stop", "stop"), ("length", "length"), ("tool_calls", "stop"), ("content_filter", "stop"), (None, "stop")],
)
def test_the_reason_of_the_end(said: str | None, meant: str) -> None:
    assert native("/api/chat", delta(said, content="x"))[-1]["done_reason"] == meant


def test_timings_are_whole_nanoseconds() -> None:
    timings = {"prompt_n": 3, "cache_n": 2, "prompt_ms": 1.2345678, "predicted_n": 9, "predicted_ms": 20.5}
    last = native("/api/chat", delta("stop") | {"timings": timings})[-1]
    assert (last["prompt_eval_count"], last["eval_count"]) == (5, 9)
    assert (last["prompt_eval_duration"], last["eval_duration"]) == (1_234_568, 20_500_000)
    assert type(last["prompt_eval_duration"]) is int


def test_tool_calls_come_whole_in_one_chunk() -> None:
    def piece(index: int, **fields: Any) -> dict[str, Any]:
        return delta(tool_calls=[{"index": index, **fields}])

    said, last = native(
        "/api/chat",
        piece(0, id="t0", function={"name": "f", "arguments": ""}),
        piece(0, function={"arguments": '{"x"'}),
        piece(1, id="t1", function={"name": "g"}),
        piece(0, function={"arguments": ":1}"}),
        delta("tool_calls"),
    )
    assert said["message"]["tool_calls"] == [
        {"id": "t0", "function": {"index": 0, "name": "f", "arguments": {"x": 1}}},
        {"id": "t1", "function": {"index": 1, "name": "g", "arguments": {}}},
    ]
    assert said["message"]["content"] == "" and last["done"]


def test_tool_calls_that_were_cut_off() -> None:
    broken = delta(tool_calls=[{"index": 0, "function": {"name": "f", "arguments": '{"x'}}])
    [last] = native("/api/chat", broken, delta("length"))
    assert last["done_reason"] == "length"
    with pytest.raises(TargetGarbled, match="tool call"):
        native("/api/chat", broken, delta("tool_calls"))


def test_content_in_parts_is_told_apart() -> None:
    def content(*parts: Any) -> dict[str, Any]:
        return delta(content=list(parts))

    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "h"}]}
    *said, _ = native(
        "/api/chat",
        content(thought, {"type": "reasoning", "text": "m"}),
        content({"type": "text", "text": "a"}, {"type": "image_url", "image_url": {}}),
        delta("stop", content="b"),
    )
    assert [chunk["message"].get("thinking", "") for chunk in said] == ["hm", "", ""]
    assert [chunk["message"]["content"] for chunk in said] == ["", "a", "b"]


@pytest.mark.parametrize("index", [1, "0", None])
def test_the_choice_that_came_is_told_whatever_its_index(index: object) -> None:
    value = delta("stop", content="x")
    value["choices"][0]["index"] = index
    assert [chunk["message"]["content"] for chunk in native("/api/chat", value)] == ["x", ""]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"content": {"type": "text", "text": "a"}}, ("a", "")),
        ({"content": ["a", {"type": "text", "text": "b"}]}, ("ab", "")),
        ({"refusal": "I will not"}, ("I will not", "")),
        ({"reasoning_content": [{"type": "text", "text": "h"}], "content": "a"}, ("a", "h")),
    ],
    ids=str,
)
def test_words_are_told_wherever_they_stand(fields: dict[str, Any], said: tuple[str, str]) -> None:
    message = native("/api/chat", delta("stop", **fields))[0]["message"]
    assert (message["content"], message.get("thinking", "")) == said


def test_counts_in_the_words_of_the_newer_api() -> None:
    last = native("/api/chat", delta("stop", content="x") | {"usage": {"input_tokens": 3, "output_tokens": 5}})[-1]
    assert (last["prompt_eval_count"], last["eval_count"]) == (3, 5)


def test_an_answer_that_was_cut_is_not_done() -> None:
    stream = NativeStream("/api/chat", "mine", "t")
    value = delta(content="x", tool_calls=[{"function": {"name": "f"}}, {"function": {"name": "g", "arguments": "{"}}])
    said = stream.take(value, created_at="T", elapsed_ns=1)
    *said, end = [*said, *stream.finish(created_at="T", elapsed_ns=2, cut=True)]
    assert end == Chunk(b"", cut=True)
    text, calls = (json.loads(chunk.data) for chunk in said)
    assert text["message"]["content"] == "x" and not text["done"] and not calls["done"]
    assert [call["function"]["name"] for call in calls["message"]["tool_calls"]] == ["f"]


def test_an_answer_that_is_not_streamed() -> None:
    message = {"role": "assistant", "content": "x", "tool_calls": [{"id": "t", "function": {"name": "f"}}]}
    whole = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": {"prompt_tokens": 1}}
    text, call, last = native("/api/chat", whole)
    assert text["message"]["content"] == "x" and call["message"]["tool_calls"] and last["prompt_eval_count"] == 1


def test_log_probabilities() -> None:
    entry = {
        "token": "ü",
        "logprob": -0.5,
        "bytes": None,
        "top_logprobs": [{"token": "a", "logprob": -1, "bytes": [97]}],
    }
    assert native_logprobs({"content": [entry]}) == [
        {
            "token": "ü",
            "logprob": -0.5,
            "bytes": [195, 188],
            "top_logprobs": [{"token": "a", "logprob": -1, "bytes": [97]}],
        }
    ]
    assert native_logprobs({"tokens": ["a"], "token_logprobs": [None]}) == [{"token": "a", "logprob": 0.0}]
    assert native_logprobs(None) == []
    value = delta(content="x")
    value["choices"][0]["logprobs"] = {"content": [entry]}
    assert native("/api/chat", value)[0]["logprobs"][0]["token"] == "ü"


@pytest.mark.parametrize("value", [{"choices": ["x"]}, {"choices": [{"delta": "x"}]}, {"choices": 5}, delta(content=5)])
def test_chunks_of_an_unknown_shape_are_garbled(value: dict[str, Any]) -> None:
    with pytest.raises(TargetGarbled):
        native("/api/chat", value)


@pytest.mark.parametrize(
    "answers",
    [
        [{"role": "tool", "tool_call_id": "unknown"}],
        [{"role": "tool", "tool_name": "unknown"}, {"role": "tool", "tool_call_id": "call_7"}],
        [{"role": "tool", "tool_name": "last"}, {"role": "tool"}],
        [{"role": "tool", "name": "f"}, {"role": "tool", "tool_call_id": "call_3"}, {"role": "tool", "name": "last"}],
    ],
)
def test_many_tool_messages_cost_no_more_each_than_a_few(answers: list[dict[str, Any]]) -> None:
    def body(many: int) -> bytes:
        calls = [{"function": {"name": "f"}}] * (many - 1) + [{"function": {"name": "last"}}]
        messages = [{"role": "assistant", "tool_calls": calls}, *answers * (many // len(answers))]
        return json.dumps({"model": "m", "messages": messages}).encode()

    few, many = (steps(partial(at("/api/chat").translated, body(count), "m")) for count in (300, 1200))
    assert many < 6 * few  # each looking at all the others would be sixteen times as much


def test_tool_messages_answer_the_oldest_call_that_fits() -> None:
    calls = [{"function": {"name": name}} for name in ("f", "g", "f", "g")]
    answers = [{"tool_name": "g"}, {"tool_call_id": "call_2"}, {}, {"tool_name": "f"}, {"tool_call_id": "call_9"}, {}]
    messages = [{"role": "assistant", "tool_calls": calls}, *({"role": "tool"} | answer for answer in answers)]
    told = [message["tool_call_id"] for message in chat(messages=messages)["messages"][1:]]
    assert told == ["call_1", "call_2", "call_0", "call_3", "call_9", "call_unknown"]


@pytest.mark.parametrize(
    ("field", "messages"),
    [
        ("messages", b"{}," * MOST_MESSAGES + b"{}"),
        ("messages", b'{"content":"[{,"},' * MOST_MESSAGES + b"{}"),
        ("images", b'{"images":[' + b'"",' * MOST_IMAGES + b'""]}'),
        ("tool_calls", b'{"tool_calls":[' + b"{}," * MOST_CALLS + b"{}]}"),
        (
            "tool_calls",
            b'{"tool_calls":[{"function":{"name":"f"}}]},' + b'{"tool_calls":[' + b"{}," * MOST_CALLS + b"{}]}",
        ),
    ],
)
def test_what_nobody_needs_so_many_of_is_refused_before_it_is_built(field: str, messages: bytes) -> None:
    with pytest.raises(TargetRefused, match=f"too many {field}: at most"):
        at("/api/chat").translated(b'{"model":"m","messages":[' + messages + b"]}", "m")
