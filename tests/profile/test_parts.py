"""Samples of a profiler are sorted into the parts of the program."""

from __future__ import annotations

from pathlib import Path

from tests.profile.parts import OTHER, PREFIXES, SCHEDULER, part_of, shares

ROOT = Path(__file__).parents[2]
LOOP = "run (site-packages/trio/_core/_run.py:2500);unrolled_run (site-packages/trio/_core/_run.py:2700)"


def test_every_part_of_foreman_is_there() -> None:
    own = [prefix for prefix, _ in PREFIXES if prefix.startswith("foreman/")]
    assert own
    assert [prefix for prefix in own if not (ROOT / prefix).exists()] == []


def test_the_innermost_frame_of_a_part_decides() -> None:
    inside = f"{LOOP};submit (/src/foreman/http/routes/jobs.py:40);read (/src/foreman/domain/intake.py:9)"
    assert part_of(f"{inside};loads (json/__init__.py:3)") == "intake: body, rules, views"


def test_the_loop_hides_what_started_it() -> None:
    started = "serve (/src/foreman/http/asgi.py:1)"
    assert part_of(f"{started};{LOOP}") == SCHEDULER
    assert part_of("main (elsewhere.py:1)") == OTHER


def test_shares_leave_out_threads_that_wait() -> None:
    lines = [
        "insert (/src/foreman/store/sql/rows.py:2) 3",
        "apply (/src/foreman/queue/actor.py:2) 1",
        "work (/src/foreman/logs.py:2);Condition.wait (threading.py:331) 90",
    ]
    assert shares(lines) == {"store: SQL": 0.75, "queue: commands, choice": 0.25}
    assert shares([]) == {}
