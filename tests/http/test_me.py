"""Who the caller is: its name, its rights, and what is left of its quotas."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from foreman import __version__
from tests.http.conftest import Api
from tests.support.api import chat

Fresh = Callable[..., Api]


def me(api: Api, secret: str | None = None) -> dict[str, Any]:
    answer = api.http.get("/me", headers={"Authorization": f"Bearer {secret}"} if secret else {})
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    found: dict[str, Any] = answer.json()
    return found


def test_without_tokens_the_caller_has_no_name_and_may_do_everything(api: Api) -> None:
    found = me(api, "some token that nobody asked for")
    assert (found["name"], found["token"], found["token_required"], found["admin_token_set"]) == (
        None,
        None,
        False,
        False,
    )
    assert found["rights"] == ["read", "submit", "admin"]
    assert found["sees_all"]
    assert set(found["quotas"].values()) == {None}
    assert found["version"] == __version__
    assert found["node"]


def test_a_token_has_its_name_its_rights_and_what_is_left_of_its_quotas(fresh: Fresh) -> None:
    limits = {"waiting": 3, "running": 2, "tokens_per_hour": 1000, "max_files": 1}
    tokens = "alice:one,bob:two,three"
    quotas = json.dumps({"alice": limits, "bob": {"waiting": 5}})
    api = fresh(token=tokens, admin_token="boss,eve:four", quotas=quotas, rate=60, rate_burst=10)
    assert api.http.get("/me").status_code == 401
    api.http.headers["Authorization"] = "Bearer one"
    done = api.http.post("/jobs", json=chat("#tokens=5 x"), headers={"Prefer": "wait=30"}).json()
    spent = sum(done["result"][name] for name in ("prompt_eval_count", "eval_count"))
    api.submit("x", not_before="2090-01-01T00:00:00Z")
    uploaded = api.http.post("/v1/files", files={"file": ("a.jsonl", b"{}")}, data={"purpose": "batch"})
    assert uploaded.status_code == 200, uploaded.text
    found = me(api, "one")
    assert (found["name"], found["token"], found["rights"]) == ("alice", "token", ["read", "submit"])
    assert (found["token_required"], found["admin_token_set"], found["private_jobs"]) == (True, True, False)
    assert found["quotas"]["waiting"] == {"limit": 3, "used": 1, "left": 2}
    assert found["quotas"]["running"] == {"limit": 2, "used": 0, "left": 2}
    assert found["quotas"]["tokens_per_hour"] == {"limit": 1000, "used": spent, "left": 1000 - spent}
    assert found["quotas"]["max_files"] == {"limit": 1, "used": 1, "left": 0}
    assert found["quotas"]["rate"]["limit"] == 10
    bob = me(api, "two")["quotas"]
    assert bob["waiting"] == {"limit": 5, "used": 0, "left": 5}
    assert bob["running"] is None
    assert bob["rate"] == {"limit": 10, "used": 0, "left": 10}
    assert me(api, "three")["name"] is None
    for secret, name in (("boss", "admin"), ("four", "eve")):
        admin = me(api, secret)
        assert (admin["name"], admin["token"], admin["rights"][-1]) == (name, "admin_token", "admin")


def test_with_private_jobs_one_sees_ones_own_and_without_an_admin_token_nobody_is_admin(fresh: Fresh) -> None:
    api = fresh(token="alice:one", private_jobs=True)
    found = me(api, "one")
    assert (found["sees_all"], found["private_jobs"], found["rights"]) == (False, True, ["read", "submit"])
