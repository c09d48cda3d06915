"""The statements of an engine: how the shared SQL reaches its database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class Statements(Protocol):
    """A connection of any engine. The SQL is written as SQLite reads it; another engine translates it."""

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query. In a transaction they show what was written before."""
        ...

    def run(self, sql: str, values: Sequence[object] = ()) -> object:
        """Run a statement whose rows nobody needs."""
        ...

    def run_each(self, sql: str, rows: Sequence[tuple[object, ...]]) -> object:
        """Run a statement once for each row of values."""
        ...

    def insert(self, table: str, columns: str, rows: Sequence[tuple[object, ...]], otherwise: str = "") -> None:
        """Insert rows in order; `otherwise` is an ON CONFLICT clause."""
        ...

    def value(self, sql: str, values: Sequence[object] = ()) -> object:
        """Return the first value of the first row, or None."""
        ...
