"""Compressed bodies of answers, decoded piece by piece into pieces of bounded size; no I/O."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Protocol

import zstandard

from foreman.errors import TargetGarbled

PIECE = 1 << 18  # bytes of decoded data at a time, whatever a few bytes may expand to
SLICE = 16  # bytes given to zstd at a time: each 3 may be a block of 128 KiB
WINDOW = 1 << 27  # bytes that a zstd stream may have its decoder remember; what its own tool takes

_PLAIN = frozenset({"", "identity"})


class Decoder(Protocol):
    """Takes the body as it comes."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The decoded data, in pieces of at most about PIECE bytes. Raises zlib.error or zstandard.ZstdError."""


def decoder_for(coding: str, target: str) -> Decoder:
    """What decodes a body of this Content-Encoding. Raises TargetGarbled for one that is unknown."""
    codings = [name for name in (part.strip().lower() for part in coding.split(",")) if name not in _PLAIN]
    if not codings:
        return _Plain()
    if codings in (["gzip"], ["x-gzip"]):
        return _Zlib(zlib.MAX_WBITS | 16)
    if codings == ["deflate"]:
        return _Deflate()
    if codings == ["zstd"]:
        return _Zstd()
    raise TargetGarbled(target, f"an answer compressed as {coding[:40]!r}, though asked for none that is")


class _Plain:
    def feed(self, data: bytes) -> Iterator[bytes]:
        yield data


class _Zlib:
    """gzip, of one or several members, and zlib."""

    def __init__(self, wbits: int) -> None:
        self._wbits = wbits
        self._inner = zlib.decompressobj(wbits)

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._inner.eof:
                if not data.strip(b"\0"):  # padding
                    return
                self._inner = zlib.decompressobj(self._wbits)
            if piece := self._inner.decompress(data, PIECE):
                yield piece
            data = self._inner.unused_data if self._inner.eof else self._inner.unconsumed_tail


class _Deflate:
    """`deflate` is zlib's format by RFC 9110, and raw deflate by some servers."""

    def __init__(self) -> None:
        self._head = b""
        self._inner: _Zlib | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        if self._inner is None:
            self._head += data
            if len(self._head) < 2:
                return
            data = self._head
            zlibs = data[0] & 0x0F == 8 and int.from_bytes(data[:2]) % 31 == 0  # RFC 1950, section 2.2
            self._inner = _Zlib(zlib.MAX_WBITS if zlibs else -zlib.MAX_WBITS)
        yield from self._inner.feed(data)


class _Zstd:
    def __init__(self) -> None:
        self._made_by = zstandard.ZstdDecompressor(max_window_size=WINDOW)
        self._inner = self._made_by.decompressobj()

    def feed(self, data: bytes) -> Iterator[bytes]:
        for at in range(0, len(data), SLICE):
            rest = data[at : at + SLICE]
            while rest:
                if self._inner.eof:
                    self._inner = self._made_by.decompressobj()
                if piece := self._inner.decompress(rest):
                    yield piece
                rest = self._inner.unused_data if self._inner.eof else b""
