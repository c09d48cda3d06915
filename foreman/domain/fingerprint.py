"""Fingerprints of submissions: two are equal when the bodies ask for the same, however they are written.

Version 2 is the byte 2 and the SHA-256 of two lines of canonical JSON: the payload, then Foreman's own fields as far as
they are not the default. Canonical means without blanks, the members of every object in the order of their names,
strings without needless escapes, and numbers by value (`5.0` is `5`). The first version, which has no such byte, is
known so that its keys go on working.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import msgspec

from foreman.domain.job import Instant, Priority, State

VERSION = b"\x02"
JSON_TOKENS = 100_000  # that are put in order, which takes microseconds each; longer bodies count as written
DEFAULTS: Mapping[str, Any] = {"endpoint": "/api/chat", "priority": Priority.NORMAL}

Node: TypeAlias = "bytes | list[Node] | dict[bytes, Node]"

_TOKEN = re.compile(
    rb'[ \t\r\n]*+(?:("[^"\\]*+(?:\\.[^"\\]*+)*+")|([\[\]{}])|[,:]'
    rb"|(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)|(true|false|null))",
    re.DOTALL,
)
_NUMBER = re.compile(rb"(-?)(\d+)(?:\.(\d+))?(?:[eE]([-+]?\d{1,18}))?")


def fingerprints(payload: bytes, own: Mapping[str, Any], *, max_attempts: int) -> tuple[bytes, ...]:
    """Return the fingerprint to store, then those of bodies that ask for the same.

    `payload` is a JSON object, `own` are Foreman's fields as they were sent, `max_attempts` is the present default.
    """
    sent = {name: value for name, value in own.items() if value != DEFAULTS.get(name)}
    also = {"max_attempts": max_attempts} | sent
    if sent.get("max_attempts") == max_attempts:
        del also["max_attempts"]
    digest = hashlib.sha256()
    for piece in canonical(payload):
        digest.update(piece)
    found = []
    for fields in (sent, also):
        whole = digest.copy()
        whole.update(b"\n")
        for piece in canonical(msgspec.json.encode(_plain(fields))):
            whole.update(piece)
        found.append(VERSION + whole.digest())
    return (*found, first_version(payload, own))


def first_version(payload: bytes, own: Mapping[str, Any]) -> bytes:
    """Return the fingerprint as it was before version 2: of the bytes, and of Python's words for the fields."""
    words = ", ".join(f"({name!r}, {_first_words(own[name])})" for name in sorted(own))
    return hashlib.sha256(payload + f"[{words}]".encode()).digest()


def canonical(text: bytes) -> Iterator[bytes]:
    """Yield canonical JSON for `text`, which must be valid, in pieces; very long text as it is."""
    try:
        yield from _write(_parse(text))
    except _AsWritten:
        yield text


class _AsWritten(Exception):
    """The text is not to be put in order."""


def _parse(text: bytes) -> Node:
    root: list[Node] = []
    nodes: list[list[Node] | dict[bytes, Node]] = [root]
    name: bytes | None = None  # of the member whose value comes next
    for count, token in enumerate(_tokens(text)):
        if count > JSON_TOKENS:
            raise _AsWritten
        string, bracket, number, word = token.groups()
        node: Node
        if bracket in (b"]", b"}"):
            nodes.pop()
            continue
        if bracket:
            node = [] if bracket == b"[" else {}
        elif string:
            node = _string(string)
        elif number:
            node = _number(number)
        elif word:
            node = word
        else:
            continue
        parent = nodes[-1]
        if isinstance(parent, list):
            parent.append(node)
        elif name is None:
            name = _string(string)
            continue
        else:
            parent[name] = node  # of two with one name the last one counts
            name = None
        if isinstance(node, (list, dict)):
            nodes.append(node)
    return root[0]


def _tokens(text: bytes) -> Iterator[re.Match[bytes]]:
    at = 0
    while token := _TOKEN.match(text, at):
        yield token
        at = token.end()
    if text[at:].strip():
        raise _AsWritten  # no JSON that is known here


def _write(root: Node) -> Iterator[bytes]:
    """Yield the text of a tree. Not recursive: it may be as deep as a caller likes."""
    left: list[Node | tuple[bytes]] = [root]
    while left:
        node = left.pop()
        if isinstance(node, bytes):
            yield node
        elif isinstance(node, tuple):
            yield node[0]
        elif isinstance(node, list):
            yield b"["
            left.append((b"]",))
            for number, value in enumerate(reversed(node), 1):
                left.append(value)
                if number < len(node):
                    left.append((b",",))
        else:
            yield b"{"
            left.append((b"}",))
            for number, name in enumerate(sorted(node, reverse=True), 1):
                left.append(node[name])
                left.append((name + b":",))
                if number < len(node):
                    left.append((b",",))


def _string(written: bytes) -> bytes:
    if b"\\" not in written:
        return written
    try:
        return msgspec.json.encode(msgspec.json.decode(written))
    except msgspec.DecodeError:  # half of a surrogate pair
        return written


def _number(written: bytes) -> bytes:
    """Return the value as digits and a power of ten, so that it is exact for any length: `-1.50` is `-15e-1`."""
    found = _NUMBER.fullmatch(written)
    if not found:  # an exponent beyond all sense
        return written
    sign, whole, fraction, exponent = found.groups(default=b"")
    digits = (whole + fraction).lstrip(b"0")
    short = digits.rstrip(b"0")
    if not short:
        return b"0"
    power = int(exponent or 0) - len(fraction) + len(digits) - len(short)
    return sign + short + (b"e%d" % power if power else b"")


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain_value(value) for name, value in sorted(fields.items())}


def _plain_value(value: Any) -> Any:
    if isinstance(value, Priority):
        return value.word
    return sorted(value) if isinstance(value, tuple) else value


def _first_words(value: Instant | str | dict[str, str] | Priority | tuple[State, ...]) -> str:
    if isinstance(value, Priority):
        return f"<Priority.{value.word.upper()}: {int(value)}>"
    if isinstance(value, tuple):
        words = ", ".join(f"<State.{str(state).upper()}: {str(state)!r}>" for state in value)
        return f"({words},)" if len(value) == 1 else f"({words})"
    return repr(value)
