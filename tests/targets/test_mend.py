"""Text that a server broke: halves find each other over chunks, and what stays broken costs one character."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreman.domain.endpoints import at

TEXTS = st.text(st.sampled_from('aé€🎉💀\ufffd\\"\n\u2028 \U0010ffff'), min_size=1, max_size=12)
CUTS = st.lists(st.integers(0, 60), max_size=6)


def pieces(text: bytes, cuts: Sequence[int], unit: int) -> list[bytes]:
    edges = [0, *sorted({cut % (len(text) // unit + 1) * unit for cut in cuts}), len(text)]
    return [text[start:end] for start, end in pairwise(edges)]


def escaped(unit: bytes) -> str:
    """UTF-16 as the text of JSON, each unit escaped by itself."""
    return "".join(f"\\u{unit[n + 1]:02x}{unit[n]:02X}" for n in range(0, len(unit), 2))


def quoted(data: bytes) -> bytes:
    """Bytes of UTF-8 within the text of JSON."""
    for raw, safe in ((b"\\", b"\\\\"), (b'"', b'\\"'), (b"\n", b"\\n")):
        data = data.replace(raw, safe)
    return data


FRAMES: dict[str, tuple[bytes, list[bytes]]] = {  # of a piece of text, and what ends the answer
    "/v1/chat/completions": (
        b'{"choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":null}]}',
        [b'{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}', b"[DONE]"],
    ),
    "/v1/completions": (
        b'{"choices":[{"index":0,"text":"%s","logprobs":null}]}',
        [b'{"choices":[{"index":0,"text":"","finish_reason":"stop"}]}', b"[DONE]"],
    ),
    "/api/chat": (b'{"message":{"role":"assistant","content":"%s"},"done":false}', [b'{"message":{},"done":true}']),
    "/api/generate": (b'{"response":"%s","done":false}', [b'{"response":"","done":true}']),
    "/v1/messages": (
        b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"%s"}}',
        [b'{"type":"content_block_stop","index":0}', b'{"type":"message_stop"}'],
    ),
}
OPENING = {
    "/v1/messages": [
        b'{"type":"message_start","message":{"id":"m"}}',
        b'{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}',
    ]
}


def told(endpoint: str, parts: Sequence[bytes]) -> tuple[str, str]:
    """Return the text as joined and as a reader of the stream puts it together."""
    frame, end = FRAMES[endpoint]
    decoder, answer, streamed = at(endpoint).decoder("t"), at(endpoint).answer(), ""
    for value in (*OPENING.get(endpoint, []), *(frame % part for part in parts), *end):
        for chunk in decoder.take(value):
            streamed += text_in(json.loads(chunk.data))
            answer.add(chunk)
    assert decoder.closed
    return text_in(json.loads(answer.result())), streamed


def text_in(value: Any) -> str:
    if "choices" in value:
        [choice] = value["choices"]
        return str(choice.get("text") or (choice.get("delta") or choice.get("message") or {}).get("content") or "")
    if isinstance(value.get("content"), list):
        return "".join(block["text"] for block in value["content"])
    where = value.get("message") or value.get("delta") or value
    return str(where.get("content") or where.get("response") or where.get("text") or "")


@pytest.mark.parametrize("endpoint", FRAMES)
@given(text=TEXTS, cuts=CUTS)
def test_surrogates_find_their_other_half(endpoint: str, text: str, cuts: list[int]) -> None:
    parts = [escaped(part).encode() for part in pieces(text.encode("utf-16-le"), cuts, 2)]
    assert told(endpoint, parts) == (text, text)


@pytest.mark.parametrize("endpoint", FRAMES)
@given(text=TEXTS, cuts=CUTS)
def test_bytes_find_the_rest_of_their_character(endpoint: str, text: str, cuts: list[int]) -> None:
    parts = [quoted(part) for part in pieces(text.encode(), cuts, 1)]
    assert told(endpoint, parts) == (text, text)


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ([rb"a\ud83c", b"b"], "a\ufffdb"),
        ([rb"\udf89", b"b"], "\ufffdb"),
        ([rb"\ud83c", rb"\ud83c\udf89"], "\ufffd🎉"),
        ([rb"\ud83c", b"", rb"\udf89!"], "🎉!"),
        ([rb"a\\ud83c"], r"a\ud83c"),
        ([rb"\uD83C\u0041"], "\ufffdA"),
        ([b"caf\xe9"], "caf\ufffd"),
        ([b"caf\xe9", b" x"], "caf\ufffd x"),
        ([b"\xf0\x9f", b"\xf0\x9f\x8e\x89"], "\ufffd🎉"),
        ([b"\xff\xfe", b"\x80"], "\ufffd\ufffd\ufffd"),
        ([b"\xed\xa0\xbc", b"\xed\xbe\x89"], "🎉"),
        ([rb"a\ud83c"], "a\ufffd"),
    ],
)
@pytest.mark.parametrize("endpoint", FRAMES)
def test_what_stays_broken_costs_the_character(endpoint: str, parts: list[bytes], text: str) -> None:
    assert told(endpoint, parts) == (text, text)


def test_a_half_waits_for_its_own_text_only() -> None:
    """Two choices and two fields, mixed: each half finds its own."""

    def value(index: int, **delta: str) -> bytes:
        return json.dumps({"choices": [{"index": index, "delta": delta}]}).encode()

    decoder, answer = at("/v1/chat/completions").decoder("t"), at("/v1/chat/completions").answer()
    values = [
        value(0, content="a\ud83c"),
        value(1, content="b\ud83d"),
        value(0, reasoning_content="-"),
        value(1, content="\udc80b"),
        value(0, content="\udf89a"),
        b'{"choices":[{"index":0,"finish_reason":"stop"},{"index":1,"finish_reason":"stop"}]}',
        b"[DONE]",
    ]
    for one in values:
        for chunk in decoder.take(one):
            answer.add(chunk)
    zero, one = (choice["message"] for choice in json.loads(answer.result())["choices"])
    assert zero == {"role": "assistant", "content": "a🎉a", "reasoning_content": "-"} and one["content"] == "b💀b"


def test_no_chunk_waits_for_long() -> None:
    decoder = at("/v1/chat/completions").decoder("t")
    other = b'{"choices":[{"index":0,"delta":{"reasoning_content":"x"}}]}'
    sent = decoder.take(rb'{"choices":[{"index":0,"delta":{"content":"\ud83c"}}]}')
    waited = [other for _ in range(10) if not sent and not (sent := decoder.take(other))]
    assert 1 < len(waited) < 10 and "\ufffd" in sent[0].data.decode()


@pytest.mark.parametrize("endpoint", ["/api/embed", "/v1/embeddings"])
def test_a_whole_value_is_mended_too(endpoint: str) -> None:
    [chunk] = at(endpoint).decoder("t").take(b'{"model":"\xe9\\ud83c","embeddings":[[1.50]],"data":[]}', whole=True)
    assert chunk.last and json.loads(chunk.data)["model"] == "\ufffd\ufffd"
