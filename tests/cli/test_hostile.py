"""What answers where a Foreman is looked for may be anything: nothing of it reaches the terminal but text."""

from __future__ import annotations

import json
import select
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console

from foreman.cli import follow
from foreman.cli.watch.render import draw
from foreman.cli.watch.screen import Screen
from foreman.cli.watch.state import KEPT_RUNNING, Snapshot, WatchState
from foreman.client import Client, Event, Health, Job, Queue, reading, sync_client
from foreman.client.limits import Limits
from foreman.domain.job import State
from tests.cli.conftest import Invoke
from tests.client.conftest import StaticAnswer
from tests.client.conftest import told as told
from tests.client.scripted import CHUNKED, EVENTS, a_server, chunk, dripping, endless

EVIL = "\x1b]0;evil\x07\x9b31m\u202e\nforged"
ID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
JOB: dict[str, Any] = {
    "job_id": ID,
    "state": "done",
    "model": f"m{EVIL}",
    "created_at": "2026-01-02T03:04:05Z",
    "attempt": 1,
    "priority": f"p{EVIL}",
    "custom_id": f"c{EVIL}",
    "metadata": {"a": EVIL},
    "error": EVIL,
    "result": {"odd": "\x9b31m"},
}
DELIVERY = {
    "delivery_id": f"7{EVIL}",
    "seq": 7,
    "url": EVIL,
    "state": f"due{EVIL}",
    "attempts": 1,
    "due_at": "2026-01-01T00:00:00Z",
}


@pytest.fixture(autouse=True)
def _answers(told: StaticAnswer) -> None:
    told.answer("GET /jobs", {"jobs": [JOB], "next": f"J0{EVIL}"})
    told.answer("POST /jobs", {"job_id": f"J1{EVIL}"}, 202)
    told.answer(f"GET /jobs/{ID}", JOB)
    told.answer(f"GET /jobs/{ID}/events", {"events": []})
    told.answer(f"GET /jobs/{ID}/deliveries", {"deliveries": [DELIVERY]})
    told.answer(f"POST /jobs/{ID}/deliveries/7/redeliver", DELIVERY, 202)


@pytest.mark.parametrize(
    "words",
    [
        "jobs -n 1",
        f"show {ID}",
        f"deliveries {ID}",
        f"deliveries -q {ID}",
        f"redeliver {ID} 7",
        "submit -m m --no-wait hi",
    ],
)
def test_no_verb_prints_what_a_terminal_obeys(invoke: Invoke, words: str) -> None:
    result = invoke(*words.split())
    assert result.exit_code == 0
    assert not set("\x1b\x07\x9b\u202e") & set(result.output)
    assert not any(line.startswith("forged") for line in result.output.splitlines())


@pytest.mark.parametrize(
    "words",
    [
        "jobs -n 1",
        f"show {ID}",
        f"history {ID}",
        f"deliveries {ID}",
        f"redeliver {ID} 7",
        f"cancel {ID}",
        "pause",
        "ps",
        "submit -m m --no-wait hi",
    ],
)
def test_json_has_escapes_in_its_place(told: StaticAnswer, invoke: Invoke, words: str) -> None:
    obeyed = "\x7f\x80\x9b\u061c\u200f\u202e\u2069"
    job, delivery = JOB | {"custom_id": obeyed}, DELIVERY | {"url": obeyed}
    event = {"seq": 1, "job_id": ID, "state": "done", "error": obeyed, "timestamp": "2026-01-02T03:04:05Z"}
    queue = {"paused": False, "degraded": False, "queued": 1, "slots": 1, "running": [job]}
    for route, value in {
        "GET /jobs": {"jobs": [job], "next": None},
        "POST /jobs": {"job_id": obeyed},
        f"GET /jobs/{ID}": job,
        f"GET /jobs/{ID}/events": {"events": [event]},
        f"GET /jobs/{ID}/deliveries": {"deliveries": [delivery]},
        f"POST /jobs/{ID}/deliveries/7/redeliver": delivery,
        f"POST /jobs/{ID}/cancel": job,
        "POST /queue/pause": {"paused": True, "why": obeyed},
        "GET /queue": queue,
        "GET /queue/jobs": {"jobs": [job], "next": None},
    }.items():
        told.answer(route, json.dumps(value, ensure_ascii=False).encode())  # as they are, which JSON allows
        told.next(route)  # in the place of what it answered
    result = invoke(*words.split(), "--json")
    assert result.exit_code == 0, result.output
    assert not set(obeyed) & set(result.stdout)
    assert repr(obeyed)[1:-1] in repr(json.loads(result.stdout))


