"""Real upstream processes, and a target of every kind in front of one."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio

from foreman.config.managed_model import ManagedModel
from foreman.domain.answers.chunk import Chunk
from foreman.domain.endpoints import ENDPOINTS as ENDPOINTS
from foreman.domain.endpoints import at
from foreman.targets.http.pool import Client
from foreman.targets.managed.target import ManagedTarget
from foreman.targets.ollama import OllamaTarget
from foreman.targets.openai import OpenAITarget
from foreman.targets.protocol import Call, Target
from tests.support.foreman import an_upstream

KINDS = ("ollama", "openai", "managed")
UPSTREAM = [sys.executable, "-m", "tests.support.target"]
ROOT = Path(__file__).parents[2]


@dataclass
class Upstream:
    """A running upstream server."""

    port: int
    pid: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def log(self) -> dict[str, Any]:
        return await log_of(self.port)

    async def script(self, default: str) -> None:
        client = Client(self.url)
        await client.fetch("POST", "/_script", json.dumps({"default": default}).encode(), limit=1000)
        client.close()


async def log_of(port: int) -> dict[str, Any]:
    client = Client(f"http://127.0.0.1:{port}")
    _, body = await client.fetch("GET", "/_log", limit=100_000_000)
    client.close()
    log: dict[str, Any] = json.loads(body)
    return log


@asynccontextmanager
async def started_upstream(*args: str) -> AsyncIterator[Upstream]:
    with an_upstream(*args) as started:
        yield Upstream(started.port, started.pid)


@dataclass
class WorkerHarness:
    """A target in front of a scripted server."""

    kind: str
    target: Target
    port: Callable[[], int]

    async def log(self) -> dict[str, Any]:
        return await log_of(self.port())


def managed_model(name: str, *args: str, **fields: Any) -> ManagedModel:
    command = [*UPSTREAM, "--kind", "openai", "--port", "{port}", "--models", "{model}", *args]
    return ManagedModel.model_validate({"name": name, "command": command, **fields})


def port_of(target: ManagedTarget, model: str) -> int:
    return next(child.port for (name, _), child in target._children.latest.items() if name == model)


@pytest.fixture(params=KINDS)
async def harness(
    request: pytest.FixtureRequest, nursery: trio.Nursery, tmp_path: Path
) -> AsyncIterator[WorkerHarness]:
    if request.param == "managed":
        target = ManagedTarget([managed_model("a"), managed_model("b")], tmp_path)
        await nursery.start(target.run)
        yield WorkerHarness("managed", target, lambda: port_of(target, "a"))
        return
    speaks = "both" if request.param == "ollama" else request.param  # an Ollama server speaks OpenAI's API too
    async with started_upstream("--kind", speaks) as upstream:
        fronts: dict[str, Any] = {"ollama": OllamaTarget, "openai": OpenAITarget}
        front = fronts[request.param](upstream.url)
        await nursery.start(front.run)
        yield WorkerHarness(request.param, front, lambda: upstream.port)


def call(text: str = "hello", endpoint: str = "/api/chat", model: str = "a", **fields: Any) -> Call:
    """A call whose text may carry directives for the upstream."""
    if endpoint in ("/api/generate", "/v1/completions"):
        payload = {"model": model, "prompt": text, **fields}
    elif endpoint in ("/api/embed", "/v1/embeddings", "/v1/responses"):
        payload = {"model": model, "input": text, **fields}
    else:
        payload = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
    return Call(model=model, key=model, endpoint=endpoint, payload=json.dumps(payload).encode())


async def chunks_of(target: Target, asked: Call) -> list[Chunk]:
    await target.load(asked)
    async with target.answer(asked) as chunks:
        return [chunk async for chunk in chunks]


def joined(asked: Call, chunks: list[Chunk]) -> dict[str, Any]:
    answer = at(asked.endpoint).answer()
    for chunk in chunks:
        answer.add(chunk)
    result: dict[str, Any] = json.loads(answer.result())
    return result


def text_in(endpoint: str, result: dict[str, Any]) -> str:
    """The text of a final answer."""
    ways: dict[str, Callable[[], Any]] = {
        "/api/chat": lambda: result["message"]["content"],
        "/api/generate": lambda: result["response"],
        "/v1/chat/completions": lambda: result["choices"][0]["message"]["content"],
        "/v1/completions": lambda: result["choices"][0]["text"],
        "/v1/responses": lambda: result["output"][0]["content"][0]["text"],
        "/v1/messages": lambda: result["content"][0]["text"],
    }
    text: str = ways[endpoint]()
    return text


async def until(condition: Callable[[], Any], seconds: float = 5) -> None:
    """Poll until an awaitable condition is true; fails after `seconds`."""
    with trio.fail_after(seconds):
        while not await condition():  # noqa: ASYNC110 - what is waited for is in another process
            await trio.sleep(0.01)
