"""What only PostgreSQL's store does: nodes, lost connections, commits whose answer is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace

from foreman.domain.errors import StoreAway, StoreBroken, StoreFull, StoreRefused, StoreRejected
from foreman.domain.job import Priority, State
from foreman.domain.nodes import NodeState
from foreman.store.postgres import connection, migrate
from foreman.store.postgres.address import read_address
from foreman.store.postgres.connection import Statement
from foreman.store.postgres.dialect import sized, translated
from foreman.store.postgres.error_codes import translate
from foreman.store.postgres.nodes import Identity
from foreman.store.postgres.writer import AHEAD, PostgresWriter
from foreman.store.records import Selection
from tests.conftest import Logged
from tests.store.conftest import add, claimed, draft, put
from tests.support.cutting_proxy import CuttingProxy, Loss, unix_socket
from tests.support.postgres import ORIGINS, Server, Servers

SLOW_COMMIT = """
    CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.5); RETURN NULL; END';
    CREATE CONSTRAINT TRIGGER waits AFTER INSERT ON jobs DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION wait()"""


@pytest.fixture(params=ORIGINS)
def server(request: pytest.FixtureRequest, servers: Servers) -> Iterator[Server]:
    """A server that a test may stop."""
    found = servers.get(request.param)
    yield found
    found.stop()
    found.start()


@pytest.fixture(params=ORIGINS)
def schema(request: pytest.FixtureRequest, servers: Servers) -> Iterator[tuple[Server, str]]:
    found = servers.get(request.param)
    with found.schema() as name:
        yield found, name


@pytest.fixture
def url(schema: tuple[Server, str]) -> str:
    return schema[0].url(schema[1])


@pytest.fixture
def proxy(schema: tuple[Server, str]) -> Iterator[CuttingProxy]:
    with closing(CuttingProxy(unix_socket(schema[0].socket))) as found:
        yield found


@pytest.fixture
def store(schema: tuple[Server, str], proxy: CuttingProxy) -> Iterator[PostgresWriter]:
    with opened(schema[0].url(schema[1], proxy.host), "node") as found:
        yield found


def ids(store: PostgresWriter) -> list[str]:
    return [job.id for job in store.jobs(limit=9)]


def sql(url: str, statement: str) -> list[Any]:
    with psycopg.connect(url, autocommit=True) as db:
        done = db.execute(statement.encode())
        return done.fetchall() if done.description else []


@contextmanager
def opened(url: str, node: str, name: str = "n") -> Iterator[PostgresWriter]:
    with closing(PostgresWriter(f"{url}&connect_timeout=60", Identity(node, name))) as found:  # a busy machine
        yield found


# A commit whose answer is lost.


@pytest.mark.parametrize("loss", ["flight", "answer", "torn"])
@pytest.mark.parametrize("before", [0, 4])  # statements are prepared in time, the commit among them
def test_a_commit_whose_answer_is_lost_is_applied_exactly_once(
    store: PostgresWriter, proxy: CuttingProxy, loss: Loss, before: int
) -> None:
    for number in range(before):
        add(store, draft(number))
    proxy.drops = loss
    add(store, draft(8))
    add(store, draft(9))
    assert (ids(store)[:2], proxy.dropped) == (["009", "008"], 1)
    assert [event.seq for event in store.events(limit=9)] == list(range(1, before + 3))
    assert store.news() is None


def test_an_answer_may_break_off_at_any_byte(store: PostgresWriter, proxy: CuttingProxy) -> None:
    lengths: list[int] = []

    def torn_at(length: int) -> int:
        lengths.append(length)
        return min(5 * len(lengths), length - 1)

    proxy.torn_at = torn_at
    while not lengths or 5 * len(lengths) < max(lengths):
        proxy.drops = "torn"
        add(store, draft(len(lengths)))
    assert [event.seq for event in store.events(limit=999)] == list(range(1, len(lengths) + 1))
    assert proxy.dropped == len(lengths) > 20


def test_a_commit_at_which_the_driver_fails_is_applied_exactly_once(
    store: PostgresWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, leave, failing = store._connection.commit, connection._Pipeline._exit_gen, list[bool]()

    def fail_at(*statements: Any) -> None:
        failing.append(True)
        commit(*statements)

    def leave_or_fail(pipeline: Any) -> Any:
        yield from leave(pipeline)
        if failing:
            failing.clear()
            raise psycopg.OperationalError("cannot exit pipeline mode while busy")  # on a connection that is open

    monkeypatch.setattr(connection._Pipeline, "_exit_gen", leave_or_fail)
    monkeypatch.setattr(store._connection, "commit", fail_at)
    add(store, draft(1))
    add(store, draft(2))
    assert ids(store) == ["002", "001"]
    assert [event.seq for event in store.events(limit=9)] == [1, 2]


def test_a_commit_that_is_still_under_way_is_waited_for(store: PostgresWriter, proxy: CuttingProxy, url: str) -> None:
    sql(url, SLOW_COMMIT)
    proxy.drops = "flight"
    add(store, draft(1))
    assert (ids(store), proxy.dropped) == (["001"], 1)


def test_a_commit_that_never_arrived_stores_nothing(store: PostgresWriter, proxy: CuttingProxy) -> None:
    proxy.drops = "commit"
    with pytest.raises(StoreAway):
        add(store, draft(1))
    add(store, draft(2))
    assert (ids(store), proxy.dropped) == (["002"], 1)
    assert [event.seq for event in store.events(limit=9)] == [1]


def test_the_answer_to_a_commit_is_waited_for_until_the_server_is_back(
    store: PostgresWriter, proxy: CuttingProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def sleep(seconds: float) -> None:
        tries.append(seconds)
        if len(tries) == 3:
            proxy.away = False

    monkeypatch.setattr("foreman.store.postgres.writer.time.sleep", sleep)
    monkeypatch.setattr(connection, "FIRST_PAUSE", 0.0)
    monkeypatch.setattr(store._connection, "_pause", 0.0)
    proxy.drops, proxy.away = "flight", True
    add(store, draft(1))
    assert (ids(store), len(tries)) == (["001"], 3)


def test_a_fate_that_nobody_tells_ends_the_process(
    store: PostgresWriter, proxy: CuttingProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foreman.store.postgres.writer.SETTLED_WITHIN", 0.0)
    proxy.drops, proxy.away = "flight", True
    with pytest.raises(StoreBroken, match="cannot say if a commit is stored"):
        add(store, draft(1))
    proxy.away = False


# The server is away.


def test_a_connection_that_was_cut_in_between_is_made_again(store: PostgresWriter, proxy: CuttingProxy) -> None:
    reader = store.reader()
    add(store, draft(1))
    for number in (2, 3):
        assert reader.job("001") is not None
        proxy.cut()
        add(store, draft(number))
        with reader.snapshot():
            assert len(reader.jobs(limit=9)) == number


def test_a_connection_that_is_cut_within_a_transaction_stores_nothing(
    store: PostgresWriter, proxy: CuttingProxy
) -> None:
    def cut_within() -> None:
        with store.transaction():
            store.set_note("a", "b")
            assert store.note("a") == "b"
            proxy.cut()
            store.note("a")

    with pytest.raises(StoreAway):
        cut_within()
    assert store.note("a") is None


def test_while_the_server_is_away_it_is_said_at_once(
    store: PostgresWriter, proxy: CuttingProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = store.reader()
    proxy.away = True
    proxy.cut()
    for _ in range(3):
        with pytest.raises(StoreAway):
            add(store, draft(1))
        with pytest.raises(StoreAway), reader.snapshot():
            reader.job("001")
    monkeypatch.setattr(store._connection, "_next_try", 0.0)
    monkeypatch.setattr(reader._connection, "_next_try", 0.0)
    proxy.away = False
    add(store, draft(1))
    assert reader.job("001") is not None


def test_a_server_that_was_killed_and_started_again_has_all_that_was_acknowledged(server: Server) -> None:
    with server.schema() as name, opened(server.url(name), "node") as store:
        add(store, draft(1))
        server.stop()
        with pytest.raises(StoreAway):
            add(store, draft(2))
        server.start()
        store._connection._next_try = 0.0
        add(store, draft(3))
        assert ids(store) == ["003", "001"]


def test_a_server_that_becomes_read_only_is_left(server: Server) -> None:
    with server.schema() as name, opened(server.url(name), "node") as store:
        add(store, draft(1))
        server.stop()
        server.start("default_transaction_read_only=on")
        for _ in range(2):
            with pytest.raises(StoreAway):
                add(store, draft(2))
            store._connection._next_try = 0.0
        server.stop()
        server.start()
        add(store, draft(3))
        assert ids(store) == ["003", "001"]


def test_a_transaction_in_a_server_that_turns_read_only_closes_the_connection(store: PostgresWriter) -> None:
    def turn() -> None:
        with store.transaction():
            store._connection.run("SET TRANSACTION READ ONLY")
            store.set_note("a", "b")
            store.note("a")

    with pytest.raises(StoreAway, match="read-only"):
        turn()
    assert store._connection._db is None or store._connection._db.closed
    add(store, draft(1))


# Several Foremen.


def test_a_name_is_had_by_one(url: str) -> None:
    with opened(url, "one", "a"), opened(url, "two", "b") as second:
        with pytest.raises(StoreRefused, match=r"another foreman, heard \d+ s ago, is the node a of"):
            PostgresWriter(url, Identity("three", "a"))
        assert [(node.name, node.state) for node in second.nodes()] == [("a", NodeState.UP), ("b", NodeState.UP)]


def test_a_silent_foreman_keeps_its_name_for_a_while_only(url: str) -> None:
    with opened(url, "one"):
        pass
    sql(url, "UPDATE nodes SET state = 'up', seen_at = seen_at - 60")
    with opened(url, "two") as second:
        assert [node.epoch for node in second.nodes()] == [2]


def test_a_process_whose_place_was_taken_is_told_so_and_writes_nothing(url: str) -> None:
    with opened(url, "one") as first, opened(url, "one") as second:
        with pytest.raises(StoreBroken, match="another foreman has taken this node's place"):
            add(first, draft(1))
        add(second, draft(2))
        assert ids(first) == ["002"]


def test_a_node_that_was_evicted_alive_joins_again(url: str) -> None:
    with opened(url, "one", "a") as first, opened(url, "two", "b") as second:
        with second.transaction():
            second.evict("a")
        assert [node.state for node in first.nodes()] == [NodeState.GONE, NodeState.UP]
        add(first, draft(1))
        add(first, draft(2))
        assert [(node.epoch, node.state) for node in first.nodes()] == [(3, NodeState.UP), (1, NodeState.UP)]


def test_an_eviction_does_not_hide_that_a_commit_was_stored(
    store: PostgresWriter, proxy: CuttingProxy, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed = store._member.has_committed

    def evicted_before(batch: int) -> bool:
        sql(url, "UPDATE nodes SET state = 'gone', epoch = epoch + 1")
        return committed(batch)

    monkeypatch.setattr(store._member, "has_committed", evicted_before)
    proxy.drops = "flight"
    add(store, draft(1))
    add(store, draft(2))
    assert ids(store) == ["002", "001"]


def test_a_heartbeat_alone_is_no_news(url: str) -> None:
    with opened(url, "one", "a") as first, opened(url, "two", "b") as second:
        with first.transaction():
            first.tell([], NodeState.UP)
        first.news()
        seen = second.nodes()[0].seen_at
        assert second.news() is not None
        with first.transaction():
            first.tell([], NodeState.UP)
        assert second.news() is None
        assert second.nodes()[0].seen_at > seen
        with first.transaction():
            first.tell([], NodeState.DRAINING)
            first.coordinate()
        news = second.news()
        assert news is not None and news.nodes is not None
        assert (news.nodes[0].state, second.coordinator) == (NodeState.DRAINING, "a")


def test_what_others_commit_is_told_once_and_in_order(url: str) -> None:
    with opened(url, "one", "a") as first, opened(url, "two", "b") as second:
        second.news()
        add(first, draft(1), draft(2, not_before=900.0), draft(3, model="n"))
        with first.transaction():
            first.set_note("paused", "true")
        news = second.news()
        assert news is not None
        assert ([event.seq for event in news.events], news.newest, news.paused) == ([1, 2, 3], 3, True)
        assert sorted(news.jobs) == ["002"]  # the others wait, and do not change by themselves
        assert sorted((line.key, line.ready, line.parked, head and head.id) for line, head in news.lines) == [
            ("m", 1, 1, "001"),
            ("n", 1, 0, "003"),
        ]
        assert second.news() is None


def test_what_is_committed_during_a_look_is_told_by_the_next(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(url, "one", "a") as first, opened(url, "two", "b") as second:
        second.news()
        ask = second._connection.ask

        def ask_later(*queries: Any) -> Any:
            if len(queries) > 1 and not first.jobs(Selection(models=("late",)), limit=1):
                add(first, draft(2, model="late"))
            return ask(*queries)

        monkeypatch.setattr(second._connection, "ask", ask_later)
        add(first, draft(1))
        told = [second.news(), second.news()]
        assert [[event.seq for event in news.events] for news in told if news] == [[1], [2]]
        assert second.news() is None


def test_a_job_that_another_node_may_have_changed_is_read_again(url: str) -> None:
    with opened(url, "one", "a") as first, opened(url, "two", "b") as second:
        [job] = add(first, draft(1))
        with second.transaction():
            second.delete([job.id])
        with first.transaction():
            assert first.with_payload(job.id) is None


def test_news_that_came_with_a_lock_is_not_lost_with_its_transaction(url: str) -> None:
    with opened(url, "one", "a") as first, opened(url, "two", "b") as second:
        second.news()
        seen: list[int] = []
        for number in range(1, 6):
            add(first, draft(number))
            with suppress(ValueError), second.transaction():
                if number != 3:
                    news = second.news()
                    assert news is not None
                    seen += [event.seq for event in news.events]
                    assert (news.newest, news.nodes) == (number, None)
                if number > 1:
                    raise ValueError
        assert seen == [1, 2, 3, 4, 5]
        assert second.news() is None
        add(first, draft(6))
        news = second.news()
        assert news is not None
        assert [event.seq for event in news.events] == [6]


# Few round trips.


def trips_of(store: PostgresWriter, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of statements that are sent together from now on."""
    found: list[int] = []
    send = store._connection._send

    def counted(statements: Sequence[Statement]) -> Any:
        found.append(len(statements))
        return send(statements)

    monkeypatch.setattr(store._connection, "_send", counted)
    return found


