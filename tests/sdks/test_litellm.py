"""litellm's calls for its provider `openai`."""

from __future__ import annotations

from tests.sdks.conftest import Start, lines
from tests.support.foreman import Upstream


def test_files_batches_chats_and_responses(start: Start, upstream: Upstream) -> None:
    [said] = lines(start("litellm_calls.py"))
    assert said == {
        "batch": ["completed", {"of": "me"}, ["one"], ["bad"]],
        "cancelled": ["cancelled", True],
        "deleted": True,
        "chat": "hello #echo ",
        "streamed": "hello #echo ",
        "responses": ["hello #echo ", "again #echo "],
        "events": "hello #echo ",
        "background": ["completed", "hello #echo "],
        "embedding": [5.0, 0.5, -1.0],
    }
    asked = upstream.asked("again #echo")[-1]["payload"]["input"]
    assert [item["role"] for item in asked] == ["user", "assistant", "user"], "the conversation went with it"
