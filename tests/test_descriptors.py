"""A limit of the system on open files costs connections, never the start."""

from __future__ import annotations

import resource

import pytest

from foreman import descriptors


def test_a_system_that_refuses_to_raise_the_limit_serves_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_which: int, _limits: tuple[int, int]) -> None:
        raise ValueError("current limit exceeds maximum limit")  # macOS, above kern.maxfilesperproc

    monkeypatch.setattr(resource, "getrlimit", lambda _which: (1024, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert descriptors.allow(20_000) == 1024 - descriptors.OWN
