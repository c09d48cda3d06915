"""One Ctrl-C that comes twice: from the terminal, and passed on by a parent such as the single executable's."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock

from foreman import program, supervisor


@pytest.mark.parametrize(
    ("number", "after", "leaves"),
    [
        (signal.SIGINT, program.ECHO / 2, False),
        (signal.SIGINT, program.ECHO * 2, True),
        (signal.SIGTERM, program.ECHO / 2, True),
    ],
)
async def test_its_echo_is_no_second_one(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, number: int, after: float, leaves: bool
) -> None:
    left: list[int] = []
    monkeypatch.setattr(os, "_exit", left.append)

    async def signals() -> AsyncIterator[int]:
        await trio.sleep(after)
        yield number

    await supervisor._leave_at_next(signals())
    assert left == ([1] if leaves else [])