def test_the_jobs_of_a_line_are_read_in_one_round_trip(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(url, "one", "a") as first, opened(url, "two", "b") as second:
        add(first, *(draft(number) for number in range(1, 9)), draft(9, payload=b"0" * (AHEAD + 1)))
        trips = trips_of(second, monkeypatch)
        with second.transaction():
            heads = second.heads("m", Priority.NORMAL, ("", ""), limit=9)
            assert [job and job.id for head in heads if (job := second.recent(head.id))] == [h.id for h in heads[:8]]
            found = [second.with_payload(head.id) for head in heads[:8]]
            assert trips == [4, 1]  # the write lock, and all heads
            assert second.recent("009") is None
            large = second.with_payload("009")
        assert [one and (one[0].id, one[1]) for one in found] == [(head.id, draft(1).payload) for head in heads[:8]]
        assert large is not None
        assert len(large[1]) == AHEAD + 1


def test_many_jobs_are_changed_in_one_statement(store: PostgresWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = add(store, *(draft(number) for number in range(1, 81)))
    ready = [replace(job, ready_at=900.5) for job in jobs]
    ended = [replace(jobs[0], state=State.FAILED, error='it\'s {odd}, \\ "and" long', completed_at=7, expires_at=8)]
    trips = trips_of(store, monkeypatch)
    with store.transaction():
        store.put([*ready, *ended])  # of the first one the last state counts
    assert trips[-1] == 3
    assert store.job("001") == ended[0]
    assert [store.job(job.id) for job in jobs[1:]] == ready[1:]


# The server's settings, values, errors.


def test_times_are_the_servers(store: PostgresWriter, url: str) -> None:
    with store.transaction(12.0) as now:
        [(there,)] = sql(url, "SELECT extract(epoch FROM clock_timestamp())::float8")
        assert there - 60 < now <= there


def test_a_database_that_may_forget_commits_is_refused(url: str) -> None:
    for how in ("off", "local"):
        with pytest.raises(StoreRefused, match=f"synchronous_commit is {how} for this database"):
            PostgresWriter(f"{url}%20-csynchronous_commit%3D{how}", Identity("node", "n"))


def test_a_connection_to_another_machine_that_is_not_encrypted_is_warned_of(
    schema: tuple[Server, str], proxy: CuttingProxy, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    with opened(schema[0].url(schema[1], proxy.host), "node"):
        assert not logged.events("the connection to the database is not encrypted")
    monkeypatch.setattr(migrate, "LOCAL", ())
    with opened(schema[0].url(schema[1], proxy.host), "node"):
        assert len(logged.events("the connection to the database is not encrypted")) == 1


def test_text_with_a_zero_byte_is_rejected_and_nothing_else(store: PostgresWriter) -> None:
    with pytest.raises(StoreRejected):
        add(store, draft(1, custom_id="a\0b"))
    add(store, draft(2, prefix=b"\0", payload=b"\0"))
    assert ids(store) == ["002"]


def test_a_targets_words_may_hold_a_zero_byte(store: PostgresWriter) -> None:
    [job] = add(store, draft(1, webhook_url="http://127.0.0.1:9/"))
    put(store, claimed(store, job), state=State.FAILED, error="a\0b")
    found = store.job("001")
    assert found is not None
    assert (found.error, store.events(limit=9)[-1].error) == ("a\ufffdb", "a\ufffdb")
    with store.transaction():
        store.put_deliveries([replace(one, error="\0") for one in store.deliveries("001")])
    assert {one.error for one in store.deliveries("001")} == {"\ufffd"}


def test_a_pooler_without_prepared_statements_is_served(schema: tuple[Server, str]) -> None:
    server, name = schema
    with opened(server.url(name) + "&prepare=off", "node") as store:
        for number in range(1, 9):
            add(store, draft(number))
        assert len(ids(store)) == 8
        assert store._connection.value("SELECT count(*) FROM pg_prepared_statements") == 0


def test_a_stopped_node_does_not_hold_the_write_lock(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    short = connection.TIMEOUTS[0].replace("session_timeout', '5s'", "session_timeout', '100ms'")
    monkeypatch.setattr("foreman.store.postgres.nodes.BEGIN", (("BEGIN", ()), (short, ())))
    monkeypatch.setattr("foreman.store.postgres.writer.BEGIN", (("BEGIN", ()), (short, ())))

    def stand_still() -> None:
        with first.transaction():
            add(second, draft(2))  # waits for the lock until the server has ended the other transaction
            first.set_note("a", "b")

    with opened(url, "one", "a") as first, opened(url, "two", "b") as second:
        with pytest.raises(StoreAway):
            stand_still()
        assert (ids(second), second.note("a")) == (["002"], None)
        add(first, draft(3))


def test_a_node_that_vanishes_with_half_of_its_statements_sent_does_not_hold_the_write_lock(servers: Servers) -> None:
    """A server of version 17 or newer ends the transaction, which does not count as idle."""
    server = servers.get("wheel")
    with (
        server.schema() as name,
        opened(server.url(name), "one") as store,
        closing(psycopg.connect(server.url(name), autocommit=True)) as gone,
    ):
        pipeline = gone.pgconn
        pipeline.enter_pipeline_mode()
        limits = connection.TIMEOUTS[0].replace("'60s'", "'300ms'").encode()
        for statement in (b"BEGIN", limits, b"SELECT * FROM fleet_state FOR UPDATE"):
            pipeline.send_query_params(statement, None)
        pipeline.send_flush_request()  # and no Sync
        pipeline.flush()
        add(store, draft(1))
        assert ids(store) == ["001"]


KINDS = {
    StoreFull: ["53100"],
    StoreAway: ["08006", "57P01", "57P03", "25006", "53300", "55P03", "57014", "25P03", "40001", "40P01"],
    StoreBroken: ["58030", "XX001", "42P01", "42703"],
    StoreRejected: ["23505", "22021", "54000"],
}


@pytest.mark.parametrize(("kind", "code"), [(kind, code) for kind, codes in KINDS.items() for code in codes])
def test_every_code_of_the_server_is_of_one_kind(kind: type[Exception], code: str) -> None:
    error = psycopg.errors.lookup(code)("words")
    assert type(translate(error)) is kind
    assert type(translate(KeyError())) is KeyError


@pytest.mark.parametrize("kind", [psycopg.DatabaseError, psycopg.OperationalError, psycopg.InterfaceError])
def test_an_error_without_a_code_is_a_lost_connection(kind: type[Exception]) -> None:
    assert type(translate(kind("server closed the connection unexpectedly"))) is StoreAway
    assert type(translate(psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes"))) is StoreRejected


@pytest.mark.parametrize(
    "url", ["postgresql://me:secret@h:1/d", "postgres://me:secret@h:1/d?sslmode=require&prepare=off"]
)
def test_an_address_shows_no_password(url: str) -> None:
    found = read_address(url)
    assert (str(found), found.prepare) == ("d at h:1", "prepare" not in url)
    assert found.parameters["password"] == "secret" and "secret" not in repr(found)
    assert found.parameters["target_session_attrs"] == "read-write"


@pytest.mark.parametrize("url", ["mysql://me:secret@h/d", "postgresql://me:secret@h/d?odd=1"])
def test_an_address_that_cannot_be_read_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(StoreRefused, match="database_url") as refused:
        read_address(url)
    assert "secret" not in str(refused.value)


def test_a_server_that_cannot_be_reached_is_refused_at_start() -> None:
    began = time.monotonic()
    with pytest.raises(StoreRefused, match="the database d at 127.0.0.1:1 cannot be used: "):
        PostgresWriter("postgresql://me:secret@127.0.0.1:1/d", Identity("node", "n"))
    assert time.monotonic() - began < 30


def test_the_shared_sql_is_translated() -> None:
    assert translated("SELECT ?1, ?2, ?1 FROM jobs INDEXED BY x WHERE ?") == "SELECT $1, $2, $1 FROM jobs WHERE $1"
    assert translated("SELECT ? FROM jobs NOT INDEXED WHERE a = ?") == "SELECT $1 FROM jobs WHERE a = $2"
    assert [len(part) for part in sized([()] * 150)] == [64, 64, 16, 4, 1, 1]
