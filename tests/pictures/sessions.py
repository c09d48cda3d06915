"""Sessions in the terminal, recorded as a person would have seen them."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

from tests.cli.terminal import Terminal
from tests.pictures.box import Box
from tests.pictures.recording import Recording

COLUMNS, LINES = 96, 26
LOOKS_EVERY = 0.25  # seconds
LONGEST = 120.0  # seconds of a session
ENDLESS = {"watch": 8.0}  # seconds after which a session is ended


def sessions(box: Box) -> Mapping[str, tuple[str, ...]]:
    """Return the words of each session's command, by the name of its picture."""
    return {
        "demo": ("demo", "Write one sentence about a lighthouse."),
        "jobs": ("jobs",),
        "watch": ("watch",),
        "usage": ("usage", "week", "--by", "caller"),
    }


def record(box: Box, name: str, *, lines: int = LINES) -> Recording:
    """Run a session until it ends by itself, or after some seconds by `q`; return what it showed."""
    words = sessions(box)[name]
    env = {key: value for key, value in os.environ.items() if not key.startswith("FOREMAN_")}
    recording = Recording(COLUMNS, lines)
    with Terminal(*words, env=env | {"FOREMAN_URL": box.daemon.url}, columns=COLUMNS, lines=lines) as terminal:
        began = time.monotonic()
        while terminal.process.poll() is None:
            terminal.read(LOOKS_EVERY)
            passed = time.monotonic() - began
            recording.look(terminal.screen, passed)
            assert passed < LONGEST, f"foreman {name} does not end"
            if name in ENDLESS and passed > ENDLESS[name]:
                terminal.press("q")
                return recording
        terminal.read(LOOKS_EVERY)
        recording.look(terminal.screen, time.monotonic() - began)
    return recording
