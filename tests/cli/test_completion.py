"""What a shell is told to complete, against a real Foreman."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import ROOT, TOKEN, App, Invoke, environment
from tests.cli.test_job_actions import LATER

Complete = Callable[..., list[str]]


@pytest.fixture(scope="module")
def jobs(app: App) -> dict[str, str]:
    """The ids of jobs by their state."""
    with app.client() as client:
        queued, cancelled = (client.submit("a", "hi", payload={"not_before": LATER}).job_id for _ in range(2))
        client.cancel(cancelled)
        done = client.submit("b", "hi").job_id
        client.wait(done)
    return {"queued": queued, "cancelled": cancelled, "done": done}


def at(app: App) -> dict[str, str]:
    return {"FOREMAN_URL": app.url, "FOREMAN_TOKEN": TOKEN}


@pytest.fixture
def complete(invoke: Invoke) -> Complete:
    """What is offered for the last of some words; nothing may be said besides."""

    def ask(*words: str, shell: str = "bash", **env: str) -> list[str]:
        asked = {"COMP_WORDS": " ".join(["foreman", *words]), "COMP_CWORD": str(len(words))}
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {"_FOREMAN_COMPLETE": f"{shell}_complete", **asked, **env}.items():
                patch.setenv(name, value)
            result = invoke()
        assert (result.exit_code, result.stderr) == (0, "")
        return [line for line in result.stdout.splitlines() if line]

    return ask


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_script(invoke: Invoke, shell: str) -> None:
    result = invoke("completion", shell)
    assert (result.exit_code, result.stderr) == (0, "")
    assert f"_FOREMAN_COMPLETE={shell}_complete" in result.stdout


def test_bash_completes_verbs_and_ids_with_it(app: App, jobs: dict[str, str], tmp_path: Path) -> None:
    bash = shutil.which("bash")
    assert bash
    (tmp_path / "foreman").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m foreman "$@"\n', encoding="utf-8")
    (tmp_path / "foreman").chmod(0o755)
    script = (
        'source <(foreman completion bash); COMP_WORDS=(foreman "$@"); COMP_CWORD=$#\n'
        '_foreman_completion foreman; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    env = environment(**at(app), PATH=f"{tmp_path}:{os.environ['PATH']}")
    for words, offered in ((["can"], ["cancel"]), (["cancel", ""], [jobs["queued"]])):
        done = subprocess.run(
            [bash, "-c", script, "bash", *words],
            env=env,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert (done.stdout.split(), done.stderr) == (offered, "")


def test_a_verb_is_offered_the_jobs_that_it_is_for(app: App, complete: Complete, jobs: dict[str, str]) -> None:
    offered = {
        verb: {line.removeprefix("plain,") for line in complete(verb, "", **at(app))}
        for verb in ("cancel", "retry", "rm", "logs")
    }
    assert offered == {
        "cancel": {jobs["queued"]},
        "retry": {jobs["cancelled"]},
        "rm": {jobs["cancelled"], jobs["done"]},
        "logs": set(jobs.values()),
    }


def test_what_is_begun_or_given_already_narrows_it(app: App, complete: Complete, jobs: dict[str, str]) -> None:
    begun = jobs["done"][:-1].lower()
    assert complete("show", begun, **at(app)) == [f"plain,{jobs['done']}"]
    assert complete("rm", jobs["done"], "", **at(app)) == [f"plain,{jobs['cancelled']}"]


def test_shells_that_show_more_get_the_state_and_the_model(app: App, complete: Complete, jobs: dict[str, str]) -> None:
    assert complete("retry", "", shell="zsh", **at(app)) == ["plain", jobs["cancelled"], "cancelled a"]


def test_models_are_completed(app: App, complete: Complete) -> None:
    for words in (["submit", "--model"], ["jobs", "-m"], ["doctor", "-m"]):
        assert complete(*words, "", **at(app)) == ["plain,a", "plain,b", "plain,c"]


def test_without_a_foreman_or_its_token_nothing_is_offered(app: App, complete: Complete) -> None:
    assert complete("cancel", "", FOREMAN_URL="http://127.0.0.1:1") == []
    assert complete("submit", "-m", "", FOREMAN_URL=app.url) == []
