"""Times as JSON has them."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreman.domain.times import rfc3339


@given(st.integers(0, 4_000_000_000_000))
def test_a_time_that_is_shown_is_read_back(milliseconds: int) -> None:
    shown = rfc3339(milliseconds / 1000)
    assert shown is not None and shown.endswith("Z")
    assert datetime.fromisoformat(shown).timestamp() == pytest.approx(milliseconds / 1000, abs=0.0011)
