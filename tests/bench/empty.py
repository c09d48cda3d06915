"""Foreman's own HTTP stack with one route that does nothing: what a request costs before any of it is Foreman's."""

from __future__ import annotations

import json
import os
import socket
import sys
from functools import partial
from types import SimpleNamespace

import trio
from quart import Response

from foreman.budget import Budget
from foreman.http.application import Application
from foreman.http.context import KEY
from foreman.http.errors import json_answer
from foreman.http.server import guard


async def main() -> None:
    app = Application("empty")
    app.extensions[KEY] = SimpleNamespace(budget=Budget())

    @app.post("/")
    async def nothing() -> Response:
        return json_answer({}, 202)

    over = trio.Event()
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        async with trio.open_nursery() as nursery:
            await nursery.start(
                partial(guard.serve, app, listening, until=over.wait, parser=(sys.argv[1:] or ["httptools"])[0])
            )
            print(json.dumps({"port": listening.getsockname()[1], "pid": os.getpid()}), flush=True)
            await trio.to_thread.run_sync(sys.stdin.buffer.read, abandon_on_cancel=True)
            over.set()


if __name__ == "__main__":
    trio.run(main)
