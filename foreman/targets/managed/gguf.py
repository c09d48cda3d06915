"""Size of a managed model: that of the GGUF files in its command."""

from __future__ import annotations

import re
from pathlib import Path

from foreman.config.managed_model import ManagedModel
from foreman.targets.managed.model_file import DEFAULT_MODEL, find_model


def size_of(model: ManagedModel) -> int | None:
    """Return the bytes of the model's files on this machine; None if its command does not name one."""
    words = {*model.command, model.model or ""}
    named = [find_model(word) for word in words if word.endswith(".gguf") or word == DEFAULT_MODEL]
    files = {part for file in named if file for part in _parts(file)}
    return sum(file.stat().st_size for file in files) or None


def _parts(file: Path) -> list[Path]:
    """Return all files of a model whose command names one of them, like x-00001-of-00003.gguf."""
    split = re.fullmatch(r"(.*-)\d{5}(-of-\d{5}\.gguf)", file.name)
    if split is None:
        return [file]
    before, after = split.groups()
    return [part for part in file.parent.iterdir() if part.name.startswith(before) and part.name.endswith(after)]
