"""Commands and macros as llama-swap writes them: texts with `${NAME}`, split into words as by a shell."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from foreman.config.macros import FILLED_LATER

DEEPEST = 32  # macros within macros
PORT = "{port}"
OWN_NAMES = {"PORT": PORT, "MODEL_ID": "{name}", "PID": "{pid}"}  # llama-swap's, and what a setting has for them


class Macros:
    """The macros of a configuration, and texts that use them."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = dict(given)

    def beside(self, own: Mapping[str, Any]) -> Macros:
        """Return the macros of a model: its `own`, and these."""
        return Macros({**self._given, **own})

    def converted(self, names: Iterable[str] | None = None) -> dict[str, Any]:
        """Return the macros as settings: numbers, texts, and lists for those that are several words.

        `names` are those to return; by default all.
        """
        chosen = self._given if names is None else names
        return {_renamed(name): self._converted(name, self._given[name]) for name in chosen}

    def text(self, text: str) -> str:
        """Return a text with the references of settings; macros of several words are written out."""
        for _ in range(DEEPEST):
            text, count = _REFERENCE.subn(lambda found: self._written_out(found, alone=False), text)
            if not count or text == (text := _REFERENCE.sub(self._reference, text)):
                break
        return text

    def value(self, value: Any) -> Any:
        """Return a JSON value with its macros replaced by their values; what TOML cannot write becomes text."""
        if isinstance(value, str):
            whole = _REFERENCE.fullmatch(value)
            if whole and whole[1] in self._given:
                return self.value(self._given[whole[1]])
            return _REFERENCE.sub(lambda found: str(self._given.get(found[1], found[0])), value)
        if isinstance(value, Mapping):
            return {str(key): self.value(item) for key, item in value.items() if item is not None}
        if isinstance(value, list):
            return [self.value(item) for item in value if item is not None]
        return value if isinstance(value, bool | int | float) else str(value)

    def words(self, text: str) -> list[str]:
        """Return the words of a command. Raise ValueError for a quotation without an end."""
        text = _without_comments(text)
        for _ in range(DEEPEST):  # a macro of several words that is part of a word is written out
            written = _REFERENCE.sub(lambda found: self._written_out(found, alone=True), text)
            if written == text:
                break
            text = written
        return [_REFERENCE.sub(self._reference, word) for word in shlex.split(text)]

    def every_word(self, words: Sequence[str]) -> Iterator[str]:
        """Yield the words, those of the macros among them included."""
        lists = {f"{{{_renamed(name)}}}": str(value) for name, value in self._given.items() if self._is_several(name)}
        for word in words:
            yield from self.every_word(self.words(lists[word])) if word in lists else (word,)

    def _converted(self, name: str, value: Any) -> Any:
        if isinstance(value, bool | int | float):
            return value
        words = self.words(str(value))
        return words if self._is_several(name) else (words[0] if words else "")

    def _is_several(self, name: str, depth: int = 0) -> bool:
        """Return True for a macro that stands for several words, or for another such macro."""
        if depth > DEEPEST:
            raise ValueError(f"the macro {name} contains itself")
        value = self._given.get(name)
        if not isinstance(value, str):
            return False
        words = shlex.split(_without_comments(value))
        if len(words) != 1:
            return len(words) > 1
        inner = _REFERENCE.fullmatch(words[0])
        return inner is not None and self._is_several(inner[1], depth + 1)

    def _written_out(self, found: re.Match[str], *, alone: bool) -> str:
        """Return the text of a macro of several words, unless it may stay because it stands `alone`."""
        if not self._is_several(found[1]):
            return found[0]
        before, after = found.string[: found.start()][-1:], found.string[found.end() :][:1]
        if alone and (not before or before.isspace()) and (not after or after.isspace()):
            return found[0]
        return _without_comments(str(self._given[found[1]])).strip()

    def _reference(self, found: re.Match[str]) -> str:
        name = found[1]
        if name in OWN_NAMES:
            return OWN_NAMES[name]
        if name.startswith("env."):
            return f"{{{name}}}"
        return f"{{{_renamed(name)}}}" if name in self._given else found[0]


def words_of(text: str, macros: Macros, path: str) -> list[str]:
    """Return the words of the command at `path` of a configuration. Raise ValueError if it is none."""
    try:
        words = macros.words(text)
    except ValueError as error:
        raise ValueError(f"{path}: {error}".lower()) from None
    if not words:
        raise ValueError(f"{path} has no words")
    return words


_REFERENCE = re.compile(r"\$\{([A-Za-z0-9_.-]+)\}")
_COMMENT = re.compile(r"^\s*#.*$|\s#\s[^'\"]*$", re.MULTILINE)


def _without_comments(text: str) -> str:
    return _COMMENT.sub("", text.replace("\\\n", " "))


def _renamed(name: str) -> str:
    """Return the name of a macro, another one if Foreman has a meaning for it."""
    return f"{name}-macro" if name in FILLED_LATER else name
