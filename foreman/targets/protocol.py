"""The protocol between Foreman and an inference server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import msgspec
import trio

from foreman.domain.answers.chunk import Chunk
from foreman.domain.job import LoadKey
from foreman.domain.scheduling.room import Room
from foreman.targets.http.connection import Response
from foreman.targets.http.parser import Body


class Model(msgspec.Struct, frozen=True, kw_only=True, gc=False):  # it cannot be part of a cycle
    """One entry of a target's inventory."""

    name: str
    aliases: tuple[str, ...] = ()
    embedding: bool = False
    details: msgspec.Raw = msgspec.Raw(b"{}")  # the target's own entry, as JSON

    def told(self) -> dict[str, Any]:
        """Return the target's own entry of the model, decoded."""
        found: dict[str, Any] = msgspec.json.decode(self.details)
        return found


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """The part of one attempt that a target needs."""

    model: str
    key: LoadKey
    endpoint: str  # its path
    payload: bytes  # a JSON object
    heard: Callable[[], None] = lambda: None  # called whenever bytes of the answer come, even without text
    took: Callable[[int], None] = lambda size: None  # called with the bytes of each piece of the body; may raise


class OllamaApi(Protocol):
    """The whole API of an Ollama server, past the queue."""

    def pass_on(
        self,
        method: str,
        path: str,
        body: Body | None = None,
        *,
        length: int | None = None,
        content_type: str | None = None,
    ) -> AbstractAsyncContextManager[Response]:
        """Send a request unchanged and return the response, whatever its status.

        A body in pieces is sent as they come; `length` is their sum in bytes, if known. Entering the context raises a
        TargetError when the server cannot be reached.
        """


class Target(Protocol):
    """An inference server. Every method raises only `TargetError`s and can be cancelled at any await."""

    name: str  # for messages that callers may see: "ollama"
    address: str  # for logs and the operator: "ollama at http://127.0.0.1:11434"

    @property
    def ollama_api(self) -> OllamaApi | None:
        """Return the server's own Ollama API; None for a target whose Ollama API is Foreman's."""

    async def boot_id(self) -> str | None:
        """Return the boot id if the server is a Foreman, else None."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the background tasks of the target until cancelled; nothing is left running afterwards."""

    async def models(self) -> list[Model]:
        """Return the inventory; also the health probe. Raise TargetUnavailable when the server does not answer."""

    def same(self, name: str) -> str:
        """Return the canonical form of a name: equal for two names of the same model, and only for them."""

    def serves(self, endpoint: str) -> bool:
        """Return True if the server has the endpoint, itself or by translation."""

    async def load(self, call: Call) -> None:
        """Load the call's load key and wait until it can answer; called before every attempt.

        A target that loads models by itself does nothing.
        """

    def is_loaded(self, key: LoadKey) -> bool:
        """Return True if, as far as is known, a call of `key` can start without loading."""

    def in_memory(self) -> Sequence[LoadKey]:
        """Return the load keys that are loaded, as far as is known, the one used last at the end. For any thread."""

    def room(self) -> Room:
        """Return which load keys the server may work on together. For any thread."""

    def slots_of(self, key: LoadKey) -> int | None:
        """Return how many jobs of a key the server takes together; None: as many as the target has slots."""

    def displaces(self, call: Call) -> bool:
        """Return True if answering `call` now could unload another model; such a call waits for its turn."""

    async def count(self, path: str, call: Call) -> bytes:
        """Return the token count of the payload, as JSON of `path`. Raise NotServed if the server cannot count."""

    def answer(self, call: Call) -> AbstractAsyncContextManager[AsyncIterator[Chunk]]:
        """Send the call and give its chunks as they arrive.

        Leaving the context before the answer has ended closes the connection to the target at once.
        """
