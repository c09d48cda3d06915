"""What only the SQLite store does: its file, its lock, its plans, and what a full disk means."""

from __future__ import annotations

import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from ulid import ULID

from foreman.domain import events
from foreman.domain.errors import StoreBroken, StoreFull, StoreRefused, StoreRejected
from foreman.domain.job import NOBODY, Job, Priority, State, queued
from foreman.domain.usage import COUNTS, DAY, HOUR, MINUTE, WAITS
from foreman.store.records import Cursor, Line, Order, Selection
from foreman.store.sqlite import migrate
from foreman.store.sqlite.writer import SqliteWriter
from tests.store.conftest import add, claimed, done, draft, put


@pytest.fixture
def path(data_dir: Path) -> Path:
    return data_dir / "foreman.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteWriter]:
    store = SqliteWriter(path)
    yield store
    store.close()


def pragma(db: sqlite3.Connection, name: str) -> Any:
    return db.execute(f"PRAGMA {name}").fetchone()[0]


def test_every_connection_is_durable_and_keeps_foreign_keys(store: SqliteWriter) -> None:
    for db in (store._db, store.reader()._db):
        assert pragma(db, "synchronous") == 2  # FULL: a commit is synced before it returns
        assert pragma(db, "journal_mode") == "wal"
        assert pragma(db, "foreign_keys") == 1


def test_free_pages_can_be_returned_to_the_file_system(store: SqliteWriter) -> None:
    assert pragma(store._db, "auto_vacuum") == 2  # incremental, which counts only before the first table
    jobs = add(store, *(draft(n, payload=b"x" * 20_000) for n in range(50)))
    for job in jobs:
        done(store, job)
    store.checkpoint()
    before = store.path.stat().st_size
    with store.transaction():
        store.delete([job.id for job in jobs])
    store.checkpoint()
    assert store.path.stat().st_size < before - 500_000


def test_every_table_is_strict(store: SqliteWriter) -> None:
    tables = store._db.execute("SELECT name, strict FROM pragma_table_list WHERE schema = 'main'").fetchall()
    own = {name: strict for name, strict in tables if not name.startswith("sqlite_")}
    assert {"jobs", "payloads", "artifacts", "events", "deliveries", "lines", "notes", "usage", "depths"} <= set(own)
    assert set(own.values()) == {1}


def test_a_value_of_the_wrong_type_is_refused(store: SqliteWriter) -> None:
    with pytest.raises(StoreRejected, match="cannot store TEXT value in REAL column"):
        add(store, draft(start_by="soon"))


def test_a_reader_cannot_write(store: SqliteWriter) -> None:
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        store.reader()._db.execute("DELETE FROM jobs")


def test_a_new_file_gets_the_newest_schema_and_keeps_it(path: Path) -> None:
    newest = max(migrate.steps())
    for _ in range(2):
        store = SqliteWriter(path)
        assert pragma(store._db, "user_version") == newest
        store.close()


def test_schema_steps_are_numbered_without_a_gap() -> None:
    assert sorted(migrate.steps()) == list(range(1, len(migrate.steps()) + 1))


