"""Fingerprints of submissions: equal when two bodies mean the same, independent of their formatting.

Version 2 is the byte 2 and the SHA-256 of two lines of canonical JSON: the payload, then those of Foreman's own fields
that differ from their default. Canonical means: no whitespace, object members sorted by name, strings without needless
escapes, and numbers by value (`5.0` is `5`). Version 1 has no version byte; it is still computed so that idempotency
keys stored with it go on working.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import msgspec

from foreman.domain.job import Instant, Priority, State

VERSION = b"\x02"
JSON_TOKENS = 100_000  # sorted at most, at some microseconds each; longer bodies are hashed as written
DEFAULTS: Mapping[str, Any] = {"endpoint": "/api/chat", "priority": Priority.NORMAL}

Node: TypeAlias = "bytes | list[Node] | dict[bytes, Node]"

_TOKEN = re.compile(
    rb'[ \t\r\n]*+(?:("[^"\\]*+(?:\\.[^"\\]*+)*+")|([\[\]{}])|[,:]'
    rb"|(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)|(true|false|null))",
    re.DOTALL,
)
_NUMBER = re.compile(rb"(-?)(\d+)(?:\.(\d+))?(?:[eE]([-+]?\d{1,18}))?")


def fingerprints(payload: bytes, own: Mapping[str, Any], *, max_attempts: int) -> tuple[bytes, ...]:
    """Return the fingerprint to store, then the fingerprints of equivalent bodies.

    `payload` is a JSON object, `own` are Foreman's fields as sent, `max_attempts` is the current default.
    """
    sent = {name: value for name, value in own.items() if value != DEFAULTS.get(name)}
    also = {"max_attempts": max_attempts} | sent
    if sent.get("max_attempts") == max_attempts:
        del also["max_attempts"]
    digest = hashlib.sha256()
    for chunk in canonical(payload):
        digest.update(chunk)
    found = []
    for fields in (sent, also):
        whole = digest.copy()
        whole.update(b"\n")
        for chunk in canonical(msgspec.json.encode(_plain(fields))):
            whole.update(chunk)
        found.append(VERSION + whole.digest())
    return (*found, first_version(payload, own))


def first_version(payload: bytes, own: Mapping[str, Any]) -> bytes:
    """Return the version 1 fingerprint: of the payload's bytes and the `repr` of the fields."""
    text = ", ".join(f"({name!r}, {_first_repr(own[name])})" for name in sorted(own))
    return hashlib.sha256(payload + f"[{text}]".encode()).digest()


def canonical(text: bytes) -> Iterator[bytes]:
    """Yield canonical JSON for the valid JSON `text` in chunks; very long text unchanged."""
    try:
        yield from _write(_parse(text))
    except _AsWritten:
        yield text


class _AsWritten(Exception):
    """The text is too long or too odd to be put in canonical form."""


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
            parent[name] = node  # the last of duplicate members counts, as in most parsers
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
        raise _AsWritten  # JSON that _TOKEN does not match


def _write(root: Node) -> Iterator[bytes]:
    """Yield the text of a tree. Not recursive, since callers choose the depth."""
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
    """Return the exact value as digits and a power of ten: `-1.50` is `-15e-1`."""
    found = _NUMBER.fullmatch(written)
    if not found:  # an absurd exponent
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


def _first_repr(value: Instant | str | dict[str, str] | Priority | tuple[State, ...]) -> str:
    if isinstance(value, Priority):
        return f"<Priority.{value.word.upper()}: {int(value)}>"
    if isinstance(value, tuple):
        text = ", ".join(f"<State.{str(state).upper()}: {str(state)!r}>" for state in value)
        return f"({text},)" if len(value) == 1 else f"({text})"
    return repr(value)
