"""The shared SQL as PostgreSQL reads it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import count

_NAMED_INDEX = re.compile(r" (?:NOT INDEXED|INDEXED BY \w+)")  # PostgreSQL's planner has no such hints
_PLACE = re.compile(r"\?(\d*)")


@lru_cache(maxsize=1024)
def translated(sql: str) -> str:
    """Return a statement with PostgreSQL's placeholders and without the names of indexes."""
    numbers = count(1)
    sql = sql.replace("instr(", "strpos(")
    return _PLACE.sub(lambda place: f"${place[1] or next(numbers)}", _NAMED_INDEX.sub("", sql))


def sized(rows: Sequence[tuple[object, ...]]) -> list[Sequence[tuple[object, ...]]]:
    """Return the rows in parts of few sizes, so that the statements of each size stay prepared."""
    parts, start = [], 0
    for size in (64, 16, 4, 1):
        while len(rows) - start >= size:
            parts.append(rows[start : start + size])
            start += size
    return parts
