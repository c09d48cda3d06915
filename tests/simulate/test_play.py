"""A replay gives the figures that can be computed by hand, the same ones each time."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from foreman.domain.job import Priority
from tests.simulate.__main__ import main
from tests.simulate.figures import figures, jain
from tests.simulate.generate import generate
from tests.simulate.play import Record, Setup, Stuck, at_load, by_arrival, by_foreman
from tests.simulate.server import Log, Served, Speed
from tests.simulate.table import heading, table
from tests.simulate.trace import Request, Trace

SPEED = Speed(prompt=100, answer=((1, 10.0),), load=5)  # a job below takes 3 s
TABLE = """\
3 jobs of 2 callers for 1 model, 129% load, seed 1
1 server of 1 slot; tokens per second: 100 of prompts, 10 of answers; 5 s a load

                hit rate    makespan        busy   loads   wasted   Jain's index
arrival order      0.000        14 s         9 s       1     0.0%   –
foreman            0.167        13 s         8 s       1     0.0%   –
endless cache      0.167

                                     waiting, s                           completion, s
                    jobs     mean      p50      p95      p99        mean      p50      p95      p99
all
  arrival order        3      5.7      5.0      8.0      8.0         8.7      8.0     11.0     11.0
  foreman              3      5.3      5.0     10.0     10.0         8.0      8.0     13.0     13.0
class high
  arrival order        1      4.0      4.0      4.0      4.0         7.0      7.0      7.0      7.0
  foreman              1      1.0      1.0      1.0      1.0         3.0      3.0      3.0      3.0
class low
  arrival order        2      6.5      8.0      8.0      8.0         9.5     11.0     11.0     11.0
  foreman              2      7.5     10.0     10.0     10.0        10.5     13.0     13.0     13.0
c
  arrival order        2      6.5      8.0      8.0      8.0         9.5     11.0     11.0     11.0
  foreman              2      7.5     10.0     10.0     10.0        10.5     13.0     13.0     13.0
ann
  arrival order        1      4.0      4.0      4.0      4.0         7.0      7.0      7.0      7.0
  foreman              1      1.0      1.0      1.0      1.0         3.0      3.0      3.0      3.0"""


def ask(at: float, *blocks: int, model: str = "m", priority: Priority = Priority.NORMAL, caller: str = "c") -> Request:
    return Request(at=at, prompt=200, answer=10, blocks=blocks, model=model, priority=priority, caller=caller)


def test_the_table_of_a_tiny_trace() -> None:
    """In Foreman's order the call of ann begins at 8 s, with a block of the job before it in the cache."""
    requests = [
        ask(0, 1, 2, priority=Priority.LOW),
        ask(0, 3, 4, priority=Priority.LOW),
        ask(7, 1, 5, priority=Priority.HIGH, caller="ann"),
    ]
    setup = Setup(Trace(requests, block=100), SPEED, bytes_per_token=1)
    found = {"arrival order": by_arrival(setup), "foreman": by_foreman(setup, {"give_way": False})}
    text = table(setup, {name: figures(setup.trace, record) for name, record in found.items()})
    assert f"{heading(setup)}\n\n{text}" == TABLE


def test_the_same_seed_gives_the_same_figures(capsys: pytest.CaptureFixture[str]) -> None:
    told = []
    for seed in ("5", "5", "6"):
        assert main(["--jobs", "60", "--models", "2", "--slots", "2", "--people", "9", "--seed", seed, "--json"]) == 0
        told.append(json.loads(capsys.readouterr().out))
    assert told[0] == told[1] != told[2]
    assert list(told[0]["policies"]) == ["arrival order", "foreman"]


def test_like_jobs_in_one_slot_keep_the_order_of_arrival() -> None:
    trace = Trace([ask(float(number), 2 * number, 2 * number + 1) for number in range(20)], block=100)
    setup = Setup(trace, SPEED, bytes_per_token=1)
    assert figures(trace, by_foreman(setup, {})) == figures(trace, by_arrival(setup))


