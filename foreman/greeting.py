"""The lines that greet a person who starts Foreman on a terminal: where it is, what it has, what to do next."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from urllib.parse import urlsplit

from foreman import __version__
from foreman.config.settings import Settings

ANY = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # addresses to listen at, and one of them to reach it at
NAME = 10  # columns


def has_reader() -> bool:
    """Return True if a person reads standard error."""
    return bool(sys.stderr) and sys.stderr.isatty()


def greeting(settings: Settings, url: str, targets: Sequence[str], models: Sequence[str]) -> str:
    """Return the lines, with the address for each kind of client; `targets` are names with addresses."""
    for any_, one in ANY.items():
        url = url.replace(f"//{any_}:", f"//{one}:")
    default = url == "http://127.0.0.1:8080"
    model = models[0] if models else "MODEL"
    lines = {
        "page": f"{url}/",
        "Ollama": f"{url} (Anthropic's, too)",
        "OpenAI": f"{url}/v1",
        "queue": _queue(settings),
        "targets": ", ".join(targets),
        "next": f"foreman run {model}" + ("" if default else f" --url {url}") + ", in another terminal",
    }
    rows = [f"  {name:<{NAME}}{value}\n" for name, value in lines.items() if value]
    return f"\nForeman {__version__} serves; Ctrl-C stops it.\n{''.join(rows)}\n"


def _queue(settings: Settings) -> str:
    """Return where the jobs are kept; never a password."""
    if not settings.database_url:
        return str(settings.data_dir)
    parts = urlsplit(settings.database_url.get_secret_value())
    return f"PostgreSQL at {parts.hostname or 'this machine'}, database {parts.path.lstrip('/')}"
