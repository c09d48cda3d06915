"""The embedded engine (`foreman engine`): serves one GGUF file with llama.cpp until SIGTERM."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from foreman import program
from foreman.targets.managed.model_file import DEFAULT_MODEL, find_model

KEY_VARIABLE = "FOREMAN_ENGINE_KEY"
DEFAULT_NAME = "smollm2:135m"
DEFAULT_CONTEXT = 2048  # tokens of one slot
MOST_SLOTS = 8  # of the server, where Foreman finds out how many to use
BATCH = 256  # tokens of a prompt between two looks for callers who left; llama.cpp's default, 2048, can take seconds
CACHE_MIB = 256  # of prompt cache; llama.cpp's default is 8 GiB

_INSTALL = program.install("embedded")


def main(argv: list[str]) -> int:
    """Serve on loopback until SIGTERM; print one line to stderr and return 1 when the model or llama.cpp is missing."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)  # a Python handler would wait until the model is loaded
    asked = _parse(argv)
    path = find_model(asked.model)
    if path is None:
        return _no_file(asked.model)
    try:
        xllamacpp: Any = importlib.import_module("xllamacpp")
    except ImportError as error:
        return _missing(f"llama.cpp cannot be loaded ({error})")
    try:
        server = xllamacpp.Server(_parameters(xllamacpp.CommonParams(), asked, path))
    except (RuntimeError, ValueError) as error:
        print(f"foreman engine: cannot serve {path.name}: {error}", file=sys.stderr)
        return 1
    # Without --port, a Foreman learns the port from this line.
    said = f"serving {asked.alias or path.name} at {server.listening_address}\n"
    os.write(sys.stdout.fileno(), said.encode())  # at once: the engine's own threads write to the same pipe
    threading.Event().wait()  # llama.cpp serves from its own threads
    return 0


def default_models(slots: int = 1) -> list[dict[str, Any]]:
    """Return the fields of both default ManagedModels, of one name; the second serves embeddings."""
    options = ["--model", DEFAULT_MODEL, "--slots", "{slots}", "--ctx", str(DEFAULT_CONTEXT)]
    command = [*program.command(), "engine", *options, "--alias", "{model}"]
    model = {"name": DEFAULT_NAME, "aliases": ["smollm2"], "context": DEFAULT_CONTEXT}
    return [
        {**model, "command": command, "slots": slots},
        {**model, "command": [*command, "--embedding"], "embedding": True},
    ]


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="foreman engine", description="Serve one model with llama.cpp.")
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1; 0 picks a free one")
    parser.add_argument("--model", default=DEFAULT_MODEL, help=f"a GGUF file, or {DEFAULT_MODEL}")
    parser.add_argument("--slots", type=int, default=1, help="concurrent answers")
    parser.add_argument("--ctx", type=int, default=DEFAULT_CONTEXT, help="tokens of context for each slot")
    parser.add_argument("--threads", type=int, default=0, help="0: one for each usable core")
    parser.add_argument("--embedding", action="store_true", help="serve embeddings")
    parser.add_argument("--alias", default="", help="the model's name in answers")
    return parser.parse_args(argv)


def _parameters(p: Any, asked: argparse.Namespace, path: Path) -> Any:
    p.model.path = str(path)
    p.port = asked.port
    p.n_parallel = asked.slots
    p.n_ctx = asked.ctx * asked.slots  # llama.cpp divides the context among the slots
    p.n_batch = p.n_ubatch = BATCH
    p.cache_ram_mib = CACHE_MIB
    p.cpuparams.n_threads = asked.threads or _usable_cores()
    p.ui = False
    p.cors_origins = ""  # browsers must not call it
    if asked.embedding:
        p.embedding = True
        if asked.model == DEFAULT_MODEL:
            p.pooling_type = 1  # LLAMA_POOLING_TYPE_MEAN; the file does not name a type
        p.n_batch = p.n_ubatch = asked.ctx  # a text is embedded in one batch or refused
    if asked.alias:
        p.model_alias = {asked.alias}
    if key := os.environ.get(KEY_VARIABLE):
        p.api_keys = [key]
    return p


def _usable_cores() -> int:
    """Return the number of cores that a container or taskset allows; more threads would wait for each other."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _no_file(named: str) -> int:
    if named == DEFAULT_MODEL:
        return _missing(f"there is no model file {named}", "foreman demo fetches it")
    print(f"foreman engine: there is no model file {named}; give the path of one, or {DEFAULT_MODEL}", file=sys.stderr)
    return 1


def _missing(what: str, remedy: str = _INSTALL) -> int:
    if program.frozen():
        remedy = "this foreman was built without the embedded engine"
    print(f"foreman engine: {what}; {remedy}", file=sys.stderr)
    return 1
