"""Foremen of two versions on one database: what each may do to the tables while the other runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg
import pytest

from foreman.domain.errors import StoreBroken, StoreRefused
from foreman.store.postgres import migrate
from foreman.store.postgres.nodes import Identity
from foreman.store.postgres.writer import PostgresWriter
from tests.store.conftest import add
from tests.support.actors import draft
from tests.support.postgres import ORIGINS, Servers

OWN = migrate.steps()
NEXT = max(OWN) + 1
TABLES = ("fleet_state", "nodes", "jobs", "payloads", "artifacts", "events", "deliveries", "notes")
ADDED = "\n".join(f"ALTER TABLE {table} ADD COLUMN later integer NOT NULL DEFAULT 0;" for table in TABLES)
EXPANDS = f"-- needs {max(OWN)}\n{ADDED}"  # this version works with it
CONTRACTS = "ALTER TABLE jobs DROP COLUMN gave_way;"  # which this version reads


@pytest.fixture(params=ORIGINS)
def url(request: pytest.FixtureRequest, servers: Servers) -> Iterator[str]:
    server = servers.get(request.param)
    with server.schema() as schema:
        yield server.url(schema)


@contextmanager
def node(url: str, name: str) -> Iterator[PostgresWriter]:
    with closing(PostgresWriter(url, Identity(name, name))) as found:
        yield found


def sql(url: str, statement: str) -> list[Any]:
    with psycopg.connect(url, autocommit=True) as db:
        done = db.execute(statement.encode())
        return done.fetchall() if done.description else []


@contextmanager
def knowing(monkeypatch: pytest.MonkeyPatch, *steps: str) -> Iterator[None]:
    """Run as a later version, which has these schema files besides."""
    with monkeypatch.context() as later:
        known = OWN | {NEXT + number: step for number, step in enumerate(steps)}
        later.setattr(migrate, "steps", lambda: known)
        yield


def upgrade(url: str) -> None:
    with psycopg.connect(url, cursor_factory=psycopg.RawCursor, autocommit=True) as db:
        migrate.bring_up_to_date(db, "it")


def test_a_node_works_on_while_a_later_one_adds_to_the_tables(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with node(url, "old") as old:
        add(old, draft(1))
        with knowing(monkeypatch, EXPANDS), node(url, "new") as new:
            with new.transaction():
                new.set_note("a", "b")
            assert sql(url, "SELECT schema, needs FROM fleet_state") == [(NEXT, max(OWN))]
        add(old, draft(2))
        assert old.note("a") == "b"
    with node(url, "old") as again:  # and may be started once more
        assert again.job("002") is not None


def test_what_a_running_node_reads_is_not_taken_away(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with node(url, "old") as old:
        with knowing(monkeypatch, EXPANDS, CONTRACTS), pytest.raises(StoreRefused, match=r"that run: old \(\)"):
            PostgresWriter(url, Identity("new", "new"))
        assert sql(url, "SELECT schema FROM fleet_state") == [(max(OWN),)]
        add(old, draft(1))
    with knowing(monkeypatch, EXPANDS, CONTRACTS):
        upgrade(url)
    with pytest.raises(StoreRefused, match="too new for this foreman"):
        PostgresWriter(url, Identity("old", "old"))


def test_a_node_that_was_evicted_meanwhile_does_not_come_back(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with node(url, "old") as old:
        sql(url, "UPDATE nodes SET state = 'gone', epoch = epoch + 1")
        with knowing(monkeypatch, EXPANDS, CONTRACTS):
            upgrade(url)
        with pytest.raises(StoreBroken, match="install a newer one"):
            add(old, draft(1))


def test_nodes_that_start_together_make_the_tables_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with knowing(monkeypatch, EXPANDS), node(url, "one"), node(url, "two"):
        assert sql(url, "SELECT schema, needs FROM fleet_state") == [(NEXT, max(OWN))]
