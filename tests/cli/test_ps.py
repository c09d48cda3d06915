"""What runs, what waits, and which models there are: against a real Foreman that has something to do."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tests.cli.conftest import ROOT, TOKEN, App, Invoke, an_app, environment
from tests.cli.test_job_actions import LATER


@pytest.fixture(scope="module")
def busy(app: App) -> tuple[str, str, str]:
    """A job that runs for ever, one that waits for it, one that waits for another day."""
    with app.client() as client:
        runs = client.submit("a", "hi #stall").job_id
        stands = client.submit("b", "hi").job_id
        parked = client.submit("b", "hi", payload={"not_before": LATER}, priority="low").job_id
        while not client.queue().running or client.queue().running[0].state != "working":
            pass
    return runs, stands, parked


def test_ps_lists_what_runs_and_then_what_waits_in_order(here: Invoke, busy: tuple[str, ...]) -> None:
    done = here("ps")
    assert (done.exit_code, done.stderr) == (
        0,
        "1 of 8 running, 2 waiting; a is loaded\n1 waits for a time to come\n",
    )
    rows = [line.split() for line in done.stdout.splitlines()[1:]]
    assert [(row[0], row[1]) for row in rows] == [(busy[0], "working"), (busy[1], "queued")]


def test_ps_for_scripts(here: Invoke, busy: tuple[str, ...]) -> None:
    assert here("ps", "--quiet").stdout.split() == list(busy[:2])
    shown = msgspec.json.decode(here("ps", "--json", "--limit", "1").stdout)
    assert [job["job_id"] for job in shown["running"] + shown["waiting"]] == list(busy[:2])
    assert shown["queued"] == 2


def test_models_are_loaded_or_ready(here: Invoke, busy: tuple[str, ...]) -> None:
    rows = [line.split() for line in here("models").stdout.splitlines()[1:]]
    assert [(row[0], row[-1]) for row in rows] == [("loaded", "a"), ("ready", "b"), ("ready", "c")]
    shown = msgspec.json.decode(here("models", "--json").stdout)
    assert [(model["name"], model["state"], model["queued"]) for model in shown["models"]] == [
        ("a", "loaded", 0),
        ("b", "ready", 2),
        ("c", "ready", 0),
    ]
    assert shown["degraded"] is False
    assert here("models", "--quiet").stdout.split() == ["a", "b", "c"]


@pytest.mark.parametrize("no_color", [True, False])
def test_colours_are_for_terminals_that_want_them(app: App, busy: tuple[str, ...], no_color: bool) -> None:
    ours, theirs = pty.openpty()
    env = environment(FOREMAN_URL=app.url, FOREMAN_TOKEN=TOKEN, TERM="xterm-256color")
    env |= {"NO_COLOR": "1"} if no_color else {}
    subprocess.run([sys.executable, "-m", "foreman", "ps"], cwd=ROOT, env=env, stdout=theirs, check=True, timeout=60)
    shown = os.read(ours, 65536)
    os.close(ours)
    os.close(theirs)
    assert b"working" in shown
    assert (b"\x1b[34m" not in shown) is no_color
    assert b"\x1b" not in app.run("ps").stdout.encode()


def test_while_the_target_is_away_its_models_are_known_and_away(tmp_path: Path) -> None:
    with an_app(tmp_path, poll_interval="50 ms") as app, app.client() as client:
        app.upstream.stop()
        while not client.queue().degraded:
            pass
        rows = [line.split() for line in app.run("models").stdout.splitlines()[1:]]
        assert [(row[0], row[-1]) for row in rows] == [("away", "a"), ("away", "b"), ("away", "c")]
        away = app.run("ps").stderr
        assert "cannot reach ollama" in away or "ollama broke off" in away
