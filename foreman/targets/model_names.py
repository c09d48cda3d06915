"""Equality of model names on an Ollama server."""

from __future__ import annotations

HOST = "registry.ollama.ai"
NAMESPACE = "library"
TAG = "latest"


def ollama_form(name: str) -> str:
    """Return the canonical form of a model name: names that Ollama treats as equal share it.

    A name is [host/][namespace/]model[:tag]. The defaults are `registry.ollama.ai`, `library` and `latest`; letter case
    is ignored (github.com/ollama/ollama, types/model/name.go).
    """
    path, _, last = name.lower().removeprefix("https://").removeprefix("http://").rpartition("/")
    host, _, namespace = path.rpartition("/")
    if host in ("", HOST):
        path = "" if namespace == NAMESPACE else namespace
    model = last if ":" in last else f"{last}:{TAG}"
    return f"{path}/{model}" if path else model
