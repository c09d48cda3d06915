"""A queue that moves from SQLite to PostgreSQL: all of it or nothing, and a Foreman goes on with it there."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from foreman.store.postgres import migrate
from tests.support.api import chat, job, state, submit
from tests.support.foreman import ROOT, Daemon, Upstream, an_upstream, until
from tests.support.postgres import ORIGINS, Servers
from tests.support.receiver import Receiver

LONG_PROMPT = "The same beginning of many prompts. " * 200


class Queue:
    """A data folder with a bit of everything, whose Foreman was killed while a job ran."""

    def __init__(self, folder: Path, upstream: Upstream) -> None:
        self.folder = folder
        with Receiver() as receiver, Daemon(folder, ollama_url=upstream.url, webhook_allow="127.0.0.1") as daemon:
            self.done = submit(daemon, LONG_PROMPT, state_webhook_url=receiver.url, metadata={"a": "ü"})
            self.failed = submit(daemon, "#status=400")
            until(lambda: (state(daemon, self.done), state(daemon, self.failed)) == ("done", "failed"))
            until(lambda: len(receiver.got) == 4)
            self.running = submit(daemon, "#chunks=9999 #every=0.01")
            until(lambda: state(daemon, self.running) == "working")
            daemon.http.post("/queue/pause")
            self.keyed = daemon.http.post("/jobs", json=chat("keyed"), headers={"Idempotency-Key": "k"}).json()[
                "job_id"
            ]
            self.later = submit(daemon, LONG_PROMPT, not_before="2100-01-01T00:00:00Z")
            self.cancelled = submit(daemon, "cancelled")
            daemon.http.post(f"/jobs/{self.cancelled}/cancel")
            self.last = daemon.http.get(f"/jobs/{self.cancelled}/events").json()["events"][-1]["seq"]
            gone = submit(daemon, "deleted")
            daemon.http.post(f"/jobs/{gone}/cancel")
            daemon.http.delete(f"/jobs/{gone}")
            self.batch = a_batch(daemon)
            daemon.http.post("/targets/ollama/drain")
            daemon.kill()


def a_batch(daemon: Daemon) -> str:
    """A batch that is in progress."""
    url = "/v1/chat/completions"
    line = json.dumps({"custom_id": "one", "method": "POST", "url": url, "body": chat("batched")}).encode()
    file = daemon.http.post("/v1/files", data={"purpose": "batch"}, files={"file": ("a.jsonl", line)}).json()["id"]
    new = {"input_file_id": file, "endpoint": url, "completion_window": "24h", "metadata": {"a": "ü"}}
    batch = str(daemon.http.post("/v1/batches", json=new).json()["id"])
    until(lambda: daemon.http.get(f"/batches/{batch}").json()["queued"] == 1)
    return batch


@pytest.fixture(scope="module")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Queue:
    with an_upstream() as upstream:
        return Queue(tmp_path_factory.mktemp("made") / "data", upstream)


@pytest.fixture
def queue(_made: Queue, tmp_path: Path) -> Queue:
    """A copy of its own for each test."""
    shutil.copytree(_made.folder, tmp_path / "data")
    copy = object.__new__(Queue)
    copy.__dict__.update(_made.__dict__, folder=tmp_path / "data")
    return copy


@pytest.fixture(params=ORIGINS)
def url(request: pytest.FixtureRequest, servers: Servers) -> Iterator[str]:
    server = servers.get(request.param)
    with server.schema() as name:
        yield server.url(name)


def command(folder: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "foreman", "migrate", "--from", str(folder), "--node", "n1", *words]


def run(folder: Path, url: str, *words: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("FOREMAN_")}
    given = command(folder, *words)
    return subprocess.run(
        given, env=env | {"FOREMAN_DATABASE_URL": url}, cwd=ROOT, capture_output=True, text=True, check=False
    )


def digests(folder: Path) -> dict[str, str]:
    """What the database's files hold; the index of its log, which reading changes, is made anew at the next start."""
    files = [one for one in folder.rglob("*") if one.is_file() and not one.name.endswith("-shm")]
    return {one.name: hashlib.sha256(one.read_bytes()).hexdigest() for one in files}


