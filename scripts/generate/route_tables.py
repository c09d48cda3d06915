"""Generate the tables of the compatible APIs' routes in docs/api.md from the OpenAPI description."""

from __future__ import annotations

import re
from collections.abc import Iterator

from foreman.http.openapi.document import document
from scripts.generate import ROOT

PAGE = "docs/api.md"
HEADINGS = {"ollama": "## Ollama's API", "openai": "## OpenAI's API"}  # by tag


def page() -> str:
    """Return the text of api.md; the first table under each heading is replaced."""
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    for tag, heading in HEADINGS.items():
        before, found, after = text.partition(f"\n{heading}\n")
        table = re.search(r"(?:^\|.*\n)+", after, re.MULTILINE)
        if not found or table is None:
            raise ValueError(f"{PAGE} needs a heading {heading!r} with a table under it")
        rows = "".join(f"{row}\n" for row in _rows(tag))
        new = f"| route | what it does |\n|---|---|\n{rows}"
        text = before + found + after[: table.start()] + new + after[table.end() :]
    return text


def _rows(tag: str) -> Iterator[str]:
    for path, methods in document()["paths"].items():
        for method in ("get", "post", "delete", "head"):
            if method in methods and methods[method]["tags"][0] == tag:
                yield f"| `{method.upper()} {path}` | {methods[method]['summary']} |"
