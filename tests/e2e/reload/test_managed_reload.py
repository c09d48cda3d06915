"""Managed models that change while Foreman runs: what stays the same goes on."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from tests.support.api import submit
from tests.support.configured import Configured, written
from tests.support.foreman import managed, until

GPU = {"name": "gpu", "managed": True, "memory": 3}
OTHER = {"name": "other", "managed": True}


def settings(*models: dict[str, Any], gpu: dict[str, Any] = GPU, more: tuple[dict[str, Any], ...] = ()) -> str:
    return written([gpu, *more]) + written(list(models), "models")


def model(name: str, **fields: Any) -> dict[str, Any]:
    return {**managed(name)[0], "target": "gpu", "memory": 1, **fields}


A, B = model("a"), model("b")


@pytest.fixture
def at_start() -> str:
    return settings(A, B)


def pid_of(daemon: Configured, name: str) -> int:
    found: int = daemon.http.get(f"/upstream/{name}/_log").json()["pid"]
    return found


def children_of(pid: int) -> list[str]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [child for task in tasks for child in task.read_text(encoding="ascii").split()]


def working(daemon: Configured, text: str, name: str) -> str:
    job = submit(daemon, text, model=name)
    until(lambda: daemon.job(job)["state"] == "working")
    return job


def loaded(daemon: Configured) -> list[str]:
    return sorted(found["model"] for found in daemon.http.get("/targets").json()["targets"][0]["loaded"])


def test_models_are_added_changed_and_removed_while_others_go_on(daemon: Configured) -> None:
    pids = {name: pid_of(daemon, name) for name in "ab"}
    running = working(daemon, "#slow=1", "b")
    changed = daemon.reload(settings(A, B | {"ttl": 60}, model("c"), gpu=GPU | {"memory": 4, "slots": 2}))
    assert changed == {"changed": ["targets.gpu", "models.b", "models.c"], "needs_restart": []}
    assert daemon.ran(submit(daemon, "beside it", model="a"), "gpu")
    assert daemon.ran(running, "gpu") and daemon.job(running)["attempt"] == 1  # of no grace
    until(lambda: daemon.http.get("/targets").json()["targets"][0]["models"] == ["a", "b", "c"])
    assert all(daemon.ran(submit(daemon, "x", model=name), "gpu") for name in ("c", "b"))
    assert pid_of(daemon, "a") == pids["a"] and pid_of(daemon, "b") != pids["b"]
    assert loaded(daemon) == ["a", "b", "c"]
    assert daemon.hang_up(settings(A), "settings are reloaded")["changed"] == ["targets.gpu", "models.b", "models.c"]
    until(lambda: loaded(daemon) == ["a"])
    assert pid_of(daemon, "a") == pids["a"]
    assert daemon.http.post("/jobs", json={"model": "c", "messages": []}).status_code == 404


def refused(daemon: Configured, job: str) -> bool:
    until(lambda: daemon.job(job)["state"] in ("done", "failed"))
    return bool(daemon.job(job)["state"] == "failed" and daemon.job(job)["error_code"] == "target_refused")


def test_jobs_of_a_model_that_no_target_has_any_more_are_refused(daemon: Configured) -> None:
    running = working(daemon, "#slow=1", "b")
    waiting = [submit(daemon, f"{number}", model="b") for number in range(3)]
    daemon.reload(settings(A))
    assert daemon.ran(running, "gpu") and daemon.ran(submit(daemon, "x", model="a"), "gpu")
    assert all(refused(daemon, job) for job in waiting)


def test_jobs_follow_their_model_to_another_target(daemon: Configured) -> None:
    running = working(daemon, "#slow=1", "b")
    waiting = [submit(daemon, f"{number}", model="b") for number in range(3)]
    daemon.reload(settings(A, managed("b")[0] | {"target": "other"}, more=(OTHER,)))
    assert all(daemon.ran(job, "other") and daemon.job(job)["attempt"] == 1 for job in waiting)
    assert daemon.ran(running, "gpu")


@pytest.mark.parametrize("moved", [True, False], ids=["to another target", "altogether"])
def test_a_job_whose_model_is_removed_while_it_loads_goes_back(daemon: Configured, moved: bool) -> None:
    daemon.reload(settings(A, model("slow", command=[*A["command"], "--never-ready"])))
    loading = submit(daemon, "x", model="slow")
    until(lambda: daemon.job(loading)["state"] == "loading")
    if moved:
        daemon.reload(settings(A, managed("slow")[0] | {"target": "other"}, more=(OTHER,)))
        assert daemon.ran(loading, "other") and daemon.job(loading)["attempt"] == 1
    else:
        daemon.reload(settings(A))
        assert refused(daemon, loading)
    assert daemon.ran(submit(daemon, "x", model="a"), "gpu")


@pytest.mark.parametrize("moved", [True, False], ids=["to another target", "altogether"])
@pytest.mark.parametrize("whole", [True, False], ids=["the target", "the model"])
def test_calls_past_the_queue_that_wait_for_a_server_end_with_it(daemon: Configured, moved: bool, whole: bool) -> None:
    never_ready = {"command": [*A["command"], "--never-ready"]}
    daemon.reload(settings(A, model("e", embedding=True, **never_ready), model("slow", **never_ready)))
    answers: dict[str, int] = {}

    def ask(path: str) -> None:
        with daemon.client() as client:
            name = "slow" if "slow" in path else "e"
            answers[path] = client.post(path, json={"model": name, "input": "x"}).status_code

    paths = ("/v1/embeddings", "/upstream/e/v1/embeddings", "/upstream/slow/v1/embeddings")
    askers = [threading.Thread(target=ask, args=[path]) for path in paths]
    for asker in askers:
        asker.start()
    until(lambda: len(children_of(daemon.pid)) == 2)
    e, slow, z = (managed(name)[0] | {"target": "other"} for name in ("e", "slow", "z"))
    others = (z, e | {"embedding": True}, slow) if moved else (z,)
    targets, models = ([OTHER], others) if whole else ([GPU, OTHER], (A, *others))
    daemon.reload(written(targets) + written([*models], "models"))
    for asker in askers:
        asker.join()
    assert answers == dict.fromkeys(paths, 200 if moved else 404)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (settings(A, B | {"memory": 4}), "setting models.b.memory"),
        (settings(A, B | {"target": "none"}), "setting models.b.target"),
        (settings(A, B | {"command": []}), "models.1.command"),
        (settings(A, B, A), "names and aliases must be unique"),
        (settings(A, B | {"env": "X"}), "setting models.1.env"),
        (settings(A, B | {"ready": "{m}"}) + '[macros]\nm = "{m}"\n', "the macro m contains itself"),
        (settings(), "must have a model"),
    ],
)
def test_a_wrong_model_changes_nothing(daemon: Configured, text: str, why: str) -> None:
    pid = pid_of(daemon, "b")
    daemon.write(text)
    answer = daemon.http.post("/reload")
    assert answer.status_code == 422 and answer.json()["code"] == "setting_invalid" and why in answer.text
    assert why in daemon.hang_up(text, "settings are not reloaded")["why"]
    assert loaded(daemon) == ["b"] and pid_of(daemon, "b") == pid
    assert daemon.reload(settings(A, B)) == {"changed": [], "needs_restart": []}


def test_a_stop_ends_while_a_server_gives_its_last_answers(daemon: Configured) -> None:
    running = working(daemon, "#slow=60", "b")
    daemon.reload(settings(A))
    assert daemon.job(running)["state"] == "working"
    daemon.terminate()
    assert daemon.wait() == 0
