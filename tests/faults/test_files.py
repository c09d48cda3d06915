"""The database, taken away from or spoilt under a Foreman that runs."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing

import pytest

from tests.faults.broken import Broken
from tests.faults.conftest import Break
from tests.store.test_files import overwrite
from tests.support.api import chat, error, submit


def ends(daemon: Broken) -> None:
    """It exits as one that is to be started again, and says why in one line."""
    assert daemon.wait() == 1
    assert [line["event"] for line in daemon.errors] == ["the database is lost: foreman stops"]
    assert not any("Traceback" in line for line in daemon.child.lines)


@pytest.mark.parametrize("way", [shutil.rmtree, overwrite], ids=["removed", "overwritten"])
def test_the_next_job_is_refused_and_the_process_ends(serve: Break, way: object) -> None:
    daemon = serve("counted")
    daemon.http.post("/queue/pause")
    submit(daemon, "before")
    way(daemon.data_dir)  # type: ignore[operator]
    assert error(daemon.http.post("/jobs", json=chat())) == (503, "store_lost")
    assert error(daemon.http.post("/jobs", json=chat())) == (503, "store_lost")  # while it leaves
    ends(daemon)


def test_damage_that_a_read_finds_ends_the_process(serve: Break) -> None:
    daemon = serve("counted")
    daemon.http.post("/queue/pause")
    kept = submit(daemon, "before")
    daemon.terminate()
    assert daemon.wait() == 0
    database = daemon.data_dir / "foreman.db"
    with closing(sqlite3.connect(database)) as db:
        [[page]] = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'payloads'").fetchall()
        [[size]] = db.execute("PRAGMA page_size").fetchall()
    with database.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    daemon.start()
    assert error(daemon.http.get(f"/jobs/{kept}/request")) == (503, "store_lost")
    ends(daemon)
