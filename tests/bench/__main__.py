"""`python -m tests.bench [name ...]`: one line per figure; exits 1 when one falls short."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import sys

import trio

from tests.bench import (
    batch,
    calls,
    client,
    climbing,
    drain,
    embedded,
    jobs,
    nodes,
    page,
    people,
    prompts,
    scale,
    search,
    streams,
    submit,
)
from tests.bench.figures import Measure

FAMILIES: dict[str, Measure] = {
    "submit": submit.submit,
    "drain": drain.drain,
    "client": client.client,
    "chat": calls.chat,
    "chunks": calls.chunks,
    "streams": streams.streams,
    "embeddings": calls.embeddings,
    "bulk": jobs.bulk,
    "webhooks": jobs.webhooks,
    "feed": jobs.feed,
    "tokens": embedded.tokens,
    "slots": embedded.slots,
    "prompts": prompts.prompts,
    "people": people.people,
    "page": page.page,
    "year": page.year,
    "idle": scale.idle,
    "million": scale.million,
}
LONG: dict[str, Measure] = {
    "batch": batch.batch,
    "prompts-full": prompts.prompts_full,
    "climbing": climbing.climbing,
    "indexed": search.indexed,
    "search": search.search,
    "nodes": nodes.nodes,
    "nodes-full": nodes.nodes_full,
}  # only when named
WHICH = f"which: {' '.join(FAMILIES)}, all by default; or {' '.join(LONG)}"


async def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure Foreman on this machine.")
    parser.add_argument("names", nargs="*", metavar="name", help=WHICH)
    parser.add_argument("--rounds", type=int, default=3, help="times each is measured; the median counts")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    told = parser.parse_args(argv)
    if unknown := set(told.names) - {*FAMILIES, *LONG}:
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    words = f"{machine['cores']} cores, Python {machine['python']}, SQLite {machine['sqlite']}"
    print(json.dumps(machine) if told.json else words, flush=True)
    short = 0
    for name in told.names or FAMILIES:
        for figure in await {**FAMILIES, **LONG}[name](told.rounds):
            print(json.dumps(figure.fields()) if told.json else figure.line(), flush=True)
            short += not figure.ok
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(trio.run(main, sys.argv[1:]))
