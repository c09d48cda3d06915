"""/targets: what there is, and orders to one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.http.conftest import IMPATIENT, Api
from tests.support.foreman import Daemon, Upstream, an_upstream, managed, until

KEYS = [
    "name",
    "kind",
    "url",
    "up",
    "error",
    "away_seconds",
    "draining",
    "slots",
    "slots_auto",
    "running",
    "max_loaded",
    "loaded",
    "models",
    "jobs_done",
    "tokens_per_second",
]

pytestmark = pytest.mark.alone


@pytest.fixture
def second() -> Iterator[Upstream]:
    with an_upstream("--kind", "openai", "--models", "d,e") as upstream:
        yield upstream


@contextmanager
def of_each_kind(folder: Path, upstream: Upstream, second: Upstream) -> Iterator[Api]:
    targets = [
        {"name": "box", "ollama_url": upstream.url, "slots": 2, "token": "hidden"},
        {"name": "cloud", "openai_url": second.url},
        {"name": "gpu", "managed": True, "memory": "20 GiB"},
    ]
    models = [
        *managed("m", memory="8 GiB"),
        {"name": "broken", "command": ["/bin/sh", "-c", "echo it broke; exit 3"], "memory": "1 GiB"},
        {"name": "never", "command": ["/bin/sleep", "1000"], "ready_timeout": 0.2, "memory": "1 GiB"},
    ]
    with Daemon(folder, targets=targets, models=models, **IMPATIENT) as daemon:
        yield Api(daemon, upstream)


@pytest.fixture
def three(data_dir: Path, upstream: Upstream, second: Upstream) -> Iterator[Api]:
    """A Foreman with a target of each kind."""
    with of_each_kind(data_dir, upstream, second) as api:
        yield api


@pytest.fixture(scope="module")
def _unmoved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    folder = tmp_path_factory.mktemp("unmoved") / "data"
    with (
        an_upstream("--kind", "ollama") as upstream,
        an_upstream("--kind", "openai", "--models", "d,e") as second,
        of_each_kind(folder, upstream, second) as api,
    ):
        yield api


@pytest.fixture
def unmoved(_unmoved: Api) -> Iterator[Api]:
    """The same, which a test leaves as it was."""
    before = _unmoved.http.get("/targets").json()
    yield _unmoved
    assert _unmoved.http.get("/targets").json() == before
    assert _unmoved.daemon.errors == []


def of(api: Api, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in api.http.get("/targets").json()["targets"] if one["name"] == name)
    return found


def said(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, str(answer.json()["code"])


def test_all_targets_are_described(three: Api, second: Upstream) -> None:
    answer = three.http.get("/targets").json()
    assert [one["name"] for one in answer["targets"]] == ["box", "cloud", "gpu"]
    assert all(list(one) == KEYS for one in answer["targets"])
    box, cloud, gpu = answer["targets"]
    assert (box["kind"], box["url"], box["slots"], box["models"]) == ("ollama", three.upstream.url, 2, ["a", "b", "c"])
    assert (cloud["kind"], cloud["url"], cloud["models"], cloud["max_loaded"]) == ("openai", second.url, ["d", "e"], 1)
    assert (gpu["kind"], gpu["url"], gpu["max_loaded"], gpu["loaded"]) == ("managed", None, 3, [])
    assert [(one["up"], one["error"], one["draining"], one["jobs_done"]) for one in answer["targets"]] == [
        (True, None, False, 0)
    ] * 3
    assert "hidden" not in str(answer)


def test_models_that_a_target_does_not_take_are_not_shown(data_dir: Path, upstream: Upstream) -> None:
    targets = [{"name": "box", "ollama_url": upstream.url, "models": ["a*"]}]
    with Daemon(data_dir, targets=targets, **IMPATIENT) as daemon:
        api = Api(daemon, upstream)
        assert [model["name"] for model in api.http.get("/api/tags").json()["models"]] == ["a"]
        assert [model["id"] for model in api.http.get("/v1/models").json()["data"]] == ["a"]
        assert [api.http.post("/api/show", json={"model": name}).status_code for name in "ab"] == [200, 404]
        assert api.ended(api.submit("x", "a"))["state"] == "done"
        assert [model["name"] for model in api.http.get("/api/ps").json()["models"]] == ["a"]


def test_what_a_target_has_done_is_counted(three: Api) -> None:
    job = three.ended(three.submit("x #chunks=5", "b"))
    assert job["target"] == "box"
    box = of(three, "box")
    assert (box["jobs_done"], box["running"]) == (1, 0)
    assert box["tokens_per_second"] > 0
    (loaded,) = box["loaded"]
    assert (loaded["model"], loaded["load_key"]) == ("b", "b")
    assert job["created_at"] <= loaded["since"]
    told = until(lambda: next((one for one in of(three, "box")["loaded"] if one["size"]), None))  # by the next look
    assert told is not None
    assert (told["since"], told["size"], told["size_vram"], told["expires_at"]) == (loaded["since"], 1, None, None)
    queue = three.http.get("/queue").json()
    assert queue["targets"][0] == {
        "name": "box",
        "up": True,
        "draining": False,
        "slots": 2,
        "running": 0,
        "loaded": ["b"],
    }
    assert [one["name"] for one in queue["targets"]] == ["box", "cloud", "gpu"]
    assert (queue["slots"], queue["resident"]) == (4, "b")
    assert three.ended(three.submit("#status=400", "b"))["state"] == "failed"
    assert of(three, "box")["jobs_done"] == 1
    counted = [
        line for line in three.http.get("/metrics").text.splitlines() if "foreman_target_attempts_total{" in line
    ]
    assert counted == [
        'foreman_target_attempts_total{outcome="done",target="box"} 1.0',
        'foreman_target_attempts_total{outcome="target_refused",target="box"} 1.0',
    ]


def test_a_target_that_is_away_makes_foreman_degraded_and_says_why(three: Api, second: Upstream) -> None:
    second.stop()
    until(lambda: three.http.get("/healthz").json()["degraded"])
    health = three.http.get("/healthz")
    assert health.status_code == 200
    assert "cannot reach cloud" in health.json()["target_error"]
    assert of(three, "cloud")["up"] is False
    assert "cannot reach cloud" in of(three, "cloud")["error"]
    assert of(three, "box")["up"] is True
    assert three.ended(three.submit("x", "a"))["state"] == "done"


def test_a_drained_target_takes_no_jobs_also_after_a_restart(three: Api) -> None:
    drained = three.http.post("/targets/box/drain")
    assert (drained.status_code, drained.json()["draining"]) == (200, True)
    waiting = three.submit("x", "a")
    assert three.ended(three.submit("x", "d"))["target"] == "cloud"
    assert three.http.post("/targets/box/drain").status_code == 200
    three.daemon.terminate()
    assert three.daemon.wait() == 0
    three.daemon.start()
    assert [of(three, name)["draining"] for name in ("box", "cloud", "gpu")] == [True, False, False]
    assert three.ended(three.submit("x", "d"))["state"] == "done"
    assert (three.job(waiting)["state"], three.job(waiting)["attempt"]) == ("queued", 0)
    assert three.http.get("/queue").json()["targets"][0]["draining"] is True
    assert three.http.post("/targets/box/resume").json()["draining"] is False
    assert three.ended(waiting)["attempt"] == 1


def test_a_drained_target_gives_a_running_job_back_unspent_after_the_grace(
    data_dir: Path, upstream: Upstream, second: Upstream
) -> None:
    targets = [{"name": "box", "ollama_url": upstream.url}, {"name": "cloud", "openai_url": second.url}]
    with Daemon(data_dir, targets=targets, shutdown_grace=0.5, **IMPATIENT) as daemon:
        api = Api(daemon, upstream)
        job_id = api.submit("#slow=60", "a")
        api.until_state("working", job_id)
        drained = api.http.post("/targets/box/drain").json()
        assert (drained["draining"], drained["running"]) == (True, 1)
        api.until_state("queued", job_id)
        job = api.job(job_id)
        assert (job["attempt"], job["target"], job["error_code"]) == (0, "box", "target_drained")
        assert of(api, "box")["running"] == 0 and not api.http.get("/healthz").json()["degraded"]
        api.http.post("/targets/box/resume")
        api.until_state("working", job_id)
        assert api.job(job_id)["attempt"] == 1


def test_a_model_is_loaded_and_unloaded(three: Api) -> None:
    for target, model in (("box", "c"), ("gpu", "m")):
        loaded = three.http.post(f"/targets/{target}/load", json={"model": model})
        assert loaded.status_code == 200, loaded.text
        assert [one["model"] for one in loaded.json()["loaded"]] == [model]
        (before,) = loaded.json()["loaded"]
        (again,) = three.http.post(f"/targets/{target}/load", json={"model": model}).json()["loaded"]
        assert again["since"] == before["since"]  # its size may have become known
        unloaded = three.http.post(f"/targets/{target}/unload", json={"model": model})
        assert unloaded.json()["loaded"] == []
    assert three.http.post("/targets/gpu/unload", json={"model": "m"}).json()["loaded"] == []
    assert three.upstream.log()["loads"] == {"c": 1}


def test_a_model_that_cannot_be_loaded_is_an_error(three: Api) -> None:
    broken = three.http.post("/targets/gpu/load", json={"model": "broken"})
    assert said(broken) == (502, "model_crashed")
    assert "it broke" in broken.json()["error"]
    never = three.http.post("/targets/gpu/load", json={"model": "never"})
    assert said(never) == (502, "model_crashed")
    assert "was not ready within 0.2 s" in never.json()["error"]
    assert three.http.post("/targets/gpu/unload", json={"model": "never"}).status_code == 200


def test_a_load_ends_when_ollama_does_not_load(data_dir: Path) -> None:
    slow = an_upstream("--kind", "ollama", "--load-time", "60")
    with slow as upstream, Daemon(data_dir, ollama_url=upstream.url, load_timeout=0.2) as daemon:
        answer = daemon.http.post("/targets/ollama/load", json={"model": "a"})
        assert said(answer) == (504, "load_timeout")
        assert daemon.http.get("/targets").json()["targets"][0]["loaded"] == []


def test_an_unload_waits_for_jobs_and_no_longer_than_an_attempt_may_take(data_dir: Path) -> None:
    with Daemon(data_dir, models=managed("m"), attempt_timeout=1) as daemon:
        api = Api(daemon, Upstream())
        job_id = api.submit("#silent", "m", timeout=600)
        api.until_state("working", job_id)
        late = daemon.http.post("/targets/managed/unload", json={"model": "m"})
        assert said(late) == (504, "attempt_timeout")
        assert "drain the target" in late.json()["hint"]
        api.http.post(f"/jobs/{job_id}/cancel")
        assert daemon.http.post("/targets/managed/unload", json={"model": "m"}).json()["loaded"] == []


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "words"),
    [
        ("nowhere/drain", None, 404, "target_not_found", "box, cloud, gpu"),
        ("nowhere/resume", None, 404, "target_not_found", "box, cloud, gpu"),
        ("nowhere/load", {"model": "a"}, 404, "target_not_found", "box, cloud, gpu"),
        ("box/load", {"model": "d"}, 404, "model_not_found", "a, b, c"),
        ("box/unload", {"model": "d"}, 404, "model_not_found", "a, b, c"),
        ("cloud/load", {"model": "d"}, 422, "wrong_target", "loads models by itself"),
        ("cloud/unload", {"model": "d"}, 422, "wrong_target", "loads models by itself"),
        ("box/load", {}, 400, "model_required", "model is required"),
        ("box/load", {"model": 3}, 422, "field_invalid", "model"),
        ("box/load", {"model": "a", "keep_alive": 3}, 422, "field_invalid", "keep_alive"),
        ("box/load", [], 400, "invalid_json", "must be a JSON object"),
        ("box/fly", None, 404, "not_found", ""),
    ],
)
def test_a_wrong_order_says_what_is_right(
    unmoved: Api, path: str, body: object, status: int, code: str, words: str
) -> None:
    answer = unmoved.http.post(f"/targets/{path}", json=body)
    assert said(answer) == (status, code)
    assert words in answer.text


def test_the_log_of_a_managed_target_is_shown(three: Api) -> None:
    assert three.http.get("/targets/gpu/log").json() == {"logs": []}
    three.http.post("/targets/gpu/load", json={"model": "broken"})
    three.http.post("/targets/gpu/load", json={"model": "broken"})
    assert three.http.get("/targets/gpu/log").json() == {
        "logs": [{"model": "broken", "lines": ["it broke", "it broke"]}]
    }
    assert three.http.get("/targets/gpu/log?lines=1").json()["logs"][0]["lines"] == ["it broke"]
    assert said(three.http.get("/targets/gpu/log?lines=0")) == (422, "field_invalid")
    assert said(three.http.get("/targets/gpu/log?lines=1001")) == (422, "field_invalid")
    assert said(three.http.get("/targets/gpu/log?line=5")) == (422, "field_invalid")
    assert said(three.http.get("/targets/box/log")) == (422, "wrong_target")
    assert said(three.http.get("/targets/nowhere/log")) == (404, "target_not_found")


def test_jobs_are_counted_by_caller(fresh: Callable[..., Api]) -> None:
    api = fresh(token="alice:one,bob:two", admin_token="boss", private_jobs=True)
    headers = {name: {"Authorization": f"Bearer {token}"} for name, token in (("alice", "one"), ("bob", "two"))}
    boss = {"Authorization": "Bearer boss"}
    api.http.post("/queue/pause", headers=boss)
    for _ in range(2):
        api.post("x", headers=headers["alice"])
    api.post("x", headers=headers["bob"])

    def by_caller(who: dict[str, str]) -> object:
        return api.http.get("/queue", headers=who).json()["by_caller"]

    alice, bob = {"queued": 2, "running": 0}, {"queued": 1, "running": 0}
    assert by_caller(boss) == {"alice": alice, "bob": bob}
    assert (by_caller(headers["alice"]), by_caller(headers["bob"])) == ({"alice": alice}, {"bob": bob})
    for path in ("box/drain", "ollama/drain", "ollama/load"):
        assert said(api.http.post(f"/targets/{path}", headers=headers["bob"])) == (403, "admin_required")
    assert said(api.http.get("/targets/ollama/log", headers=headers["bob"])) == (403, "admin_required")
    assert api.http.post("/targets/ollama/drain", headers=boss).json()["draining"] is True
