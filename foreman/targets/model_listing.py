"""Lists of models in the shapes that servers give them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any, Generic, TypeAlias, TypeVar

import msgspec
import trio

from foreman.domain.answers.refusals import NOT_JSON, message_of
from foreman.domain.errors import TargetGarbled, TargetUnavailable
from foreman.domain.json_weight import MOST_VALUES, has_more_values
from foreman.offload import offload
from foreman.targets.chunks import error_in
from foreman.targets.http.pool import Client

LIMIT = 16 * 2**20  # bytes
MOST_MODELS = 200_000  # in one list
MOST_DETAILS = 16 * 2**10  # bytes of one entry; only the names of a larger one are read
LONGEST_NAME = 256  # characters; a job cannot name a longer one
TIMEOUT = 10.0  # seconds; the health probe waits less than that
KEYS = ("data", "models")  # of an object that holds the list

T = TypeVar("T")
Entry: TypeAlias = dict[str, Any]


class Listing(Generic[T]):
    """The list of models at one address, decoded again only when it has changed."""

    def __init__(self, client: Client, path: str, make: Callable[[str, Entry], T], *, named_by: Sequence[str]) -> None:
        """Convert each model with `make`, which gets its name and its entry.

        An entry is a plain name, or an object named by the first key of `named_by` that holds text. Others are left
        out.
        """
        self._client = client
        self._path = path
        self._make = make
        self._named_by = named_by
        self._read = b"", list[T]()  # the digest of the last body, and its models

    async def ask(self) -> list[T]:
        """Request the list and return its models as converted by `make`.

        Raise TargetUnavailable when the server does not answer in time, TargetGarbled when the answer is not a list or
        exceeds MOST_MODELS, or the TargetError of an error response.
        """
        with trio.move_on_after(TIMEOUT):
            async with self._client.request("GET", self._path) as response:
                if response.status != 200:
                    raise await error_in(self._client, response)
                body = await response.read(LIMIT)
            self._read = await offload(len(body), self._made_of, body)
            return self._read[1]
        raise TargetUnavailable(self._client.name, f"no list of models within {TIMEOUT:g} s")

    def _made_of(self, body: bytes) -> tuple[bytes, list[T]]:
        digest = sha256(body).digest()
        if digest == self._read[0]:
            return self._read
        if has_more_values(body):
            raise TargetGarbled(self._client.name, f"a list of models of more than {MOST_VALUES} values")
        try:
            items, why = _items(body)
            if len(items) > MOST_MODELS:
                raise TargetGarbled(
                    self._client.name, f"a list of {len(items)} models: at most {MOST_MODELS} are taken"
                )
            entries = (_entry(item, self._named_by) for item in items)
            made = [self._make(*entry) for entry in entries if entry]
        except NOT_JSON as error:
            why = str(error)
        if why is not None:
            why = self._client.without_token(why.encode()).decode()
            raise TargetGarbled(self._client.name, f"no list of models at {self._path}" + (f" ({why})" if why else ""))
        return digest, made


def details(entry: Entry) -> msgspec.Raw:
    """Return an entry as JSON, which takes a tenth of the memory of objects."""
    return msgspec.Raw(msgspec.json.encode(entry))


def _items(body: bytes) -> tuple[list[msgspec.Raw], str | None]:
    """Return the items of a list, still as JSON, and the reason if the body is not a list.

    Decoding them one by one gives other threads their turn.
    """
    found = msgspec.json.decode(body, type=dict[str, msgspec.Raw] | list[msgspec.Raw])
    if isinstance(found, list):
        return found, None
    held = [found[key] for key in KEYS if key in found]
    for raw in held:
        if _begins(raw) == b"[":
            return msgspec.json.decode(raw, type=list[msgspec.Raw]), None
    if [_begins(raw) for raw in held] == [b"n"]:  # null
        return [], None
    error = msgspec.json.decode(found["error"]) if "error" in found else None
    return [], message_of({"error": error}) if error else ""


def _entry(item: msgspec.Raw, named_by: Sequence[str]) -> tuple[str, Entry] | None:
    if _begins(item) == b'"':
        entry: Entry = {named_by[0]: msgspec.json.decode(item)}
    elif _begins(item) != b"{":
        return None
    elif len(memoryview(item)) <= MOST_DETAILS:
        entry = msgspec.json.decode(item)
    else:
        fields = msgspec.json.decode(item, type=dict[str, msgspec.Raw])
        entry = {key: msgspec.json.decode(fields[key]) for key in named_by if key in fields}
    name = next((entry[key] for key in named_by if isinstance(entry.get(key), str) and entry[key]), None)
    return None if name is None or len(name) > LONGEST_NAME else (name, entry)


def _begins(raw: msgspec.Raw) -> bytes:
    return bytes(memoryview(raw)[:1])
