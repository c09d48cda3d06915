"""Keys by name, from the bytes that a terminal sends for them; no I/O."""

from __future__ import annotations

import re

_SEQUENCE = re.compile(r"\x1b(?:\[[0-9;]*[A-Za-z~]|O[A-Za-z])")
_NAMES = {
    "\x1b[A": "up",
    "\x1bOA": "up",
    "\x1b[B": "down",
    "\x1bOB": "down",
    "\x1b[H": "home",
    "\x1bOH": "home",
    "\x1b[1~": "home",
    "\x1b[F": "end",
    "\x1bOF": "end",
    "\x1b[4~": "end",
    "\x1b[5~": "page up",
    "\x1b[6~": "page down",
    "\x1b[Z": "back tab",
    "\x1b": "esc",
    "\r": "enter",
    "\n": "enter",
    "\t": "tab",
    "\x7f": "backspace",
    "\x08": "backspace",
    "\x02": "page up",
    "\x06": "page down",
}


def keys_in(data: str) -> list[str]:
    """Return the names of the keys: a character itself, or a word such as "up"; unknown sequences are left out."""
    keys, at = [], 0
    while at < len(data):
        sequence = _SEQUENCE.match(data, at)
        one = sequence[0] if sequence else data[at]
        at += len(one)
        if one in _NAMES:
            keys.append(_NAMES[one])
        elif one.isprintable():
            keys.append(one)
    return keys
