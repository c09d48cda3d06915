"""Counts of values in JSON text before parsing it: parsed objects take many times the bytes of their text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

MOST_VALUES = 1_000_000  # values parsed from one text at a time

PIECE = 2**20  # bytes scanned at a time

_SIGNS = (b",", b"{", b"[")
# An unterminated string extends to the end of the text, so that every byte is scanned once for any input.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.?+[^"\\]*+)*+(?:"|\Z)|[\[\]{},]', re.DOTALL)


def may_have_more(text: bytes, most: int, signs: Sequence[bytes] = _SIGNS) -> bool:
    """Return False if a JSON text cannot hold more than `most` values. Signs inside strings are counted too.

    Pass other `signs` to count something else, such as colons for fields. The text is scanned in pieces so that other
    threads run in between.
    """
    count = 1
    for start in range(0, len(text), PIECE):
        piece = text[start : start + PIECE]
        count += sum(map(piece.count, signs))
        if count > most:
            return True
    return False


def has_more_values(text: bytes, most: int = MOST_VALUES) -> bool:
    """Return True if a JSON text, valid or not, holds more than `most` values; objects and arrays count as values.

    Reading stops at the first value too many.
    """
    if len(text) < most or not may_have_more(text, most):  # each value after the first has a sign of its own
        return False
    count = 1
    for sign in _signs(text):
        count += sign in _SIGNS
        if count > most:
            return True
    return False


def has_more_items(text: bytes, most: int) -> bool:
    """Return True if a JSON array or object has more than `most` items. Reading stops at the first item too many."""
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
    """Yield the brackets and commas of a JSON text outside of its strings."""
    return (token for found in _TOKEN.finditer(text) if (token := found[0])[0] != 34)  # 34: a quote
