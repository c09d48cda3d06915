"""Merging of deltas key by key, at a cost linear in their size; no I/O."""

from __future__ import annotations

from typing import Any

import msgspec

# Keys of strings that are sent whole, maybe repeatedly; all other strings in a delta are joined.
_SENT_WHOLE = frozenset({"role", "id", "type", "object", "model", "finish_reason", "stop_reason", "format"})
_FLOWING = frozenset({"text", "output_text", "thinking", "reasoning"})  # types of parts that continue in the next delta


def absorb(into: dict[str, Any], delta: dict[str, Any]) -> int:
    """Merge a delta and return the number of new members and items.

    Strings are joined, objects merged, lists extended or merged by the `index` of their items.
    """
    grown = -len(into)
    for name, value in delta.items():
        have = into.get(name)
        if value is None:
            into.setdefault(name, None)
        elif isinstance(value, str):
            if name in _SENT_WHOLE:
                into[name] = value or have or value
            elif isinstance(have, _Text):
                if name != "name" or settled(have) != value:  # a repeated name is the same name
                    have.parts.append(value)
            elif isinstance(have, _Items):
                if value:
                    have.add({"type": "text", "text": value})
            else:
                into[name] = _Text(value)
        elif isinstance(value, dict):
            if not isinstance(have, dict):
                have = into[name] = {}
            grown += absorb(have, value)
        elif isinstance(value, list):
            if not isinstance(have, _Items):
                text = settled(have) if isinstance(have, _Text) else ""
                have = into[name] = _Items()
                if text:
                    have.add({"type": "text", "text": text})
            for item in value:
                grown += have.add(item)
        else:
            into[name] = value
    return grown + len(into)


def packed(value: Any) -> Any:
    """Return a complete value as the bytes of its JSON, which take less memory than objects."""
    return msgspec.Raw(msgspec.json.encode(value)) if isinstance(value, dict | list) else value


def settled(value: Any) -> Any:
    """Return a merged value as plain JSON values."""
    if isinstance(value, _Text):
        return "".join(value.parts)
    if isinstance(value, _Items):
        return [settled(item) for item in value.items]
    if isinstance(value, dict):
        return {name: settled(item) for name, item in value.items()}
    return value


class _Text:
    """A string that grows."""

    __slots__ = ("parts",)

    def __init__(self, first: str) -> None:
        self.parts = [first]


class _Items:
    """A list that grows."""

    __slots__ = ("_by_index", "items")

    def __init__(self) -> None:
        self.items: list[Any] = []
        self._by_index: dict[int, dict[str, Any]] = {}

    def add(self, item: Any) -> int:
        """Add an item or merge it with the one it continues; return the number of new members and items."""
        if not isinstance(item, dict) or ("index" not in item and item.get("type") not in _FLOWING):
            self.items.append(packed(item))
            return 1
        grown = 0
        index = item.get("index")
        if isinstance(index, int):
            known = self._by_index.get(index)
        else:
            last = self.items[-1] if self.items and isinstance(self.items[-1], dict) else {}
            known = last if last.get("type") == item.get("type") in _FLOWING else None
        if known is None:
            known, grown = {}, 1
            self.items.append(known)
            if isinstance(index, int):
                self._by_index[index] = known
        return grown + absorb(known, item)
