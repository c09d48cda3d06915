"""What a check says."""

from __future__ import annotations

from typing import Literal

import msgspec


class Finding(msgspec.Struct, frozen=True):
    """One check: what holds, or what is wrong and what to do about it."""

    check: str
    status: Literal["ok", "warn", "fail"]
    what: str
    do: str | None = None  # the next step, where one is needed


def good(check: str, what: str) -> Finding:
    return Finding(check, "ok", what)


def doubtful(check: str, what: str, do: str) -> Finding:
    return Finding(check, "warn", what, do)


def bad(check: str, what: str, do: str) -> Finding:
    return Finding(check, "fail", what, do)
