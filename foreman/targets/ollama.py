"""An Ollama server: payloads go unchanged to the path they came for."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

import msgspec
import trio

from foreman.endpoints import EMBEDDING, Endpoint
from foreman.errors import TargetLost, TargetRefused, TargetSilent, TargetUnavailable
from foreman.job import DrainKey
from foreman.targets.chunks import ERROR_LIMIT, Answering, fault_in, inventory
from foreman.targets.http1 import Body, Client, Response
from foreman.targets.payloads import Fields, fields_of, reload_options, streaming
from foreman.targets.protocol import Call, Model
from foreman.targets.translate_request import is_zero

LOAD_TIMEOUT = 600.0  # seconds for one model to be read from disk

_NOTHING = msgspec.Raw(b"null")
_EMPTY = frozenset({b"null", b"[]", b'""'})


class OllamaTarget:
    """One Ollama server."""

    def __init__(self, url: str, token: str = "", keep_alive: str | int = "", *, load_timeout: float = LOAD_TIMEOUT):
        """`keep_alive` goes with each native request that names none; empty leaves it to the server."""
        self.name = f"ollama at {url}"
        self._client = Client(url, token, name=self.name)
        self._keep_alive = _duration(keep_alive)
        self._load_timeout = load_timeout
        self._resident: DrainKey | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            self._client.close()

    async def models(self) -> list[Model]:
        try:
            entries = await inventory(self._client, "/api/tags", "models")
        except (TargetUnavailable, TargetLost):
            self._resident = None
            raise
        return [_model(entry) for entry in entries if entry.get("name") or entry.get("model")]

    async def load(self, call: Call) -> None:
        """Have Ollama load the model by a request without a prompt. What it refuses, the real request will explain."""
        fields = fields_of(call.payload)
        if self.is_resident(call.key) or call.endpoint in EMBEDDING or _only_loads(call.endpoint, fields):
            return
        ask: dict[str, Any] = {"model": call.model, "stream": False}
        if options := reload_options(fields):
            ask["options"] = options
        keep_alive = _kept(fields) if "keep_alive" in fields else self._keep_alive
        if keep_alive is not None and not is_zero(keep_alive):
            ask["keep_alive"] = keep_alive
        try:
            with trio.fail_after(self._load_timeout):
                async with self._client.request("POST", "/api/generate", msgspec.json.encode(ask)) as response:
                    if response.status >= 300:
                        raise await fault_in(self.name, response)
                    await response.read_some(ERROR_LIMIT)
        except TargetRefused:
            return
        except trio.TooSlowError:
            raise TargetSilent(self.name, self._load_timeout) from None
        except (TargetUnavailable, TargetLost):
            self._resident = None
            raise
        self._resident = call.key

    def is_resident(self, key: DrainKey) -> bool:
        return self._resident == key

    def resident(self) -> DrainKey | None:
        return self._resident

    def answer(self, call: Call) -> Answering:
        payload = streaming(call.endpoint, call.payload, keep_alive=self._keep_alive)

        def ended(error: BaseException | None) -> None:
            if isinstance(error, (TargetUnavailable, TargetLost)):
                self._resident = None
            elif error is None and b'"keep_alive"' in payload and is_zero(_kept(fields_of(payload))):
                self._resident = None  # the caller had it unloaded after the answer
            elif error is None and call.endpoint not in EMBEDDING:
                self._resident = call.key

        return Answering(self._client, call.endpoint, payload, ended=ended)

    def pass_on(
        self, method: str, path: str, body: Body | None = None, *, length: int | None = None
    ) -> AbstractAsyncContextManager[Response]:
        """Any other request of the Ollama API, as it is; the response whatever its status. A body in pieces is sent as
        they come; `length` is what they add up to, if that is known. Raises TargetFault."""
        return self._client.request(method, path, body, length=length)


def _only_loads(endpoint: Endpoint, fields: Fields) -> bool:
    """Whether the request itself is one without a prompt. Only Ollama judges what its fields hold."""
    asked = {"/api/chat": "messages", "/api/generate": "prompt"}.get(endpoint)
    return asked is not None and bytes(fields.get(asked, _NOTHING)).translate(None, b" \t\r\n") in _EMPTY


def _kept(fields: Fields) -> Any:
    try:
        return msgspec.json.decode(fields.get("keep_alive", _NOTHING))
    except msgspec.DecodeError:
        return None  # a number out of all range: Ollama will say so


def _duration(keep_alive: str | int) -> str | int | None:
    """Ollama takes a number of seconds, or text with units; a number in text is refused."""
    if isinstance(keep_alive, str):
        keep_alive = keep_alive.strip()
        digits = keep_alive.removeprefix("-")
        if digits.isascii() and digits.isdigit():
            return int(keep_alive)
    return None if keep_alive == "" else keep_alive


def _model(entry: dict[str, Any]) -> Model:
    name = str(entry.get("name") or entry.get("model"))
    details = entry.get("details")
    family = details.get("family") if isinstance(details, dict) else ""
    return Model(
        name=name,
        aliases=(name.removesuffix(":latest"),) if name.endswith(":latest") else (),
        embedding=isinstance(family, str) and family.endswith("bert"),
        details=entry,
    )
