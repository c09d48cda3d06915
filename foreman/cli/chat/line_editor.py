"""Lines from the terminal: edited, completed, and remembered over chats."""

from __future__ import annotations

import os
import sys
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

readline: Any
try:
    import readline
except ImportError:  # a Python without it: lines are read plainly
    readline = None

FIRST, FURTHER = ">>> ", "... "
SEVERAL = '"""'
REMEMBERED = 1000  # lines
READABLE = 0o600  # by the user alone: prompts are private


def history_file() -> Path:
    """Return the file of remembered lines, by the XDG base directory specification."""
    state = os.environ.get("XDG_STATE_HOME", "")
    home = Path(state) if os.path.isabs(state) else Path.home() / ".local" / "state"
    return home / "foreman" / "history"


@contextmanager
def editing(offered: Sequence[str], remembered: Path | None) -> Iterator[None]:
    """Complete `offered` by Tab, and keep lines in the file `remembered`; one that cannot be used is left alone."""
    if readline is None:
        yield
        return
    readline.set_completer(lambda begun, number: _nth([name for name in offered if name.startswith(begun)], number))
    readline.set_completer_delims("\n")
    readline.parse_and_bind("bind ^I rl_complete" if "libedit" in (readline.__doc__ or "") else "tab: complete")
    if remembered:
        with suppress(OSError):
            readline.read_history_file(remembered)
    try:
        yield
    finally:
        if remembered:
            with suppress(OSError):
                _remember(remembered)


def _remember(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(file, os.O_CREAT | os.O_WRONLY, READABLE))
    readline.set_history_length(REMEMBERED)
    readline.write_history_file(file)


def read_turn() -> str:
    """Return the next line, or all up to the closing quotes. Raise EOFError, KeyboardInterrupt or SystemExit."""
    before, quotes, rest = input(FIRST).partition(SEVERAL)
    if not quotes:
        return before
    lines = [rest]
    while SEVERAL not in lines[-1]:
        lines.append(input(FURTHER))
    lines[-1] = lines[-1].replace(SEVERAL, "", 1)
    return before + "\n".join(lines).strip("\n")


@contextmanager
def unechoed() -> Iterator[None]:
    """Do not show what is typed, as long as an answer is; the next line has it."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    mode = termios.tcgetattr(sys.stdin)
    mode[3] &= ~termios.ECHO
    try:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, mode)
        yield
    finally:
        with suppress(termios.error):  # the terminal may be gone
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _nth(found: Sequence[str], number: int) -> str | None:
    return found[number] if number < len(found) else None
