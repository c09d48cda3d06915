"""What Ollama tells of the models in its memory."""

from __future__ import annotations

from typing import Any

import pytest

from foreman.targets.ollama_memory import Held, read_held


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({}, {}),
        ({"size": 5, "size_vram": 3, "context_length": 4096}, {"size": 5, "size_vram": 3, "context_length": 4096}),
        ({"size": True, "size_vram": -1, "context_length": 0, "expires_at": 7}, {}),
        ({"expires_at": "2030-01-01T02:00:00.123456789+02:00"}, {"expires_at": 1893456000.123456}),
        ({"expires_at": "2318-01-01T00:00:00Z"}, {}),
        ({"expires_at": "0001-01-01T00:00:00"}, {}),
        ({"expires_at": "0001-01-01T00:00:00+23:00"}, {}),
        ({"expires_at": "soon", "size": 2**63}, {}),
    ],
)
def test_what_is_odd_is_not_known(entry: dict[str, Any], told: dict[str, Any]) -> None:
    assert read_held("A:latest", entry) == Held(read_held("a", {}).name, **told)