def test_an_older_file_is_brought_up_to_date(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqliteWriter(path)
    [job] = add(store, draft(1))
    store.close()
    steps = migrate.steps()
    later = max(steps) + 1
    monkeypatch.setattr(migrate, "steps", lambda: steps | {later: "ALTER TABLE notes ADD COLUMN extra TEXT;"})
    store = SqliteWriter(path)
    assert pragma(store._db, "user_version") == later
    assert store.job("001") == job
    store.close()


def _figures(step: int, at: int) -> str:
    counts = [*COUNTS, *(f"wait_{n}" for n in range(len(WAITS) + 1))]
    values = f"{step}, {at}, 'm', '', '', '/api/chat', {', '.join('1' * len(counts))}"
    return f"INSERT INTO usage (step, at, model, caller, target, endpoint, {', '.join(counts)}) VALUES ({values});"


OF_A_JOB = ("payloads", "artifacts", "events", "deliveries")


@pytest.mark.parametrize("before", range(1, max(migrate.steps())))
def test_the_file_of_every_older_program_is_brought_up_to_date(
    path: Path, monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    path.parent.mkdir()
    db = sqlite3.connect(path)
    for number in range(1, before + 1):
        db.executescript(migrate.steps()[number])
    lanes = "lanes VALUES ('m', 2, 'm', 1, 1), ('m', 2, 'M', 1, 0), ('n', 2, 'n', 1, 0)"
    if before >= 9:
        lanes = "lanes VALUES ('m', 2, 2, 1), ('n', 2, 1, 0)"
    if before >= 11:
        lanes = "lines VALUES ('m', 2, '', '', 2, 1), ('n', 2, '', '', 1, 0)"
    db.executescript(f"""
        INSERT INTO jobs (id, state, model, drain_key, endpoint, priority, max_attempts, created_at, since)
            VALUES ('001', 'done', 'm', 'm', '/api/chat', 1, 3, 1.0, 1.0);
        UPDATE jobs SET idempotency_key = 'k', fingerprint = x'66';
        INSERT INTO payloads VALUES ('001', x'7b7d');
        INSERT INTO artifacts (job_id, position, name, content_type, size, data)
            VALUES ('001', 0, 'completion', 'text/plain', 2, x'6f6b'),
                   ('001', 9, 'image-9.png', 'image/png', 2, x'6869');
        INSERT INTO events (seq, job_id, state, at, attempt)
            VALUES (1, '001', 'done', 1.0, 1), (7, '001', 'done', 1.0, 1);
        DELETE FROM events WHERE seq = 7;
        {"INSERT INTO notes VALUES ('newest_event', '7');" if before >= 12 else ""}
        {_figures(MINUTE, 7260) + _figures(HOUR, 7200 if before <= 12 else -7200) if before >= 5 else ""}
        INSERT INTO deliveries (seq, job_id, receiver, url, state, due_at)
            VALUES (1, '001', 'http://a', 'http://a/x', 'due', 2.0);
        {"UPDATE jobs SET owner = 'bob';" if before >= 2 else ""}
        {"UPDATE deliveries SET owner = 'bob';" if before >= 8 else ""}
        INSERT INTO {lanes};
        INSERT INTO jobs (id, state, model, drain_key, endpoint, priority, max_attempts, created_at, since, ready_at)
            VALUES ('011', 'queued', 'm', 'm', '/api/chat', 2, 3, 1.0, 1.0, NULL),
                   ('012', 'queued', 'M', 'm', '/api/chat', 2, 3, 1.0, 1.0, NULL),
                   ('013', 'queued', 'm', 'm', '/api/chat', 2, 3, 1.0, 1.0, 9.0),
                   ('014', 'queued', 'n', 'n', '/api/chat', 2, 3, 1.0, 1.0, NULL);
        PRAGMA user_version = {before};
    """)
    db.close()
    store = SqliteWriter(path)
    job = store.job("001")
    owner = "bob" if before >= 2 else ""
    low = Priority.LOW
    assert store.lines() == [
        Line(key="m", priority=low, caller=NOBODY, ready=2, parked=1),
        Line(key="n", priority=low, caller=NOBODY, ready=1, parked=0),
    ]
    assert job is not None and (job.state, job.model, job.owner) == ("done", "m", owner)
    assert store.seqs().newest == 7
    steps = (MINUTE, HOUR, DAY) if before >= 5 else ()
    counted = [store.usage(step=step, begin=0, end=DAY, by=None, limit=9) for step in steps]
    assert [[(row.at, row.figures.done) for row in rows] for rows in counted] == [[(7260, 1)], [(7200, 1)], [(0, 1)]][
        : len(steps)
    ]
    assert [(event.seq, event.state, event.at, event.attempt) for event in store.events(limit=9)] == [(1, "done", 1, 1)]
    assert [store.content("001", name) for name in (None, "completion", "image-9.png")] == [b"{}", b"ok", b"hi"]
    assert [(due.receiver, due.at) for due in store.receivers_due(owner, limit=9)] == [("http://a", 2.0)]
    assert [delivery.key for delivery in store.due(owner, "http://a", now=2, limit=9)] == [1]
    add(store, draft(2, owner="alice"))
    stored = store.job("002")
    assert stored is not None and stored.owner == "alice"
    assert store.by_idempotency_key(owner, "k") == (job, b"f")
    add(store, draft(3, owner="alice", idempotency_key="k", fingerprints=(b"a",), most_tokens=5))
    mine = store.by_idempotency_key("alice", "k")
    assert mine is not None and (mine[0].id, mine[0].most_tokens, mine[1]) == ("003", 5, b"a")
    with pytest.raises(StoreRejected, match="UNIQUE"):
        add(store, draft(4, owner="alice", idempotency_key="k", fingerprints=(b"a",)))
    assert store.events(after=1, limit=1)[0].seq == 8
    with store.transaction():
        store.delete(["001"])
    left = [store._db.execute(f"SELECT count(*) FROM {name} WHERE job_id = '001'") for name in OF_A_JOB]
    assert [rows.fetchone() for rows in left] == [(0,)] * len(OF_A_JOB)
    assert store._db.execute("PRAGMA foreign_key_check").fetchall() == []
    assert pragma(store._db, "integrity_check") == "ok"
    store.close()


def test_a_kill_in_the_middle_of_a_step_changes_nothing(path: Path) -> None:
    path.parent.mkdir()
    db = sqlite3.connect(path)
    db.executescript(migrate.steps()[1] + "PRAGMA user_version = 1;")
    db.close()
    program = (
        "import os, sqlite3, sys\n"
        "from pathlib import Path\n"
        "from foreman.store.sqlite import migrate\n"
        "from foreman.store.sqlite.writer import SqliteWriter\n"
        "known = migrate.steps()\n"
        "db = sqlite3.connect(sys.argv[1])\n"
        "db.create_function('die', 0, lambda: os.kill(os.getpid(), 9))\n"
        "migrate.steps = lambda: known | {2: known[2] + 'SELECT die();'}\n"
        "migrate.bring_up_to_date(db, sys.argv[1])\n"
    )
    assert subprocess.run([sys.executable, "-c", program, str(path)], check=False).returncode == -signal.SIGKILL
    db = sqlite3.connect(path)
    assert pragma(db, "user_version") == 1
    assert "owner" not in [column[1] for column in db.execute("PRAGMA table_info(jobs)")]
    db.close()
    store = SqliteWriter(path)
    assert pragma(store._db, "user_version") == max(migrate.steps())
    store.close()


def test_a_step_that_fails_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    SqliteWriter(path).close()
    steps = migrate.steps()
    broken = "CREATE TABLE half (x TEXT) STRICT; CREATE TABLE jobs (x TEXT);"
    monkeypatch.setattr(migrate, "steps", lambda: steps | {max(steps) + 1: broken})
    with pytest.raises(StoreRefused, match="already exists"):
        SqliteWriter(path)
    monkeypatch.undo()
    store = SqliteWriter(path)
    assert pragma(store._db, "user_version") == max(steps)
    assert store._db.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'half'").fetchone() == (0,)
    store.close()


def test_the_file_of_a_newer_program_is_refused_and_left_alone(path: Path) -> None:
    store = SqliteWriter(path)
    store._db.execute("PRAGMA user_version = 999")
    store.close()
    with pytest.raises(StoreRefused, match="has schema version 999, this foreman knows up to"):
        SqliteWriter(path)
    db = sqlite3.connect(path)
    assert pragma(db, "user_version") == 999
    db.close()


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"these are my notes, and not a database at all\n" * 100)
    with pytest.raises(StoreRefused, match="cannot be used: file is not a database"):
        SqliteWriter(path)
    assert path.read_bytes().startswith(b"these are my notes")


def test_a_data_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreRefused, match="cannot be written: "):
        SqliteWriter(tmp_path / "file" / "data" / "foreman.db")


