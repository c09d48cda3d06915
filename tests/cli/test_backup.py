"""The verbs that look after the database."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import Invoke
from tests.support.foreman import Daemon, Upstream, an_upstream, until


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with an_upstream() as upstream:
        yield upstream


@pytest.fixture
def daemon(upstream: Upstream, tmp_path: Path) -> Iterator[Daemon]:
    with Daemon(tmp_path / "data", ollama_url=upstream.url) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def _left_behind(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a Foreman which is gone: with a job that is done, and one that waits."""
    folder = tmp_path_factory.mktemp("left") / "data"
    with an_upstream() as upstream, Daemon(folder, ollama_url=upstream.url) as daemon:
        _submit(daemon, "hello")
        daemon.http.post("/queue/pause")
        _submit(daemon, "later", wait=False)
        daemon.terminate()
        assert daemon.wait() == 0
    assert sorted(file.name for file in folder.iterdir()) == ["foreman.db", "foreman.lock"]
    return folder


@pytest.fixture
def database(_left_behind: Path, tmp_path: Path) -> Path:
    """A copy of its database for one test."""
    return shutil.copytree(_left_behind, tmp_path / "data") / "foreman.db"


def _submit(daemon: Daemon, text: str, *, wait: bool = True) -> str:
    accepted = daemon.http.post("/jobs", json={"model": "a", "messages": [{"role": "user", "content": text}]}).json()
    job_id = str(accepted["job_id"])
    if wait:
        until(lambda: daemon.http.get(f"/jobs/{job_id}").json()["state"] == "done")
    return job_id


def test_a_copy_made_while_foreman_runs_can_be_served(daemon: Daemon, upstream: Upstream, invoke: Invoke) -> None:
    before = _submit(daemon, "before")
    file = daemon.data_dir.parent / "copy" / "foreman.db"
    file.parent.mkdir()
    made = invoke("backup", str(file), "--data-dir", str(daemon.data_dir), "--json")
    assert (made.exit_code, json.loads(made.output)["bytes"]) == (0, file.stat().st_size)
    after = _submit(daemon, "after")
    assert list(file.parent.iterdir()) == [file]
    with Daemon(file.parent, ollama_url=upstream.url) as restored:
        assert restored.http.get(f"/jobs/{before}").json()["result"]["done"] is True
        assert restored.http.get(f"/jobs/{after}").status_code == 404


def test_a_copy_replaces_nothing(database: Path, invoke: Invoke) -> None:
    file = database.with_name("copy.db")
    file.write_text("precious")
    refused = invoke("backup", str(file), "--data-dir", str(database.parent))
    assert refused.exit_code == 1 and f"foreman: {file} exists already: choose another name" in refused.output
    assert file.read_text() == "precious"


@pytest.mark.parametrize("verb", [["backup", "x.db"], ["check"]])
def test_where_there_is_no_database_it_says_so(verb: list[str], tmp_path: Path, invoke: Invoke) -> None:
    refused = invoke(*verb, "--data-dir", str(tmp_path / "nowhere"))
    assert refused.exit_code == 1 and "there is no database" in refused.output and "--data-dir" in refused.output


def test_a_sound_database_has_no_problems(database: Path, invoke: Invoke) -> None:
    found = invoke("check", "--data-dir", str(database.parent))
    assert found.exit_code == 0 and "1 done, 1 queued" in found.output and "no problems" in found.output


TAMPERED = {
    "has no payload": "DELETE FROM payloads WHERE job_id = (SELECT min(id) FROM jobs)",
    "is done and has no answer": "DELETE FROM artifacts",
    "is not in the state that its last event says": "UPDATE jobs SET state = 'failed' WHERE state = 'done'",
    "the count of waiting jobs of a is wrong": "UPDATE lines SET ready = 7",
    "belongs to nothing in jobs": "DELETE FROM jobs WHERE state = 'done'",
    "is newer than this foreman": "PRAGMA user_version = 99",
    "its state is 'weird'": "UPDATE jobs SET state = 'weird' WHERE state = 'done'",
    "its priority is 7": "UPDATE jobs SET priority = 7",
    "its metadata is '{\"a\":'": "UPDATE jobs SET metadata = '{\"a\":'",
    "its drain_key is 'm {odd'": "UPDATE jobs SET drain_key = 'm {odd'",
    "its model is b'\\xff'": "UPDATE jobs SET model = CAST(x'ff' AS TEXT)",
    "its created_at is inf": "UPDATE jobs SET created_at = 9e999",
    "; remove it with foreman rm 0": "UPDATE jobs SET endpoint = '/api/odd'",
    "of its event 2 its state is 'odd'": "UPDATE events SET state = 'odd' WHERE seq = 2",
    "of its event 5 its at is 1e+300": "UPDATE events SET at = 1e300",
    "20 more rows of events cannot be read": (
        "INSERT INTO events (job_id, state, at, attempt) SELECT e.job_id, 'odd', 1, 0 FROM events e, events f"
    ),
    "with priority 9 is odd": "UPDATE lines SET priority = 9",
    "belongs to nothing in events": (
        "INSERT INTO deliveries (seq, job_id, receiver, url, state, due_at) "
        "SELECT 99, min(id), 'r', 'u', 'dead', 1 FROM jobs"
    ),
    "row 9 of artifacts (job nobody) belongs to nothing in jobs": (
        "INSERT INTO artifacts (rowid, job_id, position, name, content_type, size, data) "
        "VALUES (9, 'nobody', 0, 'n', 't', 0, x'')"
    ),
}


@pytest.mark.parametrize("words", TAMPERED)
def test_what_does_not_hold_is_told(words: str, database: Path, invoke: Invoke) -> None:
    with closing(sqlite3.connect(database, isolation_level=None)) as db:
        db.execute(TAMPERED[words])
    found = invoke("check", "--data-dir", str(database.parent), "--json")
    assert found.exit_code == 1
    assert any(words in problem for problem in json.loads(found.output)["problems"])


@pytest.mark.parametrize("left", [0.6, 0.01])
def test_a_truncated_database_is_found_out(left: float, database: Path, invoke: Invoke) -> None:
    whole = database.read_bytes()
    database.write_bytes(whole[: int(len(whole) * left)])
    found = invoke("check", "--data-dir", str(database.parent))
    assert found.exit_code == 1 and "Traceback" not in found.output
    assert "problem:" in found.output or "cannot be read" in found.output


def test_each_token_is_new(invoke: Invoke) -> None:
    made = {invoke("token").output.strip() for _ in range(5)}
    assert len(made) == 5 and all(len(token) >= 40 for token in made)