def test_nor_does_watch() -> None:
    now = datetime.now(UTC)
    state = WatchState("http://x")
    job = Job("J1", State.QUEUED, "m", now, priority=EVIL)
    state.take(Snapshot(Queue(1), [job], Health("ok")))
    console = Console(width=100, color_system=None)
    with console.capture() as seen:
        console.print(*draw(state, Screen(), 100, 20, now), sep="\n")
    assert not set("\x1b\x07\x9b\u202e") & set(seen.get())


def test_pages_without_jobs_are_the_end(told: StaticAnswer, invoke: Invoke) -> None:
    told.answer("GET /jobs", {"jobs": [], "next": "J0"})
    invoke("jobs", "-n", "5")
    assert invoke("jobs", "-n", "5").exit_code == 0
    assert len(told.asked) < 5


def test_what_is_no_foreman_is_one_line(told: StaticAnswer, invoke: Invoke) -> None:
    told.answer(f"GET /jobs/{ID}/deliveries", [])
    invoke("deliveries", ID)
    result = invoke("deliveries", ID)
    assert result.exit_code == 3
    assert "not a foreman" in result.stderr


def test_shells_are_offered_nothing_but_words(
    told: StaticAnswer, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = ["$(touch x)", "a;b", "`x`", "a b", "a\nb", "-x", "*"]
    jobs = [JOB | {"job_id": name} for name in [*bad, "J2"]]
    told.answer("GET /jobs", {"jobs": jobs})
    told.answer("GET /v1/models", {"data": [{"id": name} for name in [*bad, "hf.co/a-b:7_b"]]})
    invoke("jobs", "-n", "1")
    for words, offered in {"show ": "plain,J2", "submit -m ": "plain,hf.co/a-b:7_b"}.items():
        monkeypatch.setenv("_FOREMAN_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", f"foreman {words}")
        monkeypatch.setenv("COMP_CWORD", str(len(words.split()) + 1))
        assert invoke().stdout.split("\n")[:-1] == [offered]


@pytest.mark.parametrize("words", ["queue", "ps", "jobs", f"show {ID}", f"cancel {ID}", "models", "submit -m m hi"])
def test_an_answer_without_end_is_one_line(invoke: Invoke, monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    monkeypatch.setattr(sync_client, "Limits", lambda timeout, silence, size: Limits(timeout, silence, 2**16))
    with a_server(endless(CHUNKED, chunk(b" " * 2**14))) as url:
        monkeypatch.setenv("FOREMAN_URL", url)
        result = invoke(*words.replace("queue", "pause").split())
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"foreman: the answer from {url} is too large (more than 65,536 bytes): ")
    assert line.endswith("ask for less; else set FOREMAN_URL to the URL of a foreman")


def test_one_that_drips_is_one_line(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync_client, "Limits", lambda timeout, silence, size: Limits(0.2, 0.2))
    with a_server(dripping(CHUNKED, chunk(b" "))) as url:
        monkeypatch.setenv("FOREMAN_URL", url)
        result = invoke("ps")
    assert result.exit_code == 3
    assert result.stderr == (
        f"foreman: cannot reach foreman at {url}: no whole answer within 0.2 s: "
        "check whether it is busy or stuck, then try again\n"
    )


def test_many_values_are_one_line(told: StaticAnswer, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST_VALUES", 1000)
    many: list[list[int]] = [[]] * 1001
    told.answer("GET /queue", {"queued": 1, "running": many})
    told.answer("GET /queue/jobs", {"jobs": []})
    result = invoke("ps")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "the answer is too large (more than 1,000 values): if that is a foreman, ask for less" in result.stderr


def test_who_sends_faster_than_is_shown_has_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "UNREAD", 10)
    sent = 0

    def script() -> Iterator[bytes]:
        nonlocal sent
        yield EVENTS
        while True:
            sent += 1
            yield chunk(b'data: {"response":"' + b"x" * 2**16 + b'"}\n\n')

    job = JOB | {"state": "working"}
    with a_server(script) as url, Client(url) as client:
        monkeypatch.setattr(client, "events", lambda *_, **__: [])
        monkeypatch.setattr(client, "job", lambda *_: job)
        pieces = follow.follow(client, ID)
        next(pieces)
        before = -1
        while sent != before and sent < 500:  # until it has filled what lies between
            before = sent
            select.select([], [], [], 0.3)
        assert sent < 500


def test_watch_keeps_what_a_screen_can_show() -> None:
    now = datetime.now(UTC)
    state = WatchState("http://x")
    for number in range(2 * KEPT_RUNNING):
        state.take(Event(seq=number + 1, job_id=f"J{number}", state=State.WORKING, timestamp=now))
    assert len(state.queue.running) == KEPT_RUNNING
