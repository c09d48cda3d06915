"""Jobs for managed models on two targets of one process, whose servers are real children."""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from foreman.targets.managed import model_file
from tests.e2e.jobs.conftest import together
from tests.support.api import chat, submit_many, target_of
from tests.support.foreman import Daemon, managed, until

TARGETS = [
    {"name": "gpu0", "managed": True, "slots": 4, "memory": "22 GiB"},
    {"name": "gpu1", "managed": True, "slots": 2, "memory": "12 GiB"},
]


def embedded(*names: str) -> list[dict[str, object]]:
    """The setting `models`: managed models served by the embedded engine."""
    options = ["--model", str(model_file.DEFAULT_MODEL), "--ctx", "512", "--slots", "2", "--threads", "1"]
    command = [sys.executable, "-m", "foreman", "engine", *options, "--alias", "{name}"]
    return [{"name": name, "command": command} for name in names]


def serving(names: list[str]) -> set[str]:
    """Return which of the models have a server that lives now, by the arguments of all processes but the leashes."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = path.read_text().split("\0")
        except OSError:  # it has ended
            continue
        if arguments[1:3] in (["-m", "tests.support.target"], ["-m", "foreman"]):
            found |= set(names) & set(arguments)
    return found


@pytest.mark.parametrize("kind", ["scripted", "embedded"])
def test_models_that_fit_work_at_once_and_the_third_takes_the_place_of_one(kind: str, tmp_path: Path) -> None:
    names = [f"{letter}{os.getpid()}" for letter in "abcd"]
    a, b, c, d = names
    text, fields = "hello #slow=0.3", {}
    models = managed(*names)
    if kind == "embedded":
        pytest.importorskip("xllamacpp")
        text, fields = "Tell a long story.", {"options": {"num_predict": 16}}
        models = embedded(*names)
    for model in models:
        model |= (
            {"target": "gpu1", "memory": "12 GiB"} if model["name"] == d else {"target": "gpu0", "memory": "11 GiB"}
        )
    seen: list[set[str]] = []
    with Daemon(tmp_path / "data", targets=TARGETS, models=models, starvation_limit="1h") as daemon:

        def done() -> list[dict[str, Any]]:
            seen.append(serving([a, b, c]))
            return list(daemon.http.get("/jobs", params={"state": "done", "limit": 100}).json()["jobs"])

        jobs = [chat(f"{n} {text}", model, **fields) for n in range(4) for model in (a, b, d)]
        submit_many(daemon, jobs)
        until(lambda: len(done()) == 12)
        submit_many(daemon, [chat(f"{n} {text}", model, **fields) for n in range(2) for model in (c, b, d)])
        until(lambda: len(done()) == 18)
        ran = Counter((target_of(job), job["model"]) for job in done())
        steps = list(together(daemon))
    assert ran == {("gpu0", a): 4, ("gpu0", b): 6, ("gpu0", c): 2, ("gpu1", d): 6}
    assert max(map(len, seen)) == 2 and any(c in alive for alive in seen)
    assert all(len({model for target, model in running if target == "gpu0"}) <= 2 for running, _ in steps)
    assert any(working >= {("gpu0", a), ("gpu0", b)} for _, working in steps)
    assert any({target for target, _ in working} == {"gpu0", "gpu1"} for _, working in steps)
