"""Repair of JSON with broken text: bad characters are replaced, split ones joined; no I/O."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

# Each broken byte passes the JSON decoder as a pair of noncharacters, which Unicode reserves for internal use. Half a
# surrogate pair is three such bytes, as UTF-8 would write it.
_HIGH, _LOW = 0xFDD0, 0xFDE0
_PAIR = "[\ufdd0-\ufddf][\ufde0-\ufdef]"
_SURROGATE = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]")
_MARKS = re.compile(f"(?:{_PAIR})+")
_TAIL = re.compile(f"(?:{_PAIR})+$")
_ESCAPE = re.compile(r"\\(?:u([dD][89a-fA-F][0-9a-fA-F]{2})(?:\\u([dD][c-fC-F][0-9a-fA-F]{2}))?|.)", re.DOTALL)

# Keys whose texts are whole even in a stream.
_WHOLE = frozenset({"role", "id", "type", "object", "name", "model", "finish_reason", "created_at", "logprobs"})
_MOST_WAITING = 8  # values held back for the other half of a character

Path = tuple[object, ...]


def decode(data: bytes) -> tuple[Any, bool]:
    """Return the value of `data`, and True if its text was broken and has marks for `mended` to replace.

    Raise msgspec.DecodeError, UnicodeDecodeError or RecursionError if `data` is not JSON.
    """
    try:
        return _decode(data), False
    except (msgspec.DecodeError, UnicodeDecodeError):
        marked = _ESCAPE.sub(_mark_half, data.decode("utf-8", "foreman-marks"))
        if (again := marked.encode()) == data:
            raise
    return _decode(again), True


def mended(value: Any) -> Any:
    """Return `value` with U+FFFD in place of each broken character."""
    if isinstance(value, str):
        return _MARKS.sub(lambda found: _text_of(_bytes_of(found[0])), value)
    if isinstance(value, dict):
        return {mended(name): mended(item) for name, item in value.items()}
    if isinstance(value, list):
        return [mended(item) for item in value]
    return value


class Mender:
    """Reader of the values of a stream that repairs broken text and leaves all other values as they came.

    A value whose text ends in half a character is held back until the other half comes, and so are those after it.
    `ends` returns True for a value after which no text continues.
    """

    def __init__(self, ends: Callable[[Any], bool]) -> None:
        self._ends = ends
        self._waiting: list[Any] = []
        self._open: dict[Path, tuple[Any, Any]] = {}  # texts that end in half a character: container and key

    def read(self, data: bytes) -> list[tuple[bytes, Any]]:
        """Return the values that are complete now, as JSON and decoded. Raise as `decode` does."""
        value, broken = decode(data)
        if not broken and not self._waiting:
            return [(data, value)]
        self._waiting.append(value)
        for path, container, key in list(_growing(value)):
            if path in self._open and container[key]:
                self._join(path, container, key)
            if path not in self._open and _half_at_the_end(container[key]):
                self._open[path] = container, key
        if self._open and len(self._waiting) <= _MOST_WAITING and not self._ends(value):
            return []
        return self.flush()

    def flush(self) -> list[tuple[bytes, Any]]:
        """Return the values held back, with incomplete characters replaced."""
        values, self._waiting, self._open = [mended(value) for value in self._waiting], [], {}
        return [(msgspec.json.encode(value), value) for value in values]

    def _join(self, path: Path, container: Any, key: Any) -> None:
        """Join the open half with the beginning of `container[key]` if both make a character."""
        before, name = self._open.pop(path)
        half = _half_at_the_end(before[name])
        found = _MARKS.match(container[key])
        if not half or not found:
            return
        known, more, rest = _bytes_of(half), _bytes_of(found[0]), container[key][found.end() :]
        for size in range(1, min(3, len(more)) + 1):
            if (character := _unbroken(known + more[:size])) is not None:
                before[name] = before[name].removesuffix(half) + character
                container[key] = _marks(more[size:]) + rest
                return
        if not rest and _is_half(known + more):
            before[name] += found[0]
            container[key] = ""
            self._open[path] = before, name


_decode = msgspec.json.Decoder().decode


def _growing(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any, Any]]:
    """Yield path, container and key of each text that the next value of a stream may continue."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        if key in _WHOLE:
            continue
        if isinstance(item, str):
            yield (*path, key), value, key
        else:
            step = item.get("index", key) if isinstance(value, list) and isinstance(item, dict) else key
            yield from _growing(item, (*path, step))


def _half_at_the_end(text: str) -> str:
    """Return the marks at the end of `text` that a later text may complete to a character, or an empty text."""
    if found := _TAIL.search(text[-64:]):
        marks = found[0]
        for size in (6, 4, 2):
            if len(marks) >= size and _is_half(_bytes_of(marks[-size:])):
                return marks[-size:]
    return ""


def _is_half(data: bytes) -> bool:
    if _SURROGATE.fullmatch(data):
        return data[1] < 0xB0  # the first of a pair
    try:
        return not codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return False


def _unbroken(data: bytes) -> str | None:
    """Return the text of `data`, which may be a surrogate pair; None if it is broken."""
    try:
        return data.decode("utf-8", "surrogatepass").encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError:
        return None


def _text_of(data: bytes) -> str:
    """Return the text of `data` with U+FFFD in place of broken bytes."""
    return data.decode("utf-8", "foreman-mend")


def _marks(data: bytes) -> str:
    return "".join(chr(_HIGH + (byte >> 4)) + chr(_LOW + (byte & 15)) for byte in data)


def _bytes_of(marks: str) -> bytes:
    pairs = zip(marks[::2], marks[1::2], strict=True)
    return bytes((ord(high) - _HIGH) << 4 | (ord(low) - _LOW) for high, low in pairs)


def _mark_half(found: re.Match[str]) -> str:
    first, second = found[1], found[2]
    if first is None or (second is not None and first[1] in "89abAB"):
        return found[0]  # another escape, or a whole pair
    halves = [chr(int(half, 16)) for half in (first, second) if half is not None]
    return "".join(_marks(half.encode("utf-8", "surrogatepass")) for half in halves)


def _mark_bytes(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return _marks(error.object[error.start : error.end]), error.end


def _mend_bytes(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    data, start = error.object, error.start
    if not _SURROGATE.match(data, start):
        return "\ufffd", error.end
    pair = _unbroken(data[start : start + 6])  # of surrogates, each in three bytes
    return (pair, start + 6) if pair and len(pair) == 1 else ("\ufffd", start + 3)


codecs.register_error("foreman-marks", _mark_bytes)
codecs.register_error("foreman-mend", _mend_bytes)
