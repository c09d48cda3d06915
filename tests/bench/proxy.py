"""Foreman's own HTTP stack with one route that passes requests on and does nothing else."""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
from types import SimpleNamespace

import trio
from quart import Response

from foreman.budget import Budget
from foreman.http.application import Application
from foreman.http.body import read_body
from foreman.http.context import KEY
from foreman.http.server import guard
from foreman.targets.http.pool import Client

LIMIT = 2**20  # bytes of a body
TIMEOUT = 60.0  # seconds for a request's body


async def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    client = Client(parser.parse_args(argv).url)
    app = Application("proxy")
    app.extensions[KEY] = SimpleNamespace(
        budget=Budget(), settings=SimpleNamespace(max_body=LIMIT, body_timeout=TIMEOUT)
    )

    @app.post("/<path:path>")
    async def passed(path: str) -> Response:
        found, body = await client.fetch("POST", f"/{path}", await read_body(), limit=LIMIT)
        return Response(body, found.status, content_type=found.headers["content-type"])

    over = trio.Event()
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        async with trio.open_nursery() as nursery:
            await nursery.start(
                lambda task_status: guard.serve(app, listening, until=over.wait, task_status=task_status)
            )
            print(json.dumps({"port": listening.getsockname()[1], "pid": os.getpid()}), flush=True)
            await trio.to_thread.run_sync(sys.stdin.buffer.read, abandon_on_cancel=True)
            over.set()
    client.close()


if __name__ == "__main__":
    trio.run(main, sys.argv[1:])
