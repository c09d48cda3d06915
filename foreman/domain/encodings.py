"""Compressed bodies (RFC 9110, 8.4.1), unpacked piece by piece so that none can unfold without end."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import zstandard

# Bytes packed that are unpacked at a time, so that at most 1 MiB comes of them: deflate makes 1032 bytes of one, and a
# block of zstd has 4 bytes or more, and unfolds to 128 KiB or less (RFC 8878, 3.1.1.2).
SLICES = {"gzip": 1016, "deflate": 1016, "zstd": 32}
CODINGS = tuple(SLICES)
WINDOW = 2**23  # bytes that zstd may refer back to: what every decoder has to bear (RFC 9659)


class BadCoding(Exception):
    """The bytes are not what their coding says, or they end too early."""


def applied(header: str) -> list[str]:
    """Return the codings that a Content-Encoding names, without those that change nothing."""
    named = [name.strip().lower().removeprefix("x-") for name in header.split(",")]  # x-gzip: RFC 9110, 8.4.1.3
    return [name for name in named if name not in ("", "identity")]


class Unpacker:
    """Unpacks one body of a coding out of CODINGS."""

    def __init__(self, coding: str, *, window: int = WINDOW) -> None:
        """`window` is how many bytes zstd may refer back to, and so how much memory it takes."""
        self._coding = coding
        self._slice = SLICES[coding]
        self._window = window
        self._member: zlib._Decompress | zstandard.ZstdDecompressionObj | None = None
        self._held = b""  # the first byte, if it has come alone
        self._padded = False  # zeros may follow, as from a tape

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Unpack what has come, giving what each slice makes, which may be nothing. Raises BadCoding."""
        data, self._held = self._held + data, b""
        if self._member is None and len(data) == 1:
            self._held = data
            return
        for start in range(0, len(data), self._slice):
            left = data[start : start + self._slice]
            while left:
                if self._member is None:  # the first, or the next of several that follow each other
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
    # "deflate" is the zlib format (RFC 1950), but many send what is within it alone.
    wrapped = data[0] & 0x0F == 8 and int.from_bytes(data[:2], "big") % 31 == 0
    return zlib.decompressobj(zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS)
