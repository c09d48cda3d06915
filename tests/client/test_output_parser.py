"""Streams and texts, without a server."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreman.client.extract import text_of, thinking_of
from foreman.client.output_parser import Chunk, OutputParser, StartsOver
from foreman.client.reconnect import STEADY, Reconnect

VALUES: list[dict[str, Any]] = [
    {"response": "a\u2028b"},
    {"foreman": {"attempt": 2}},
    {"response": "ü\r\n"},
    {"done": True},
]
MEANT = [Chunk(VALUES[0]), StartsOver(2), Chunk(VALUES[2]), Chunk(VALUES[3])]


@given(st.sampled_from(["\n", "\r\n"]), st.booleans(), st.lists(st.integers(0, 120)))
def test_a_stream_means_the_same_however_it_is_cut(end: str, sse: bool, cuts: list[int]) -> None:
    lines = [msgspec.json.encode(value).decode() for value in VALUES]
    text = "".join(f": hm{end}{end}data: {line}{end}{end}" if sse else line + end for line in lines).encode()
    pieces = OutputParser("text/event-stream; charset=utf-8" if sse else "application/x-ndjson")
    edges = [0, *sorted(cuts), len(text)]
    found = [piece for a, b in pairwise(edges) for piece in pieces.feed(text[a:b])]
    assert found == MEANT


def test_how_a_job_ended_is_no_chunk() -> None:
    assert OutputParser("application/x-ndjson").feed(b'{"error":"no","foreman":{"state":"failed"}}\n') == []


def test_what_is_not_json_is_a_fault() -> None:
    with pytest.raises(msgspec.DecodeError):
        OutputParser("application/x-ndjson").feed(b"hello\n")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"message": {"content": "x"}}, "x"),
        ({"response": "x", "done": True}, "x"),
        ({"choices": [{"delta": {"content": "x"}}]}, "x"),
        ({"choices": [{"message": {"content": "x"}}]}, "x"),
        ({"choices": [{"text": "x"}]}, "x"),
        ({"type": "response.output_text.delta", "delta": "x"}, "x"),
        ({"type": "response.function_call_arguments.delta", "delta": "{}"}, ""),
        ({"type": "response.completed", "response": {"object": "response", "output": []}}, ""),
        ({"object": "response", "output": [{"content": [{"text": "x"}, {"text": "y"}]}, {"type": "reasoning"}]}, "xy"),
        ({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "x"}}, "x"),
        ({"type": "message", "content": [{"type": "text", "text": "x"}, {"type": "tool_use"}]}, "x"),
        ({"choices": [{"delta": {"content": None}}]}, ""),
        ({"choices": []}, ""),
        ({"embeddings": [[1.0]]}, ""),
        (None, ""),
    ],
)
def test_the_text_is_found_in_every_shape(value: Any, text: str) -> None:
    assert text_of(value) == text


def test_thinking_is_found() -> None:
    assert thinking_of({"message": {"content": "", "thinking": "hm"}}) == "hm"
    assert thinking_of({"choices": [{"delta": {"reasoning_content": "hm"}}]}) == "hm"


def test_a_stream_that_never_began_is_not_tried_again() -> None:
    assert Reconnect(60).broke(0) is None


def test_trouble_is_borne_as_long_as_was_said() -> None:
    retry_for = Reconnect(10)
    retry_for.connected(0)
    pauses = [retry_for.broke(now) for now in (100, 101, 102, 103, 104, 105, 109.9, 110)]
    assert pauses == [0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0, None]


def test_only_a_connection_that_holds_ends_the_trouble() -> None:
    retry_for = Reconnect(10)
    for now in (0, 5, 9):
        retry_for.connected(now)
        assert retry_for.broke(now + STEADY / 2)
    retry_for.connected(20)
    assert retry_for.broke(20 + STEADY) == 0.2
    retry_for.connected(26)
    assert retry_for.broke(36) is not None
    retry_for.connected(37)
    assert retry_for.broke(37 + STEADY / 2) is not None
