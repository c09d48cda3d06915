"""A Foreman as people have it after some weeks: with a history, jobs of every kind, and work that goes on."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foreman.domain.usage import HOUR, MINUTE, SINCE, Depth, Figures, Group, Slot
from foreman.store.sqlite.writer import SqliteWriter
from tests.support.api import NDJSON, chat, state
from tests.support.foreman import Daemon, until

WEEKS = 4  # of history
WAIT = 300.0  # seconds; the model may be a real one
CALLERS = {"ada": 0.5, "nightly": 0.3, "": 0.2}  # with their share
ASKED = (
    ("ada", "Write one sentence about a lighthouse."),
    ("nightly", "Summarize: the ferry leaves at nine, and the tide turns at ten."),
    ("ada", "Name three colours of the sea."),
    ("grace", "Translate into French: good evening, harbour."),
)
WAITING = (
    ("grace", "high", "What is the capital of Peru?"),
    ("ada", "normal", "Explain in two sentences how tides come about."),
    ("nightly", "low", "Classify this review: the room was small, the view was not."),
    ("nightly", "low", "Classify this review: we would come again."),
)
SAID = 40  # chunks that the running job has said
LONG = "Tell a long story about a keeper and her lamp."


@dataclass(frozen=True, slots=True)
class Box:
    """A running Foreman, and ids of what is in it."""

    daemon: Daemon
    model: str
    done: str
    other: str  # another one that is done
    failed: str
    running: str
    batch: str


@contextmanager
def a_box(folder: Path, *, model: str, long: str = LONG, **settings: object) -> Iterator[Box]:
    """Start one whose targets have this model; yield it when a job that asks for `long` runs, and others wait."""
    _remember(folder, model)
    with Daemon(folder, webhook_allow="127.0.0.1", max_attempts=1, slots=1, **settings) as daemon:
        yield _fill(daemon, model, long)


def _fill(daemon: Daemon, model: str, long: str) -> Box:
    def give(who: str, text: str, *, tokens: int = 48, **fields: Any) -> str:
        options = {"num_predict": tokens, "temperature": 0.2}
        asked = chat(text, model=model, options=options, **fields)
        answer = daemon.http.post("/jobs", json=asked, headers={"X-Foreman-Caller": who})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["job_id"])

    done = [give(who, text, metadata={"project": "harbour"}) for who, text in ASKED]
    until(lambda: all(state(daemon, job_id) == "done" for job_id in done), WAIT)
    failed = give("ada", long, tokens=2000, timeout=0.2)
    until(lambda: state(daemon, failed) == "failed", WAIT)
    running = give("ada", long, tokens=2000)
    until(lambda: state(daemon, running) == "working", WAIT)
    lines = [json.dumps(chat(f"Classify review {n}.", model=model, custom_id=f"review-{n}")) for n in range(12)]
    answer = daemon.http.post("/jobs?batch=reviews", content="\n".join(lines), headers=NDJSON)
    assert answer.status_code == 202, answer.text
    for who, priority, text in WAITING:
        give(who, text, priority=priority)
    give("grace", "Write the report.", not_before="2099-12-24T22:00:00Z", custom_id="report")
    with daemon.http.stream("GET", f"/jobs/{running}/stream") as stream:
        next(line for number, line in enumerate(stream.iter_lines()) if number == SAID)
    return Box(daemon, model, done[0], done[2], failed, running, str(answer.json()["batch_id"]))


def _remember(folder: Path, model: str) -> None:
    """Write figures of some weeks, as jobs would have left them."""
    folder.mkdir(parents=True)
    now = int(time.time())
    with closing(SqliteWriter(folder / "foreman.db")) as store:
        for step, steps in ((HOUR, WEEKS * 7 * 24), (MINUTE, 24 * 60)):
            last = now // step * step
            for at in range(last - steps * step, last, step):
                with store.transaction(float(at)):
                    figures, depth = _work(step, at, (at - now) / HOUR + 14, model)
                    store.add_usage(figures, [depth])
        with store.transaction(float(now)):
            store.set_note(SINCE, str(now - WEEKS * 7 * 24 * HOUR))


def _work(step: int, at: int, hour: float, model: str) -> tuple[dict[Slot, Figures], Depth]:
    """Return what was done in a step: much by day, little at weekends, batches by night."""
    busy = max(0.0, math.sin((hour % 24 - 7) / 12 * math.pi)) * (0.4 if hour // 24 % 7 >= 5 else 1.0)
    busy = min(0.95, 0.05 + 0.6 * busy + 0.3 * math.sin(at / 977.0) ** 2)
    figures = {}
    for caller, share in CALLERS.items():
        jobs = round(busy * share * step / 4)
        waits = [0] * len(Figures().waits)
        for n in range(jobs):
            waits[min(3 + n * 7 // max(1, jobs), 9)] += 1
        figures[Slot(step, at, Group(model, caller, "box", "/api/chat"))] = Figures(
            submitted=jobs,
            done=jobs - jobs // 40,
            failed=jobs // 40,
            prompt_tokens=jobs * 420,
            cached_tokens=jobs * 130,
            answer_tokens=jobs * 160,
            loads=1 if jobs and at % 5 == 0 else 0,
            busy_seconds=busy * share * step,
            waits=waits,
        )
    return figures, Depth(step, at, first=round(busy * 6), waiting=round(busy * 9), running=1)
