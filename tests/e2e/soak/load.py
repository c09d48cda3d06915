"""The load of a soak: every way in and out, good and bad, by a few callers side by side."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

import httpx2
import trio
from trio_websocket import ConnectionClosed, HandshakeError, open_websocket_url

MODELS = ("a", "b", "c")
TIMEOUT = 120.0  # seconds for any one answer
REMEMBERED = 200  # ids of jobs
READING = 20.0  # seconds that a reader of the feed stays


class Load:
    """Callers that do one thing after another, chosen by chance."""

    def __init__(self, port: int, hook: str, chance: random.Random, *, callers: int, pace: float) -> None:
        """`pace` is requests a second of all callers together, at most."""
        self._url = f"127.0.0.1:{port}"
        self._hook = hook
        self._chance = chance
        self._callers = callers
        self._pause = callers / pace
        self._jobs: list[str] = []
        self._statuses: Counter[str] = Counter()
        self._ways: dict[Callable[[httpx2.AsyncClient], Awaitable[None]], int] = {
            self._submit: 6,
            self._call: 6,
            self._stream: 4,
            self._leave: 2,
            self._embed: 3,
            self._bulk: 1,
            self._look: 6,
            self._event: 3,
            self._large: 1,
            self._nonsense: 2,
            self._follow: 1,
        }

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(self._callers):
                nursery.start_soon(self._caller)

    def tally(self) -> str:
        return ", ".join(f"{count} × {status}" for status, count in sorted(self._statuses.items()))

    async def _caller(self) -> None:
        ways, weights = list(self._ways), list(self._ways.values())
        while True:
            async with httpx2.AsyncClient(base_url=f"http://{self._url}", trust_env=False, timeout=TIMEOUT) as client:
                for _ in range(20):  # on one connection, then on another
                    (way,) = self._chance.choices(ways, weights)
                    try:
                        await way(client)
                    except (httpx2.HTTPError, ConnectionClosed, HandshakeError) as error:
                        self._statuses[type(error).__name__] += 1
                    await trio.sleep(self._chance.uniform(0, 2 * self._pause))

    def _count(self, response: httpx2.Response) -> httpx2.Response:
        self._statuses[str(response.status_code)] += 1
        return response

    def _chat(self, words: str = "") -> dict[str, object]:
        text = words or self._chance.choice(
            ["hello", "#chunks=40 #every=0.002", "#status=500 #times=1", "#break=1", "#tool", "#image", "#slow=0.1"]
        )
        return {"model": self._chance.choice(MODELS), "messages": [{"role": "user", "content": text}]}

    async def _submit(self, client: httpx2.AsyncClient) -> None:
        body = self._chat() | {"metadata": {"of": "soak"}, "priority": self._chance.choice(["low", "normal"])}
        if self._chance.random() < 0.5:
            body["state_webhook_url"] = self._hook
        response = self._count(await client.post("/jobs", json=body))
        if response.status_code == 202:
            self._jobs = [*self._jobs[-REMEMBERED:], response.json()["job_id"]]

    async def _call(self, client: httpx2.AsyncClient) -> None:
        path = self._chance.choice(["/api/chat", "/v1/chat/completions", "/v1/responses", "/v1/messages"])
        body = self._chat() | {"stream": False}
        if path == "/v1/responses":
            body["input"] = body.pop("messages")
        if path == "/v1/messages":
            body["max_tokens"] = 100
        self._count(await client.post(path, json=body))

    async def _stream(self, client: httpx2.AsyncClient) -> None:
        async with client.stream("POST", "/api/chat", json=self._chat("#chunks=60 #every=0.002")) as response:
            async for _ in response.aiter_bytes():
                pass
        self._count(response)

    async def _leave(self, client: httpx2.AsyncClient) -> None:
        async with client.stream("POST", "/api/chat", json=self._chat("#chunks=500 #every=0.01")) as response:
            async for _ in response.aiter_bytes():
                break
        self._count(response)

    async def _embed(self, client: httpx2.AsyncClient) -> None:
        self._count(await client.post("/api/embed", json={"model": "a", "input": ["one", "two"]}))

    async def _bulk(self, client: httpx2.AsyncClient) -> None:
        lines = "\n".join(json.dumps(self._chat("hello")) for _ in range(20)) + "\nnonsense\n"
        headers = {"Content-Type": "application/x-ndjson"}
        self._count(await client.post("/jobs", content=lines.encode(), headers=headers))

    async def _look(self, client: httpx2.AsyncClient) -> None:
        job = self._chance.choice(self._jobs) if self._jobs else "none"
        path = self._chance.choice(
            ["/jobs", "/queue", "/healthz", "/metrics", "/usage", "/api/tags", "/v1/models", "/openapi.json", "/"]
            + [f"/jobs/{job}{more}" for more in ("", "/events", "/stream", "/deliveries", "/artifacts/completion")]
        )
        self._count(await client.get(path))

    async def _event(self, client: httpx2.AsyncClient) -> None:
        if self._jobs:
            job = self._chance.choice(self._jobs)
            way = self._chance.choice(["cancel", "retry", ""])
            path = f"/jobs/{job}" + (f"/{way}" if way else "")
            self._count(await client.request("POST" if way else "DELETE", path))

    async def _large(self, client: httpx2.AsyncClient) -> None:
        self._count(await client.post("/api/chat", json=self._chat("x" * 2_000_000) | {"stream": False}))

    async def _nonsense(self, client: httpx2.AsyncClient) -> None:
        body = self._chance.choice([b"", b"{", b'{"model": 1}', b'{"model": "nobody", "messages": []}', b"[" * 5000])
        self._count(await client.post("/api/chat", content=body, headers={"Content-Type": "application/json"}))

    async def _follow(self, client: httpx2.AsyncClient) -> None:
        with trio.move_on_after(READING), suppress(ConnectionClosed):
            async with open_websocket_url(f"ws://{self._url}/events") as socket:
                while True:
                    await socket.get_message()
