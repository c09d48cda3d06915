"""The timeline of a job, as `foreman show` prints it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli.conftest import Invoke
from tests.client.conftest import StaticAnswer
from tests.client.conftest import told as told

ID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


def event(seq: int, state: str, attempt: int, target: str | None) -> dict[str, Any]:
    at = f"2026-01-02T03:04:0{seq}Z"
    return {"seq": seq, "job_id": ID, "state": state, "attempt": attempt, "timestamp": at, "target": target}


@pytest.mark.parametrize(
    ("second", "attempts"), [("rack", ["attempt 1 on box", "attempt 2 on rack"]), ("box", ["attempt 1", "attempt 2"])]
)
def test_where_attempts_ran_is_shown_if_it_was_on_several_targets(
    told: StaticAnswer, invoke: Invoke, second: str, attempts: list[str]
) -> None:
    events = [event(1, "queued", 0, None), event(2, "working", 1, "box"), event(3, "working", 2, second)]
    told.answer(f"GET /jobs/{ID}/events", {"events": events})
    job = {"job_id": ID, "state": "working", "model": "m", "created_at": "2026-01-02T03:04:01Z", "target": second}
    told.answer(f"GET /jobs/{ID}", job)
    shown = invoke("show", ID)
    lines = [line.split("working     ") for line in shown.stdout.splitlines()]
    assert [line[1].strip() for line in lines if len(line) == 2] == attempts
