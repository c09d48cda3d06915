"""Compressed bodies (RFC 9110, 8.4.1), unpacked piece by piece so that none can unfold without end."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import zstandard

CODINGS = ("gzip", "deflate", "zstd")
# Bytes packed that are unpacked at a time. At most 8 MiB come of them: 64 blocks of zstd, the smallest of which has 4
# bytes, of at most 128 KiB each (RFC 8878, 3.1.1.2).
SLICE = 256
WINDOW = 2**23  # bytes that zstd may refer back to: what every decoder has to bear (RFC 9659)


class BadCoding(Exception):
    """The bytes are not what their coding says, or they end too early."""


class Unpacker:
    """Unpacks one body of a coding out of CODINGS."""

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._member: zlib._Decompress | zstandard.ZstdDecompressionObj | None = None
        self._held = b""  # the first byte, if it has come alone

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Unpack what has come, giving what every SLICE makes, which may be nothing. Raises BadCoding."""
        data, self._held = self._held + data, b""
        if self._member is None and len(data) == 1:
            self._held = data
            return
        for start in range(0, len(data), SLICE):
            left = data[start : start + SLICE]
            while left:
                if self._member is None:  # the first, or the next of several that follow each other
                    self._member = _unpacking(self._coding, left)
                try:
                    yield self._member.decompress(left)
                except (zlib.error, zstandard.ZstdError) as error:
                    raise BadCoding(str(error)) from None
                left = self._member.unused_data
                if self._member.eof:
                    self._member = None

    def end(self) -> None:
        """Raise BadCoding unless the body is whole."""
        if self._member is not None or self._held:
            raise BadCoding("it ends too early")


def _unpacking(coding: str, data: bytes) -> zlib._Decompress | zstandard.ZstdDecompressionObj:
    if coding == "zstd":
        return zstandard.ZstdDecompressor(max_window_size=WINDOW).decompressobj()
    if coding == "gzip":
        return zlib.decompressobj(16 + zlib.MAX_WBITS)
    # "deflate" is the zlib format (RFC 1950), but many send what is within it alone.
    wrapped = data[0] & 0x0F == 8 and int.from_bytes(data[:2], "big") % 31 == 0
    return zlib.decompressobj(zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS)
