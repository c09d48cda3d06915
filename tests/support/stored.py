"""What a Foreman has stored, read past it, on whatever engine."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import psycopg

from foreman.store import integrity
from tests.support.foreman import Daemon


def rows(daemon: Daemon, query: str) -> list[tuple[Any, ...]]:
    """The rows of a query that both engines know."""
    if daemon.database_url:
        with psycopg.connect(daemon.database_url) as server:
            return server.execute(query.encode()).fetchall()
    with closing(sqlite3.connect(f"file:{daemon.data_dir / 'foreman.db'}?mode=ro", uri=True, timeout=10)) as file:
        return file.execute(query).fetchall()


def problems(daemon: Daemon) -> list[str]:
    """What does not hold in its database, by `foreman check`."""
    if daemon.database_url:
        return integrity.check_server(daemon.database_url).problems
    return integrity.check(daemon.data_dir / "foreman.db").problems
