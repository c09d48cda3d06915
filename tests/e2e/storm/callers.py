"""Callers of a storm: each asks something, waits a while at most, and may leave or stand still at any moment."""

from __future__ import annotations

import json
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import httpx2
import trio

from tests.e2e.storm.target import EMBEDDING, ILL, OWN, SINGLE
from tests.e2e.storm.witness import Witness

LONGEST = 2.0  # seconds that a caller waits for an answer before it leaves
KEYS = 30  # idempotency keys
LEFT = (httpx2.HTTPError, OSError, trio.BrokenResourceError, trio.ClosedResourceError)
NDJSON = {"Content-Type": "application/x-ndjson"}
WEBSOCKET = (
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


class Callers:
    """Ask anything of the Foreman of the moment; what they hold open ends with it."""

    def __init__(self, dice: random.Random, witness: Witness, receivers: Sequence[str]) -> None:
        self._dice = dice
        self._witness = witness
        self._receivers = receivers
        self._port = 0
        self._nursery: trio.Nursery
        self._http: httpx2.AsyncClient

    async def come(self, url: str, asks: int, together: int) -> None:
        """Ask so many things, by so many callers at a time."""
        self._port = int(url.rpartition(":")[2])
        kinds: dict[Callable[[], Awaitable[None]], int] = {
            self.submit: 24,
            self.submit_twice: 6,
            self.submit_many: 2,
            self.call: 10,
            self.embed: 4,
            self.bomb: 6,
            self.event: 14,
            self.pause: 2,
            self.look: 10,
            self.read_slowly: 4,
            self.stop_half_way: 4,
            self.follow_and_stop_reading: 4,
        }
        left = asks
        limits = httpx2.Limits(max_connections=None)
        async with httpx2.AsyncClient(base_url=url, trust_env=False, timeout=60, limits=limits) as self._http:

            async def caller() -> None:
                nonlocal left
                while left > 0:
                    left -= 1
                    [ask] = self._dice.choices([*kinds], [*kinds.values()])
                    with trio.move_on_after(self._dice.uniform(0.05, LONGEST)):
                        try:
                            await ask()
                        except* LEFT:  # also of a caller's own tasks
                            await trio.sleep(0.02)

            async with trio.open_nursery() as self._nursery:
                async with trio.open_nursery() as asking:
                    for _ in range(together):
                        asking.start_soon(caller)
                self._nursery.cancel_scope.cancel()

    # Jobs

    async def submit(self) -> None:
        headers = {"Prefer": "wait=1"} if self._dice.random() < 0.2 else {}
        await self._post_job(self._job(), headers)

    async def submit_twice(self) -> None:
        """The same key and body, at once: here, and by those who took the same number before or will."""
        number = self._dice.randrange(KEYS)
        job = {"model": SINGLE[number % len(SINGLE)], "messages": [{"role": "user", "content": f"key {number}"}]}
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(self._post_job, job, {"Idempotency-Key": f"key-{number}"})

    async def submit_many(self) -> None:
        lines = [json.dumps(self._job()) for _ in range(20)]
        lines += ["{", '{"model": "plain"}', "[]", *(json.dumps({"model": f"never-there-{n}"}) for n in range(500))]
        self._dice.shuffle(lines)
        answer = await self._ask("POST", "/jobs", content="\n".join(lines), headers=NDJSON)
        for accepted in answer.json()["jobs"] if answer.status_code == 202 else ():
            self._witness.accept(accepted["job_id"])

    async def event(self) -> None:
        if not self._witness.acknowledged:
            return
        job_id = self._dice.choice(self._witness.acknowledged[-50:])
        verb = self._dice.choice(["cancel", "cancel", "retry", "delete"])
        if verb == "delete":
            self._witness.deleted.add(job_id)
            await self._ask("DELETE", f"/jobs/{job_id}")
        else:
            await self._ask("POST", f"/jobs/{job_id}/{verb}")

    async def pause(self) -> None:
        await self._ask("POST", "/queue/pause")
        await trio.sleep(0.05)
        await self._ask("POST", "/queue/resume")

    async def look(self) -> None:
        job_id = self._some()
        paths = ("/jobs?limit=100", "/queue", "/metrics", "/usage", "/targets", "/", "/v1/models", f"/jobs/{job_id}")
        more = (f"/jobs/{job_id}/deliveries", f"/jobs/{job_id}/events", f"/jobs/{job_id}/artifacts/completion")
        await self._ask("GET", self._dice.choice([*paths, *more]))

    # Calls that wait for their answers

    async def call(self) -> None:
        """Read an answer as it comes; the time limit of a caller ends it somewhere."""
        path = self._dice.choice(["/v1/chat/completions", "/api/chat"])
        headers = {"X-Foreman-On-Disconnect": self._dice.choice(["keep", "cancel"])}
        body = self._asked() | {"stream": self._dice.random() < 0.8}
        async with self._http.stream("POST", path, json=body, headers=headers) as answer:
            if job_id := answer.headers.get("X-Foreman-Job-Id"):
                self._witness.accept(job_id)
            said = await answer.aread()
        self._witness.answered(path, answer.status_code, said)

    async def embed(self) -> None:
        await self._ask("POST", "/v1/embeddings", json={"model": self._dice.choice(EMBEDDING), "input": "hello"})

    async def bomb(self) -> None:
        """Much work in few bytes."""
        calls = [{"id": f"c{n}", "type": "function", "function": {"name": "f", "arguments": "{}"}} for n in range(2000)]
        answers = [{"role": "tool", "tool_call_id": f"c{n}", "content": "x"} for n in range(2000)]
        bombs: list[dict[str, Any]] = [
            {"messages": [{"role": "assistant", "content": "", "tool_calls": calls}, *answers]},
            {"messages": [{}] * 40_000},
            {"messages": [{"role": "user", "content": "x"}] * 20_000},
            {"messages": [], "options": {f"o{n}": n for n in range(20_000)}},
            {"messages": [], "options": {"adapters": ["a" * 1000] * 200, "num_ctx": 1}},
            {"messages": [], "metadata": {f"m{n}": "x" for n in range(20_000)}},
            {"messages": [], "tools": [[[]]] * 50_000},
            {"messages": [{"role": "user", "content": "word " * 200_000}]},
        ]
        bomb = self._dice.choice(bombs) | {"model": "plain"}
        path = self._dice.choice(["/jobs", "/v1/chat/completions", "/api/chat"])
        if path == "/jobs":
            await self._post_job(bomb, {})
        else:
            await self._ask("POST", path, json=bomb)

    # Connections that stand still

    async def read_slowly(self) -> None:
        """Ask for a long answer, take little of it, and keep the connection."""
        job_id = self._some()
        path = self._dice.choice([f"/jobs/{job_id}/stream", f"/jobs/{job_id}", "/jobs?limit=1000", "/openapi.json"])
        self._nursery.start_soon(self._hold, self._head("GET", path), 100)

    async def stop_half_way(self) -> None:
        """Begin a request, and never end it."""
        body = (
            self._head("POST", "/jobs", b"Content-Type: application/json\r\nContent-Length: 5000000\r\n") + b"{" * 999
        )
        half = self._dice.choice([b"", b"G", b"GET /jobs HTTP/1.1\r\nHost:", body, b"\x16\x03\x01\x00", b"\x00" * 99])
        self._nursery.start_soon(self._hold, half, 0)

    async def follow_and_stop_reading(self) -> None:
        more = self._dice.choice([b"Accept: text/event-stream\r\n", WEBSOCKET])
        self._nursery.start_soon(self._hold, self._head("GET", "/events?after=0", more), 50)

    async def _hold(self, request: bytes, read: int) -> None:
        """Send it, read so many bytes, and stay until the storm or the other side ends it."""
        try:
            async with await trio.open_tcp_stream("127.0.0.1", self._port) as stream:
                stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 4096)
                await stream.send_all(request)
                if read:
                    await stream.receive_some(read)
                await trio.sleep_forever()
        except LEFT:
            pass

    # What is asked

    async def _post_job(self, job: dict[str, Any], headers: dict[str, str]) -> None:
        answer = await self._ask("POST", "/jobs", json=job, headers=headers)
        if answer.status_code in (200, 202):
            self._witness.accept(answer.json()["job_id"], headers.get("Idempotency-Key"))

    async def _ask(self, method: str, path: str, **how: Any) -> httpx2.Response:
        answer = await self._http.request(method, path, **how)
        self._witness.answered(f"{method} {path}", answer.status_code, answer.content)
        return answer

    def _asked(self) -> dict[str, Any]:
        some = self._dice.choice(SINGLE if self._dice.random() < 0.6 else [*OWN])
        if some in ILL and self._dice.random() < 0.5:
            some = "plain"
        return {"model": some, "messages": [{"role": "user", "content": f"hello {self._dice.random()}"}]}

    def _job(self) -> dict[str, Any]:
        job = self._asked() | {"priority": self._dice.choice(["high", "normal", "low"])}
        if self._dice.random() < 0.4:
            job["state_webhook_url"] = self._dice.choice(self._receivers)
        if self._dice.random() < 0.1:
            job["timeout"] = self._dice.choice([0.1, 1])
        if self._dice.random() < 0.3:
            job["endpoint"] = "/v1/chat/completions"
        return job

    def _some(self) -> str:
        known = self._witness.acknowledged
        return self._dice.choice(known[-50:]) if known and self._dice.random() < 0.9 else "nobody"

    def _head(self, method: str, path: str, more: bytes = b"") -> bytes:
        return f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n".encode() + more + b"\r\n"
