"""Origins: where the value of each setting comes from."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PREFIX = "FOREMAN_"
DEFAULT = "default"
DOTENV = Path(".env")


@dataclass(frozen=True, slots=True)
class Origins:
    """The settings file, and the source of each setting that has one but its default."""

    file: Path | None = None
    sources: Mapping[str, str] = field(default_factory=dict)

    def source(self, name: str) -> str:
        """Return the source of a setting: flag, environment, secret file, .env, file or default."""
        return self.sources.get(name, DEFAULT)

    def taking(self, newer: Origins, names: Iterable[str]) -> Origins:
        """Return these origins, and those that `newer` has for the settings `names`."""
        sources = dict(self.sources)
        for name in names:
            sources.pop(name, None)
            if name in newer.sources:
                sources[name] = newer.sources[name]
        return Origins(newer.file, sources)


def origins_of(names: Iterable[str], flags: Collection[str], file: Path | None) -> Origins:
    """Return the strongest source of each of the settings `names`."""
    variables = {name.lower() for name in os.environ}
    dotenv = _dotenv() if DOTENV.is_file() else {}
    in_file = tomllib.loads(file.read_text(encoding="utf-8")) if file else {}
    sources = {}
    for name in names:
        variable = f"{PREFIX}{name}".lower()
        strongest_first = {
            "flag": name in flags,
            "environment": variable in variables,
            "secret file": f"{variable}_file" in variables,
            ".env": variable in dotenv,
            "file": name in in_file,
        }
        if found := next((source for source, names_it in strongest_first.items() if names_it), None):
            sources[name] = found
    return Origins(file, sources)


def _dotenv() -> Mapping[str, Any]:
    from dotenv import dotenv_values  # imported here: most starts have no such file

    return {name.lower(): value for name, value in dotenv_values(DOTENV).items()}
