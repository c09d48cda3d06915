"""When an answer has ended, and how long its last mark is waited for; in virtual time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from foreman.domain.answers.choices import choices_asked
from foreman.domain.answers.chunk import Chunk
from foreman.domain.endpoints import at
from foreman.domain.endpoints.completion import ChoiceDecoder
from foreman.domain.errors import TargetError, TargetFailed, TargetGarbled, TargetLost
from foreman.targets.chunks import END_TIMEOUT, Chunks

OutputItem = bytes | float | TargetError  # what comes, after how many seconds, or how it breaks

TOKEN = {"choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": None}]}
STOP = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
USAGE = {"choices": [], "usage": {"total_tokens": 3}}
STARTED = {"type": "message_start", "message": {"id": "m"}}
WORD = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x"}}
REASON = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}


def event(*values: object) -> bytes:
    return b"".join(b"data: " + json.dumps(value).encode() + b"\n\n" for value in values)


class FakeResponse:
    """A body that comes in pieces."""

    over = True

    def __init__(self, pieces: Sequence[OutputItem], *, framed: bool) -> None:
        self._pieces = list(pieces)
        self.framed = framed

    async def receive(self) -> bytes:
        await trio.lowlevel.checkpoint()
        while self._pieces:
            match self._pieces.pop(0):
                case bytes(data):
                    return data
                case float(seconds):
                    await trio.sleep(seconds)
                case error:
                    raise error
        return b""


async def told(
    *pieces: OutputItem, endpoint: str = "/v1/chat/completions", framed: bool = True, choices: int = 1
) -> list[Chunk]:
    response: Any = FakeResponse(pieces, framed=framed)
    parser = at(endpoint).parser("", sized=False, target="t")
    decoder = at(endpoint).decoder("t", choices=choices)
    return [chunk async for chunk in Chunks(response, parser, decoder, "t")]


LOST = TargetLost("t", "it hung up")
GARBLED = TargetGarbled("t", "not HTTP/1.1")


@pytest.mark.parametrize(
    ("endpoint", "said"),
    [
        ("/v1/chat/completions", event(TOKEN, STOP)),
        ("/v1/chat/completions", event(TOKEN, STOP, USAGE)),
        ("/v1/completions", event({"choices": [{"text": "x", "finish_reason": "length"}]})),
        ("/v1/messages", event(STARTED, WORD, REASON)),
    ],
    ids=["finish", "usage", "text", "message"],
)
@pytest.mark.parametrize("then", [[1e6], [LOST], [GARBLED], [b"data: {", 1e6], [b'data: {"cut', LOST]], ids=str)
async def test_an_answer_that_said_its_end_is_complete(
    autojump_clock: MockClock, endpoint: str, said: bytes, then: list[OutputItem]
) -> None:
    chunks = await told(said, *then, endpoint=endpoint, framed=False)
    assert [chunk.last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert not any(chunk.cut for chunk in chunks) and trio.current_time() <= END_TIMEOUT


async def test_the_usage_is_waited_for_a_moment(autojump_clock: MockClock) -> None:
    chunks = await told(event(TOKEN, STOP), END_TIMEOUT / 2, event(USAGE), 1e6)
    assert b"usage" in chunks[-1].data and chunks[-1].last and trio.current_time() == pytest.approx(END_TIMEOUT)


async def test_pings_do_not_prolong_the_wait_for_a_last_mark(autojump_clock: MockClock) -> None:
    pings: list[OutputItem] = [b": ping\n\n", END_TIMEOUT / 3]
    await told(event(TOKEN, STOP), *pings * 1000)
    assert trio.current_time() == pytest.approx(END_TIMEOUT)


async def test_what_closes_an_answer_is_not_waited_after(autojump_clock: MockClock) -> None:
    ends: list[tuple[str, bytes]] = [
        ("/api/chat", b'{"message":{},"done":true}\n'),
        ("/v1/messages", event(STARTED, WORD, REASON, {"type": "message_stop"})),
        ("/v1/responses", event({"type": "response.completed", "response": {"status": "completed"}})),
        ("/v1/chat/completions", event(TOKEN, STOP, USAGE) + b"data: [DONE]\n\n"),
    ]
    for endpoint, end in ends:
        chunks = await told(end, 1e6, endpoint=endpoint)
        assert chunks[-1].last and trio.current_time() == 0


async def test_the_choices_that_were_asked_for_are_waited_for(autojump_clock: MockClock) -> None:
    second = {"choices": [{"index": 1, "delta": {"content": "y"}, "finish_reason": "stop"}]}
    chunks = await told(event(TOKEN, STOP), 100.0, event(second), choices=2)
    assert json.loads(chunks[-1].data) == second and chunks[-1].last


@pytest.mark.parametrize(
    ("payload", "choices"),
    [
        (b'{"messages":[]}', 1),
        (b'{"n":3}', 3),
        (b'{"n":null,"prompt":"x"}', 1),
        (b'{"prompt":["a","b"],"n":2}', 4),
        (b'{"prompt":[1,2,3]}', 1),
        (b'{"prompt":[[1],[2]]}', 2),
        (b'{"n":"many","prompt":[]}', 1),
        (b"[]", 1),
        pytest.param(b'{"n":2,"prompt":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 1, id="nested too deeply"),
    ],
)
def test_choices_asked_for(payload: bytes, choices: int) -> None:
    assert choices_asked(payload) == choices


CUT: list[tuple[str, bytes]] = [
    ("/v1/chat/completions", event(TOKEN)),
    ("/v1/completions", event({"choices": [{"index": 0, "text": "x"}]})),
    ("/v1/messages", event(STARTED, WORD)),
    ("/v1/responses", event({"type": "response.output_text.delta", "delta": "x", "item_id": "m"})),
    ("/api/chat", b'{"message":{"role":"assistant","content":"","thinking":"x"},"done":false}\n'),
    ("/api/generate", b'{"response":"x","done":false}'),
]


@pytest.mark.parametrize(("endpoint", "said"), CUT)
async def test_a_body_that_ends_cleanly_without_a_last_mark_is_cut(endpoint: str, said: bytes) -> None:
    *chunks, end = await told(said, endpoint=endpoint)
    assert chunks and end == Chunk(b"", cut=True) and not any(chunk.last for chunk in chunks)


@pytest.mark.parametrize(("endpoint", "said"), CUT)
async def test_one_that_only_breaks_off_is_lost(endpoint: str, said: bytes) -> None:
    for pieces, framed in (([said], False), ([said, LOST], True)):
        with pytest.raises(TargetLost):
            await told(*pieces, endpoint=endpoint, framed=framed)


@pytest.mark.parametrize(
    ("endpoint", "said"),
    [
        ("/v1/chat/completions", event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})),
        ("/v1/messages", event(STARTED)),
        ("/v1/responses", event({"type": "response.created", "response": {"status": "in_progress"}})),
        ("/api/chat", b'{"message":{"role":"assistant","content":""},"done":false}\n'),
        ("/api/chat", b""),
        ("/v1/completions", b": working\n\n"),
    ],
)
async def test_one_that_ends_before_a_word_is_lost(endpoint: str, said: bytes) -> None:
    with pytest.raises(TargetLost):
        await told(said, endpoint=endpoint)


async def test_one_of_two_choices_that_is_not_finished_is_cut() -> None:
    other = {"choices": [{"index": 1, "delta": {"content": "y"}, "finish_reason": None}]}
    *_, end = await told(event(TOKEN, other, STOP), choices=2)
    assert end.cut


async def test_a_last_mark_without_its_line_end_does_not_hide_what_is_wrong() -> None:
    class Decoding(ChoiceDecoder):
        def take(self, value: bytes, *, whole: bool = False) -> list[Chunk]:
            chunks = super().take(value, whole=whole)
            if self.closed:
                raise TargetGarbled("t", "arguments")
            return chunks

    response: Any = FakeResponse([event(TOKEN, STOP)[:-2], b"\n\ndata: [DONE]"], framed=True)
    parser = at("/v1/chat/completions").parser("", sized=False, target="t")
    with pytest.raises(TargetGarbled, match="arguments"):
        [chunk async for chunk in Chunks(response, parser, Decoding(at("/v1/chat/completions"), "t", choices=1), "t")]


async def test_an_error_after_the_end_is_an_error() -> None:
    with pytest.raises(TargetFailed, match="no room"):
        await told(event(TOKEN, STOP, {"error": "no room"}))
