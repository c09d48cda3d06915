"""/settings: the settings in force, for those who may manage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.http.conftest import Api

Fresh = Callable[..., Api]


def found(api: Api, secret: str) -> dict[str, dict[str, Any]]:
    answer = api.http.get("/settings", headers={"Authorization": f"Bearer {secret}"})
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    assert "hush" not in answer.text
    return {one["name"]: one for one in answer.json()["settings"]}


def test_an_admin_sees_the_settings_in_force_without_secrets_and_nobody_else_does(fresh: Fresh) -> None:
    api = fresh(token="alice:hush1", admin_token="hush2", slots=3)
    refused = api.http.get("/settings", headers={"Authorization": "Bearer hush1"})
    assert (refused.status_code, refused.json()["code"]) == (403, "admin_required")
    told = found(api, "hush2")
    assert told["token"]["value"] == told["admin_token"]["value"] == ["***"]
    assert (told["slots"]["value"], told["slots"]["is_default"], told["slots"]["default"]) == (3, False, "1")
    assert told["max_queue"]["from"] == "default"


def test_without_an_admin_token_those_who_may_manage_see_them(api: Api) -> None:
    assert api.http.get("/settings").status_code == 200
