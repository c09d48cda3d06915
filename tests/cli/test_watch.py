"""`foreman watch` on a real terminal, and in a pipe."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pyte
import pytest

from foreman.cli.watch.keyboard import keys_in
from foreman.cli.watch.now_view import last_lines
from foreman.cli.watch.poller import about
from foreman.cli.watch.prompts import last_question
from foreman.cli.watch.render import draw
from foreman.cli.watch.screen import Act, Look, Quit, Row, Screen
from foreman.cli.watch.state import Away, Detail, Listed, OutputText, Snapshot, WatchState
from foreman.client import Batched, Client, Event, Health, Job, Node, Queue, Running, Target
from foreman.client.requests import Ask
from foreman.domain.batches import BatchState
from foreman.domain.job import State
from tests.cli.conftest import TOKEN, App, environment
from tests.cli.terminal import Terminal
from tests.support.foreman import until

NOW = datetime(2030, 1, 31, 18, 0, tzinfo=UTC)


@pytest.fixture
def told(app: App) -> Iterator[str]:
    """A job that has said something and then goes on for ever."""
    with app.client() as client:
        job_id = client.submit("a", "once upon a time #echo #stall").job_id
        yield job_id
        client.cancel(job_id)


@contextmanager
def watching(app: App, *words: str, columns: int = 80, lines: int = 24) -> Iterator[Terminal]:
    """A terminal that watches, once its feed is connected: events from before that are not replayed."""
    env = environment(FOREMAN_URL=app.url, FOREMAN_TOKEN=TOKEN)
    with app.client() as client:
        until(lambda: readers(client) == 0)  # those of other tests have gone
        with Terminal(*(words or ["watch"]), env=env, columns=columns, lines=lines) as terminal:
            until(lambda: readers(client) == 1)
            yield terminal


def shown(*wanted: str) -> Callable[[list[str]], bool]:
    return lambda lines: all(word in "\n".join(lines) for word in wanted)


def test_it_is_driven_by_keys_and_leaves_at_q(app: App, told: str) -> None:
    """Opens, filters, goes through views, cancels after a question, retries, pauses, and survives Ctrl-Z."""
    with watching(app) as terminal, app.client() as client:
        terminal.shows(shown("● live", told[-8:], "working", "once upon", "1 of 8 running"))
        terminal.press("\x1a")  # it has no shell to stop for, so it goes on at once
        other = client.submit("a", "hi", priority="high").job_id
        terminal.shows(lambda lines: any("done" in line and other[-8:] in line for line in lines))
        terminal.press("\r")
        terminal.shows(shown(told, "CHANGES", "PROMPT", "#stall", "ANSWER", "once upon"))
        terminal.press("c")
        terminal.shows(lambda lines: lines[-1].startswith(f"Cancel job {told[-8:]}? y/n"))
        terminal.press("ny")
        assert not client.job(told).ended
        terminal.press("cy")
        terminal.shows(shown(f"job {told[-8:]} is cancelled"))
        terminal.shows(shown("cancelled"))
        terminal.press("r")
        terminal.shows(shown(f"job {told[-8:]} is queued again", "once upon"))
        terminal.press("\x1b2/failed\r")
        terminal.shows(shown("nothing", "/failed"))
        terminal.press("\x1bsss")
        terminal.shows(lambda lines: any(line.startswith("done") and other[-8:] in line for line in lines))
        for view, seen in (("3", "ollama"), ("4", "BATCH"), ("5", "NODE"), ("?", "KEYS")):
            terminal.press(view)
            terminal.shows(shown(seen))
        terminal.press(" 1py")
        terminal.shows(lambda lines: lines[0].rstrip().endswith("paused"))
        terminal.press("p")
        terminal.shows(shown("the queue goes on", "● live"))
        terminal.press("q")
        assert terminal.ends() == 0
        assert terminal.restored


@pytest.mark.parametrize(("columns", "lines"), [(160, 50), (60, 20)])
def test_it_follows_the_size_of_the_terminal_and_leaves_at_ctrl_c(
    app: App, told: str, columns: int, lines: int
) -> None:
    with watching(app) as terminal:
        terminal.shows(lambda found: found[-1].rstrip().endswith("q quit"))
        terminal.resize(columns, lines)
        found = terminal.shows(lambda found: fills(found[0], columns) and found[-1].rstrip().endswith("q quit"))
        assert len(found) == lines
        assert any(told[-8:] in line for line in found)
        terminal.press("\x03")
        assert terminal.ends() == 0
        assert terminal.restored


def test_emoji_that_the_terminal_draws_wider_push_nothing_away(app: App) -> None:
    with app.client() as client:
        job_id = client.submit("a", "\U0001f44d\U0001f3fd" * 60).job_id  # one sign of two columns, or two of them
    with watching(app, columns=60, lines=15) as terminal:
        terminal.press("2")
        lines = terminal.shows(shown("STATE", job_id[-8:], "\U0001f44d"))
        assert lines[0].startswith("Foreman")
        assert lines[-1].startswith("⏎ open")
        terminal.press("q")
        assert terminal.ends() == 0
        assert pyte.modes.DECAWM in terminal.screen.mode


def test_a_list_of_jobs_is_kept_up_to_date(app: App) -> None:
    with watching(app, "jobs", "--watch", "--model", "b", "--state", "done") as terminal, app.client() as client:
        terminal.shows(shown("done", "of model b", "STATE"))
        ids = {name: client.submit(name, "hi").job_id for name in "abb"}
        assert client.wait(ids["a"]).ended
        found = terminal.shows(lambda lines: any(line.startswith("done") and ids["b"][-8:] in line for line in lines))
        assert not any(ids["a"][-8:] in line for line in found)
        terminal.press("s")
        terminal.shows(shown("nothing"))
        terminal.press("\x03")
        assert terminal.ends() == 0
        assert terminal.restored


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_terminal_is_put_right_whatever_ends_it(app: App, number: signal.Signals) -> None:
    with watching(app) as terminal:
        terminal.shows(shown("● live"))
        terminal.process.send_signal(number)
        assert terminal.ends() == 128 + number
        assert terminal.restored


def test_it_waits_for_a_foreman_that_went_away_and_goes_on(app: App) -> None:
    with watching(app) as terminal:
        terminal.shows(shown("● live"))
        app.daemon.kill()
        terminal.shows(shown("no answer, trying again"))
        app.daemon.start()
        terminal.shows(shown("● live"))
        with app.client() as client:
            job_id = client.submit("b", "hi").job_id
        terminal.shows(lambda lines: any("done" in line and job_id[-8:] in line for line in lines))
        terminal.press("q")
        assert terminal.ends() == 0


def test_in_a_pipe_it_prints_a_line_for_each_event(app: App) -> None:
    with app.client() as client:
        until(lambda: readers(client) == 0)  # those of other tests have gone
        with app.begin("watch") as people, app.begin("watch", "--json") as scripts:
            until(lambda: readers(client) == 2)
            job_id = client.submit("c", "hi").job_id
            assert people.stdout is not None
            assert scripts.stdout is not None
            lines = [people.stdout.readline().split() for _ in range(4)]
            states = ["queued", "loading", "working", "done"]
            assert [line[2:5] for line in lines] == [[job_id, state, "c"] for state in states]
            first = msgspec.json.decode(scripts.stdout.readline(), type=Event)
            assert (first.job_id, first.state) == (job_id, State.QUEUED)
            for process in (people, scripts):
                process.send_signal(signal.SIGINT)
                assert process.wait(60) == 0
                assert process.stderr is not None
                assert process.stderr.read() == ""


def fills(line: str, columns: int) -> bool:
    """Whether it is the first line, from edge to edge."""
    return line.startswith("Foreman") and line.endswith("● live") and len(line) == columns


def readers(client: Client) -> int:
    """Of the feed."""
    found = re.search(rb"^foreman_feed_readers (\d+)", client.raw(Ask(bytes, "/metrics")), re.MULTILINE)
    assert found
    return int(found[1])


def test_without_a_foreman_the_screen_is_left_alone() -> None:
    with Terminal("watch", env=environment(FOREMAN_URL="http://127.0.0.1:1")) as terminal:
        assert terminal.ends() == 3
        assert b"1049" not in terminal.written
        assert b"foreman serve" in terminal.written


def event(
    state: State,
    job_id: str = "J1",
    at: datetime = NOW,
    error: str | None = None,
    seq: int = 1,
    target: str | None = None,
) -> Event:
    return Event(seq=seq, job_id=job_id, state=state, timestamp=at, model="a", attempt=1, error=error, target=target)


def a_job(job_id: str) -> Job:
    return Job(job_id, State.QUEUED, "a", NOW)


def a_state(**queue: object) -> WatchState:
    state = WatchState("http://127.0.0.1:8080")
    state.take(Snapshot(msgspec.convert({"queued": 0, **queue}, Queue), [], Health("ok", target_error="it is down")))
    return state


def text(state: WatchState, width: int = 80, height: int = 24, screen: Screen | None = None) -> str:
    lines = draw(state, screen or Screen(), width, height, NOW)
    assert len(lines) == height
    assert all(line.cell_len <= width and "\n" not in line.plain for line in lines)
    return "\n".join(line.plain for line in lines)


@pytest.mark.parametrize("width", [1, 20, 80, 129, 130, 400])
@pytest.mark.parametrize("height", [1, 2, 5, 10, 24, 100])
def test_every_size_gets_its_very_lines(width: int, height: int) -> None:
    state = a_state(queued=500, running=[{"job_id": f"J{n}", "model": "a", "state": "working"} for n in range(20)])
    state.waiting = [Job(f"W{n}", State.QUEUED, "模型" * 40, NOW) for n in range(60)]
    for n in range(20):
        state.take(OutputText(f"J{n}", "words and 字 " * 200))
        state.take(event(State.FAILED, f"E{n}", error="it fell over\n" * 20))
    text(state, width, height)


@pytest.mark.parametrize("width", [1, 20, 60, 80, 120])
def test_every_list_fits_every_width(width: int) -> None:
    state = a_state()
    many: dict[str, Sequence[Any]] = {
        "jobs": [Job(f"J{n}", State.FAILED, "模型" * 40, NOW, error="it fell\nover " * 9) for n in range(300)],
        "targets": [Target(name="box", up=False, error="gone " * 50), Target(name="rack", draining=True)],
        "batches": [
            Batched(batch_id=f"batch_{n}", state=BatchState.IN_PROGRESS, endpoint="", created_at=NOW, total=n)
            for n in range(30)
        ],
        "nodes": [Node(name="n", url="http://10.0.0.1:8080", coordinates=True)],
    }
    for number, (view, items) in enumerate(many.items(), 2):
        screen = Screen()
        screen.press(str(number), paused=False)
        text(state, width, 24, screen)
        state.listed = Listed(items, about(screen.look))
        text(state, width, 24, screen)
        screen.press("G", paused=False)
        shows = text(state, width, 24, screen)
        assert len(screen.rows) == len(items)
        assert screen.look.view == view
        if width >= 60:
            assert screen.rows[-1].lines[0].plain[:8].strip() in shows


def test_a_job_in_detail_follows_its_end_until_it_is_scrolled() -> None:
    state, screen = a_state(), Screen(Look(opened="J1"), scroll=None)
    job = Job("J1", State.WORKING, "a", NOW, started_at=NOW, target="box", error="once it fell over")
    state.take(OutputText("J1", "\n".join(f"line {n} \x1b[31m" for n in range(100))))
    assert "reading" in text(state, screen=screen)
    state.take(Detail("J1", job, [event(State.WORKING, target="box")], "what is it"))
    assert "line 99" in text(state, screen=screen)
    for key in ("g", "down", "k"):
        screen.press(key, paused=False)
    top = text(state, screen=screen)
    assert all(said in top for said in ("once it fell over", "priority", "attempt 1 on box", "what is it"))
    assert "line 99" not in top and "\x1b" not in top
    screen.press("G", paused=False)
    assert screen.scroll is None
    done = Job("J1", State.DONE, "a", NOW, result={"message": {"content": "字" * 100, "thinking": "hm"}})
    state.take(Detail("J1", done))
    assert "THINKING" in text(state, screen=screen) and "字字" in text(state, screen=screen)
    state.take(Detail("J1", None))
    assert "job J1 is gone" in text(state, screen=screen)


def test_the_selection_stays_with_its_row() -> None:
    rows = [Row(f"job {n}", (), f"J{n}") for n in range(5)]
    screen = Screen(rows=rows)
    for key in ("down", "j", "up"):
        screen.press(key, paused=False)
    assert screen.current == rows[1]
    screen.rows = [Row("job 9", (), "J9"), *rows]
    assert screen.current == rows[1]
    screen.rows = [rows[0], *rows[2:]]
    assert screen.current == rows[2]
    assert screen.press("r", paused=False) == Act("retry", "J2")
    assert screen.press("c", paused=False) is None
    assert screen.press("y", paused=False) == Act("cancel", "J2")
    screen.press("p", paused=False)
    assert screen.press("x", paused=False) is None
    assert screen.press("p", paused=True) == Act("resume")
    screen.rows = [Row("batch 1", (), "", "batch_1")]
    screen.press("c", paused=False)
    assert screen.press("Y", paused=False) == Act("cancel batch", "batch_1")
    screen.press("enter", paused=False)
    assert (screen.look.view, screen.look.batch_id) == ("jobs", "batch_1")
    screen.press("esc", paused=False)
    assert screen.look == Look("batches")
    for key in ("/", "f", "x", "backspace", "enter"):
        screen.press(key, paused=False)
    assert (screen.query, screen.typing) == ("f", False)
    assert screen.press("q", paused=False) is None
    assert screen.press("esc", paused=False) is None
    assert isinstance(screen.press("q", paused=False), Quit)


def test_keys_have_names() -> None:
    assert keys_in("j\x1b[A\x1bOB\x1b[5~\r\x7f\x1b[1;5Cä\x1b") == [
        "j",
        "up",
        "down",
        "page up",
        "enter",
        "backspace",
        "ä",
        "esc",
    ]


@pytest.mark.parametrize(
    ("request_", "asked"),
    [
        ({"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}, {"role": "tool"}]}, "b"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "c"}, {"type": "image"}]}]}, "c"),
        ({"prompt": "d"}, "d"),
        ({"input": ["e", "f"]}, "e\nf"),
        ({"input": 3}, ""),
        ({"messages": [{"role": "user"}]}, ""),
    ],
)
def test_the_question_of_a_request(request_: dict[str, object], asked: str) -> None:
    assert last_question(request_) == asked


def test_a_change_is_shown_before_the_queue_is_looked_at_again() -> None:
    state = a_state(slots=2)
    state.take(event(State.WORKING))
    state.take(OutputText("J1", "old"))
    state.take(OutputText("J1", "new words", anew=True))
    assert "1 of 2 running" in text(state)
    assert "new words" in text(state)
    assert "old" not in text(state)
    state.take(event(State.DONE, "J2", at=NOW - timedelta(seconds=61)))
    state.take(event(State.DONE, at=NOW - timedelta(seconds=59)))
    assert "nothing runs" in text(state)
    assert "1 done in a minute" in text(state)
    assert state.text == {}


def test_a_look_at_the_queue_that_is_older_than_an_event_does_not_undo_it() -> None:
    state = a_state()
    asked_before = Snapshot(
        Queue(1, running=[Running(job_id="J1", model="a", state=State.WORKING)]), [a_job("J2")], Health("ok"), since=4
    )
    state.take(event(State.DONE, "J1", seq=5))
    state.take(event(State.LOADING, "J2", seq=6))
    state.take(asked_before)
    assert [job.job_id for job in state.queue.running] == ["J2"]
    assert state.waiting == []
    state.take(Snapshot(Queue(0), [], Health("ok"), since=6))
    assert state.queue.running == []


def test_what_holds_the_queue_up_is_said() -> None:
    assert "paused" in text(a_state(paused=True))
    state = a_state(degraded=True)
    assert "the target is away" in text(state)
    assert "target: it is down" in text(state)
    state.take(Away("no foreman there"))
    assert "no answer, trying again: no foreman there" in text(state)


def test_each_of_several_targets_is_shown() -> None:
    targets = [
        {"name": "box", "slots": 3, "running": 1, "loaded": ["a"]},
        {"name": "gpu", "slots": 2, "draining": True, "running": 1},
        {"name": "cellar", "draining": True},
        {"name": "attic", "up": False},
    ]
    running = [{"job_id": "J1", "model": "a", "state": "working", "target": "box"}]
    state = a_state(degraded=True, slots=7, targets=targets, running=running)
    lines = text(state).splitlines()
    assert lines[0].endswith("attic is away")
    assert lines[1] == "1 of 7 running · 0 waiting · 0 done in a minute"
    assert lines[2:4] == ["box 1/3 · gpu draining 1 · cellar drained · attic away", ""]
    assert "a on box" in lines[5]
    state.take(event(State.WORKING, "J2", target="gpu"))
    assert "a on gpu" in text(state)
    assert "on box" not in text(a_state(targets=targets[:1], running=running))


@pytest.mark.parametrize(("seconds", "said"), [(59.9, "in 59.9 s"), (3599, "in 59 min"), (86399, "in 23 h")])
@pytest.mark.parametrize("width", [80, 160])
def test_what_waits_has_room_for_its_model(width: int, seconds: float, said: str) -> None:
    state = a_state(queued=1)
    state.waiting = [Job("W1", State.QUEUED, "smollm2:135m", NOW, eta_seconds=seconds)]
    assert f"{said} smollm2:135m" in " ".join(text(state, width).split())


def test_those_that_have_no_room_are_counted() -> None:
    state = a_state(queued=40, running=[{"job_id": f"J{n}", "model": "a", "state": "working"} for n in range(30)])
    state.waiting = [a_job(f"W{n}") for n in range(30)]
    said = text(state)
    runs, waits = (sum(f"{letter}{n} " in said for n in range(30)) for letter in "JW")
    assert f"{30 - runs} more" in said
    assert f"{40 - waits} more" in said


def test_a_model_cannot_paint_on_the_screen() -> None:
    state = a_state(running=[{"job_id": "J1", "model": "a\x1b[2J", "state": "working"}])
    state.take(OutputText("J1", "red \x1b[31malert\r\n"))
    assert "\x1b" not in text(state)


def test_the_last_words_are_those_at_the_end() -> None:
    assert last_lines("one two three four", 9, 2) == ["three", "four"]
    assert last_lines("", 10, 2) == ["", ""]
    assert last_lines("字" * 10, 8, 2) == ["字" * 4, "字" * 2]
