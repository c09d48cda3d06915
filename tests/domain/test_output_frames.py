"""Outputs on their way between nodes: whatever is cut where, what comes out is what went in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreman.domain import output_frames as frames
from foreman.domain.answers.chunk import NO_LABEL, Label, Usage

LABELS = st.sampled_from([NO_LABEL, Label(b"message_start"), Label(usage=Usage.ALONE), Label(b"a b", Usage.EMPTY)])


@given(st.lists(st.tuples(st.binary(max_size=50), LABELS)), st.integers(1, 60))
def test_chunks_come_out_as_they_went_in(chunks: list[tuple[bytes, Label]], step: int) -> None:
    sent = frames.began(3, 7) + frames.PAUSE
    sent += b"".join(frames.before_chunk(len(data), label) + data for data, label in chunks) + frames.END
    reader = frames.FrameReader()
    found = [frame for begin in range(0, len(sent), step) for frame in reader.feed(sent[begin : begin + step])]
    assert found == [frames.Began(3, 7), *(frames.Piece(*chunk) for chunk in chunks), frames.Ended()]


def test_the_size_of_a_chunk_is_known_before_it_comes() -> None:
    reader = frames.FrameReader()
    assert reader.feed(frames.before_chunk(1_000_000, NO_LABEL) + b"some") == []
    assert reader.expected == 1_000_000


@pytest.mark.parametrize(
    "line",
    [b"hello\n", b"chunk\n", b"chunk -1 none \n", b"chunk 1 odd \n", b"attempt 1\n", b"attempt a b\n", b"x" * 5000],
)
def test_anything_else_is_refused(line: bytes) -> None:
    with pytest.raises(frames.Malformed):
        frames.FrameReader().feed(line)
