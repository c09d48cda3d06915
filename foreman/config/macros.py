"""Macros: texts and words that the command lines of managed models share."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, TypeAlias

from pydantic import AfterValidator

Macro: TypeAlias = str | bool | int | float | list[str]

FILLED_LATER = frozenset({"key", "model", "name", "pid", "port", "slots"})  # when the server is started
ENVIRONMENT = "env."  # begins the name of a variable of Foreman's environment

_NAME = re.compile(r"[A-Za-z0-9_-]+")
_PLACEHOLDER = re.compile(r"\{((?:env\.)?[A-Za-z0-9_-]+)\}")


def _check_names(macros: dict[str, Macro]) -> dict[str, Macro]:
    for name in macros:
        if not _NAME.fullmatch(name):
            raise ValueError(f"the name {name!r} of a macro must be letters, digits, - and _")
        if name in FILLED_LATER:
            raise ValueError(f"no macro may be named {name}: {{{name}}} has a meaning already")
    return macros


Macros = Annotated[dict[str, Macro], AfterValidator(_check_names)]


def fill_words(words: Iterable[str], macros: Mapping[str, Macro]) -> list[str]:
    """Return the words with `{name}` replaced by the macro of that name, and `{env.NAME}` by the variable NAME.

    A macro that is a list stands for several words, and must be a word of its own. A macro may contain others. What is
    no macro stays as it is. Raise ValueError for a macro that contains itself, and for a variable that is not set.
    """
    return _fill_words(words, macros, ())


def fill_text(text: str, macros: Mapping[str, Macro]) -> str:
    """Return the text with its macros and variables replaced, as by `fill_words`."""
    return _fill_text(text, macros, ())


def _fill_words(words: Iterable[str], macros: Mapping[str, Macro], within: tuple[str, ...]) -> list[str]:
    filled: list[str] = []
    for word in words:
        found = _PLACEHOLDER.fullmatch(word)
        macro = macros.get(found[1]) if found else None
        if found and isinstance(macro, list):
            filled += _fill_words(macro, macros, _deeper(found[1], within))
        else:
            filled.append(_fill_text(word, macros, within))
    return filled


def _fill_text(text: str, macros: Mapping[str, Macro], within: tuple[str, ...]) -> str:
    def replacement(found: re.Match[str]) -> str:
        name = found[1]
        if name.startswith(ENVIRONMENT):
            return _variable(name.removeprefix(ENVIRONMENT))
        if name not in macros:
            return found[0]
        macro = macros[name]
        if isinstance(macro, list):
            raise ValueError(f"the macro {name} is a list of words: {{{name}}} must be a word of its own")  # noqa: TRY004
        told = str(macro).lower() if isinstance(macro, bool) else str(macro)
        return _fill_text(told, macros, _deeper(name, within))

    return _PLACEHOLDER.sub(replacement, text)


def _deeper(name: str, within: tuple[str, ...]) -> tuple[str, ...]:
    if name in within:
        raise ValueError(f"the macro {name} contains itself")
    return (*within, name)


def _variable(name: str) -> str:
    if (value := os.environ.get(name)) is None:
        raise ValueError(f"{{{ENVIRONMENT}{name}}} needs the environment variable {name}, which is not set")
    return value
