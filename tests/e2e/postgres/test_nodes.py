"""Two real Foremen on a real PostgreSQL: one queue, whichever is asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.api import chat, state, submit
from tests.support.foreman import Daemon, Upstream, an_upstream, until
from tests.support.ports import held_port
from tests.support.postgres import ORIGINS, Server, Servers

LEASE = 10  # seconds, the shortest


@pytest.fixture(params=ORIGINS)
def server(request: pytest.FixtureRequest, servers: Servers) -> Server:
    return servers.get(request.param)


@contextmanager
def pair(server: Server, folder: Path) -> Iterator[tuple[Daemon, Daemon]]:
    """Foremen a and b; a has the models a, b and c, b has d and e."""
    with ExitStack() as started:
        schema = started.enter_context(server.schema())
        found = []
        for name, models in (("a", "a,b,c"), ("b", "d,e")):
            upstream: Upstream = started.enter_context(an_upstream("--kind", "both", "--models", models))
            port = held_port()
            daemon = Daemon(
                folder / name,
                addr=f"127.0.0.1:{port}",
                advertise_url=f"http://127.0.0.1:{port}",
                database_url=server.url(schema),
                node_name=name,
                ollama_url=upstream.url,
                lease=LEASE,
                retry_backoff=0.1,
            )
            found.append(started.enter_context(daemon))
        a, b = found
        until(lambda: all(len(models_of(one)) == 5 for one in (a, b)))
        yield a, b


def models_of(daemon: Daemon) -> set[str]:
    return {one["name"] for one in daemon.http.get("/api/tags").json()["models"]}


def nodes_of(daemon: Daemon) -> dict[str, str]:
    return {one["name"]: one["state"] for one in daemon.http.get("/nodes").json()["nodes"]}


def test_a_call_at_one_runs_at_the_other_and_streams(server: Server, tmp_path: Path) -> None:
    with pair(server, tmp_path) as (a, b):
        assert nodes_of(a) == nodes_of(b) == {"a": "up", "b": "up"}
        assert a.http.get("/metrics").text.count('foreman_node_up{node="b"} 1.0') == 1
        with a.http.stream("POST", "/api/chat", json=chat("#chunks=5 #every=0.1", model="d")) as answer:
            lines = [json.loads(line) for line in answer.iter_lines()]
        assert answer.status_code == 200
        assert [line["done"] for line in lines].count(True) == 1
        assert len(lines) > 4  # word by word, not the stored answer at once
        whole = b.http.post("/api/chat", json=chat("hello", model="a", stream=False)).json()
        assert whole["done"] is True
        here, there = [one.http.post("/api/embed", json={"model": "d", "input": "x"}) for one in (a, b)]
        assert here.status_code == 200
        assert here.json()["embeddings"] == there.json()["embeddings"]
        failed = [one.http.post("/api/chat", json=chat("#status=418", model="d", stream=False)) for one in (a, b)]
        assert [one.status_code for one in failed] == [418, 418]
        assert failed[0].json() == failed[1].json()
        assert a.http.get("/nodes/between/outputs/x?fence=1").status_code == 401
        listed = b.http.get("/jobs").json()["jobs"]
        assert sorted(one["target"] for one in listed) == ["ollama@a", *["ollama@b"] * 3]
        seqs = [[event["seq"] for event in events(one)] for one in (a, b)]
        assert seqs[0] == seqs[1] == list(range(1, len(seqs[0]) + 1))
        assert not a.errors
        assert not b.errors


@pytest.mark.parametrize("model", ["a", "d"])  # run by the one that is asked first, and by the other
def test_a_background_response_is_begun_at_one_and_read_to_its_end_at_the_other(
    server: Server, tmp_path: Path, model: str
) -> None:
    with pair(server, tmp_path) as (a, b):
        asked = {"model": model, "input": "#chunks=30 #every=0.03", "background": True, "stream": True}
        seen: list[dict[str, Any]] = []
        with a.http.stream("POST", "/v1/responses", json=asked) as answer:
            for line in answer.iter_lines():
                seen += [json.loads(line[6:])] if line.startswith("data: ") else []
                if len(seen) == 8:
                    break
        path = f"/v1/responses/{seen[0]['response']['id']}"
        rest = b.http.get(path, params={"stream": "true", "starting_after": seen[-1]["sequence_number"]})
        seen += [json.loads(line[6:]) for line in rest.text.splitlines() if line.startswith("data: ")]
        assert [event["sequence_number"] for event in seen] == list(range(len(seen)))
        assert "".join(event.get("delta", "") for event in seen) == "".join(f"w{n} " for n in range(30))
        assert seen[-1]["type"] == "response.completed"
        shown = [one.http.get(path).json() for one in (a, b)]
        assert shown[0] == shown[1]
        more = {"model": "d", "input": "more", "previous_response_id": shown[0]["id"]}
        continued = b.http.post("/v1/responses", json=more).json()["id"]
        items = a.http.get(f"/v1/responses/{continued}/input_items").json()["data"]
        assert [item["role"] for item in items] == ["user", "assistant", "user"]
        assert b.http.delete(path).status_code == 200
        assert a.http.get(path).status_code == 404
        assert not a.errors + b.errors


def events(daemon: Daemon) -> list[dict[str, int]]:
    found = [
        event
        for one in daemon.http.get("/jobs").json()["jobs"]
        for event in daemon.http.get(f"/jobs/{one['job_id']}/events").json()["events"]
    ]
    return sorted(found, key=lambda event: event["seq"])


def test_slots_a_cancel_a_pause_and_a_key_are_one_for_both(server: Server, tmp_path: Path) -> None:
    with pair(server, tmp_path) as (a, b):
        assert [one.http.get("/queue").json()["slots"] for one in (a, b)] == [2, 2]
        running = submit(a, "#chunks=9999 #every=0.01 #first", model="d")
        until(lambda: state(a, running) == "working")
        assert a.http.post(f"/jobs/{running}/cancel").json()["state"] == "cancelled"
        until(lambda: b.http.get("/queue").json()["running"] == [])
        a.http.post("/queue/pause")
        until(lambda: b.http.get("/queue").json()["paused"])
        waiting = [
            one.http.post("/jobs", json=chat("k", model="a"), headers={"Idempotency-Key": "k"}).json()["job_id"]
            for one in (a, b)
        ]
        assert waiting[0] == waiting[1]
        b.http.post("/queue/resume")
        until(lambda: state(b, waiting[0]) == "done")
