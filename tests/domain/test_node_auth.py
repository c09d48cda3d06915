"""Signatures of nodes."""

from __future__ import annotations

import pytest

from foreman.domain.node_auth import NodeAuth

NOW = 1_000_000.0
SIGNED = NodeAuth(b"secret").header("a:b", "GET", "/x?y=1", NOW)


def test_a_signature_holds_for_a_minute() -> None:
    auth = NodeAuth(b"secret")
    ages = (-60, 0, 60, 61, -61)
    assert [auth.check(SIGNED, "GET", "/x?y=1", NOW + age) for age in ages] == [True, True, True, False, False]


@pytest.mark.parametrize(
    ("secret", "method", "path"), [(b"other", "GET", "/x?y=1"), (b"secret", "POST", "/x?y=1"), (b"secret", "GET", "/x")]
)
def test_a_signature_is_for_one_request(secret: bytes, method: str, path: str) -> None:
    assert not NodeAuth(secret).check(SIGNED, method, path, NOW)


@pytest.mark.parametrize("change", [("a:b", "a:c"), (":1000000:", ":1000001:"), ("Foreman-Fleet", "Bearer"), (" ", "")])
def test_nothing_of_it_can_be_changed(change: tuple[str, str]) -> None:
    assert not NodeAuth(b"secret").check(SIGNED.replace(*change, 1), "GET", "/x?y=1", NOW)


@pytest.mark.parametrize("text", ["", "Foreman-Fleet", "Foreman-Fleet a:b", "Foreman-Fleet a:²:é", "Bearer x"])
def test_anything_else_is_refused(text: str) -> None:
    assert not NodeAuth(b"secret").check(text, "GET", "/x?y=1", NOW)
