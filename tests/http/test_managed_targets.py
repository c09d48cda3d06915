"""Managed targets of one Foreman: each has its own models, memory and servers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.http.conftest import Api
from tests.support.foreman import managed

Start = Callable[..., Api]


def test_what_fits_in_a_targets_memory_stays_and_what_does_not_is_swapped(fresh: Start) -> None:
    targets = [
        {"name": "gpu0", "managed": True, "memory": "22 GiB"},
        {"name": "gpu1", "managed": True, "memory": "12 GiB"},
    ]
    models = [{**model, "target": "gpu0", "memory": "11 GiB"} for model in managed("a", "b", "c")]
    models += [{**model, "target": "gpu1", "memory": "12 GiB"} for model in managed("d")]
    api = fresh(targets=json.dumps(targets), models=json.dumps(models))

    def run(model: str) -> int:
        """Use the model's server and return its process."""
        log: dict[str, Any] = api.http.get(f"/upstream/{model}/_log").json()
        return int(log["pid"])

    first = {model: run(model) for model in "abd"}
    assert {model: run(model) for model in "abd"} == first
    run("c")  # in the place of `a`, the least recently used
    assert {model: run(model) for model in "bd"} == {model: first[model] for model in "bd"}
    assert run("a") != first["a"]


@pytest.mark.alone
def test_a_request_for_a_models_server_leaves_drained_targets_out_where_another_has_the_model(fresh: Start) -> None:
    targets = [{"name": "gpu0", "managed": True}, {"name": "gpu1", "managed": True}]
    models = [{**model, "target": target["name"]} for target in targets for model in managed("a")]
    api = fresh(targets=json.dumps(targets), models=json.dumps(models))

    def asked() -> int:
        log: dict[str, Any] = api.http.get("/upstream/a/_log").json()
        return int(log["pid"])

    first = asked()
    assert asked() == first  # where it is loaded
    api.http.post("/targets/gpu0/drain").raise_for_status()
    second = asked()
    assert second != first
    api.http.post("/targets/gpu1/drain").raise_for_status()
    assert asked() in (first, second)  # better one of them than none
