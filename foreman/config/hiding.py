"""Secrets in texts: found by the names beside them, and hidden wherever settings are shown."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence

HIDDEN = "***"  # shown in place of a secret
SHORTEST = 6  # characters of a variable's value that is looked for in texts

_NAME = re.compile(
    r"(?:^|[^a-z])(?:token|secret|password|passwd|pass|auth|authorization|credentials?|bearer|(?:api|access|private)[-_]?key|apikey|key)"
    r"(?:[^a-z]|$)",
    re.IGNORECASE,
)
_USER = re.compile(r"//[^/@\s]+@")
_PARAMETER = re.compile(r"([?&]([^=&#\s]+)=)[^&#\s]+")
_HEADER = re.compile(r"^([A-Za-z0-9-]+):\s*.+$", re.DOTALL)
_PLACEHOLDER = re.compile(r"\{[A-Za-z0-9_.-]+\}")


def is_secret(name: str) -> bool:
    """Return True where the name of an option, a header, a variable or a key is that of a secret."""
    return _NAME.search(re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name)) is not None


def hidden_text(text: str) -> str:
    """Return a text without the passwords and keys of addresses, headers and the environment in it."""
    text = _USER.sub(f"//{HIDDEN}@", text)
    text = _PARAMETER.sub(lambda found: f"{found[1]}{HIDDEN}" if is_secret(found[2]) else found[0], text)
    if (header := _HEADER.match(text)) and is_secret(header[1]):
        text = f"{header[1]}: {HIDDEN}"
    for value in _secrets_of_environment():
        text = text.replace(value, HIDDEN)
    return text


def hidden_value(name: str, value: object) -> object:
    """Return the value of a table's key, hidden where it is a text with the name of a secret."""
    return HIDDEN if isinstance(value, str) and value and is_secret(name) and not _is_placeholder(value) else value


def hidden_words(words: Sequence[str]) -> list[str]:
    """Return the words of a command without the values of options and variables that are secrets."""
    return list(_hidden_words(words))


def _hidden_words(words: Sequence[str]) -> Iterator[str]:
    follows = False  # whether the word before is an option whose value is a secret
    for word in words:
        name, equals, value = word.partition("=")
        if follows and not word.startswith("-"):
            yield word if _is_placeholder(word) else HIDDEN
        elif equals and re.fullmatch(r"[\w-]+", name) and is_secret(name) and not _is_placeholder(value):
            yield f"{name}={HIDDEN}"
        else:
            yield hidden_text(word)
        follows = word.startswith("-") and not equals and is_secret(word)


def _is_placeholder(text: str) -> bool:
    return _PLACEHOLDER.fullmatch(text) is not None


def _secrets_of_environment() -> list[str]:
    """Return the values of variables with the name of a secret: `{env.NAME}` may have put them into a command."""
    return [value for name, value in os.environ.items() if len(value) >= SHORTEST and is_secret(name)]
