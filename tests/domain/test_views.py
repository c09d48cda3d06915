"""What Foreman answers, as JSON."""

from __future__ import annotations

import msgspec

from foreman.domain.errors import InvalidJson, ModelRequired
from foreman.domain.views import show_error


def test_a_fault_is_shown_with_its_code_and_its_remedy() -> None:
    assert show_error(ModelRequired()) == {"error": "model is required", "code": "model_required"}
    assert msgspec.json.encode(show_error(InvalidJson("why"))).startswith(b'{"error":"invalid JSON body"')
    assert show_error(InvalidJson("why"))["hint"] == "why"
