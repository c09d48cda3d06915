"""What the rest of Foreman knows of an inference server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import msgspec
import trio

from foreman.domain.endpoints import Counting, Endpoint
from foreman.domain.job import LoadKey


class Model(msgspec.Struct, frozen=True, kw_only=True, gc=False):  # it holds nothing that could hold it
    """One entry of a target's inventory."""

    name: str
    aliases: tuple[str, ...] = ()
    embedding: bool = False
    details: msgspec.Raw = msgspec.Raw(b"{}")  # the target's own entry, as JSON

    def told(self) -> dict[str, Any]:
        """Return what the target tells of it."""
        found: dict[str, Any] = msgspec.json.decode(self.details)
        return found


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt, as a target needs to know it."""

    model: str
    key: LoadKey
    endpoint: Endpoint
    payload: bytes  # a JSON object
    heard: Callable[[], None] = lambda: None  # called whenever bytes of the answer come, even without words
    took: Callable[[int], None] = lambda size: None  # called with the size of each piece of its body; may refuse it


class Chunk(msgspec.Struct, frozen=True):
    """A piece of an answer in the endpoint's own shape.

    `data` is one JSON value without line ends: an NDJSON line of `/api/*`, the data of one SSE event of `/v1/*`.
    `last` marks the one that closes the answer (`done: true`, or the only one of an answer that is not streamed).
    `value` is `data` decoded, where the target has it; who takes the chunk may take it apart. `whole` is the target's
    answer when it did not stream, for which such chunks are made. `cut`: no data; the answer has ended without its
    last mark.
    """

    data: bytes
    last: bool = False
    value: dict[str, Any] | None = None
    whole: bytes | None = None
    cut: bool = False


class Target(Protocol):
    """An inference server. Every method raises only `TargetFault`s, and is cancellable at any await."""

    name: str  # for sentences that callers may see: "ollama"
    address: str  # for logs and whoever runs it: "ollama at http://127.0.0.1:11434"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Live until cancelled: whatever the target needs in the background. On the way out, leave nothing running."""

    async def models(self) -> list[Model]:
        """The inventory; also the health probe. Raises TargetUnavailable when nobody answers."""

    def same(self, name: str) -> str:
        """Return the form of a name in which two are equal if, and only if, they mean the same model to the server."""

    async def load(self, call: Call) -> None:
        """Make the call's drain key resident and wait until it can be asked; asked before every attempt.

        Does nothing where the target has no such notion.
        """

    def is_loaded(self, key: LoadKey) -> bool:
        """Whether, as far as is known, a call of `key` can start without loading."""

    def loaded(self) -> LoadKey | None:
        """The drain key that was loaded last and is still there."""

    def displaces(self, call: Call) -> bool:
        """Return True if answering `call` now could unload another model: such a call has to wait for its turn."""

    async def count(self, path: Counting, call: Call) -> bytes:
        """Return how many tokens the payload has, as a server answers `path`. Raises NotServed if it has no means."""

    def answer(self, call: Call) -> AbstractAsyncContextManager[AsyncIterator[Chunk]]:
        """Send the call; its chunks as they arrive. Leaving the context closes the connection to the target at once
        if the answer has not ended."""
