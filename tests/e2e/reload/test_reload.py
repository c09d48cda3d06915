"""Settings that change while Foreman runs, by SIGHUP and by POST /reload."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.support.api import submit, target_of
from tests.support.configured import Configured, written
from tests.support.foreman import Upstream, an_upstream, until


@pytest.fixture
def servers() -> Iterator[tuple[Upstream, Upstream]]:
    with an_upstream("--kind", "ollama", "--models", "a,b") as one, an_upstream("--models", "a,c") as two:
        yield one, two


@pytest.fixture
def tables(servers: tuple[Upstream, Upstream]) -> tuple[dict[str, Any], dict[str, Any]]:
    one, two = servers
    return {"name": "one", "ollama_url": one.url}, {"name": "two", "ollama_url": two.url}


@pytest.fixture
def at_start(tables: tuple[dict[str, Any], ...]) -> str:
    return written([tables[0]])


def test_a_target_is_added_by_a_signal_and_removed_again(
    daemon: Configured, tables: tuple[dict[str, Any], ...]
) -> None:
    one, two = tables
    assert daemon.http.post("/jobs", json={"model": "c", "messages": []}).status_code == 404
    line = daemon.hang_up(written([one, two]), "settings are reloaded")
    assert (line["changed"], line["needs_restart"]) == (["targets.two"], [])
    until(lambda: "c" in [model["id"] for model in daemon.http.get("/v1/models").json()["data"]])
    assert daemon.ran(submit(daemon, "x", model="c"), "two")
    running = submit(daemon, "#slow=60", model="a", timeout=120)
    until(lambda: daemon.job(running)["state"] == "working")
    first = target_of(daemon.job(running))
    left = two if first == "one" else one
    daemon.reload(written([left]))
    # Of no grace: it goes back unspent, and takes the same time elsewhere.
    until(lambda: daemon.job(running)["state"] == "working" and target_of(daemon.job(running)) == left["name"])
    assert daemon.job(running)["attempt"] == 1
    assert daemon.http.get("/queue").json()["slots"] == 1


def test_a_job_ends_on_the_server_that_was_replaced(
    tmp_path: Path, servers: tuple[Upstream, Upstream], tables: tuple[dict[str, Any], ...]
) -> None:
    one, two = tables
    daemon = Configured(tmp_path, written([one]), shutdown_grace=60)
    try:
        daemon.start()
        running = submit(daemon, "#slow=1", model="a")
        until(lambda: daemon.job(running)["state"] == "working")
        assert daemon.reload(written([one | {"ollama_url": two["ollama_url"]}]))["changed"] == ["targets.one"]
        assert daemon.ran(running, "one") and servers[0].asked("#slow=1")
        assert daemon.ran(submit(daemon, "moved", model="c"), "one") and servers[1].asked("moved")
        assert not daemon.errors
    finally:
        daemon.close()


def test_jobs_wait_for_a_new_target_that_has_not_listed_its_models_yet(
    daemon: Configured, tables: tuple[dict[str, Any], ...]
) -> None:
    one, two = tables
    daemon.reload(written([one, two]))
    slow = submit(daemon, "#slow=60", model="c")
    until(lambda: daemon.job(slow)["state"] == "working")
    waiting = submit(daemon, "x", model="c")
    with an_upstream("--models", "c") as other:
        other.stop()
        daemon.reload(written([one, {"name": "other", "ollama_url": other.url}]))
        until(lambda: [found["up"] for found in daemon.http.get("/targets").json()["targets"]] == [True, False])
        assert daemon.ran(submit(daemon, "x", model="a"), "one")
        assert [daemon.job(job)["state"] for job in (slow, waiting)] == ["queued", "queued"]
        other.start()
        until(lambda: target_of(daemon.job(slow)) == "other")
        daemon.http.post(f"/jobs/{slow}/cancel")
        assert daemon.ran(waiting, "other")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("targets = [", "must be valid TOML"),
        ("targets = " + "[" * 5000, "must be valid TOML"),
        ("", "setting targets: must not all go"),
        ("slots = 0\n", "setting slots"),
        ("nonsense = 1\n", "no such setting"),
        ('[[targets]]\nname = "me"\nollama_url = "{url}"\n', "must not lead to this Foreman itself"),
    ],
)
def test_a_wrong_file_changes_nothing(
    daemon: Configured, tables: tuple[dict[str, Any], ...], text: str, why: str
) -> None:
    line = daemon.hang_up(text.replace("{url}", daemon.url), "settings are not reloaded")
    assert why in line["why"]
    answer = daemon.http.post("/reload")
    assert answer.status_code == 422 and answer.json()["code"] == "setting_invalid" and why in answer.text
    assert daemon.ran(submit(daemon, "x", model="a"), "one")
    assert daemon.reload(written([tables[0]])) == {"changed": [], "needs_restart": []}


def test_a_missing_file_changes_nothing(daemon: Configured) -> None:
    daemon.file.unlink()
    answer = daemon.http.post("/reload")
    assert answer.status_code == 422 and "must be a TOML file that exists" in answer.text
    assert daemon.ran(submit(daemon, "x", model="a"), "one")


def test_slots_grow_and_shrink_while_jobs_run(daemon: Configured, tables: tuple[dict[str, Any], ...]) -> None:
    def working() -> int:
        return len(daemon.http.get("/queue").json()["running"])

    one = tables[0]
    ids = [submit(daemon, f"{number} #slow=1", model="a") for number in range(8)]
    until(lambda: working() == 1)
    assert daemon.reload("log_format = 'console'\n" + written([one | {"slots": 3}])) == {
        "changed": ["targets.one"],
        "needs_restart": [],  # the environment goes before the file
    }
    until(lambda: working() == 3)
    daemon.reload(written([one]))
    assert all(daemon.ran(job, "one") and daemon.job(job)["attempt"] == 1 for job in ids)
    more = [submit(daemon, f"{number} #slow=0.3", model="a") for number in range(3)]
    until(lambda: working() == 1)
    assert all(daemon.ran(job, "one") for job in more)
    times = sorted((daemon.job(job)["started_at"], daemon.job(job)["completed_at"]) for job in more)
    assert all(before[1] <= after[0] for before, after in pairwise(times))


def test_nothing_is_left_of_fifty_reloads(daemon: Configured, tables: tuple[dict[str, Any], ...]) -> None:
    def open_files() -> int:
        return len(os.listdir(f"/proc/{daemon.pid}/fd"))

    one, two = tables
    for number in range(4):
        daemon.reload(written([one, two] if number % 2 == 0 else [one]))
    before = open_files()
    for number in range(50):
        daemon.reload(written([one, two] if number % 2 == 0 else [one]))
    daemon.reload(written([one]))
    until(lambda: open_files() <= before + 2)
    assert daemon.ran(submit(daemon, "x", model="a"), "one")


def test_a_reload_is_refused_while_foreman_shuts_down(tmp_path: Path, tables: tuple[dict[str, Any], ...]) -> None:
    daemon = Configured(tmp_path, written([tables[0]]), shutdown_grace=60)
    try:
        daemon.start()
        running = submit(daemon, "#slow=3", model="a")
        until(lambda: daemon.job(running)["state"] == "working")
        daemon.terminate()
        until(lambda: daemon.said("draining"))
        answer = daemon.http.post("/reload")
        assert answer.status_code == 503 and answer.json()["code"] == "draining"
        assert daemon.wait() == 0
    finally:
        daemon.close()


def test_a_reload_waits_for_the_one_before_which_gives_running_jobs_their_grace(
    tmp_path: Path, tables: tuple[dict[str, Any], ...]
) -> None:
    one, two = tables
    daemon = Configured(tmp_path, written([one, two]), shutdown_grace=3)
    try:
        daemon.start()
        running = submit(daemon, "#slow=60", model="a")
        until(lambda: daemon.job(running)["state"] == "working")
        first = target_of(daemon.job(running))
        left = two if first == "one" else one
        assert daemon.reload(written([left]))["changed"] == [f"targets.{first}"]
        assert (daemon.job(running)["state"], target_of(daemon.job(running))) == ("working", first)
        assert daemon.reload(written([one, two]))["changed"] == [f"targets.{first}"]
        states = [event["state"] for event in daemon.http.get(f"/jobs/{running}/events").json()["events"]]
        assert states.count("queued") == 2  # the grace had passed
        until(lambda: daemon.job(running)["state"] == "working")
        assert daemon.job(running)["attempt"] == 1
        assert not daemon.errors
    finally:
        daemon.close()


def test_a_stop_ends_while_a_target_leaves(tmp_path: Path, tables: tuple[dict[str, Any], ...]) -> None:
    one, two = tables
    daemon = Configured(tmp_path, written([one]), shutdown_grace=1)
    try:
        daemon.start()
        running = submit(daemon, "#slow=60", model="a")
        until(lambda: daemon.job(running)["state"] == "working")
        daemon.reload(written([one | {"ollama_url": two["ollama_url"]}]))
        daemon.terminate()
        assert daemon.wait() == 0 and not daemon.errors
        daemon.start()
        until(lambda: daemon.job(running)["state"] == "working")
        assert daemon.job(running)["attempt"] == 1
    finally:
        daemon.close()


def test_settings_take_effect_while_foreman_runs(daemon: Configured, tables: tuple[dict[str, Any], ...]) -> None:
    one, _ = tables
    http = daemon.http

    def answer(**headers: str) -> int:
        status: int = http.post("/jobs", json={"model": "a", "messages": []}, headers=headers).status_code
        return status

    assert answer() == 202
    text = "max_attempts = 1\nrate = 1\nlog_level = 'warning'\n" + written([one])
    assert daemon.reload_silently(text) == {"changed": ["rate", "max_attempts", "log_level"], "needs_restart": []}
    assert (answer(), answer()) == (202, 429) and not daemon.said("settings are reloaded")
    daemon.reload("max_attempts = 1\n" + written([one]))
    failed = submit(daemon, "#status=500", model="a")
    until(lambda: daemon.job(failed)["state"] == "failed")
    assert daemon.job(failed)["attempt"] == 1
    running = submit(daemon, "#slow=60", model="a")
    until(lambda: daemon.job(running)["state"] == "working")
    daemon.reload("max_queue = 1\n" + written([one]))
    assert (answer(), answer()) == (202, 503)
    daemon.reload("token = 'alice:secret'\n" + written([one]))
    assert answer() == 401 and answer(Authorization="Bearer secret") == 202
    http.headers["Authorization"] = "Bearer secret"
    assert daemon.reload(written([one])) == {"changed": ["token"], "needs_restart": []}
    assert answer(Authorization="") == 202


def test_reloads_at_once_follow_each_other(daemon: Configured, tables: tuple[dict[str, Any], ...]) -> None:
    one, two = tables
    daemon.file.write_text(written([one, two]), encoding="utf-8")
    answers: list[dict[str, Any]] = []

    def ask() -> None:
        with daemon.client() as client:
            answers.append(client.post("/reload").json())

    askers = [threading.Thread(target=ask) for _ in "ab"]
    for asker in askers:
        asker.start()
    os.kill(daemon.pid, signal.SIGHUP)
    for asker in askers:
        asker.join()
    until(lambda: len(daemon.said("settings are reloaded")) == 3)
    lines = daemon.said("settings are reloaded")
    assert sorted(line["changed"] for line in lines) == [[], [], ["targets.two"]]
    assert all(answer["needs_restart"] == [] for answer in answers) and len(answers) == 2
    names = [found["name"].partition("@")[0] for found in daemon.http.get("/targets").json()["targets"]]
    assert names == ["one", "two"]
    assert daemon.ran(submit(daemon, "x", model="c"), "two")


def test_the_command_names_what_has_changed(
    daemon: Configured, tables: tuple[dict[str, Any], ...], capfd: pytest.CaptureFixture[str]
) -> None:
    daemon.file.write_text("max_queue = 7\nfeed_history = 700\n" + written(list(tables)), encoding="utf-8")
    command = [sys.executable, "-m", "foreman", "reload", "--url", daemon.url]
    assert subprocess.run(command, check=False).returncode == 0
    assert capfd.readouterr().out == "changed: targets.two, max_queue\nneeds a restart: feed_history\n"
    daemon.file.write_text("max_queue = 0\n", encoding="utf-8")
    assert subprocess.run(command, check=False).returncode == 4
    assert "max_queue" in capfd.readouterr().err
