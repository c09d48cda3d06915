"""The Vercel AI SDK, through its providers for OpenAI and Anthropic."""

from __future__ import annotations

import json
import re

from tests.sdks.conftest import HERE, Start, lines
from tests.support.foreman import Upstream


def test_texts_streams_and_batches(start: Start, upstream: Upstream) -> None:
    [said] = lines(start("vercel.mjs"))
    assert said == {
        "chat": ["hello #echo ", "hello #echo "],
        "responses": ["hello #echo ", "hello #echo "],
        "messages": ["hello #echo ", "hello #echo "],
        "continued": "again #echo ",
        "embedding": [5.0, 0.5, -1.0],
        "openai": {
            "results": ["completed", [["one", "succeeded", "hello #echo "], ["bad", "failed", None]]],
            "cancelled": ["cancelled", [["slow", "cancelled", None]]],
            "listed": True,
        },
        "anthropic": {
            "results": ["ended", [["one", "succeeded", "hello #echo "], ["bad", "failed", None]]],
            "cancelled": ["ended", [["slow", "cancelled", None]]],
            "listed": True,
        },
    }
    asked = upstream.asked("again #echo")[-1]["payload"]["input"]
    assert [item["role"] for item in asked] == ["user", "assistant", "user"], "the conversation went with it"


def test_the_lock_has_a_hash_for_every_package_and_no_address_of_a_registry() -> None:
    text = (HERE / "package-lock.json").read_text()
    packages = {name: one for name, one in json.loads(text)["packages"].items() if name}
    assert all(re.match("sha512-", one["integrity"]) and "resolved" not in one for one in packages.values())
    assert len(packages) > 5
