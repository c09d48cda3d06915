"""`foreman whoami`: the caller in words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.conftest import Invoke
from tests.client.conftest import StaticAnswer
from tests.client.conftest import told as told

ALICE: dict[str, Any] = {
    "name": "alice",
    "token": "token",
    "rights": ["read", "submit"],
    "sees_all": False,
    "private_jobs": True,
    "token_required": True,
    "admin_token_set": True,
    "quotas": {"waiting": {"limit": 1200, "used": 3, "left": 1197}},
    "version": "1.2.3",
    "node": "gpu1",
}


def test_name_rights_and_quotas_are_told(invoke: Invoke, told: StaticAnswer) -> None:
    told.answer("GET /me", ALICE)
    lines = [" ".join(line.split()) for line in invoke("whoami").stdout.splitlines()]
    assert lines[:3] == ["name: alice", "rights: read, submit", "jobs: your own only (private_jobs is set)"]
    assert lines[3].startswith("admin: an admin token is needed to pause the queue")
    assert lines[4].startswith("foreman: gpu1 at http://127.0.0.1:")
    assert lines[-2:] == ["QUOTA LIMIT USED LEFT", "waiting jobs 1,200 3 1,197"]
    assert json.loads(invoke("whoami", "--json").stdout) == ALICE


@pytest.mark.parametrize(
    ("caller", "said"),
    [
        ({"name": None, "token": None, "token_required": False}, "this Foreman wants no token"),
        ({"name": None}, "the token has none"),
        ({"name": "boss", "token": "admin_token", "rights": ["admin"]}, "boss (an admin token)"),
        ({"admin_token_set": False}, "nobody: private_jobs is set, and no admin_token"),
    ],
)
def test_other_callers_are_told_apart(invoke: Invoke, told: StaticAnswer, caller: dict[str, Any], said: str) -> None:
    told.answer("GET /me", ALICE | {"quotas": {}} | caller)
    printed = invoke("whoami").stdout
    assert said in printed
    assert "QUOTA" not in printed
