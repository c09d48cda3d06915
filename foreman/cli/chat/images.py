"""Images that a prompt names by their paths."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

_PATH = re.compile(  # in quotes, or without them, where a backslash takes the meaning of the next character
    r"""'([^'\n]+\.(?:png|jpe?g|gif|webp))'|"([^"\n]+\.(?:png|jpe?g|gif|webp))"|"""
    r"""((?:\\.|[^\s\\'"])+\.(?:png|jpe?g|gif|webp))(?![\w.])""",
    re.IGNORECASE,
)


def is_image(path: Path) -> bool:
    """Return True if there is such a file."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or has a NUL
        return False


def take_images(prompt: str, exists: Callable[[Path], bool] = is_image) -> tuple[str, list[Path]]:
    """Return the prompt without the paths of existing image files, and these paths."""
    found: list[Path] = []

    def take(match: re.Match[str]) -> str:
        quoted = match[1] or match[2]
        path = Path(quoted or re.sub(r"\\(.)", r"\1", match[3]))
        path = Path.home() / path.relative_to("~") if path.parts[:1] == ("~",) else path
        if not exists(path):
            return match[0]
        found.append(path)
        return ""

    rest = _PATH.sub(take, prompt)
    return (rest.strip() if found else prompt), found
