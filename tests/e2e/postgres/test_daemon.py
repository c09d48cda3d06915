"""A real Foreman on a real PostgreSQL: jobs, restarts, and a database that goes away under load."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.support.api import chat, job, state, submit
from tests.support.cutting_proxy import CuttingProxy, unix_socket
from tests.support.foreman import Daemon, Upstream, until
from tests.support.postgres import ORIGINS, Server, Servers
from tests.support.receiver import Receiver
from tests.support.stored import rows

CLIENTS = 4


@pytest.fixture(params=ORIGINS)
def server(request: pytest.FixtureRequest, servers: Servers) -> Server:
    return servers.get(request.param)


@contextmanager
def on(server: Server, folder: Path, upstream: Upstream, **settings: object) -> Iterator[Daemon]:
    with server.schema() as schema:
        given = {"ollama_url": upstream.url, "node_name": "n", "webhook_allow": "127.0.0.1"} | settings
        with Daemon(folder, database_url=server.url(schema), **given) as daemon:
            yield daemon


def events(daemon: Daemon, job_id: str) -> list[str]:
    return [event["state"] for event in daemon.http.get(f"/jobs/{job_id}/events").json()["events"]]


def test_a_job_is_run_streamed_and_told_by_a_webhook(server: Server, upstream: Upstream, tmp_path: Path) -> None:
    with Receiver() as receiver, on(server, tmp_path / "data", upstream) as daemon:
        job_id = submit(daemon, "#chunks=3", state_webhook_url=receiver.url)
        with daemon.http.stream("GET", f"/jobs/{job_id}/stream") as answer:
            streamed = [json.loads(line) for line in answer.iter_lines()]
        until(lambda: state(daemon, job_id) == "done")
        assert [line["done"] for line in streamed].count(True) == 1
        assert events(daemon, job_id) == ["queued", "loading", "working", "done"]
        until(lambda: [got.state for got in receiver.got][-1:] == ["done"])
        assert sorted(got.seq for got in receiver.got) == [1, 2, 3, 4]
        assert daemon.http.post("/api/chat", json=chat(stream=False)).json()["done"] is True
        assert daemon.http.get("/metrics").text.count("foreman_wal_bytes") == 0
        assert [one["state"] for one in daemon.http.get("/jobs").json()["jobs"]] == ["done", "done"]
        assert not daemon.errors
        assert not (tmp_path / "data" / "foreman.db").exists()


def test_jobs_outlive_the_process_however_it_ends(server: Server, upstream: Upstream, tmp_path: Path) -> None:
    with on(server, tmp_path / "data", upstream, shutdown_grace=0, retry_backoff=0.1) as daemon:
        daemon.http.post("/queue/pause")
        waiting = submit(daemon)
        daemon.terminate()
        assert daemon.wait() == 0
        daemon.start()
        assert state(daemon, waiting) == "queued"
        daemon.http.post("/queue/resume")
        until(lambda: state(daemon, waiting) == "done")
        running = submit(daemon, "#chunks=9999 #every=0.01 #first")
        until(lambda: state(daemon, running) == "working")
        daemon.kill()
        daemon.start()
        until(lambda: job(daemon, running)["attempt"] == 2)  # taken back at once: it is the same node
        assert events(daemon, running)[:4] == ["queued", "loading", "working", "queued"]
        assert daemon.http.post(f"/jobs/{running}/cancel").json()["state"] == "cancelled"
        assert not daemon.errors


@pytest.mark.long
def test_a_caller_whose_commit_is_in_doubt_is_told_so_and_its_job_is_stored_once(
    servers: Servers, upstream: Upstream, tmp_path: Path
) -> None:
    server = servers.get("wheel")
    with closing(CuttingProxy(unix_socket(server.socket))) as proxy, server.schema() as schema:
        url = server.url(schema, proxy.host)
        settings = {"database_url": url, "node_name": "n", "ollama_url": upstream.url}
        with Daemon(tmp_path / "data", **settings) as daemon:
            job, key = chat("#echo"), {"Idempotency-Key": "k"}
            proxy.drops, proxy.away = "flight", True
            answer = daemon.http.post("/jobs", json=job, headers=key)
            assert (answer.status_code, answer.json()["code"]) == (503, "store_away")
            assert int(answer.headers["Retry-After"]) > 0
            proxy.away = False
            until(lambda: daemon.http.get("/readyz").status_code == 200)
            until(lambda: daemon.http.post("/jobs", json=job, headers=key).status_code == 202)
            until(lambda: [one["state"] for one in daemon.http.get("/jobs").json()["jobs"]] == ["done"])
            assert not daemon.errors


class Client(threading.Thread):
    """Submits jobs one after the other, each again under its key until it is accepted."""

    def __init__(self, url: str, name: str) -> None:
        super().__init__(name=name)
        self._url = url
        self.accepted: list[str] = []
        self.odd: list[str] = []
        self.enough = threading.Event()

    def run(self) -> None:
        with httpx2.Client(base_url=self._url, trust_env=False, verify=False, timeout=60) as http:
            while not self.enough.is_set():
                self._submit(http, f"{self.name}-{len(self.accepted)}")

    def _submit(self, http: httpx2.Client, key: str) -> None:
        while True:
            answer = http.post("/jobs", json=chat(key), headers={"Idempotency-Key": key})
            if answer.status_code in (200, 202):
                self.accepted.append(answer.json()["job_id"])
                return
            said = answer.status_code, answer.json()["code"], "Retry-After" in answer.headers
            if said != (503, "store_away", True):
                self.odd.append(answer.text)
                return
            time.sleep(0.05)


@contextmanager
def killed(server: Server) -> Iterator[None]:
    server.stop()
    try:
        yield
    finally:
        server.start()


@contextmanager
def read_only(server: Server) -> Iterator[None]:
    server.stop()
    server.start("default_transaction_read_only=on")
    try:
        yield
    finally:
        server.stop()
        server.start()


@pytest.mark.long
@pytest.mark.parametrize("how", [killed, read_only])
def test_a_database_that_is_away_under_load_costs_no_job_and_no_attempt(
    one_server: Server,
    upstream: Upstream,
    tmp_path: Path,
    how: Callable[[Server], AbstractContextManager[None]],
    away: float,
) -> None:
    with on(one_server, tmp_path / "data", upstream, slots=4) as daemon:
        long = submit(daemon, f"#chunks={5 * (away + 1):.0f} #every=0.2")  # runs meanwhile
        until(lambda: state(daemon, long) == "working")
        pid = daemon.pid
        clients = [Client(daemon.url, f"c{n}") for n in range(CLIENTS)]
        for client in clients:
            client.start()
        until(lambda: all(len(client.accepted) > 5 for client in clients))
        with how(one_server):
            until(lambda: daemon.http.get("/readyz").status_code == 503)
            time.sleep(away)
        before = [len(client.accepted) for client in clients]
        until(lambda: all(len(client.accepted) > n + 5 for n, client in zip(before, clients, strict=True)))
        for client in clients:
            client.enough.set()
            client.join()
        assert [client.odd for client in clients] == [[]] * CLIENTS
        ids = [long, *(job_id for client in clients for job_id in client.accepted)]
        until(lambda: daemon.http.get("/queue").json()["queued"] == 0)
        for job_id in ids:
            until(lambda job_id=job_id: state(daemon, job_id) == "done")  # type: ignore[misc]
        assert {job(daemon, job_id)["attempt"] for job_id in ids} == {1}
        assert {events(daemon, job_id).count("loading") for job_id in ids} == {1}
        [(stored,)] = rows(daemon, "SELECT count(*) FROM jobs")
        assert len(set(ids)) == len(ids) == stored
        assert (daemon.pid, daemon.child.running) == (pid, True)
        assert not daemon.errors
