"""Decompression of bodies (RFC 9110, 8.4.1) in slices, as a guard against decompression bombs."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import zstandard

# Compressed bytes unpacked at a time. Each slice yields at most 1 MiB: deflate expands a byte to at most 1032 bytes; a
# zstd block has at least 4 bytes and expands to at most 128 KiB (RFC 8878, 3.1.1.2).
SLICES = {"gzip": 1016, "deflate": 1016, "zstd": 32}
CODINGS = tuple(SLICES)
WINDOW = 2**23  # bytes of zstd's window; every decoder must support this much (RFC 9659)


class BadCoding(Exception):
    """The bytes do not match their coding, or end too early."""


def applied(header: str) -> list[str]:
    """Return the codings of a Content-Encoding header, without `identity`."""
    named = [name.strip().lower().removeprefix("x-") for name in header.split(",")]  # x-gzip: RFC 9110, 8.4.1.3
    return [name for name in named if name not in ("", "identity")]


class Unpacker:
    """A streaming decompressor for one body with a coding of CODINGS."""

    def __init__(self, coding: str, *, window: int = WINDOW) -> None:
        """Create an unpacker; `window` bounds zstd's window, and so its memory, in bytes."""
        self._coding = coding
        self._slice = SLICES[coding]
        self._window = window
        self._member: zlib._Decompress | zstandard.ZstdDecompressionObj | None = None
        self._held = b""  # the first byte, until the second one arrives
        self._padded = False  # a member has ended: zero padding may follow, as gzip on tapes has it

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Unpack more data; yield the output of each slice, which may be empty. Raise BadCoding for invalid data."""
        data, self._held = self._held + data, b""
        if self._member is None and len(data) == 1:
            self._held = data
            return
        for start in range(0, len(data), self._slice):
            left = data[start : start + self._slice]
            while left:
                if self._member is None:  # the first of one or more concatenated members
                    if self._padded and not left.strip(b"\0"):
                        break
                    self._member = _unpacking(self._coding, left, self._window)
                try:
                    yield self._member.decompress(left)
                except (zlib.error, zstandard.ZstdError) as error:
                    raise BadCoding(str(error)) from None
                left = self._member.unused_data
                if self._member.eof:
                    self._member, self._padded = None, True

    def end(self) -> None:
        """Raise BadCoding unless the body is whole."""
        if self._member is not None or self._held:
            raise BadCoding("it ends too early")


def _unpacking(coding: str, data: bytes, window: int) -> zlib._Decompress | zstandard.ZstdDecompressionObj:
    if coding == "zstd":
        return zstandard.ZstdDecompressor(max_window_size=window).decompressobj()
    if coding == "gzip":
        return zlib.decompressobj(16 + zlib.MAX_WBITS)
    # "deflate" means the zlib format (RFC 1950), but many clients send a bare deflate stream.
    wrapped = data[0] & 0x0F == 8 and int.from_bytes(data[:2], "big") % 31 == 0
    return zlib.decompressobj(zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS)
