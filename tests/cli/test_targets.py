"""`foreman targets`, `drain`, `resume NAME`, `load` and `unload` against a Foreman with several targets."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Invoke
from tests.support.foreman import Daemon, an_upstream, managed, until


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("targets") / "data"
    with an_upstream("--kind", "ollama") as one, an_upstream("--kind", "ollama", "--models", "a,d:latest") as two:
        targets = [
            {"name": "one", "ollama_url": one.url},
            {"name": "two", "ollama_url": two.url, "slots": 4},
            {"name": "gpu", "managed": True},
            {"name": "gone", "openai_url": "http://127.0.0.1:1"},
        ]
        with Daemon(folder, targets=targets, models=managed("m")) as daemon:
            yield daemon


@pytest.fixture
def told(invoke: Invoke, daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    monkeypatch.setenv("FOREMAN_URL", daemon.url)
    return invoke


def test_targets_are_listed(told: Invoke) -> None:
    shown = told("targets")
    head, *rows = [line.split() for line in shown.stdout.splitlines()]
    assert head == ["NAME", "STATE", "RUNNING", "SPEED", "DONE", "KIND", "LOADED"]
    assert [row[:7] for row in rows] == [  # what other tests have loaded comes behind
        ["one", "up", "0", "of", "1", "0", "ollama"],
        ["two", "up", "0", "of", "4", "0", "ollama"],
        ["gpu", "up", "0", "of", "1", "0", "managed"],
        ["gone", "away", "0", "of", "1", "0", "openai"],
    ]
    assert re.match(r"gone has been away for \d+ s: cannot reach gone", shown.stderr)
    assert told("targets", "--quiet").stdout == "one\ntwo\ngpu\ngone\n"
    assert [one["name"] for one in json.loads(told("targets", "--json").stdout)["targets"]] == [
        "one",
        "two",
        "gpu",
        "gone",
    ]


def test_a_target_is_drained_and_resumed(told: Invoke) -> None:
    assert told("drain", "one").stdout == "one is drained: no job runs there\n"
    assert told("targets").stdout.splitlines()[1].split()[:2] == ["one", "drained"]
    assert "; one is drained;" in told("ps").stderr
    assert json.loads(told("drain", "one", "--json").stdout)["draining"] is True
    assert told("resume", "one").stdout == "one takes jobs\n"
    assert json.loads(told("resume", "one", "--json").stdout)["draining"] is False
    unknown = told("drain", "nowhere")
    assert (unknown.exit_code, unknown.stdout) == (4, "")
    assert unknown.stderr == "foreman: there is no target 'nowhere': the targets are: one, two, gpu, gone\n"


def test_a_model_is_loaded_and_unloaded(told: Invoke, daemon: Daemon) -> None:
    for model, target in (("b", "one"), ("d", "two"), ("m", "gpu")):
        assert told("load", model).stdout == f"{model} is loaded on {target}\n"
    rows = [line.split() for line in told("targets").stdout.splitlines()]
    assert [row[-1] for row in rows[1:4]] == ["b", "d:latest", "m"]
    for model, target in (("b", "one"), ("d", "two"), ("m", "gpu")):
        assert told("unload", model).stdout == f"{model} is unloaded from {target}\n"
    assert all(not one["loaded"] for one in daemon.http.get("/targets").json()["targets"])


def test_where_several_have_the_model_one_must_be_chosen(told: Invoke) -> None:
    several = told("load", "a")
    assert several.exit_code == 2
    assert "several targets may have a: choose one of them with --target: one, two" in several.stderr
    assert json.loads(told("load", "a", "--target", "two", "--json").stdout)["loaded"][0]["model"] == "a"
    assert told("unload", "a").stdout == "a is unloaded from two\n"
    unknown = told("load", "x", "--target", "one")
    assert (unknown.exit_code, unknown.stderr) == (4, "foreman: model not found: one has: a, b, c\n")
    by_itself = told("load", "x", "--target", "gone")
    assert by_itself.exit_code == 4
    assert "loads models by itself" in by_itself.stderr


def test_where_a_job_runs_is_shown(told: Invoke, daemon: Daemon) -> None:
    job_id = daemon.http.post(
        "/jobs", json={"model": "d", "messages": [{"role": "user", "content": "#silent"}]}
    ).json()["job_id"]
    try:
        until(lambda: daemon.http.get(f"/jobs/{job_id}").json()["state"] == "working")
        heads, row = told("ps").stdout.splitlines()
        assert heads.split() == ["ID", "STATE", "PRIORITY", "FOR", "READY", "IN", "TARGET", "MODEL"]
        assert row.split()[0] == job_id and row.split()[-2:] == ["two", "d"]
        assert ["target", "two"] in [line.split() for line in told("show", job_id).stdout.splitlines()]
    finally:
        told("cancel", job_id)


def test_only_the_models_of_targets_that_are_away_are_away(told: Invoke, tmp_path: Path) -> None:
    with (
        an_upstream("--kind", "ollama", "--models", "a,b") as one,
        an_upstream("--models", "b,c") as two,
        Daemon(tmp_path / "data", ollama_url=f"{one.url},{two.url}", poll_interval="50 ms") as daemon,
    ):
        until(lambda: len(daemon.http.get("/api/tags").json()["models"]) == 3)
        two.stop()
        until(lambda: daemon.http.get("/queue").json()["degraded"])
        shown = told("models", "--url", daemon.url)
    heads, *rows = [line.split() for line in shown.stdout.splitlines()]
    assert heads[-2:] == ["TARGET", "MODEL"]
    where = [["ollama", "a"], ["ollama,", "ollama-2", "b"], ["ollama-2", "c"]]
    assert [row[-len(place) :] for row, place in zip(rows, where, strict=True)] == where
    assert [row[0] for row in rows] == ["ready", "ready", "away"]
    assert shown.stderr.startswith("ollama-2 has been away for ")


def test_doctor_names_the_target_that_a_running_foreman_cannot_reach(told: Invoke, daemon: Daemon) -> None:
    found = told("doctor", "--url", daemon.url, "--data-dir", str(daemon.data_dir / "none")).stdout
    assert f"the one at {daemon.url} cannot reach gone" in found


def test_the_log_of_a_managed_target_is_shown(told: Invoke, daemon: Daemon) -> None:
    log = daemon.data_dir / "logs" / "gpu" / "m.log"
    nothing = told("targets", "log", "one")
    assert (nothing.exit_code, nothing.stdout) == (4, "")
    told("load", "m")
    until(log.exists)
    shown = told("targets", "log", "gpu", "-n", "1").stdout
    assert shown.splitlines() == log.read_text().splitlines()[-1:]
    assert json.loads(told("targets", "log", "gpu", "--json").stdout)["logs"][0]["model"] == "m"


def test_a_model_that_only_an_openai_server_has_is_refused_in_its_name(told: Invoke, tmp_path: Path) -> None:
    with (
        an_upstream("--kind", "ollama", "--models", "a") as one,
        an_upstream("--kind", "openai", "--models", "b") as two,
        Daemon(tmp_path / "data", ollama_url=one.url, openai_url=two.url) as daemon,
    ):
        refused = told("load", "b", "--url", daemon.url)
        unknown = told("submit", "--no-wait", "-m", "x", "hi", "--url", daemon.url)
    assert (refused.exit_code, refused.stdout) == (4, "")
    assert "openai is an OpenAI-compatible server, which loads models by itself" in refused.stderr
    assert unknown.stderr == "foreman: model 'x' not found: the targets have: a, b\n"
