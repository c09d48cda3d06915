"""Output for scripts: ids, one a line, or JSON without terminal control characters."""

from __future__ import annotations

import re
from collections.abc import Iterable

import click
import msgspec

from foreman.cli.plain import one_line

# DEL, C1, and the characters with the Unicode property Bidi_Control: JSON may hold them unescaped.
_CONTROLS = re.compile(r"[\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def print_ids(ids: Iterable[str]) -> None:
    """Print ids, one a line."""
    for found in ids:
        click.echo(one_line(found))


def print_json(value: object, *, indent: int = -1) -> None:
    """Print a value as JSON, on one line or indented by `indent` spaces; bytes are JSON already.

    Raise msgspec.DecodeError for bytes that are not JSON.
    """
    try:
        encoded = value if isinstance(value, bytes) else msgspec.json.encode(value)
        text = msgspec.json.format(encoded, indent=indent).decode(errors="replace")
    except RecursionError:
        raise msgspec.DecodeError("nested too deeply") from None
    click.echo(escaped(text).encode())


def escaped(json: str) -> str:
    """Return the same JSON with control characters escaped; only strings can hold them (RFC 8259, 7)."""
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", json)
