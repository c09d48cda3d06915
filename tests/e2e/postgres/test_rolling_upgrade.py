"""Nodes of two neighbouring versions on one queue: the next one is this program with another step of the schema."""

from __future__ import annotations

import shutil
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

import foreman
from foreman.store.postgres import migrate
from tests.e2e.postgres.test_nodes import models_of, nodes_of
from tests.support.api import chat, job, state, submit
from tests.support.foreman import Daemon, an_upstream, until
from tests.support.ports import held_port
from tests.support.postgres import Servers

SCHEMA = "store/postgres/schema"
TABLES = ("fleet_state", "nodes", "jobs", "payloads", "artifacts", "events", "deliveries", "notes")
LEASE = 10  # seconds, the shortest


@pytest.fixture
def later(tmp_path: Path) -> Path:
    """A folder with the next version: a column more in each table, a field more in what nodes tell of targets."""
    package = tmp_path / "later" / "foreman"
    shutil.copytree(Path(foreman.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    known = max(migrate.steps())
    added = "\n".join(f"ALTER TABLE {table} ADD COLUMN later integer NOT NULL DEFAULT 0;" for table in TABLES)
    (package / SCHEMA / f"{known + 1:04}.sql").write_text(f"-- needs {known}\n{added}\n")
    nodes = package / "domain/nodes.py"
    told = nodes.read_text()
    assert told.count("    slots: int\n") == 1
    nodes.write_text(told.replace("    slots: int\n", '    slots: int\n    later: str = "x"\n'))
    return package.parent


class Later(Daemon):
    command = (sys.executable, "-P", "-m", "foreman", "serve")  # -P: not the package of the working directory


def both_answer(a: Daemon, b: Daemon) -> None:
    """Run a job at each node for each model, and follow it at the other node."""
    assert nodes_of(a) == nodes_of(b) == {"a": "up", "b": "up"}
    until(lambda: all(models_of(one) == {"ma", "mb"} for one in (a, b)))
    for model in ("ma", "mb"):
        for asked, other in ((a, b), (b, a)):
            answer = asked.http.post("/api/chat", json=chat(model=model, stream=False))
            assert answer.status_code == 200, answer.text
            found = job(other, answer.headers["X-Foreman-Job-Id"])
            assert (found["state"], found["target"]) == ("done", f"ollama@{model[1]}")


def test_nodes_are_upgraded_one_after_the_other(
    servers: Servers, tmp_path: Path, later: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = servers.get("wheel")
    with ExitStack() as started:
        schema = started.enter_context(server.schema())
        upstreams = {name: started.enter_context(an_upstream("--models", f"m{name}")) for name in "ab"}
        ports = {name: held_port() for name in "ab"}

        def start(kind: type[Daemon], name: str) -> Daemon:
            daemon = kind(
                tmp_path / name,
                addr=f"127.0.0.1:{ports[name]}",
                advertise_url=f"http://127.0.0.1:{ports[name]}",
                database_url=server.url(schema),
                node_name=name,
                ollama_url=upstreams[name].url,
                lease=LEASE,
                forked=False,
            )
            return started.enter_context(daemon)

        a, b = start(Daemon, "a"), start(Daemon, "b")
        both_answer(a, b)
        waiting = submit(a, "#chunks=50 #every=0.05", model="ma")  # goes on meanwhile

        b.terminate()
        assert b.wait() == 0
        with monkeypatch.context() as upgraded:
            upgraded.setenv("PYTHONPATH", str(later))
            b = start(Later, "b")
        both_answer(a, b)
        assert state(a, waiting) == "done"

        a.terminate()
        assert a.wait() == 0
        with monkeypatch.context() as upgraded:
            upgraded.setenv("PYTHONPATH", str(later))
            a = start(Later, "a")
        both_answer(a, b)

        b.terminate()  # and back, as long as the tables allow it
        assert b.wait() == 0
        b = start(Daemon, "b")
        both_answer(a, b)
        assert not a.errors
        assert not b.errors
