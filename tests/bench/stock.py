"""An empty route of stock quart-trio under stock Hypercorn; nothing of Foreman is imported, which would change both."""

from __future__ import annotations

import json
import os
import socket
import sys
from functools import partial

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from quart import Response
from quart_trio import QuartTrio


async def main() -> None:
    app = QuartTrio("stock", static_folder=None)

    @app.post("/")
    async def nothing() -> Response:
        return Response("{}\n", 202, content_type="application/json")

    over = trio.Event()
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        config = Config()
        config.bind = [f"fd://{listening.fileno()}"]
        config.errorlog = None
        config.keep_alive_max_requests = sys.maxsize
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(serve, app, config, shutdown_trigger=over.wait))
            print(json.dumps({"port": listening.getsockname()[1], "pid": os.getpid()}), flush=True)
            await trio.to_thread.run_sync(sys.stdin.buffer.read, abandon_on_cancel=True)
            over.set()


if __name__ == "__main__":
    trio.run(main)
