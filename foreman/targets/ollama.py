"""The target for an Ollama server; payloads go unchanged to the path they came for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any

import msgspec
import structlog
import trio

from foreman.domain.answers.chunk import Chunk
from foreman.domain.endpoints import at
from foreman.domain.endpoints.question import Fields, fields_of
from foreman.domain.errors import (
    LoadTimeout,
    NotServed,
    TargetError,
    TargetFailed,
    TargetLost,
    TargetRefused,
    TargetUnavailable,
)
from foreman.domain.job import RELOADING_OPTIONS, LoadKey, model_of
from foreman.domain.scheduling.room import Room
from foreman.domain.translate.request import is_zero
from foreman.offload import offload
from foreman.targets.asking import AT_ONCE, Asking, Refusals
from foreman.targets.boot import boot_id_at
from foreman.targets.chunks import ERROR_LIMIT, Chunks, error_in
from foreman.targets.counting import counted
from foreman.targets.http.connection import Response
from foreman.targets.http.parser import Body
from foreman.targets.http.pool import Client
from foreman.targets.model_listing import Listing, details
from foreman.targets.model_names import ollama_form
from foreman.targets.ollama_memory import Held, read_held
from foreman.targets.protocol import Call, Model

log = structlog.get_logger()

LOAD_TIMEOUT = 180.0  # seconds to load one model from disk
LOOK_EVERY = 30.0  # seconds between requests for the models in memory while a load is pending
LOOK_PAUSE = 1.0  # seconds at least between two such requests
LOOK_TIMEOUT = 5.0  # seconds for one such request

NAMES = ("name", "model")  # of an entry in a list of models
_NOTHING = msgspec.Raw(b"null")
_EMPTY = frozenset({b"null", b"[]", b'""'})


@dataclass(eq=False, slots=True)
class _Load:
    model: str
    began_at: float


class OllamaTarget:
    """One Ollama server."""

    def __init__(
        self,
        url: str,
        token: str = "",
        keep_alive: str | int = "",
        *,
        load_timeout: float = LOAD_TIMEOUT,
        name: str = "",
        max_loaded: int = 1,
    ):
        """Send `keep_alive` with requests that load a model; empty leaves it to the server.

        The server may have `max_loaded` models in memory at once.
        """
        self.name = name or "ollama"
        self.address = f"{self.name} at {url}"
        self._client = Client(url, token, name=self.name)
        self._listed = Listing(self._client, "/api/tags", _model, named_by=NAMES)
        self._held_there = Listing(self._client, "/api/ps", read_held, named_by=NAMES)
        self._memory: Mapping[str, Held] = {}  # by canonical name, as the server told it last
        self.change(keep_alive, load_timeout=load_timeout)
        self._room = Room.count(max_loaded)
        self._max_loaded = max_loaded
        self._in_memory: tuple[LoadKey, ...] = ()  # the one used last at the end; replaced, never changed in place
        self._supplanted: Sequence[LoadKey] = ()  # taken out of it for the latest, unless the server chose another one
        self._refusals = Refusals()
        self._loads: set[_Load] = set()
        self._doubted = trio.Event()  # set when the loaded model may have been unloaded

    def change(self, keep_alive: str | int, *, load_timeout: float) -> None:
        """Load models with these from now on; a load under way goes on."""
        self._keep_alive = _duration(keep_alive)
        self._load_timeout = load_timeout

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Check the loaded model when it is in doubt, and log a warning when a load takes long."""
        task_status.started()
        try:
            while True:
                with trio.move_on_after(LOOK_EVERY):
                    await self._doubted.wait()
                if self._doubted.is_set() or self._loads:
                    self._doubted = trio.Event()
                    await self._look()
                await trio.sleep(LOOK_PAUSE)
        finally:
            self._client.close()

    async def models(self) -> list[Model]:
        """See `Target.models`."""
        if self._in_memory:
            self._doubted.set()
        try:
            return await self._listed.ask()
        except (TargetUnavailable, TargetLost):
            self._in_memory = ()
            raise

    def same(self, name: str) -> str:
        """See `Target.same`."""
        return ollama_form(name)

    def serves(self, endpoint: str) -> bool:
        """See `Target.serves`."""
        return at(endpoint).on_ollama

    async def load(self, call: Call) -> None:
        """Load the model by a request without a prompt; a refusal is left for the real request to report.

        Raise LoadTimeout, TargetUnavailable, TargetLost, or TargetFailed for an error that did not come at once.
        """
        if self.is_loaded(call.key) or at(call.endpoint).past_queue:
            return
        fields = await offload(len(call.payload), fields_of, call.payload)
        if _unloads(call.endpoint, fields):
            return
        load = _Load(call.model, trio.current_time())
        self._loads.add(load)
        try:
            with trio.fail_after(self._load_timeout):
                await self._ask_to_load(call.model, _reload_options(fields))
        except TargetRefused:
            return
        except TargetFailed:
            if trio.current_time() - load.began_at > AT_ONCE:
                raise
            return
        except trio.TooSlowError:
            raise LoadTimeout(self.name, call.model, self._load_timeout) from None
        except (TargetUnavailable, TargetLost):
            self._in_memory = ()
            raise
        finally:
            self._loads.discard(load)
        self._use(call.key)

    def _use(self, key: LoadKey) -> None:
        """Record that a key was used: the server may have unloaded others of its model, or the one unused longest."""
        if self._in_memory[-1:] == (key,):
            return
        model = ollama_form(model_of(key))
        known = (*(one for one in self._in_memory if ollama_form(model_of(one)) != model), key)
        if len(known) > self._max_loaded > 1 or model not in self._memory:
            self._doubted.set()  # its own choice may be another one, and only it knows the size of a new one
        self._supplanted, self._in_memory = known[: -self._max_loaded], known[-self._max_loaded :]

    async def _ask_to_load(self, model: str, options: Fields) -> None:
        ask: dict[str, Any] = {"model": model, "stream": False}
        if options:
            ask["options"] = options
        # Only for a model that is not in memory: keep_alive would stop the eviction of a loaded one, and Ollama would
        # then wait for room for another one without end.
        if self._keep_alive is not None:
            held = await self._held()
            if held is not None and ollama_form(model) not in held:
                ask["keep_alive"] = self._keep_alive
        async with self._client.request("POST", "/api/generate", msgspec.json.encode(ask)) as response:
            if response.status >= 300:
                raise await error_in(self._client, response)
            await response.read_some(ERROR_LIMIT)

    def is_loaded(self, key: LoadKey) -> bool:
        """See `Target.is_loaded`."""
        return key in self._in_memory

    def in_memory(self) -> Sequence[LoadKey]:
        """See `Target.in_memory`."""
        return self._in_memory

    def held(self, key: LoadKey) -> Held | None:
        """Return what the server told last of a loaded model. For any thread."""
        return self._memory.get(ollama_form(model_of(key)))

    def room(self) -> Room:
        """See `Target.room`."""
        return self._room

    def slots_of(self, key: LoadKey) -> int | None:
        """See `Target.slots_of`."""
        return None

    def answer(self, call: Call) -> AbstractAsyncContextManager[AsyncIterator[Chunk]]:
        """See `Target.answer`."""
        if not at(call.endpoint).on_ollama:
            raise NotServed(self.name, call.endpoint)
        return _Answer(partial(self._asking, call))

    async def _asking(self, call: Call) -> Asking:
        question = await offload(len(call.payload), at(call.endpoint).question, call.payload)
        return Asking(
            self._client,
            question,
            self._refusals,
            model=model_of(call.key),
            heard=call.heard,
            took=call.took,
            ended=partial(self._ended, call),
        )

    def _ended(self, call: Call, error: BaseException | None) -> None:
        if isinstance(error, (TargetUnavailable, TargetLost)):
            self._in_memory = ()
        elif at(call.endpoint).past_queue:
            if any(ollama_form(model_of(key)) != ollama_form(call.model) for key in self._in_memory):
                self._doubted.set()  # it may have been evicted
        elif error is None and b'"keep_alive"' in call.payload and is_zero(_kept(fields_of(call.payload))):
            # The caller had the model unloaded after the answer.
            gone = ollama_form(model_of(call.key))  # with whatever options it was loaded
            self._in_memory = tuple(key for key in self._in_memory if ollama_form(model_of(key)) != gone)
        elif error is None:
            self._use(call.key)

    @property
    def ollama_api(self) -> OllamaTarget:
        """See `Target.ollama_api`."""
        return self

    async def boot_id(self) -> str | None:
        """See `Target.boot_id`."""
        return await boot_id_at(self._client)

    def displaces(self, call: Call) -> bool:
        """See `Target.displaces`: Ollama decides itself."""
        return False

    async def count(self, path: str, call: Call) -> bytes:
        """See `Target.count`."""
        return await counted(self._client, path, call.payload, by_tokenizer=False)

    def pass_on(
        self,
        method: str,
        path: str,
        body: Body | None = None,
        *,
        length: int | None = None,
        content_type: str | None = None,
    ) -> AbstractAsyncContextManager[Response]:
        """See `OllamaApi.pass_on`."""
        return self._client.request(method, path, body, length=length, content_type=content_type)

    async def _held(self) -> set[str] | None:
        """Return the models in the memory of the server; None when it does not answer."""
        with trio.move_on_after(LOOK_TIMEOUT), suppress(TargetError):
            self._memory = {one.name: one for one in await self._held_there.ask()}
            return set(self._memory)
        return None

    async def _look(self) -> None:
        before, supplanted = self._in_memory, self._supplanted
        held = await self._held()
        if held is not None:
            gone = {key for key in before if ollama_form(model_of(key)) not in held}
            kept = [key for key in self._in_memory if key not in gone]
            there = [key for key in supplanted if ollama_form(model_of(key)) in held and key not in kept]
            self._in_memory = (*there, *kept)[-self._max_loaded :]
        for load in self._loads:
            waited = trio.current_time() - load.began_at
            if waited >= LOOK_EVERY:
                loaded = sorted(held) if held is not None else "no answer"
                log.warning("a model is not loaded yet", model=load.model, seconds=round(waited), loaded=loaded)


