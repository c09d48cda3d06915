"""The targets of a campaign: three servers of different kinds, models and slots, killed and started again by turns."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from tests.bench.daemon import child
from tests.support.ports import held_port

UP = (0.3, 3.0)  # seconds from a start to the kill
AWAY = (0.0, 0.7)  # seconds between a kill and the next start


@dataclass(frozen=True, slots=True)
class Server:
    """A scripted server, with a port that stays its own while it is away."""

    name: str
    kind: str
    models: tuple[str, ...]
    slots: int
    port: int = field(default_factory=held_port)

    @property
    def settings(self) -> dict[str, object]:
        """Its entry of the setting `targets`."""
        return {"name": self.name, f"{self.kind}_url": f"http://127.0.0.1:{self.port}", "slots": self.slots}

    async def live(self, chance: random.Random, kills: Counter[str], started: trio.Event) -> None:
        """Serve, be killed at a random moment, be away for a moment, for ever; count the kills."""
        arguments = ("--port", str(self.port), "--kind", self.kind, "--models", ",".join(self.models))
        while True:
            async with child("tests.support.target", *arguments):
                started.set()
                await trio.sleep(chance.uniform(*UP))
            kills[self.name] += 1
            await trio.sleep(chance.uniform(*AWAY))


@asynccontextmanager
async def servers(chance: random.Random, kills: Counter[str]) -> AsyncIterator[list[Server]]:
    """Three servers, each of which has lived when this is entered; they are gone on the way out."""
    found = [
        Server("one", "ollama", ("a", "b"), 4),
        Server("two", "openai", ("b", "c"), 2),
        Server("three", "ollama", ("a", "b", "c"), 1),
    ]
    async with trio.open_nursery() as nursery:
        for server in found:
            started = trio.Event()
            nursery.start_soon(server.live, random.Random(chance.random()), kills, started)
            await started.wait()
        yield found
        nursery.cancel_scope.cancel()
