"""Text for the terminal, without control characters, and the words to call this program again."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

from foreman import program

_CONTROLS = re.compile(  # all but tab and newline; those that change the direction of text; lone surrogates
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def plain(text: str) -> str:
    """Return the text without control characters: models and servers may send any."""
    return _CONTROLS.sub("", text)


def one_line(text: str) -> str:
    """Return the plain text on one line; errors of crashed models contain several lines of their logs."""
    return " ".join(plain(text).split())


def this_program() -> str:
    """Return the command that calls this program from the current folder."""
    if shutil.which("foreman"):
        return "foreman"
    path = Path(sys.executable)
    near = os.path.relpath(path if program.frozen() else path.parent / "foreman")
    return near if os.sep in near else os.path.join(os.curdir, near)