OPEN_IT = """
import sys
from pathlib import Path
from foreman.domain.errors import StoreRefused
from foreman.store.sqlite.writer import SqliteWriter
try:
    SqliteWriter(Path(sys.argv[1]))
except StoreRefused as fault:
    print(fault)
else:
    print("opened")
"""


def opened_by_another_process(path: Path) -> str:
    command = [sys.executable, "-c", OPEN_IT, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def test_a_second_process_is_refused_until_the_first_has_left(path: Path) -> None:
    store = SqliteWriter(path)
    assert opened_by_another_process(path) == (
        f"another foreman is using {path.parent}: stop it, or choose another data_dir"
    )
    store.close()
    assert opened_by_another_process(path) == "opened"


def test_the_data_folder_is_for_its_owner_only(store: SqliteWriter) -> None:
    assert store.path.parent.stat().st_mode & 0o777 == 0o700


def test_a_full_disk_rolls_the_transaction_back_and_the_next_small_one_succeeds(store: SqliteWriter) -> None:
    pages = int(pragma(store._db, "page_count"))
    store._db.execute(f"PRAGMA max_page_count = {pages + 20}")
    with pytest.raises(StoreFull, match="^no space left to store this$"):
        add(store, draft(1), draft(2, payload=b"x" * 1_000_000))
    assert store.jobs(limit=9) == []
    assert store.lines() == []
    assert len(add(store, draft(3))) == 1
    assert [one.ready for one in store.lines()] == [1]


def test_an_event_and_its_webhook_are_one_commit(store: SqliteWriter) -> None:
    said: list[str] = []
    store._db.set_trace_callback(lambda sql: said.append(" ".join(sql.split()[:3])))
    [job] = add(store, draft(webhook_url="http://r/"))
    job = put(store, put(store, job, state=State.LOADING), state=State.QUEUED)
    put(store, job, state=State.WORKING)
    store._db.set_trace_callback(None)
    commits = " | ".join(said).split("COMMIT")[:-1]
    written = [[table in commit for table in ("INSERT INTO events", "INSERT INTO deliveries")] for commit in commits]
    assert written == [[True, True]] * 4


def test_an_io_error_breaks_the_store(store: SqliteWriter) -> None:
    def fail() -> None:
        with store.transaction():
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_IOERR_FSYNC, "SQLITE_IOERR_FSYNC"
            raise error

    with pytest.raises(StoreBroken, match="SQLITE_IOERR_FSYNC"):
        fail()


HOT: dict[str, Callable[[SqliteWriter, Job], object]] = {
    "claim": lambda store, job: store.heads("m", 1, NOBODY, limit=9),
    "find": lambda store, job: store.job(job.id),
    "payload": lambda store, job: store.content(job.id),
    "running": lambda store, job: store.running(),
    "rank": lambda store, job: store.rank(job, most=1000),
    "line": lambda store, job: store.line("m", 1, NOBODY, skip=2, limit=10),
    "waiting": lambda store, job: store.waiting("m", 1, NOBODY, limit=10),
    "alike": lambda store, job: store.alike("m", 1, NOBODY, b"aaaa", limit=10),
    "lines": lambda store, job: store.lines(),
    "wake": lambda store, job: store.wake(1e6),
    "overdue": lambda store, job: store.overdue(1e6, 10),
    "next_due": lambda store, job: store.next_due(),
    "owners of deliveries": lambda store, job: store.owners_due(),
    "receivers of deliveries": lambda store, job: store.receivers_due("", after="http://a", limit=10),
    "deliveries that are due": lambda store, job: store.due("", "http://a", now=1e6, limit=10),
    "lines to write": lambda store, job: store.put_lines(store.lines()),
    "prune": lambda store, job: store.prune(1e6, 10),
    "idempotency": lambda store, job: store.by_idempotency_key("", "k"),
    "submit": lambda store, job: store.add([draft(999)], [queued(draft(999), 1.0)]),
    "change": lambda store, job: store.put([replace(job, state=State.WORKING)]),
    "log": lambda store, job: store.log([events.submitted(job, seq=999)]),
    "remains": lambda store, job: store.remains(job.id),
    "set aside": lambda store, job: store.set_aside(job.id, now=1, expires_at=None, error="odd", code="c"),
    "shapes": lambda store, job: store.shapes(job.id),
    "delete": lambda store, job: store.delete([job.id]),
    "events of a job": lambda store, job: store.events(job_id=job.id, limit=10),
    "events": lambda store, job: store.events(after=1, limit=10),
    "usage": lambda store, job: store.usage(step=60, begin=600, end=6000, by="model", limit=10),
    "depths": lambda store, job: store.depths(step=60, begin=600, end=6000),
    "pruning of usage": lambda store, job: store.prune_usage(minutes=600, hours=3600),
    "list": lambda store, job: store.jobs(after=Cursor(job.id), limit=10),
    "list by end": lambda store, job: store.jobs(order=Order.ENDED, after=Cursor(job.id, 9.0), limit=10),
}
FOUND_BY: dict[str, Selection] = {
    "id": Selection(id="0" * 26),
    "ids": Selection(ids=("0" * 26, "1" * 26), states=(State.QUEUED,), models=("m",)),
    "beginning of an id": Selection(id="01AAAA"),
    "custom id": Selection(custom_id="mine"),
    "beginning of a custom id": Selection(custom_id="mine-*"),
    "state": Selection(states=(State.QUEUED,)),
    "states": Selection(states=(State.QUEUED, State.DONE)),
    "model": Selection(models=("m", "m:latest")),
    "model and state": Selection(models=("m",), states=(State.FAILED,)),
    "priority": Selection(priority=Priority.HIGH),
    "endpoint": Selection(endpoint="/api/chat"),
    "code": Selection(error_code="expired"),
    "owner": Selection(owner="alice"),
    "owner and state": Selection(owner="alice", states=(State.FAILED,)),
    "code and endpoint": Selection(error_code="expired", endpoint="/api/chat"),
}


@pytest.mark.parametrize("name", HOT)
def test_no_hot_query_reads_all_jobs(store: SqliteWriter, name: str) -> None:
    jobs = add(store, *(draft(n, priority=Priority(n % 3), start_by=200.0 if n == 7 else None) for n in range(20)))
    put(store, claimed(store, jobs[3]), state=State.QUEUED, ready_at=300.0)
    asked: list[str] = []
    with store.transaction():
        store._db.set_trace_callback(asked.append)
        HOT[name](store, jobs[5])
        store._db.set_trace_callback(None)
        assert asked
        plans = {sql: _plan(store._db, sql) for sql in asked if not sql.startswith("--")}
    assert plans
    large = r"SCAN (jobs|j|events|e|payloads|artifacts|deliveries|usage|depths)\b"
    allowed = r"SCAN jobs$" if name == "list" else r"^$"  # in the order of its key and with a limit: a page
    scans = [
        (sql, step)
        for sql, steps in plans.items()
        for step in steps
        if re.match(large, step) and not re.match(allowed, step)
    ]
    assert scans == []
    assert [step for steps in plans.values() for step in steps if "TEMP B-TREE" in step and name == "claim"] == []


@pytest.mark.parametrize("order", Order)
@pytest.mark.parametrize("after", [None, Cursor("005", 9.0)])
@pytest.mark.parametrize("name", FOUND_BY)
def test_every_filter_of_a_list_is_read_by_an_index(
    store: SqliteWriter, name: str, order: Order, after: Cursor | None
) -> None:
    add(store, *(draft(n) for n in range(20)))
    asked: list[str] = []
    store._db.set_trace_callback(asked.append)
    store.jobs(FOUND_BY[name], order=order, after=after, limit=10)
    store._db.set_trace_callback(None)
    steps = [step for sql in asked for step in _plan(store._db, sql)]
    reads = [step for step in steps if re.match(r"(SCAN|SEARCH) jobs\b", step)]
    # The ids that end so are the one thing that is read whole, and out of an index that holds little else.
    whole = ["SCAN jobs USING COVERING INDEX jobs_by_state"] if name == "beginning of an id" else []
    assert reads
    assert [step for step in reads if step.startswith("SCAN") and step not in whole] == []


def test_times_of_a_list_narrow_what_is_read_to_an_hour_around_them(store: SqliteWriter) -> None:
    add(store, *(draft(n) for n in range(20)))
    asked: list[str] = []
    store._db.set_trace_callback(asked.append)
    store.jobs(Selection(created_after=1_700_000_000.0, created_before=1_700_000_060.0), limit=10)
    store._db.set_trace_callback(None)
    [step] = [step for step in _plan(store._db, asked[0]) if "jobs" in step]
    assert step == "SEARCH jobs USING PRIMARY KEY (id>? AND id<?)"
    made_at = [ULID.from_str(text).timestamp for text in re.findall(r"id [<>]=? '(\w{26})'", asked[0])]
    assert made_at == [1_700_000_000 - 3600, 1_700_000_060 + 3600]


def test_an_artifact_is_found_by_its_name_without_a_look_at_the_others(store: SqliteWriter) -> None:
    asked: list[str] = []
    store._db.set_trace_callback(asked.append)
    store.content("001", "image-255.png")
    store._db.set_trace_callback(None)
    plan = [step for step in _plan(store._db, asked[0]) if step.startswith(("SEARCH", "SCAN"))]
    assert plan == [
        "SEARCH artifacts USING INDEX sqlite_autoindex_artifacts_1 (job_id=? AND position<?)",
        "SEARCH artifacts USING INDEX artifacts_by_name (job_id=? AND name=?)",
    ]


def _plan(db: sqlite3.Connection, sql: str) -> list[str]:
    return [str(row[3]) for row in db.execute(f"EXPLAIN QUERY PLAN {sql.replace('Inf', '9e999')}").fetchall()]


def test_a_look_for_receivers_costs_no_more_for_thousands_of_deliveries_to_one_of_them(store: SqliteWriter) -> None:
    steps = [0]

    def look() -> int:
        steps[0] = 0
        store._db.set_progress_handler(lambda: steps.__setitem__(0, steps[0] + 1), 10)
        assert store.owners_due() == ["alice", "bob"]
        assert [due.receiver for due in store.receivers_due("alice", limit=9)] == ["http://a", "http://b"]
        assert len(store.receivers_due("bob", after="http://r5", limit=9)) == 9
        store._db.set_progress_handler(None, 0)
        return steps[0] * 10

    hooks = [("alice", "http://a"), ("alice", "http://b"), *(("bob", f"http://r{n}") for n in range(100))]
    add(store, *(draft(n, owner=owner, webhook_url=url) for n, (owner, url) in enumerate(hooks)))
    few = look()
    add(store, *(draft(f"x{n}", owner="alice", webhook_url="http://a") for n in range(2_000)))
    assert look() <= few + 100