class _Answer(AbstractAsyncContextManager[AsyncIterator[Chunk]]):
    """An answer whose question is made when it is entered; a generator would cost several times as much."""

    def __init__(self, begin: Callable[[], Awaitable[Asking]]) -> None:
        self._begin = begin
        self._asking: Asking | None = None

    async def __aenter__(self) -> Chunks:
        self._asking = await self._begin()
        return await self._asking.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._asking is not None
        await self._asking.__aexit__(kind, error, trace)


def _unloads(endpoint: str, fields: Fields) -> bool:
    """Return True for a request without a prompt and with a `keep_alive` of 0; Ollama checks its other fields."""
    asked = at(endpoint).prompt_key
    empty = asked is not None and bytes(fields.get(asked, _NOTHING)).translate(None, b" \t\r\n") in _EMPTY
    return empty and is_zero(_kept(fields))


def _reload_options(fields: Fields) -> Fields:
    """Return the `options` of the payload that make Ollama load the model again."""
    raw = fields.get("options")
    if raw is None or not bytes(raw).lstrip().startswith(b"{"):
        return {}
    options = fields_of(raw)
    return {name: options[name] for name in RELOADING_OPTIONS if name in options}


def _kept(fields: Fields) -> Any:
    try:
        return msgspec.json.decode(fields.get("keep_alive", _NOTHING))
    except msgspec.DecodeError:
        return None  # a number out of range, which Ollama reports


def _duration(keep_alive: str | int) -> str | int | None:
    """Return a `keep_alive` as Ollama takes it: a number of seconds or text with units, never a number in text."""
    if isinstance(keep_alive, str):
        keep_alive = keep_alive.strip()
        digits = keep_alive.removeprefix("-")
        if digits.isascii() and digits.isdigit():
            return int(keep_alive)
    return None if keep_alive == "" else keep_alive


def _model(name: str, entry: dict[str, Any]) -> Model:
    known = entry.get("details")
    family = known.get("family") if isinstance(known, dict) else ""
    return Model(
        name=name,
        aliases=(name.removesuffix(":latest"),) if name.endswith(":latest") else (),
        embedding=isinstance(family, str) and family.endswith("bert"),
        details=details(entry),
    )
