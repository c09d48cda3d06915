"""Rows that another program has changed into what this one does not write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from foreman.domain.errors import JobUnreadable
from foreman.store.protocol import Engine
from foreman.store.records import Cursor, Order, Selection
from foreman.store.sqlite.writer import SqliteWriter
from tests.store.conftest import add, done, draft
from tests.support.postgres import ORIGINS, ClockedWriter, Servers
from tests.support.queue import ledger_of

CHANGED = {
    "state": "'weird'",
    "priority": "7",
    "metadata": "'{\"a\":'",
    "webhook_events": "'[\"odd\"]'",
    "drain_key": "'m {odd'",
    "endpoint": "'/api/odd'",
    "created_at": "9e999",
    "expires_at": "-1e15",
    "model": "CAST(x'ff' AS TEXT)",
    "webhook_url": "'http://[::1'",
}


# The server has no text that is not UTF-8.
ON_SERVER = {name: value for name, value in CHANGED.items() if name != "model"} | {"created_at": "'infinity'"}


@pytest.fixture
def store(data_dir: Path) -> Iterator[SqliteWriter]:
    with closing(SqliteWriter(data_dir / "foreman.db")) as store:
        for number in range(1, 5):
            done(store, add(store, draft(number))[0], now=number)
        yield store


@pytest.mark.parametrize("column", CHANGED)
def test_a_job_that_cannot_be_read_hides_no_other(store: SqliteWriter, column: str) -> None:
    store._db.execute(f"UPDATE jobs SET {column} = {CHANGED[column]} WHERE id = '002'")
    check_that_it_hides_no_other(store, column)


@pytest.mark.parametrize("column", ON_SERVER)
@pytest.mark.parametrize("origin", ORIGINS)
def test_a_job_on_a_server_that_cannot_be_read_hides_no_other(servers: Servers, origin: str, column: str) -> None:
    server = servers.get(origin)
    with server.schema() as name, closing(ClockedWriter(server.url(name))) as store:
        for number in range(1, 5):
            done(store, add(store, draft(number))[0], now=number)
        with psycopg.connect(server.url(name), autocommit=True) as db:
            db.execute(f"UPDATE jobs SET {column} = {ON_SERVER[column]} WHERE id = '002'".encode())
        check_that_it_hides_no_other(store, column)
        with psycopg.connect(server.url(name), autocommit=True) as db:
            db.execute("UPDATE events SET state = 'odd' WHERE seq IN (2, 3)")
        assert [one.seq for one in store.events(limit=2)] == [1, 4]


def check_that_it_hides_no_other(store: Engine, column: str) -> None:
    for reader in (store, store.reader()):
        with pytest.raises(JobUnreadable, match=f"^job 002 cannot be read: its {column} is "):
            reader.job("002")
        assert [job.id for job in reader.jobs(limit=9)] == ["004", "003", "001"]
        pages = [reader.jobs(limit=2), reader.jobs(limit=2, after=Cursor("003"))]
        assert [[job.id for job in page] for page in pages] == [["004", "003"], ["001"]]
        assert [job.id for job in reader.jobs(Selection(models=("m",)), limit=1, after=Cursor("003"))] == ["001"]
        ended = reader.jobs(order=Order.ENDED, limit=1, after=Cursor("003", 3.0))
        assert [job.id for job in ended] == ["001"]
    with store.transaction():
        store.delete(["002"])
    assert store.job("002") is None


@pytest.mark.parametrize("odd", ["9", "-1"])
def test_lines_that_no_job_can_be_in_are_left_out(data_dir: Path, odd: str) -> None:
    insert = "INSERT INTO lines (drain_key, priority, owner, caller, ready, parked) VALUES"
    with closing(SqliteWriter(data_dir / "foreman.db")) as store:
        add(store, draft(7), draft(8, key="n"))
        store._db.execute(f"{insert} ('m', {odd}, '', '', 1, 1), (CAST(x'ff' AS TEXT), 1, '', '', 1, 1)")
    with closing(SqliteWriter(data_dir / "foreman.db")) as store:
        assert {line.key for line in store.lines()} == {"m", "n"}
        assert {head.id for head in ledger_of(store).outlook.board.heads()} == {"007", "008"}
        assert ledger_of(store).outlook.board.ready == 2


@pytest.mark.parametrize("event", ["state = 'odd'", "at = 9e999", "error = CAST(x'ff' AS TEXT)"])
def test_an_event_that_cannot_be_read_hides_no_other(store: SqliteWriter, event: str) -> None:
    store._db.execute(f"UPDATE events SET {event} WHERE seq IN (2, 3)")
    for reader in (store, store.reader()):
        assert [one.seq for one in reader.events(limit=3)] == [1, 4, 5]
        assert [one.seq for one in reader.events(after=1, limit=2)] == [4, 5]
        assert [one.seq for one in reader.events(job_id="001", limit=9)] == [1, 4]


def test_a_delivery_that_cannot_be_read_hides_no_other(store: SqliteWriter) -> None:
    done(store, add(store, draft(9, webhook_url="http://127.0.0.1:9/"))[0], now=9)
    seqs = [one.seq for one in store.deliveries("009")]
    assert len(seqs) == 4
    store._db.execute("UPDATE deliveries SET state = 'odd' WHERE seq IN (?, ?)", (seqs[0], seqs[2]))
    assert [one.seq for one in store.deliveries("009")] == [seqs[1], seqs[3]]
    assert [one.seq for one in store.deliveries("009", limit=1)] == [seqs[1]]
    assert [one.seq for one in store.deliveries("009", after=seqs[1], limit=1)] == [seqs[3]]
