"""`foreman usage`: what was done, in lines that fit."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.cli.conftest import App, Invoke
from tests.client.conftest import StaticAnswer
from tests.client.conftest import told as told
from tests.support.api import chat


def row(at: str, by: str | None = None, **figures: Any) -> dict[str, Any]:
    return {"from": at, "by": by, **figures}


def report(*rows: dict[str, Any], step: str = "day") -> dict[str, Any]:
    return {"step": step, "from": "2026-03-01T00:00:00Z", "to": "2026-03-08T00:00:00Z", "rows": list(rows)}


def words(line: str) -> list[str]:
    return re.split(r"\s{2,}", line.strip())


def test_each_step_with_something_in_it_has_a_line_and_all_have_a_sum(invoke: Invoke, told: StaticAnswer) -> None:
    told.answer(
        "GET /usage",
        report(
            row("2026-03-01T00:00:00Z", done=1200, failed=1, prompt_tokens=50_000, answer_tokens=7, busy_seconds=90.0)
            | {"wait_p50": 0.2, "wait_p95": 61.0},
            row("2026-03-02T00:00:00Z"),
            row("2026-03-03T00:00:00Z", done=3, cached_tokens=5, loads=2),
        ),
    )
    lines = [words(line) for line in invoke("usage", "week").stdout.splitlines()]
    assert lines[0] == ["DONE", "FAILED", "IN", "CACHED", "OUT", "BUSY", "LOADS", "WAIT 50%", "WAIT 95%", "FROM"]
    assert lines[1] == ["1,200", "1", "50,000", "7", "1 min 30 s", "0.20 s", "1 min 1 s", "Sun 01 Mar"]
    assert lines[2] == ["3", "5", "2", "Tue 03 Mar"]
    assert lines[3] == ["1,203", "1", "50,000", "5", "7", "1 min 30 s", "2", "total"]
    asked = told.asked[-1][0]
    assert "step=day" in asked and "by=" not in asked


def test_with_by_each_name_has_one_line_and_the_busiest_is_first(invoke: Invoke, told: StaticAnswer) -> None:
    told.answer(
        "GET /usage",
        report(
            row("2026-03-01T00:00:00Z", "small", done=5, busy_seconds=1.0),
            row("2026-03-01T00:00:00Z", "large", done=1, busy_seconds=40.0),
            row("2026-03-02T00:00:00Z", "large", done=1, busy_seconds=20.0),
            row("2026-03-02T00:00:00Z", "", cancelled=1),
            row("2026-03-02T00:00:00Z", "idle"),
        ),
    )
    lines = [words(line) for line in invoke("usage", "month", "--by", "model").stdout.splitlines()]
    assert lines[0][-1] == "MODEL"
    assert lines[1:] == [["2", "1 min 0 s", "large"], ["5", "1.0 s", "small"], ["-"], ["7", "1 min 1 s", "total"]]
    assert "by=model" in told.asked[-1][0]


def test_costs_are_shown_where_there_are_prices(invoke: Invoke, told: StaticAnswer) -> None:
    rows = [row("2026-03-01T00:00:00Z", "a", done=1, cost=1234.5), row("2026-03-01T00:00:00Z", "b", done=2, cost=None)]
    told.answer("GET /usage", report(*rows))
    lines = [words(line) for line in invoke("usage", "--by", "model").stdout.splitlines()]
    assert lines[0][-2:] == ["COST", "MODEL"]
    assert lines[1:] == [["1", "1,234.50", "a"], ["2", "b"], ["3", "1,234.50", "total"]]


@pytest.mark.parametrize(
    ("period", "step"), [("hour", "minute"), ("day", "hour"), ("week", "day"), ("month", "day"), ("year", "day")]
)
def test_a_period_has_steps_of_its_own(invoke: Invoke, told: StaticAnswer, period: str, step: str) -> None:
    told.answer("GET /usage", report(step=step))
    found = invoke("usage", period)
    assert (found.stdout, found.stderr, found.exit_code) == ("", f"nothing was done in the last {period}\n", 0)
    assert f"step={step}" in told.asked[-1][0]


def test_what_ran_is_told_and_a_script_gets_the_answer_itself(app: App) -> None:
    for _ in range(3):
        app.daemon.http.post("/jobs", json=chat("hello"), headers={"Prefer": "wait=30"}).raise_for_status()
    for period in ("hour", "day", "week", "month", "year"):
        found = app.run("usage", period)
        assert (found.stderr, found.returncode) == ("", 0)
        assert words(found.stdout.splitlines()[-1])[0] == "3"
    answer = json.loads(app.run("usage", "--by", "model", "--json").stdout)
    assert sum(one["done"] for one in answer["rows"]) == 3
    assert app.run("usage", "decade").returncode == 2
