"""The SQL of what is due: deliveries of jobs and those to endpoints, by owner and receiver."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

from foreman.domain.job import Instant
from foreman.domain.webhooks.endpoints import AnyDelivery
from foreman.store.records import Due
from foreman.store.sql.endpoints import ENDPOINT_DELIVERY, read_endpoint_delivery
from foreman.store.sql.rows import DELIVERY, read_delivery
from foreman.store.sql.statements import Statements

Read = Callable[[tuple[Any, ...]], AnyDelivery]
OUTBOXES: dict[str, tuple[str, str, Read]] = {  # with their keys, columns and readers; both have the same index
    "deliveries": ("seq", DELIVERY, read_delivery),
    "endpoint_deliveries": ("id", ENDPOINT_DELIVERY, read_endpoint_delivery),
}


def owners_due(sql: Statements) -> list[str]:
    """Return the owners with due deliveries."""
    return sorted({owner for table in OUTBOXES for owner in _owners_due(sql, table)})


def receivers_due(sql: Statements, owner: str, after: str, limit: int) -> list[Due]:
    """Return up to `limit` of an owner's receivers with due deliveries, by name."""
    found: dict[str, Due] = {}
    for table, (key, *_) in OUTBOXES.items():
        for due in _receivers_due(sql, table, key, (owner, after, limit)):
            other = found.get(due.receiver, due)
            found[due.receiver] = Due(due.receiver, min(due.at, other.at), due.failed or other.failed)
    return [found[receiver] for receiver in sorted(found, key=str.encode)][:limit]


def due(
    sql: Statements,
    readable: Callable[[Read, list[tuple[Any, ...]]], list[AnyDelivery]],
    owner: str,
    receiver: str,
    *,
    now: Instant,
    besides: frozenset[int | str],
    limit: int,
) -> list[AnyDelivery]:
    """Return an owner's due deliveries to a receiver, earliest first, without the keys in `besides`."""
    found: list[AnyDelivery] = []
    for table, (key, columns, read) in OUTBOXES.items():
        text = f"""SELECT {columns} FROM {table} INDEXED BY {table}_due
                   WHERE state = 'due' AND owner = ? AND receiver = ? AND due_at <= ? ORDER BY due_at, {key} LIMIT ?"""
        found += readable(read, sql.rows(text, (owner, receiver, now, limit + len(besides))))
    found.sort(key=attrgetter("due_at"))  # stable: those due at once stay in the order of their keys
    return [one for one in found if one.key not in besides][:limit]


def _owners_due(sql: Statements, table: str) -> list[str]:
    # One seek per name: DISTINCT would read every row of an owner whose receivers have been down for a week.
    due = f"FROM {table} INDEXED BY {table}_due WHERE state = 'due'"
    rows = sql.rows(f"""
        WITH RECURSIVE named(owner) AS (
            SELECT (SELECT owner {due} AND owner >= '' ORDER BY owner LIMIT 1)
            UNION ALL
            SELECT (SELECT owner {due} AND owner > named.owner ORDER BY owner LIMIT 1)
            FROM named WHERE named.owner IS NOT NULL)
        SELECT owner FROM named WHERE owner IS NOT NULL""")
    return [str(row[0]) for row in rows]


def _receivers_due(sql: Statements, table: str, key: str, values: tuple[object, ...]) -> list[Due]:
    of_its = f"FROM {table} INDEXED BY {table}_due WHERE state = 'due' AND owner = ?1"
    rows = sql.rows(
        f"""
        WITH RECURSIVE named(receiver, n) AS (
            SELECT (SELECT receiver {of_its} AND receiver > ?2 ORDER BY receiver LIMIT 1), 1
            UNION ALL
            SELECT (SELECT receiver {of_its} AND receiver > named.receiver ORDER BY receiver LIMIT 1), n + 1
            FROM named WHERE named.receiver IS NOT NULL AND n < ?3),
        ends(receiver, first, last) AS (
            SELECT receiver,
                   (SELECT {key} {of_its} AND receiver = named.receiver ORDER BY due_at, {key} LIMIT 1),
                   (SELECT {key} {of_its} AND receiver = named.receiver ORDER BY due_at DESC, {key} DESC LIMIT 1)
            FROM named WHERE receiver IS NOT NULL)
        SELECT ends.receiver, f.due_at, f.attempts > 0 AND coalesce(f.status, 500) >= 500
                                        OR l.attempts > 0 AND coalesce(l.status, 500) >= 500
        FROM ends CROSS JOIN {table} f CROSS JOIN {table} l WHERE f.{key} = first AND l.{key} = last""",
        values,
    )
    return [Due(str(name), at, bool(failed)) for name, at, failed in rows]
