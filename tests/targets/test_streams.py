"""Streams taken apart, however they are cut, and answers joined."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreman.domain.answers.chunk import Chunk
from foreman.domain.answers.parsers import (
    Ndjson,
    Parser,
    Sse,
    SseOrWhole,
    Whole,
    WholeOrLines,
)
from foreman.domain.endpoints import at, completion
from foreman.domain.errors import TargetFailed, TargetGarbled, TargetLost

VALUES = ['{"a":"ü 🦊"}', '{"b":[1,2]}', '{"c":"\\u2028 \\n"}', '{"d":"\u2028\x85"}']


def without_usage(chunk: bytes) -> bytes | None:
    """The chunk for a caller who did not ask for the usage."""
    return completion.without_usage(chunk, at("/v1/chat/completions").label(json.loads(chunk)).usage)


def fed(parser: Parser, data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    found: list[bytes] = []
    for start, end in pairwise(edges):
        found += parser.feed(data[start:end])
    return found + parser.end()


@given(st.lists(st.integers(min_value=0), max_size=12), st.sampled_from(["\n", "\r\n", "\n\n"]), st.booleans())
def test_ndjson_survives_any_cut(cuts: list[int], ending: str, ended: bool) -> None:
    text = ending.join(VALUES) + (ending if ended else "")
    assert fed(Ndjson("t"), text.encode(), cuts) == [value.encode() for value in VALUES]


@given(st.lists(st.integers(min_value=0), max_size=12), st.sampled_from(["\n", "\r\n", "\r"]), st.booleans())
def test_sse_survives_any_cut(cuts: list[int], ending: str, ended: bool) -> None:
    lines = [": a comment", "event: x", "id: 7", ""]
    for value in VALUES:
        lines += [f"data: {value}", ""]
    lines += ["data:[DONE]", "", "data:", ""]
    text = "\ufeff" + ending.join(lines) + (ending if ended else "")
    assert fed(Sse("t"), text.encode(), cuts) == [*(value.encode() for value in VALUES), b"[DONE]"]


@pytest.mark.parametrize(
    ("text", "events"),
    [
        ('data: {\ndata: "a": 1}\n\n', [b'{\n"a": 1}']),
        ("retry: 10\n\n", []),
        ("data\n\n", []),
        ('error: {"message":"no"}\n\n', [b'{"error":{"message":"no"}}']),
        ('data: {"cut":1}', [b'{"cut":1}']),
        ('event: error\ndata: {"message":"no"}\n\ndata: {}\n\n', [b'{"error":{"message":"no"}}', b"{}"]),
        ('event: error\ndata: out of "memory"\n\n', [b'{"error":"out of \\"memory\\""}']),
        ("error: just words\n\n", [b'{"error":"just words"}']),
    ],
)
def test_sse_by_the_standard(text: str, events: list[bytes]) -> None:
    assert fed(Sse("t"), text.encode(), []) == events


@given(st.lists(st.integers(min_value=0), max_size=6), st.sampled_from(["", "\n\n ", "\ufeff", "\ufeff\r\n"]))
def test_the_first_character_tells_a_whole_answer_from_a_stream(cuts: list[int], before: str) -> None:
    whole, stream = SseOrWhole("t"), SseOrWhole("t")
    assert fed(whole, f'{before}{{"a":\n1}} \n'.encode(), cuts) == [b'{"a":\n1}'] and whole.whole
    assert fed(stream, f'{before}data: {{"a":1}}\n\n'.encode(), cuts) == [b'{"a":1}'] and not stream.whole


def test_lines_that_were_called_one_value_are_lines() -> None:
    lines, whole = WholeOrLines("t"), WholeOrLines("t")
    assert fed(lines, b'{"a":1}\n{"b":2}\r\n', [3]) == [b'{"a":1}', b'{"b":2}'] and not lines.whole
    assert fed(whole, b'{\n"a":1\n}', []) == [b'{\n"a":1\n}'] and whole.whole


@pytest.mark.parametrize("parser", [Ndjson("t", 100), Sse("t", 100), Whole("t", 100)])
def test_a_value_without_end_is_refused(parser: Parser) -> None:
    parser.feed(b"x" * 60)
    with pytest.raises(TargetGarbled, match="100 bytes"):
        parser.feed(b"x" * 60)


def test_an_event_of_endless_short_lines_is_refused() -> None:
    parser = Sse("t", 100)
    parser.feed(b"data: xxxxxxx\n" * 10)
    with pytest.raises(TargetGarbled):
        parser.feed(b"data: xxxxxxx\n" * 10)


@pytest.mark.parametrize(
    ("endpoint", "media", "sized", "parser"),
    [
        ("/api/chat", "application/x-ndjson", False, Ndjson),
        ("/api/chat", "application/json; charset=utf-8", True, WholeOrLines),
        ("/api/chat", "application/json", False, Ndjson),
        ("/api/generate", "", False, Ndjson),
        ("/api/chat", "text/event-stream", False, Sse),
        ("/v1/chat/completions", "text/event-stream", False, SseOrWhole),
        ("/v1/messages", "", False, SseOrWhole),
        ("/api/embed", "application/json", False, Whole),
        ("/v1/embeddings", "", False, Whole),
    ],
)
def test_the_media_type_tells_how_to_read(endpoint: str, media: str, sized: bool, parser: type[Parser]) -> None:
    assert type(at(endpoint).parser(media, sized=sized, target="t")) is parser


def closed(endpoint: str, *values: str) -> list[tuple[str, bool]]:
    decoder = at(endpoint).decoder("t")
    chunks = [chunk for value in values for chunk in decoder.take(value.encode())] + decoder.end(framed=False)
    return [(chunk.data.decode(), chunk.last) for chunk in chunks]


TOKEN = '{"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}]}'
STOP = '{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'
USAGE = '{"choices":[],"usage":{"total_tokens":3}}'


@pytest.mark.parametrize(
    ("endpoint", "values", "last"),
    [
        ("/api/chat", ['{"done":false}', '{"done":true}'], '{"done":true}'),
        ("/v1/chat/completions", [TOKEN, STOP, USAGE, "[DONE]"], USAGE),
        ("/v1/chat/completions", [TOKEN, STOP, "[DONE]"], STOP),
        ("/v1/chat/completions", [TOKEN, STOP, USAGE], USAGE),
        ("/v1/completions", [TOKEN, STOP], STOP),
        (
            "/v1/responses",
            ['{"type":"response.created"}', '{"type":"response.completed"}'],
            '{"type":"response.completed"}',
        ),
        ("/v1/messages", ['{"type":"ping"}', '{"type":"message_stop"}'], '{"type":"message_stop"}'),
    ],
)
def test_the_closing_chunk_is_marked(endpoint: str, values: list[str], last: str) -> None:
    expected = [(value, value == last) for value in values if value != "[DONE]"]
    assert closed(endpoint, *values) == expected


def test_what_only_begins_like_the_last_mark_is_one() -> None:
    assert closed("/v1/chat/completions", TOKEN, STOP, "[DONE]</s>", "more") == [(TOKEN, False), (STOP, True)]


def test_a_message_that_starts_without_a_word_is_opened() -> None:
    block = '{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}'
    delta = '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"😀"}}'
    stop = '{"type":"message_delta","delta":{"stop_reason":"max_tokens"},"usage":{"output_tokens":2}}'
    (opening, _), *rest = closed("/v1/messages", block, delta, stop, '{"type":"message_stop"}')
    assert [value for value, _ in rest] == [block, delta, stop, '{"type":"message_stop"}']
    result = join("/v1/messages", *(json.loads(value) for value in (opening, *(value for value, _ in rest))))
    assert result["id"].startswith("msg_") and result["content"][0]["text"] == "😀"
    assert result["usage"] == {"input_tokens": 0, "output_tokens": 2} and result["stop_reason"] == "max_tokens"
    started = '{"type":"message_start","message":{"id":"m"}}'
    assert closed("/v1/messages", started, block, '{"type":"message_stop"}')[0][0] == started


def test_no_token_waits_for_the_next_one() -> None:
    decoder = at("/v1/chat/completions").decoder("t")
    assert [chunk.data.decode() for chunk in decoder.take(TOKEN.encode())] == [TOKEN]


@pytest.mark.parametrize("endpoint", ["/api/chat", "/v1/chat/completions", "/v1/responses", "/v1/messages"])
def test_a_stream_that_just_ends_is_lost(endpoint: str) -> None:
    with pytest.raises(TargetLost):
        closed(endpoint, '{"type":"x"}' if "chat" not in endpoint else TOKEN)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ('{"error":"plain words"}', "plain words"),
        ('{"error":{"message":"deep words","code":500}}', "deep words"),
        ('{"type":"error","error":{"type":"overloaded_error","message":"too busy"}}', "too busy"),
        ('{"type":"error","message":"flat words","code":null}', "flat words"),
    ],
)
@pytest.mark.parametrize("endpoint", ["/api/chat", "/v1/chat/completions", "/v1/responses", "/v1/messages"])
def test_an_error_in_the_stream_is_a_fault_with_its_words(endpoint: str, value: str, words: str) -> None:
    with pytest.raises(TargetFailed, match=words):
        at(endpoint).decoder("t").take(value.encode())
    with pytest.raises(TargetFailed, match=words):
        at(endpoint).answer().add(Chunk(value.encode()))


@pytest.mark.parametrize("value", [b"{", b"[1]", b"nonsense", b'"text"', b"[" * 100_000, b"\xff"])
def test_what_is_not_an_object_is_garbled(value: bytes) -> None:
    with pytest.raises(TargetGarbled):
        at("/api/chat").decoder("t").take(value)
    with pytest.raises(TargetGarbled):
        at("/api/chat").answer().add(Chunk(value))


def test_line_ends_are_taken_out_of_values() -> None:
    [chunk] = at("/v1/embeddings").decoder("t").take(b'{\n "a": 1.50,\r\n "b": "x\\ny"\n}')
    assert chunk.data == b'{"a":1.50,"b":"x\\ny"}' and chunk.last


@pytest.mark.parametrize("usage", [b"null", b"{}", b'{"prompt_tokens": 0, "completion_tokens": 0}'])
def test_usage_that_was_only_asked_for_by_foreman_is_taken_out(usage: bytes) -> None:
    value = b'{"id":"c","choices":[{"index": 0, "text": "x", "logprobs": null}],"seed":1.50%s}'
    assert without_usage(value % (b',"usage":' + usage)) == value % b""
    first = b'{"usage": %s, "choices":[{"text":"\\"usage\\":null"}],"seed":1.50}'
    assert json.loads(without_usage(first % usage) or b"") == {"choices": [{"text": '"usage":null'}], "seed": 1.5}
    nested = b'{"choices":[{"usage": 1}],"usage": %s}'
    assert json.loads(without_usage(nested % usage) or b"") == {"choices": [{"usage": 1}]}


@pytest.mark.parametrize("choices", [{"choices": None}, {"choices": []}, {}], ids=str)
def test_usage_without_choices_is_usage(choices: dict[str, None]) -> None:
    value = json.dumps({"id": "c", **choices, "usage": {"total_tokens": 3}})
    [*_, (last, _)] = closed("/v1/chat/completions", TOKEN, STOP, value, "[DONE]")
    assert json.loads(last) == {"id": "c", "choices": [], "usage": {"total_tokens": 3}}
    assert without_usage(last.encode()) is None and without_usage(value.encode()) is None


def test_usage_alone_is_told_from_the_rest() -> None:
    assert without_usage(USAGE.encode()) is None
    assert without_usage(STOP.encode()) == STOP.encode()
    assert without_usage(b'{"choices":[{"index":0}],"usage":{"a":1}}') == b'{"choices":[{"index":0}],"usage":{"a":1}}'


def message(text: str, reason: str | None = None, **more: Any) -> str:
    said = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": reason}
    return json.dumps({"id": "c", "choices": [said | more]})


MESSAGES: dict[str, tuple[list[str], str]] = {
    "growing": ([message("One"), message("One two"), message("One two three.", "stop")], "One two three."),
    "in pieces": ([message("One"), message(" two"), message("", "stop")], "One two"),
    "growing, with an empty end": ([message("One"), message("One two"), message("", "stop")], "One two"),
    "a delta beside it": (
        [message("One", delta={"content": "One"}), message("One two", "stop", delta={"content": " two"})],
        "One two",
    ),
    "the same as the delta": (
        [message("a", delta={"content": "a"}), message("a", delta={"content": "a"}), STOP],
        "aa",
    ),
    "only at the end, beside an empty delta": ([message("", delta={}), message("One", "stop", delta={})], "One"),
    "null": ([TOKEN, message("", message=None, delta={"content": "y"}), STOP], "xy"),
}


@pytest.mark.parametrize(("values", "text"), MESSAGES.values(), ids=MESSAGES)
def test_a_message_in_a_stream(values: list[str], text: str) -> None:
    told = closed("/v1/chat/completions", *values, "[DONE]")
    deltas = [json.loads(value)["choices"][0].get("delta") or {} for value, _ in told]
    assert "".join(delta.get("content", "") for delta in deltas) == text
    [choice] = join("/v1/chat/completions", *(json.loads(value) for value, _ in told))["choices"]
    assert choice["message"] == {"role": "assistant", "content": text} and choice["finish_reason"] == "stop"


def parts(*contents: Any) -> Any:
    values = [{"choices": [{"index": 0, "delta": {"content": content}}]} for content in contents]
    return join("/v1/chat/completions", *values)["choices"][0]["message"]["content"]


def test_content_in_parts() -> None:
    def thought(text: str) -> list[Any]:
        return [{"type": "thinking", "thinking": text}]

    text = [{"type": "text", "text": "b"}]
    image = [{"type": "image_url", "image_url": {"url": "u"}}]
    assert parts("a", text, "c") == "abc"
    assert parts(thought("h"), thought("m"), text, "c") == [*thought("hm"), {"type": "text", "text": "bc"}]
    assert parts("a", image, image, "b") == [{"type": "text", "text": "a"}, *image, *image, *text]
    assert parts(None, "", thought("hm"), None, "") == thought("hm")


def test_a_name_told_in_every_chunk_is_one_name() -> None:
    values = [{"choices": [{"delta": {"name": "Max", "content": text}}]} for text in "abc"]
    [choice] = join("/v1/chat/completions", *values)["choices"]
    assert choice["message"]["name"] == "Max" and choice["message"]["content"] == "abc"


def test_the_usage_after_a_message_in_one_piece_is_kept() -> None:
    told = closed("/v1/chat/completions", message("One", "stop"), USAGE, "[DONE]")
    answer = join("/v1/chat/completions", *(json.loads(value) for value, _ in told))
    assert answer["usage"] == {"total_tokens": 3} and answer["choices"][0]["message"]["content"] == "One"


def test_a_role_stays_as_it_was_said() -> None:
    said = {"message": {"role": "", "content": ""}, "_debug_info": {"x": 1}, "done": False}
    assert join("/api/chat", said, said)["message"] == {"role": "", "content": ""}


def test_nothing_is_added_to_a_text_completion() -> None:
    choice = {"index": 0, "text": "x", "finish_reason": "stop"}
    assert join("/v1/completions", {"id": "c", "choices": [choice]})["choices"] == [choice]


def test_a_response_that_was_cut_has_what_was_said() -> None:
    call = {"id": "f", "type": "function_call", "arguments": "{}"}
    message = {"id": "m", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    result = join(
        "/v1/responses",
        {"type": "response.created", "response": {"id": "r", "status": "in_progress", "output": []}},
        {"type": "response.output_item.done", "output_index": 0, "item": call},
        {"type": "response.output_item.added", "output_index": 1, "item": message},
        {"type": "response.output_text.delta", "item_id": "m", "output_index": 1, "delta": "Half "},
        {"type": "response.output_text.delta", "item_id": "m", "output_index": 1, "delta": "an"},
    )
    assert result["id"] == "r" and result["output"][0] == call
    assert result["output"][1]["content"][0]["text"] == "Half an" and result["status"] == "incomplete"


@pytest.mark.parametrize("indexes", [(0, 0), (None, None), (1, 1)])
def test_blocks_that_share_an_index_are_two(indexes: tuple[int | None, int | None]) -> None:
    def events(index: int | None, text: str) -> list[dict[str, Any]]:
        block = {"type": "text", "text": ""}
        told: list[dict[str, Any]] = [
            {"type": "content_block_start", "content_block": block},
            {"type": "content_block_delta", "delta": {"type": "text_delta", "text": text}},
            {"type": "content_block_stop"},
        ]
        return [one if index is None else one | {"index": index} for one in told]

    values: list[dict[str, Any]] = [{"type": "message_start", "message": {"id": "m"}}]
    values += events(indexes[0], "a") + events(indexes[1], "b") + [{"type": "message_stop"}]
    told = [json.loads(value) for value, _ in closed("/v1/messages", *map(json.dumps, values))]
    assert [block["text"] for block in join("/v1/messages", *told)["content"]] == ["a", "b"]
    first = indexes[0] or 0
    assert [one["index"] for one in told if "index" in one] == [first] * 3 + [first + 1] * 3


def test_a_tool_that_was_called_with_nothing_has_an_empty_input() -> None:
    def start(index: int, given: Any) -> dict[str, Any]:
        block = {"type": "tool_use", "id": "t", "name": "f", "input": given}
        return {"type": "content_block_start", "index": index, "content_block": block}

    empty = {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": ""}}
    opening = {"type": "message_start", "message": {"id": "m"}}
    result = join("/v1/messages", opening, start(0, None), start(1, {}), empty)
    assert [block["input"] for block in result["content"]] == [{}, {}]


def join(endpoint: str, *values: Any) -> Any:
    answer = at(endpoint).answer()
    for value in values:
        answer.add(Chunk(json.dumps(value).encode()))
    return json.loads(answer.result())


def test_joins_native_chat() -> None:
    def say(**message: Any) -> dict[str, Any]:
        return {
            "model": "m",
            "created_at": "t1",
            "message": {"role": "assistant", "content": "", **message},
            "done": False,
        }

    call = {"function": {"name": "f", "arguments": {"x": 1}}}
    result = join(
        "/api/chat",
        say(thinking="hm "),
        say(thinking="yes"),
        say(content="Hel") | {"logprobs": [{"token": "Hel", "logprob": -1}]},
        say(content="lo") | {"logprobs": [{"token": "lo", "logprob": -2}]},
        say(tool_calls=[call]),
        say(tool_calls=[call]),
        say() | {"created_at": "t2", "done": True, "done_reason": "stop", "eval_count": 4},
    )
    assert list(result)[:4] == ["model", "created_at", "message", "done"]
    assert result["message"] == {
        "role": "assistant",
        "content": "Hello",
        "thinking": "hm yes",
        "tool_calls": [call, call],
    }
    assert (result["created_at"], result["done"], result["eval_count"]) == ("t2", True, 4)
    assert [entry["token"] for entry in result["logprobs"]] == ["Hel", "lo"]


def test_joins_native_generate() -> None:
    result = join(
        "/api/generate",
        {"model": "m", "response": "a", "done": False},
        {"model": "m", "response": "", "thinking": "hm", "done": False},
        {"model": "m", "response": "b", "done": True, "context": [1, 2]},
    )
    assert result == {"model": "m", "response": "ab", "done": True, "thinking": "hm", "context": [1, 2]}


def test_joins_chat_completions_by_choice() -> None:
    def delta(index: int, reason: str | None = None, **fields: Any) -> dict[str, Any]:
        choice = {"index": index, "delta": fields, "logprobs": None, "finish_reason": reason}
        return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}

    def tool(index: int, **fields: Any) -> dict[str, Any]:
        return delta(1, tool_calls=[{"index": index, **fields}])

    first = delta(0, role="assistant", content="")
    first["choices"][0]["logprobs"] = {"content": [{"token": "a", "top_logprobs": []}]}
    second = delta(0, content="b", reasoning_content="why")
    second["choices"][0]["logprobs"] = {"content": [{"token": "b", "top_logprobs": []}]}
    result = join(
        "/v1/chat/completions",
        first,
        delta(1, role="assistant", content=None),
        second,
        delta(0, content="c", reasoning_content=" not"),
        tool(0, id="t0", type="function", function={"name": "f", "arguments": ""}),
        tool(0, function={"arguments": '{"x"'}),
        tool(1, id="t1", type="function", function={"name": "g", "arguments": "{}"}),
        tool(0, function={"arguments": ":1}"}),
        delta(0, "stop"),
        delta(1, "tool_calls"),
        {
            "id": "c",
            "object": "chat.completion.chunk",
            "choices": [],
            "usage": {"total_tokens": 9},
            "timings": {"n": 1},
        },
    )
    assert result["object"] == "chat.completion" and result["usage"] == {"total_tokens": 9}
    assert result["timings"] == {"n": 1} and result["model"] == "m"
    zero, one = result["choices"]
    assert zero["message"] == {"role": "assistant", "content": "bc", "reasoning_content": "why not"}
    assert [entry["token"] for entry in zero["logprobs"]["content"]] == ["a", "b"]
    assert (zero["finish_reason"], one["finish_reason"]) == ("stop", "tool_calls")
    assert one["message"]["content"] is None
    assert one["message"]["tool_calls"] == [
        {"id": "t0", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
        {"id": "t1", "type": "function", "function": {"name": "g", "arguments": "{}"}},
    ]


def test_joins_completions() -> None:
    def text(index: int, said: str, reason: str | None = None) -> dict[str, Any]:
        choice = {"index": index, "text": said, "logprobs": {"tokens": [said]}, "finish_reason": reason}
        return {"id": "c", "object": "text_completion", "choices": [choice]}

    result = join("/v1/completions", text(1, "x"), text(0, "a"), text(0, "b", "length"), text(1, "y", "stop"))
    assert result["object"] == "text_completion"
    assert [(c["text"], c["finish_reason"], c["logprobs"]["tokens"]) for c in result["choices"]] == [
        ("ab", "length", ["a", "b"]),
        ("xy", "stop", ["x", "y"]),
    ]


@pytest.mark.parametrize("ending", ["completed", "incomplete"])
def test_joins_responses(ending: str) -> None:
    whole = {"id": "r", "object": "response", "status": ending, "output": []}
    result = join(
        "/v1/responses",
        {"type": "response.created", "response": {"status": "in_progress"}},
        {"type": "response.output_text.delta", "delta": "x"},
        {"type": f"response.{ending}", "response": whole},
    )
    assert result == whole


def test_joins_messages() -> None:
    start = {"id": "m", "type": "message", "role": "assistant", "content": [], "usage": {"input_tokens": 3}}
    tool = {"type": "tool_use", "id": "t", "name": "f", "input": {}}

    def fill(index: int, kind: str, **fields: Any) -> dict[str, Any]:
        return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **fields}}

    result = join(
        "/v1/messages",
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
        {"type": "ping"},
        fill(0, "thinking_delta", thinking="h"),
        fill(0, "thinking_delta", thinking="m"),
        fill(0, "signature_delta", signature="sig"),
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
        fill(1, "text_delta", text="Hel"),
        fill(1, "text_delta", text="lo"),
        {"type": "content_block_start", "index": 2, "content_block": tool},
        fill(2, "input_json_delta", partial_json='{"a"'),
        fill(2, "input_json_delta", partial_json=": 1}"),
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 7}},
        {"type": "message_stop"},
    )
    assert result["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": "sig"},
        {"type": "text", "text": "Hello"},
        {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}},
    ]
    assert result["stop_reason"] == "tool_use" and result["usage"] == {"input_tokens": 3, "output_tokens": 7}


@pytest.mark.parametrize(
    ("endpoint", "value"),
    [
        ("/api/chat", {"model": "m", "message": {"role": "assistant", "content": "x"}, "done": True}),
        ("/api/generate", {"model": "m", "response": "x", "done": True}),
        ("/api/embed", {"embeddings": [[1.0]]}),
        ("/v1/embeddings", {"object": "list", "data": []}),
        ("/v1/chat/completions", {"object": "chat.completion", "choices": [{"index": 0, "message": {"content": "x"}}]}),
        ("/v1/responses", {"object": "response", "error": None, "output": []}),
        ("/v1/messages", {"type": "message", "content": []}),
    ],
)
def test_a_whole_answer_is_kept_byte_for_byte(endpoint: str, value: object) -> None:
    data = json.dumps(value).encode()
    answer = at(endpoint).answer()
    answer.add(Chunk(data))
    assert answer.result() == data and answer.size == len(data)


def test_an_answer_nested_beyond_measure_is_nonsense() -> None:
    nested = b'{"a":' * 3000 + b"1" + b"}" * 3000
    chunk = b'{"message":{"tool_calls":[{"function":{"arguments":%s}}]},"done":false}' % nested

    def whole() -> bytes:
        answer = at("/api/chat").answer()
        answer.add(Chunk(chunk))
        return answer.result()

    with pytest.raises(TargetGarbled):  # when it is read, or when it is put together: Pythons differ in their measure
        whole()


@pytest.mark.parametrize(
    "endpoint", ["/api/chat", "/v1/chat/completions", "/v1/responses", "/v1/messages", "/api/embed"]
)
def test_no_chunk_makes_no_answer(endpoint: str) -> None:
    with pytest.raises(TargetGarbled):
        at(endpoint).answer().result()


@pytest.mark.parametrize(
    ("endpoint", "value"),
    [
        ("/api/chat", {"message": ["text"]}),
        ("/v1/chat/completions", {"choices": ["text"]}),
        ("/v1/messages", {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta"}}),
        ("/v1/messages", {"no": "type"}),
    ],
)
def test_chunks_of_an_unknown_shape_are_garbled(endpoint: str, value: object) -> None:
    with pytest.raises(TargetGarbled):
        at(endpoint).answer().add(Chunk(json.dumps(value).encode()))
