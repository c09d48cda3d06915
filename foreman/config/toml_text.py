"""Settings written as TOML."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

WIDTH = 120  # columns

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def toml_text(settings: Mapping[str, Any]) -> str:
    """Return the settings as TOML: values first, then tables, then lists of tables."""
    tables = {name: value for name, value in settings.items() if isinstance(value, Mapping)}
    lists = {name: value for name, value in settings.items() if _is_tables(value)}
    values = {name: value for name, value in settings.items() if name not in tables and name not in lists}
    parts = [_lines(values)] if values else []
    parts += [f"[{_key(name)}]\n{_lines(table)}" for name, table in tables.items()]
    parts += [f"[[{_key(name)}]]\n{_lines(entry)}" for name, entries in lists.items() for entry in entries]
    return "\n".join(parts)


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, Mapping) for item in value)


def _lines(table: Mapping[str, Any]) -> str:
    return "".join(_line(name, value) for name, value in table.items())


def _line(name: str, value: Any) -> str:
    line = f"{_key(name)} = {_value(value)}\n"
    if len(line) <= WIDTH or not isinstance(value, Sequence) or isinstance(value, str):
        return line
    return f"{_key(name)} = [\n" + "".join(f"    {_value(item)},\n" for item in value) + "]\n"


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return (
            "{ " + ", ".join(f"{_key(name)} = {_value(item)}" for name, item in value.items()) + " }" if value else "{}"
        )
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, int | float) else _quoted(str(value))


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _quoted(name)


def _quoted(text: str) -> str:
    # A string of JSON is one of TOML, but for one control character that JSON leaves as it is.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
