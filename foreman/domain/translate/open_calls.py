"""Tool calls of a conversation that wait for the message with their result; no I/O."""

from __future__ import annotations

from collections import deque

UNKNOWN_CALL = "call_unknown"  # the id in a tool message without a matching call


class OpenCalls:
    """The calls still without an answering tool message; the cost of each call is bounded."""

    def __init__(self) -> None:
        self._calls: dict[int, str] = {}  # ids by number, oldest first; unanswered calls only
        self._numbers: dict[tuple[str, str], deque[int]] = {}  # by ("id" or "function", its name)
        self._all: deque[int] = deque()
        self._made = 0

    def add(self, id: str, function: str) -> None:
        """Add a call of `function`."""
        self._calls[self._made] = id
        self._numbers.setdefault(("id", id), deque()).append(self._made)
        self._numbers.setdefault(("function", function), deque()).append(self._made)
        self._all.append(self._made)
        self._made += 1

    def answered(self, id: str | None, name: str | None) -> str:
        """Return the id of the call that a message answers: by id, by the function's name, else the oldest."""
        if id is not None:
            return self._oldest(self._numbers.get(("id", id))) or id or self._oldest(self._all) or UNKNOWN_CALL
        named = self._all if name is None else self._numbers.get(("function", name))
        return self._oldest(named) or self._oldest(self._all) or UNKNOWN_CALL

    def _oldest(self, numbers: deque[int] | None) -> str | None:
        while numbers:
            if (id := self._calls.pop(numbers.popleft(), None)) is not None:
                return id
        return None