def test_arrival_order_waits_for_the_other_slot_to_load_another_model() -> None:
    trace = Trace([ask(0, 1, 2), ask(0, 3, 4, model="n"), ask(0, 5, 6)], block=100)
    speed = Speed(slots=2, prompt=100, answer=((1, 10.0),), load=5)
    record = by_arrival(Setup(trace, speed))
    assert [served.start for served in record.log.served] == [5, 13, 21]
    assert len(record.log.loads) == 3


def test_several_servers_share_the_work() -> None:
    trace = generate(4, jobs=40, callers=3).timed(0)
    for record in (by_arrival(Setup(trace, SPEED, servers=2)), by_foreman(Setup(trace, SPEED, servers=2), {})):
        assert {served.server for served in record.log.served} == {"server-1", "server-2"}
        assert record.done.keys() == set(range(40))


def test_other_settings_are_one_more_policy(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--jobs", "12", "--callers", "2", "--at-once", "--also", "starvation_limit=60 share=0"]) == 0
    out = capsys.readouterr().out
    assert "all at once" in out and "\nstarvation_limit=60 share=0 " in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("share", "--also 'share': must be settings such as 'starvation_limit=60 share=0.2', not 'share'"),
        ("share=2", "--also 'share=2': share: Input should be less than or equal to 0.4"),
        ("nothing=1", "--also 'nothing=1': nothing: Extra inputs are not permitted"),
    ],
)
def test_wrong_settings_are_refused_in_one_line(capsys: pytest.CaptureFixture[str], words: str, said: str) -> None:
    assert main(["--jobs", "1", "--callers", "1", "--also", words]) == 2
    assert capsys.readouterr().err == f"{said}\n"


@pytest.mark.parametrize(
    "options",
    [
        ["--slots", "0"],
        ["--pp", "-1"],
        ["--tg", "4:1,1:2"],
        ["--tg", "1:2:3"],
        ["--load", "x"],
        ["--load-seconds", "-1"],
    ],
)
def test_wrong_options_are_refused(capsys: pytest.CaptureFixture[str], options: list[str]) -> None:
    with pytest.raises(SystemExit):
        main(options)
    assert f"argument {options[0]}: must be" in capsys.readouterr().err


def test_a_load_sets_the_pace_of_arrivals() -> None:
    trace = Trace([ask(0, 1, 2), ask(1, 3, 4), ask(2, 5, 6)], block=100)
    assert at_load(trace, SPEED, 1, load=0.5).requests[-1].at == 18  # 9 s of work
    assert at_load(trace, SPEED, 3, load=0.5).requests[-1].at == 6
    with pytest.raises(ValueError, match="all come at once"):
        at_load(trace.timed(0), SPEED, 1, load=0.5)


def test_a_job_that_does_not_end_well_ends_the_replay() -> None:
    setup = Setup(Trace([ask(0, 1, 2)], block=100), replace(SPEED, batch=1))
    with pytest.raises(Stuck, match="job 0 became failed: "):
        by_foreman(setup, {"first_chunk_timeout": 0.5})  # less than a block, so that each attempt begins anew


def test_fairness_is_judged_where_all_callers_of_a_class_wait() -> None:
    assert jain([1, 1, 1, 1]) == 1 and jain([1, 0, 0, 0]) == 0.25 and jain([0, 0]) == 1
    requests = [ask(0, number, caller="ab"[number % 2]) for number in range(8)]
    requests.append(ask(0, 9, caller="d", priority=Priority.HIGH))
    trace = Trace(requests, block=100)

    def least(*spans: tuple[int, float, float]) -> tuple[float | None, int]:
        served = [Served(number, "s", 0, start, end=end, done=True) for number, start, end in spans]
        found = figures(trace, Record(Log(served), {number: end for number, _, end in spans}))
        return found.jain, found.windows

    high = (8, 0.0, 1.0)
    by_turns = [(number, 300.0 * number, 300.0 * number + 300) for number in range(8)]
    assert least(*by_turns, high) == (1.0, 21)  # both wait from 0 s to 1,800 s
    one_first = [(number, 300.0 * place, 300.0 * place + 300) for place, number in enumerate((0, 2, 4, 6, 1, 3, 5, 7))]
    assert least(*one_first, high) == (0.5, 6)  # a waits until 900 s
