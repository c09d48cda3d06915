"""The target for an OpenAI-compatible server; Ollama's native endpoints are translated for it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
import trio

from foreman.domain.answers.chunk import Chunk
from foreman.domain.answers.decoder import Decoder
from foreman.domain.endpoints import at
from foreman.domain.endpoints.endpoint import Translator
from foreman.domain.endpoints.question import Edits, fields_of
from foreman.domain.job import LoadKey, model_of
from foreman.domain.scheduling.room import Room
from foreman.offload import offload
from foreman.targets.asking import Asking, DecodingFor, Refusals
from foreman.targets.boot import boot_id_at
from foreman.targets.counting import counted
from foreman.targets.http.parser import Body, Header
from foreman.targets.http.pool import Client, Request
from foreman.targets.model_listing import Listing, details
from foreman.targets.protocol import Call, Model
from foreman.targets.vacancy import Vacancy


class OpenAITarget:
    """One OpenAI-compatible server; it loads models by its own rules, so `load` does nothing."""

    def __init__(
        self, url: str, token: str = "", *, name: str = "", edits: Edits | None = None, max_loaded: int = 1
    ) -> None:
        """Take a `url` with or without `/v1` at its end; apply `edits` to all requests with a payload.

        The server may work on `max_loaded` models at once.
        """
        self.name = name or "the OpenAI-compatible server"
        self.address = f"{self.name} at {url}"
        self._client = Client(url.rstrip("/").removesuffix("/v1"), token, name=self.name)
        self._listed = Listing(self._client, "/v1/models", _model, named_by=("id", "name", "model"))
        self._edits = edits
        self._room = Room.count(max_loaded)
        self._latest: LoadKey | None = None
        self._refusals = Refusals()
        self._vacancy = Vacancy(self._client)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Sleep until cancelled, then close every connection."""
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            self._client.close()

    async def models(self) -> list[Model]:
        """See `Target.models`."""
        return await self._listed.ask()

    def same(self, name: str) -> str:
        """See `Target.same`: these servers compare names letter by letter."""
        return name

    def serves(self, endpoint: str) -> bool:
        """See `Target.serves`."""
        return True

    async def load(self, call: Call) -> None:
        """Do nothing: the server loads models itself."""

    def is_loaded(self, key: LoadKey) -> bool:
        """Return True: the server is expected to have its models loaded."""
        return True

    def in_memory(self) -> Sequence[LoadKey]:
        """Return the load key used last, which a server that swaps models still has loaded."""
        latest = self._latest
        return () if latest is None else (latest,)

    def room(self) -> Room:
        """See `Target.room`."""
        return self._room

    def slots_of(self, key: LoadKey) -> int | None:
        """See `Target.slots_of`."""
        return None

    def displaces(self, call: Call) -> bool:
        """See `Target.displaces`: the server decides itself."""
        return False

    async def count(self, path: str, call: Call, *, served_as: str | None = None) -> bytes:
        """See `Target.count`; `served_as` is as for `answer`."""
        fields: dict[str, Any] = fields_of(call.payload)
        if served_as is not None:
            fields["model"] = served_as
        if self._edits is not None:
            fields = self._edits.applied(fields)
        return await counted(self._client, path, msgspec.json.encode(fields))

    @asynccontextmanager
    async def answer(
        self, call: Call, *, served_as: str | None = None, load_ns: int = 0
    ) -> AsyncIterator[AsyncIterator[Chunk]]:
        """See `Target.answer`.

        `served_as` is the server's own name of the model, where it differs from the caller's. `load_ns` is the
        load_duration of a native answer, in nanoseconds.
        """
        endpoint = at(call.endpoint)
        if not endpoint.past_queue:
            self._latest = call.key
        size = len(call.payload)
        if reason := await offload(size, endpoint.only_loads, call.payload):
            yield StaticAnswer(endpoint.loaded(call.model, rfc3339(time.time()), reason))
            return
        started = time.monotonic_ns()

        def translating(decoder: Decoder) -> _Translating:
            return _Translating(endpoint.translator(call.model, self.name, load_ns=load_ns), decoder, started)

        if endpoint.native:
            question = await offload(size, endpoint.translated, call.payload, served_as or call.model)
            decoding: DecodingFor | None = translating
        else:
            question, decoding = await offload(size, endpoint.question, call.payload, served_as), None
        if self._edits is not None:
            question = question.edited(self._edits)
        key = model_of(call.key)
        asking = Asking(
            self._client, question, self._refusals, model=key, decoding_for=decoding, heard=call.heard, took=call.took
        )
        await self._vacancy.wait()
        try:
            async with asking as chunks:
                yield chunks
        except trio.Cancelled:
            self._vacancy.left()
            raise

    @property
    def ollama_api(self) -> None:
        """See `Target.ollama_api`: the server has none."""
        return None

    async def boot_id(self) -> str | None:
        """See `Target.boot_id`."""
        return await boot_id_at(self._client)

    def pass_on(
        self,
        method: str,
        path: str,
        body: Body | None,
        *,
        length: int | None,
        headers: Sequence[Header],
        heard: Callable[[], None],
    ) -> Request:
        """Return a request of the caller's own, with his `headers`; entering it gives the response."""
        given = [value for name, value in headers if name.lower() == "content-type"]
        others = [(name, value) for name, value in headers if name.lower() != "content-type"]
        kind = given[-1] if given else None
        return self._client.request(method, path, body, length=length, content_type=kind, headers=others, heard=heard)

    def close(self) -> None:
        """Close every connection now."""
        self._client.close()


class StaticAnswer:
    """An answer of one chunk, made without a request to the server."""

    def __init__(self, chunk: Chunk) -> None:
        self._left = [chunk]

    def __aiter__(self) -> StaticAnswer:
        return self

    async def __anext__(self) -> Chunk:
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop()


class _Translating:
    """A decoder whose chunks are translated into those of a native endpoint."""

    def __init__(self, translator: Translator, decoder: Decoder, started: int) -> None:
        self._translator = translator
        self._decoder = decoder
        self._started = started

    @property
    def closed(self) -> bool:
        return self._decoder.closed

    @property
    def ending(self) -> bool:
        return self._decoder.ending

    def take(self, value: bytes, *, whole: bool = False) -> list[Chunk]:
        return self._translated(self._decoder.take(value, whole=whole))

    def end(self, *, framed: bool) -> list[Chunk]:
        return self._translated(self._decoder.end(framed=framed))

    def _translated(self, chunks: list[Chunk]) -> list[Chunk]:
        elapsed = time.monotonic_ns() - self._started
        return self._translator.translate(
            chunks, closed=self._decoder.closed, created_at=rfc3339(time.time()), elapsed_ns=elapsed
        )


def rfc3339(now: float) -> str:
    """Return epoch seconds in the RFC 3339 form that Ollama writes."""
    return datetime.fromtimestamp(now, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _model(name: str, entry: dict[str, Any]) -> Model:
    aliases = entry.get("aliases")
    return Model(
        name=name,
        aliases=tuple(a for a in aliases if isinstance(a, str)) if isinstance(aliases, list) else (),
        details=details(entry),
    )
