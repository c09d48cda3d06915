"""The SQL of usage figures: added in the writer's transactions, summed up for answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from foreman.domain.usage import (
    COUNTS,
    DAY,
    HOUR,
    MOST_GROUPS,
    OTHER,
    REST,
    STORED,
    WAITS,
    Depth,
    Figures,
    Group,
    Price,
    Row,
    Slot,
)
from foreman.store.sql.statements import Statements

PRUNED_AT_ONCE = 5000  # rows

_WAITS = tuple(f"wait_{bucket}" for bucket in range(len(WAITS) + 1))
_SUMS = (*COUNTS, *_WAITS)
_GROUP = ("model", "caller", "target", "endpoint")
_TYPES = {"busy_seconds": "DOUBLE PRECISION"}  # of sums; counts are whole numbers
_COLUMNS = ", ".join(("step", "at", *_GROUP, *_SUMS))
_PRICED = " + ".join(
    f"{quantity} * CAST(? AS DOUBLE PRECISION)"
    for quantity in ("(prompt_tokens - cached_tokens)", "cached_tokens", "answer_tokens", "busy_seconds")
)
_ADDED = f""" ON CONFLICT (step, at, {", ".join(_GROUP)}) DO UPDATE SET
    {", ".join(f"{column} = usage.{column} + excluded.{column}" for column in _SUMS)}"""
_RAISED = f""" ON CONFLICT (step, at) DO UPDATE SET {
    ", ".join(
        f"{column} = CASE WHEN excluded.{column} > depths.{column} THEN excluded.{column} ELSE depths.{column} END"
        for column in ("waiting", "running")
    )
}"""


class UsageWriter:
    """The writer of a transaction's figures. It tracks the groups of each step to bound their number."""

    def __init__(self, statements: Statements) -> None:
        self._sql = statements
        self._groups: dict[tuple[int, int], set[Group]] = {}  # of the newest steps

    def write(self, figures: Mapping[Slot, Figures], depths: Sequence[Depth]) -> None:
        """Add the figures to their rows, and raise the depths."""
        bounded: dict[Slot, Figures] = {}
        for slot, more in figures.items():
            kept = self._bounded(slot)
            if kept in bounded:
                bounded[kept].add(more)
            else:
                bounded[kept] = more
        rows = [
            (slot.step, _stored(slot.step, slot.at), *slot.group, *(getattr(one, name) for name in COUNTS), *one.waits)
            for slot, one in bounded.items()
        ]
        self._sql.insert("usage", _COLUMNS, rows, _ADDED)
        self._sql.insert("depths", ", ".join(Depth._fields), depths, _RAISED)

    def forget(self) -> None:
        """Drop the cached groups after a rollback."""
        self._groups.clear()

    def _bounded(self, slot: Slot) -> Slot:
        known = self._groups.get((slot.step, slot.at))
        if known is None:
            sql = f"SELECT {', '.join(_GROUP)} FROM usage WHERE step = ? AND at = ?"
            rows = self._sql.rows(sql, (slot.step, _stored(slot.step, slot.at)))
            known = {Group(*row) for row in rows}
            if len(self._groups) >= 2 * len(STORED):
                self._groups.clear()
            self._groups[slot.step, slot.at] = known
        if slot.group not in known and len(known) >= MOST_GROUPS:
            return slot._replace(group=slot.group.others())
        known.add(slot.group)
        return slot


def read(
    statements: Statements,
    *,
    step: int,
    begin: int,
    end: int,
    by: str | None,
    limit: int,
    only: Mapping[str, str],
    prices: Mapping[str, Price],
) -> list[Row]:
    """Return up to `limit` rows of the steps from `begin` up to `end`; steps without activity have none."""
    stored = HOUR if step == DAY else step
    name = by if by in _GROUP else "NULL"
    columns = ", ".join(f"CAST(sum({column}) AS {_TYPES.get(column, 'BIGINT')})" for column in _SUMS)
    # A caller may have the name OTHER too; the row of surplus groups has that name as its model as well.
    conditions = {f"{field} = ?": [only[field]] for field in _GROUP if field in only}
    if "caller" in only:
        conditions["(caller <> ? OR model <> ?)"] = [OTHER, OTHER]
    of = "".join(f" AND {condition}" for condition in conditions)
    whose = [value for values in conditions.values() for value in values]
    cost, amounts = _cost(prices)
    sql = f"""SELECT abs(at) / {step:d} * {step:d} AS slot, {name}, {cost}, {columns} FROM usage
              WHERE step = ? AND at BETWEEN ? AND ?{of} GROUP BY 1, 2 ORDER BY 1, 2 LIMIT ?"""
    first, last = (1 - end, -begin) if stored == HOUR else (begin, end - 1)
    rows = statements.rows(sql, (*amounts, stored, first, last, *whose, limit))
    return [Row(at, found, _figures(sums), cost) for at, found, cost, *sums in rows]


def _cost(prices: Mapping[str, Price]) -> tuple[str, Sequence[str | float]]:
    """Return the sum of what the figures cost, as SQL, and its parameters; NULL where no model has a price."""
    if not prices:
        return "NULL", ()
    cases: list[str] = []
    amounts: list[str | float] = []
    for model in sorted(prices, key=lambda model: model == REST):  # it comes last
        price = prices[model]
        cases.append(f"WHEN {'TRUE' if model == REST else 'model = ?'} THEN {_PRICED}")
        amounts += [] if model == REST else [model]
        amounts += [price.prompt, price.cached, price.answer, price.second]
    return f"sum(CASE {' '.join(cases)} END)", amounts


def read_depths(statements: Statements, *, step: int, begin: int, end: int) -> list[Depth]:
    """Return the depths from `begin` up to `end`, and the first one after them."""
    stored = HOUR if step == DAY else step
    sql = "SELECT step, at, first, waiting, running FROM depths WHERE step = ? AND at >= ?"
    rows = statements.rows(f"{sql} AND at < ? ORDER BY at", (stored, begin, end))
    rows += statements.rows(f"{sql} ORDER BY at LIMIT 1", (stored, end))
    return [Depth(*row) for row in rows]


def prune(statements: Statements, step: int, before: int) -> None:
    """Delete the rows of a step from before a time, the oldest first, a bounded number per call."""
    for table in ("usage", "depths"):
        newest_first = table == "usage" and step == HOUR
        older, order, limit = (">", "at DESC", -before) if newest_first else ("<", "at", before)
        statements.run(
            f"""DELETE FROM {table} WHERE step = ? AND at {older} coalesce(
                (SELECT at FROM {table} WHERE step = ? AND at {older} ?
                 ORDER BY {order} LIMIT 1 OFFSET {PRUNED_AT_ONCE}), ?)""",
            (step, step, limit, limit),
        )


def _stored(step: int, at: int) -> int:
    """Return a time as table `usage` has it: hours are stored newest first, next to the newest minute."""
    return -at if step == HOUR else at


def _figures(sums: list[Any]) -> Figures:
    found = Figures(waits=sums[len(COUNTS) :])
    for name, value in zip(COUNTS, sums, strict=False):
        setattr(found, name, value)
    return found
