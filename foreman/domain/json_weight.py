"""How much a JSON text holds, told before anything is built of it: objects take many times the bytes they come in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

MOST_VALUES = 1_000_000  # that are built of one text at a time

PIECE = 2**20  # bytes

_SIGNS = (b",", b"{", b"[")
# A string that never ends goes to the end of the text, so that each byte is looked at once whatever the text is.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.?+[^"\\]*+)*+(?:"|\Z)|[\[\]{},]', re.DOTALL)


def may_have_more(text: bytes, most: int, signs: Sequence[bytes] = _SIGNS) -> bool:
    """Return False if a JSON text cannot hold more than `most` values; signs in strings are counted like others.

    Other `signs` are those of something else, such as the colon of each field. In pieces, between which other threads
    get their turn.
    """
    count = 1
    for start in range(0, len(text), PIECE):
        piece = text[start : start + PIECE]
        count += sum(map(piece.count, signs))
        if count > most:
            return True
    return False


def has_more_values(text: bytes, most: int = MOST_VALUES) -> bool:
    """Return True if a JSON text, which need not be valid, holds more than `most` values; objects and arrays are some.

    No more is read than is needed to tell.
    """
    if not may_have_more(text, most):
        return False
    count = 1
    for sign in _signs(text):
        count += sign in _SIGNS
        if count > most:
            return True
    return False


def has_more_items(text: bytes, most: int) -> bool:
    """Return True if a JSON array or object has more than `most` items. No more is read than is needed to tell."""
    if not may_have_more(text, most):
        return False
    depth, count = 0, 1
    for sign in _signs(text):
        if sign == b",":
            count += depth == 1
        else:
            depth += 1 if sign in (b"[", b"{") else -1
        if count > most:
            return True
    return False


def _signs(text: bytes) -> Iterator[bytes]:
    """Yield the brackets and commas of a JSON text that are not in its strings."""
    return (token for found in _TOKEN.finditer(text) if (token := found[0])[0] != 34)  # 34: a quote