def rows(url: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as db:
        return db.execute(query.encode()).fetchall()


def test_all_of_a_queue_moves_and_goes_on(queue: Queue, url: str, upstream: Upstream, tmp_path: Path) -> None:
    before = digests(queue.folder)
    moved = run(queue.folder, url, "--json")
    assert moved.returncode == 0, moved.stderr
    said = json.loads(moved.stdout)
    with closing(sqlite3.connect(f"file:{queue.folder / 'foreman.db'}?mode=ro", uri=True)) as db:
        for table in ("jobs", "payloads", "artifacts", "events", "deliveries", "batches", "lines", "usage", "depths"):
            [(count,)] = db.execute(f"SELECT count(*) FROM {table}").fetchall()
            assert (said["rows"][table], rows(url, f"SELECT count(*) FROM {table}")) == (count, [(count,)])
    assert all(said["rows"][table] for table in ("artifacts", "deliveries", "usage", "notes"))
    assert (said["running"], said["node"]) == (1, "n1")
    assert digests(queue.folder) == before
    given = {"ollama_url": upstream.url, "database_url": url, "node_name": "n1", "retry_backoff": 0.1}
    with Daemon(tmp_path / "other", **given) as daemon:
        shown = {
            name: state(daemon, getattr(queue, name)) for name in ("done", "failed", "cancelled", "keyed", "later")
        }
        assert shown == {
            "done": "done", "failed": "failed", "cancelled": "cancelled", "keyed": "queued", "later": "queued",
        }  # fmt: skip
        assert job(daemon, queue.done)["metadata"] == {"a": "ü"}
        again = daemon.http.post("/jobs", json=chat("keyed"), headers={"Idempotency-Key": "k"})
        assert again.json()["job_id"] == queue.keyed
        assert daemon.http.get("/queue").json()["paused"] is True
        assert [one["draining"] for one in daemon.http.get("/targets").json()["targets"]] == [True]
        daemon.http.post("/targets/ollama@n1/resume")
        daemon.http.post("/queue/resume")
        until(lambda: job(daemon, queue.running)["attempt"] == 2)  # taken back as after a crash
        daemon.http.post(f"/jobs/{queue.running}/cancel")
        until(lambda: state(daemon, queue.keyed) == "done")
        until(lambda: daemon.http.get(f"/batches/{queue.batch}").json()["state"] == "completed")
        batch = daemon.http.get(f"/batches/{queue.batch}").json()
        assert (batch["done"], batch["metadata"]) == (1, {"a": "ü"})
        assert daemon.http.get(batch["links"]["output"]).json()["custom_id"] == "one"
        fresh = submit(daemon)
        until(lambda: state(daemon, fresh) == "done")
        first = daemon.http.get(f"/jobs/{fresh}/events").json()["events"][0]["seq"]
        assert first > queue.last + 2  # no seq of a deleted job is given again
        daemon.terminate()
        assert daemon.wait() == 0
    check = [sys.executable, "-m", "foreman", "check"]
    checked = subprocess.run(
        check, env=os.environ | {"FOREMAN_DATABASE_URL": url}, cwd=ROOT, capture_output=True, check=False
    )
    assert checked.returncode == 0, checked.stdout
    refused = run(queue.folder, url)
    assert refused.returncode == 1 and "has had jobs already: create another one" in refused.stderr


def test_killed_in_the_middle_it_has_copied_nothing(queue: Queue, url: str) -> None:
    before = digests(queue.folder)
    with psycopg.connect(url, cursor_factory=psycopg.RawCursor, autocommit=True) as db:
        migrate.bring_up_to_date(db, "it")
        with db.transaction():
            db.execute("LOCK TABLE events IN SHARE MODE")  # it can be read, and nothing can be copied into it
            env = os.environ | {"FOREMAN_DATABASE_URL": url}
            moving = subprocess.Popen(
                command(queue.folder), env=env, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
            waits = "SELECT pid FROM pg_locks WHERE NOT granted AND relation = 'events'::regclass"
            until(lambda: bool(db.execute(waits.encode()).fetchall()))
            moving.send_signal(signal.SIGKILL)
            moving.communicate()
        db.execute("SELECT 1 FROM fleet_state FOR UPDATE")  # waits until the server has noticed
        for table in ("jobs", "payloads", "artifacts", "events", "notes WHERE name = 'paused'"):
            assert db.execute(f"SELECT count(*) FROM {table}".encode()).fetchall() == [(0,)]
    assert digests(queue.folder) == before
    assert run(queue.folder, url).returncode == 0


def refusal(folder: Path, url: str) -> str:
    """What it says, in one line, when it copies nothing."""
    refused = run(folder, url)
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (1, "", 1), refused.stderr
    return refused.stderr


def test_what_cannot_be_moved_is_refused_with_what_to_do(
    queue: Queue, url: str, upstream: Upstream, tmp_path: Path
) -> None:
    database = queue.folder / "foreman.db"
    assert "there is no database" in refusal(tmp_path / "none", url)
    away = refusal(queue.folder, "postgresql://me:hidden@127.0.0.1:1/d")
    assert "the database d at 127.0.0.1:1 says" in away and "hidden" not in away
    with Daemon(queue.folder, ollama_url=upstream.url):
        assert "another foreman is using" in refusal(queue.folder, url)
    with Daemon(tmp_path / "other", ollama_url=upstream.url, database_url=url, node_name="n2") as daemon:
        assert "the foreman n2 runs on the database" in refusal(queue.folder, url)
        daemon.terminate()
        assert daemon.wait() == 0
    with closing(sqlite3.connect(database, isolation_level=None)) as db:
        db.execute("UPDATE jobs SET error = 'a' || char(0) WHERE id = ?", (queue.failed,))
    said = refusal(queue.folder, url)
    assert f"error of job {queue.failed} (jobs) has the character U+0000" in said and "foreman rm" in said
    with closing(sqlite3.connect(database, isolation_level=None)) as db:
        db.execute("UPDATE jobs SET error = CAST(x'ff' AS TEXT) WHERE id = ?", (queue.failed,))
    assert "is not UTF-8" in refusal(queue.folder, url)
    with closing(sqlite3.connect(database, isolation_level=None)) as db:
        db.execute("PRAGMA user_version = 12")
    assert "is of an older foreman (schema 12 of" in refusal(queue.folder, url)
    database.write_bytes(b"no database at all" * 1000)
    assert "cannot be read" in refusal(queue.folder, url)
    assert rows(url, "SELECT count(*) FROM jobs") == [(0,)]
