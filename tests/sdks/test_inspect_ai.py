"""Inspect's batch mode, through its OpenAI provider."""

from __future__ import annotations

from typing import Any

from tests.sdks.conftest import Start, lines
from tests.support.foreman import LONG, Daemon, until


def test_evaluations_run_in_batches(daemon: Daemon, start: Start) -> None:
    """One line that is refused fails those of its batch, as on OpenAI; none waits for ever, also not when cancelled."""
    program = start("evaluate.py")

    def to_cancel() -> str | None:
        assert program.poll() is None, program.communicate()
        last, *before = daemon.http.get("/v1/batches").json()["data"] or [None]
        return last["id"] if len(before) == 5 and last["request_counts"]["completed"] else None

    cancelled = until(to_cancel, 2 * LONG)
    assert daemon.http.post(f"/v1/batches/{cancelled}/cancel").status_code == 200
    by_responses, by_chat, refused, stopped = lines(program)

    colours = ("red", "green", "blue", "cyan", "pink", "grey")
    whole = {"status": "success", "said": {one: f"{one} #echo " for one in colours}, "failed": [], "accuracy": 1.0}
    assert by_responses == by_chat == whole
    assert refused["failed"] == ["good", "fine", "#status=400"]
    assert stopped["failed"] == ["quick", "#silent", "#silent again"]

    batches: list[dict[str, Any]] = daemon.http.get("/v1/batches").json()["data"][::-1]
    responses, chat = "/v1/responses", "/v1/chat/completions"
    assert [(one["endpoint"], one["status"], one["request_counts"]["total"]) for one in batches] == [
        (responses, "completed", 3),
        (responses, "completed", 3),
        (chat, "completed", 3),
        (chat, "completed", 3),
        (chat, "completed", 3),
        (chat, "cancelled", 3),
    ]
    outside = [job for job in daemon.http.get("/jobs").json()["jobs"] if job["batch_id"] is None]
    assert len(outside) <= 1, "Inspect tries the model once, and asks for all else in batches"
