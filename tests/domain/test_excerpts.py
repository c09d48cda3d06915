"""What lists show of a prompt."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreman.domain.excerpts import MOST_EXCERPT, MOST_MESSAGES, MOST_READ, excerpt

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
TOOL = {"type": "tool_result", "tool_use_id": "1", "content": "22 degrees"}


def excerpt_of(payload: dict[str, Any]) -> str | None:
    return excerpt(msgspec.json.decode(json.dumps(payload).encode(), type=dict[str, msgspec.Raw]))


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


@pytest.mark.parametrize(
    ("payload", "shown"),
    [
        ({"messages": [user("first"), {"role": "assistant", "content": "a"}, user("second")]}, "second"),
        ({"messages": [{"role": "system", "content": "Be brief."}]}, None),
        ({"messages": [user("Weather?"), {"role": "assistant"}, {"role": "tool", "content": "22"}]}, "Weather?"),
        ({"messages": [user([{"type": "text", "text": "What is it?"}, IMAGE])]}, "What is it?"),
        ({"messages": [user([IMAGE, {"type": "text", "text": " "}, {"type": "text", "text": "this"}])]}, "this"),
        ({"messages": [user("Weather?"), {"role": "assistant", "content": "…"}, user([TOOL])]}, "Weather?"),
        ({"messages": [user([IMAGE])]}, None),
        ({"messages": [user(None), user(7), user({"text": "a"})]}, None),
        ({"messages": "text"}, "text"),
        ({"messages": [user("good"), "odd"]}, None),
        ({"prompt": "Say this"}, "Say this"),
        ({"prompt": ["one", "two"]}, "one"),
        ({"prompt": [1, 2, 3]}, None),
        ({"prompt": [[1, 2], [3]]}, None),
        ({"input": "embed"}, "embed"),
        ({"input": ["", "second text"]}, "second text"),
        ({"input": [user([{"type": "input_text", "text": "ask"}]), {"type": "function_call_output"}]}, "ask"),
        ({"input": [{"type": "message", **user("plain")}, {"type": "reasoning", "summary": []}]}, "plain"),
        ({"messages": []}, None),
        ({"input": None, "prompt": 3}, None),
        ({}, None),
    ],
)
def test_it_is_what_was_asked_last(payload: dict[str, Any], shown: str | None) -> None:
    assert excerpt_of(payload) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("  two\n\n\twords \r\n", "two words"),
        ("a\u2028b\x85c\xa0d", "a b c d"),
        ("a\x00\x1b[31mb\u202ec", "a [31mb c"),
        ("\x00", None),
        ("  ", None),
        ("x" * 500, "x" * MOST_EXCERPT),
        ("ab " * 500, ("ab " * 40).strip()),
        ("\U0001f600 " * 20_000, ("\U0001f600 " * 60).strip()),
        (" " * 10_000 + "late", "late"),
        (" " * 2 * MOST_READ + "too late", None),
        ('"\\' * 20_000, '"\\' * 60),
    ],
)
def test_it_is_one_short_line(text: str, shown: str | None) -> None:
    assert excerpt_of({"prompt": text}) == shown


@given(st.text(max_size=300), st.booleans(), st.integers(MOST_READ - 40, MOST_READ + 4))
def test_any_text_gives_a_printable_line(text: str, escaped: bool, before: int) -> None:
    for begin in ("", "é" * before):
        body = json.dumps({"prompt": begin + text}, ensure_ascii=escaped).encode(errors="replace")
        shown = excerpt(msgspec.json.decode(body, type=dict[str, msgspec.Raw]))
        assert shown is None or (shown.isprintable() and 0 < len(shown) <= MOST_EXCERPT and shown == shown.strip())
        assert shown is not None or not begin


@pytest.mark.parametrize("content", [b'"\\ud800"', b'"\xff"', b'["open', b"[" * 100_000, b"{}" * 3])
def test_what_is_no_json_has_none(content: bytes) -> None:
    assert excerpt({"prompt": msgspec.Raw(content)}) is None
    assert excerpt({"messages": msgspec.Raw(b'[{"role":"user","content":%s}]' % content)}) is None


def test_very_many_messages_are_not_looked_through() -> None:
    assert excerpt_of({"messages": [{}] * (MOST_MESSAGES - 1) + [user("seen")]}) == "seen"
    assert excerpt_of({"messages": [{}] * MOST_MESSAGES + [user("not seen")]}) is None
