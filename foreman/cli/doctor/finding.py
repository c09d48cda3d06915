"""The result of a check."""

from __future__ import annotations

from typing import Literal

import msgspec


class Finding(msgspec.Struct, frozen=True):
    """Result of one check, with the remedy where one is needed."""

    check: str
    status: Literal["ok", "warn", "fail"]
    what: str
    do: str | None = None  # the remedy


def good(check: str, what: str) -> Finding:
    """Return a finding without anything to do."""
    return Finding(check, "ok", what)


def doubtful(check: str, what: str, do: str) -> Finding:
    """Return a warning."""
    return Finding(check, "warn", what, do)


def bad(check: str, what: str, do: str) -> Finding:
    """Return an error."""
    return Finding(check, "fail", what, do)
