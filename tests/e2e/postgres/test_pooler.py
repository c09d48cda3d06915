"""A real Foreman on PostgreSQL behind PgBouncer in transaction mode, which gives each transaction any connection."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import psycopg
import pytest

from tests.support.api import chat, job, state, submit
from tests.support.cutting_proxy import CuttingProxy
from tests.support.foreman import Daemon, Upstream, until
from tests.support.ports import held_port
from tests.support.postgres import Server

CONFIG = """
[databases]
{database} = host={socket} dbname={database} user=foreman
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
logfile = {folder}/log
"""


@contextmanager
def pooler(server: Server, database: str) -> Iterator[int]:
    """Start PgBouncer in front of a database of its own; yield its port."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        pytest.skip("there is no PgBouncer on this system (Debian: package pgbouncer)")
    port, config = held_port(), server.folder / f"{database}.ini"  # where the user of the server may read
    config.write_text(CONFIG.format(database=database, socket=server.folder, port=port, folder=server.folder))
    with psycopg.connect(server.url(), autocommit=True) as db:
        db.execute(f"CREATE DATABASE {database}".encode())
    other = {"user": pwd.getpwnam("nobody").pw_uid} if os.geteuid() == 0 else {}  # it refuses to run as root
    process = subprocess.Popen([program, "-q", config], cwd="/", **other)  # type: ignore[call-overload]
    try:
        yield port
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
        with psycopg.connect(server.url(), autocommit=True) as db:
            db.execute(f"DROP DATABASE {database} WITH (FORCE)".encode())


@pytest.mark.long
def test_jobs_are_run_cancelled_taken_back_and_stored_once(
    one_server: Server, upstream: Upstream, tmp_path: Path
) -> None:
    with pooler(one_server, "pooled") as port:
        to_pooler = partial(socket.create_connection, ("127.0.0.1", port))
        until(lambda: reached(port))
        with closing(CuttingProxy(to_pooler)) as proxy:
            daemon = Daemon(
                tmp_path / "data",
                database_url=f"postgresql://foreman@{proxy.host}/pooled?prepare=off",
                node_name="n",
                ollama_url=upstream.url,
                slots=4,
                shutdown_grace=0,
                retry_backoff=0.1,
            )
            with daemon:
                ids = [submit(daemon, f"#chunks=3 #{number}") for number in range(40)]
                running = submit(daemon, "#chunks=9999 #every=0.01 #first")
                until(lambda: state(daemon, running) == "working")
                daemon.kill()
                daemon.start()
                until(lambda: job(daemon, running)["attempt"] == 2)
                assert daemon.http.post(f"/jobs/{running}/cancel").json()["state"] == "cancelled"
                key = {"Idempotency-Key": "k"}
                proxy.drops = "answer"
                told = daemon.http.post("/jobs", json=chat("once"), headers=key)
                until(lambda: proxy.dropped == 1)
                again = daemon.http.post("/jobs", json=chat("once"), headers=key)
                assert (told.status_code, again.status_code) == (202, 202)
                assert told.json()["job_id"] == again.json()["job_id"]
                for job_id in (*ids, told.json()["job_id"]):
                    until(lambda job_id=job_id: state(daemon, job_id) == "done")  # type: ignore[misc]
                listed = daemon.http.get("/jobs", params={"limit": 500}).json()["jobs"]
                assert len(listed) == len(ids) + 2
                assert not daemon.errors


def reached(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
