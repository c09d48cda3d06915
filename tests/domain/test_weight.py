"""How much a JSON text holds, without building it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreman.domain.json_weight import has_more_items, has_more_values, may_have_more

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='a"\\,[{}]é'),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(alphabet='b",{['), inner, max_size=4),
)


def signs(value: Any) -> int:
    """Return how many values there are, where an empty object or array counts for what might be in it."""
    if isinstance(value, dict | list):
        items = list(value.values()) if isinstance(value, dict) else value
        return 1 + max(1, sum(map(signs, items))) if items else 2
    return 1


@given(JSON)
def test_values_are_counted_outside_of_strings(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False).encode()
    count = sum(not has_more_values(text, most) for most in range(len(text) + 2))
    exact = len(text) + 2 - count  # the least `most` that is enough
    assert exact <= signs(value)
    assert may_have_more(text, exact - 1)
    assert not has_more_values(text, signs(value))


@given(st.lists(JSON, min_size=1, max_size=6))
def test_items_are_counted_at_the_top(items: list[Any]) -> None:
    text = json.dumps(items).encode()
    assert not has_more_items(text, len(items))
    assert has_more_items(text, len(items) - 1)


@pytest.mark.parametrize(
    "text",
    [
        b'"' + b'\\"' * 300_000 + b"\\",
        b"," * 20 + b" " * 600_000,
        b'"' * 600_001,
        b"[" * 600_000,
        b'{"a' + b"x" * 600_000,
    ],
)
def test_what_is_no_json_is_read_once_too(text: bytes) -> None:
    has_more_items(text, 10)  # ends: a second look at each byte would take minutes
    assert not has_more_values(text, len(text) + 1)
