"""When two names mean the same model of an Ollama server."""

from __future__ import annotations

HOST = "registry.ollama.ai"
NAMESPACE = "library"
TAG = "latest"


def ollama_form(name: str) -> str:
    """Return the form in which names are equal that Ollama holds equal.

    A name is [host/][namespace/]model[:tag]; what is left out is `registry.ollama.ai`, `library` and `latest`, and no
    letter's case counts (github.com/ollama/ollama, types/model/name.go).
    """
    path, _, last = name.lower().removeprefix("https://").removeprefix("http://").rpartition("/")
    host, _, namespace = path.rpartition("/")
    if host in ("", HOST):
        path = "" if namespace == NAMESPACE else namespace
    model = last if ":" in last else f"{last}:{TAG}"
    return f"{path}/{model}" if path else model
