"""The feed as server-sent events."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support.api import error, submit
from tests.support.foreman import Daemon, Upstream, until

pytestmark = pytest.mark.every_store

SSE = {"Accept": "text/event-stream"}


@contextmanager
def following(daemon: Daemon, query: str = "", **headers: str) -> Iterator[Iterator[tuple[int, Any]]]:
    """The events as (id, data); the first is hello, with id 0."""
    with daemon.client() as client, client.stream("GET", f"/events{query}", headers=SSE | headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        yield _events(answer)


def _events(answer: httpx2.Response) -> Iterator[tuple[int, Any]]:
    number = 0
    for line in answer.iter_lines():
        if line.startswith("id: "):
            number = int(line[4:])
        elif line.startswith("data: "):
            yield number, json.loads(line[6:])


def test_hello_then_each_change_with_its_seq_as_id(daemon: Daemon) -> None:
    with following(daemon) as events:
        number, hello = next(events)
        job = submit(daemon)
        told = [next(events) for _ in range(4)]
    assert (number, hello["type"]) == (0, "hello")
    assert [number for number, _ in told] == [hello["seq"] + n for n in (1, 2, 3, 4)]
    assert [event["state"] for _, event in told] == ["queued", "loading", "working", "done"]
    assert all(event["seq"] == number and event["job_id"] == job for number, event in told)


def test_a_browser_that_comes_back_goes_on_after_its_last_event(daemon: Daemon) -> None:
    job = submit(daemon)
    until(lambda: daemon.http.get(f"/jobs/{job}").json()["state"] == "done")
    seqs = [event["seq"] for event in daemon.http.get(f"/jobs/{job}/events").json()["events"]]
    with following(daemon, **{"Last-Event-ID": str(seqs[1])}) as events:
        next(events)
        assert [next(events)[0], next(events)[0]] == seqs[2:]
    with following(daemon, f"?after={seqs[2]}", **{"Last-Event-ID": str(seqs[0])}) as events:
        next(events)
        assert next(events)[0] == seqs[3]


def test_garbage_is_told_so(daemon: Daemon) -> None:
    for query in ("after=x", "after=999999999", "state=sleeping", "color=red"):
        assert error(daemon.http.get(f"/events?{query}", headers=SSE)) == (400, "query_invalid")
    assert error(daemon.http.get("/events"))[0] == 406


def test_the_stream_ends_when_foreman_stops(upstream: Upstream, tmp_path: Path) -> None:
    with Daemon(tmp_path / "data", ollama_url=upstream.url) as daemon, following(daemon) as events:
        assert next(events)[1]["type"] == "hello"
        daemon.terminate()
        assert list(events) == []
        assert daemon.wait() == 0
