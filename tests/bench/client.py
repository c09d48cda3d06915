"""Foreman's HTTP client for targets beside httpcore, which tells by its trace whether a request was sent in full."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpcore2

from foreman.targets.http.pool import Client
from tests.bench.daemon import child
from tests.bench.figures import Figure, Wanted, middle
from tests.bench.instant import MODELS
from tests.bench.stored import PAYLOAD

REQUESTS = 1000  # of each client in a round, one after the other
BODY = json.dumps({"model": MODELS[0], **PAYLOAD, "stream": True}).encode()
JSON = {b"Content-Type": b"application/json"}
LIMIT = 2**20  # bytes of an answer


async def client(rounds: int) -> list[Figure]:
    """The loop's time for a request with its streamed answer, by each client."""
    own: list[float] = []
    other: list[float] = []
    async with child("tests.bench.instant") as target, httpcore2.AsyncConnectionPool() as pool:
        url = f"http://127.0.0.1:{target['port']}"
        ours = Client(url)

        async def by_us() -> None:
            await ours.fetch("POST", "/api/chat", BODY, limit=LIMIT)

        async def by_httpcore() -> None:
            sent = False

            async def trace(name: str, info: dict[str, Any]) -> None:
                nonlocal sent
                sent = sent or name == "http11.send_request_body.complete"

            asked = pool.stream(
                "POST", f"{url}/api/chat", headers=list(JSON.items()), content=BODY, extensions={"trace": trace}
            )
            async with asked as response:
                size = 0
                async for part in response.aiter_stream():
                    size += len(part)
            assert sent
            assert size

        for _ in range(rounds):
            own.append(await _cost(by_us))
            other.append(await _cost(by_httpcore))
        ours.close()
    return [Figure("request to a target", middle(own), "ms", "httpcore", middle(other), Wanted("≤", 0.7, "ratio"))]


async def _cost(work: Callable[[], Awaitable[None]]) -> float:
    """Return the CPU milliseconds of one request."""
    for _ in range(50):
        await work()
    began = time.thread_time()
    for _ in range(REQUESTS):
        await work()
    return (time.thread_time() - began) / REQUESTS * 1000
