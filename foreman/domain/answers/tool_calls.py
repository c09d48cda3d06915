"""Tool calls: the pieces of a stream assigned to their calls, and the forms that readers expect; no I/O."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from foreman.domain.answers.indexes import Indexes
from foreman.domain.answers.mend import decode, mended
from foreman.domain.answers.refusals import NOT_JSON

Json = dict[str, Any]

LONGEST_NAME = 1024  # characters kept of a function's name to distinguish calls


class CallSorter:
    """Assignment of the pieces of one message to its calls, by index, by id, or by order."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, object], _Call] = {}  # by index and id; by either alone, the latest call
        self._last: _Call | None = None
        self._function = _Call(0)  # the older form, `function_call`
        self._indexes = Indexes()

    def sort(self, delta: Json) -> bool:
        """Give each piece the index of its call and take out repeated fields; return True if that changed any.

        A reader that joins the pieces by index then gets the right calls.
        """
        changed = False
        for position, piece in enumerate(delta.get("tool_calls") or ()):
            call = self._call_of(piece, first=position == 0)
            changed |= call.tidy(piece)
            self._last = call
        if function := delta.get("function_call"):
            changed |= self._function.tidy_function(function)
        return changed

    def _call_of(self, piece: Json, *, first: bool) -> _Call:
        index, id = piece.get("index"), piece.get("id") or None
        function = piece.get("function") or {}
        if id is None:
            known = self._known.get((index, None)) if index is not None else self._last if first else None
            if known is not None and known.is_over_for(function, named=index is None):
                known = None
        elif index is None:
            known = self._known.get((None, id))
        else:
            known = self._known.get((index, None))
            if known is not None and known.id not in (None, id):
                known = self._known.get((index, id))
            if known is None and not _kind_of(piece).get("name"):
                known = self._known.get((None, id))  # an index that counts the pieces, not the calls
        if known is None:
            known = _Call(self._indexes.free(index))
        self._known[index, None] = known
        if id is not None:
            self._known[index, id] = self._known[None, id] = known
        return known


def finished(calls: list[Json]) -> list[Json]:
    """Return merged `tool_calls` as in an unstreamed answer: in order, without index, arguments as JSON text."""
    ordered = []
    for call in sorted(calls, key=lambda call: int(call.pop("index", 0))):
        call["type"] = call.get("type") or "function"
        if call["type"] == "function" or "function" in call:  # a custom tool has a text, in `custom`
            finish_function(call.setdefault("function", {}))
        ordered.append({name: call.pop(name) for name in ("id", "type") if name in call} | call)
    return ordered


def finish_function(function: Json) -> None:
    """Set the arguments of a merged function to `{}` if they are empty."""
    if (function.get("arguments") or "").strip() in ("", "null"):
        function["arguments"] = "{}"


def with_objects(calls: list[Json]) -> bool:
    """Turn missing arguments of native calls, and those sent as text, into an object; return True if any changed."""
    changed = False
    for call in calls:
        function = call.get("function")
        if not isinstance(function, dict) or isinstance(given := function.get("arguments"), dict):
            continue
        if (arguments := arguments_of(given)) is not None:
            function["arguments"] = arguments
            changed = True
    return changed


def arguments_of(given: Any) -> Json | None:
    """Return arguments, or their text, as an object: `{}` if they are missing, None if they are not an object."""
    for _ in range(2):  # some servers encode twice
        if isinstance(given, str) and given.strip():
            try:
                value, broken = decode(given.encode())
            except NOT_JSON:
                return None
            given = mended(value) if broken else value
    if given is None or (isinstance(given, str) and not given.strip()):
        return {}
    return given if isinstance(given, dict) else None


def _kind_of(piece: Json) -> Json:
    """Return the fields of the call in a piece, of a function or a custom tool."""
    return piece.get("function") or piece.get("custom") or {}


class _Call:
    """One call as its pieces arrive."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.id: object = None
        self._name = ""
        self._nesting = _Nesting()

    def is_over_for(self, function: Json, *, named: bool) -> bool:
        """Return True if a piece without id begins another call; with `named` a different name is enough."""
        name = function.get("name")
        if not name:
            return False
        if named and self._name not in ("", name):
            return True
        return self._nesting.whole and bool(function.get("arguments"))

    def tidy(self, piece: Json) -> bool:
        changed = False
        if piece.get("index") != self.index or isinstance(piece["index"], bool):
            piece["index"] = self.index
            changed = True
        if id := piece.get("id"):
            if self.id is None:
                self.id = id
                if not isinstance(id, str):
                    piece["id"] = str(id)
                    changed = True
            else:
                del piece["id"]
                changed = True
        return self.tidy_function(piece.get("function") or {}) or changed

    def tidy_function(self, function: Json) -> bool:
        changed = False
        if (name := function.get("name")) and name == self._name:
            del function["name"]
            changed = True
        elif name and len(self._name) < LONGEST_NAME:
            self._name += name
        given = function.get("arguments")
        if isinstance(given, dict | list):
            given = function["arguments"] = msgspec.json.encode(given).decode()
            changed = True
        if given and self.id is None:  # a call with an id needs no nesting
            self._nesting.feed(given)
        return changed


class _Nesting:
    """The nesting depth of a JSON text that comes in pieces."""

    def __init__(self) -> None:
        self._depth = 0
        self._quoted = False
        self._carried = ""  # a backslash at the end of the last piece
        self._begun = False

    @property
    def whole(self) -> bool:
        """Return True if an object has begun and ended."""
        return self._begun and not self._depth and not self._quoted

    def feed(self, text: str) -> None:
        text, self._carried = self._carried + text, ""
        for found in _SIGNS.finditer(text):
            sign = found[0]
            if sign == "\\":
                self._carried = sign
            elif sign == '"':
                self._quoted = not self._quoted
            elif sign in "{}" and not self._quoted:
                self._depth += 1 if sign == "{" else -1
                self._begun = True


_SIGNS = re.compile(r'\\(?:.|$)|["{}]', re.DOTALL)
