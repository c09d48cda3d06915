"""Compressed bodies: every way of packing them, in pieces of any size, and what is broken or unfolds without end."""

from __future__ import annotations

import gzip
import random
import zlib

import pytest
import zstandard

from foreman.domain.encodings import BadCoding, Unpacker

WORDS = b"".join(b"line %d\n" % n for n in range(5000))


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def streamed_zstd(data: bytes) -> bytes:
    packer = zstandard.ZstdCompressor(level=19).compressobj()
    return packer.compress(data) + packer.flush()


PACKED = [
    ("gzip", gzip.compress),
    ("gzip", lambda data: gzip.compress(data[:9]) + gzip.compress(b"") + gzip.compress(data[9:])),
    ("deflate", zlib.compress),
    ("deflate", raw_deflate),
    ("zstd", zstandard.ZstdCompressor(level=3).compress),
    ("zstd", streamed_zstd),
    ("zstd", lambda data: streamed_zstd(data[:9]) + streamed_zstd(data[9:])),
]


def unpacked(coding: str, *pieces: bytes) -> bytes:
    unpacker = Unpacker(coding)
    data = b"".join(part for piece in pieces for part in unpacker.feed(piece))
    unpacker.end()
    return data


@pytest.mark.parametrize(("coding", "pack"), PACKED)
def test_what_was_packed_is_unpacked_whatever_the_pieces(coding: str, pack: object) -> None:
    assert callable(pack)
    packed = pack(WORDS)
    assert unpacked(coding, packed) == WORDS
    assert unpacked(coding, *(packed[at : at + 1] for at in range(len(packed)))) == WORDS
    cut = random.Random(1).randrange(len(packed))
    assert unpacked(coding, packed[:cut], packed[cut:]) == WORDS
    assert unpacked(coding, pack(b"{}"), bytes(9)) == b"{}"


@pytest.mark.parametrize(("coding", "pack"), PACKED)
def test_what_is_cut_or_is_something_else_is_told(coding: str, pack: object) -> None:
    assert callable(pack)
    packed = pack(WORDS)
    for broken in (packed[:-1], packed[:40], packed[:1], b'{"model":"a"}', packed + b"}", b"\xff" * 300):
        with pytest.raises(BadCoding):
            unpacked(coding, broken)


def test_a_piece_of_what_is_unfolded_is_bounded() -> None:
    block = b"\x02\x00\x10" + b"x"  # 128 KiB of one byte: a block that repeats it
    frame = b"\x28\xb5\x2f\xfd\x00\x58" + block * 20_000
    sizes = [len(part) for part in Unpacker("zstd").feed(frame)]
    assert sum(sizes) > 2 * 10**9
    assert max(sizes) <= 2**20
    bomb = zlib.compress(bytes(10**8), 9)
    assert max(len(part) for part in Unpacker("deflate").feed(bomb)) <= 2**20


def test_a_frame_that_wants_too_much_memory_is_refused() -> None:
    wide = zstandard.ZstdCompressor(compression_params=zstandard.ZstdCompressionParameters(window_log=27)).compressobj()
    with pytest.raises(BadCoding, match="too much memory"):
        unpacked("zstd", wide.compress(b"x") + wide.flush())
