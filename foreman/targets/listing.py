"""Lists of models, in the shapes that servers give them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

import msgspec
import trio

from foreman.errors import TargetGarbled, TargetUnavailable
from foreman.offload import offload
from foreman.targets.chunks import fault_in
from foreman.targets.faults import NOT_JSON, said
from foreman.targets.http1 import Client
from foreman.weight import MOST_VALUES, has_more_values

LIMIT = 16 * 2**20  # bytes
MOST_MODELS = 200_000  # of one list
MOST_DETAILS = 16 * 2**10  # bytes of one entry
TIMEOUT = 10.0  # seconds; the health probe does not even wait that long
KEYS = ("data", "models")  # where an object has the list

T = TypeVar("T")
Entry: TypeAlias = dict[str, Any]


async def listed(client: Client, path: str, make: Callable[[str, Entry], T], *, named_by: Sequence[str]) -> list[T]:
    """Return what `make` makes of each model that GET `path` lists, from its name and its entry.

    An entry is an object, named by the first key of `named_by` that holds text, or a plain name. Others are left out.

    Raises TargetFault; TargetUnavailable when nothing comes, TargetGarbled when there is no list, or a longer one than
    any server has.
    """

    def read(body: bytes) -> list[T]:
        return [make(*entry) for item in _items(client.name, path, body) if (entry := _entry(item, named_by))]

    with trio.move_on_after(TIMEOUT):
        async with client.request("GET", path) as response:
            if response.status != 200:
                raise await fault_in(client.name, response)
            body = await response.read(LIMIT)
        return await offload(len(body), read, body)
    raise TargetUnavailable(client.name, f"no list of models within {TIMEOUT:g} s")


def details(entry: Entry) -> msgspec.Raw:
    """Return an entry as it is kept: as JSON, which takes a tenth of the memory; a large one is not kept."""
    raw = msgspec.json.encode(entry)
    return msgspec.Raw(raw if len(raw) <= MOST_DETAILS else b"{}")


def _items(target: str, path: str, body: bytes) -> list[Any]:
    if has_more_values(body):
        raise TargetGarbled(target, f"a list of models of more than {MOST_VALUES} values")
    try:
        found = msgspec.json.decode(body)
    except NOT_JSON as error:
        raise TargetGarbled(target, f"no list of models at {path} ({error})") from error
    if isinstance(found, dict):
        said_so = said(found) if found.get("error") else ""
        held = [found[key] for key in KEYS if key in found]
        found = next((value for value in held if isinstance(value, list)), [] if held == [None] else said_so)
    if not isinstance(found, list):
        raise TargetGarbled(target, f"no list of models at {path}" + (f" ({found})" if found else ""))
    if len(found) > MOST_MODELS:
        raise TargetGarbled(target, f"a list of {len(found)} models: at most {MOST_MODELS} are taken")
    return found


def _entry(item: object, named_by: Sequence[str]) -> tuple[str, Entry] | None:
    if isinstance(item, str):
        return (item, {named_by[0]: item}) if item else None
    if not isinstance(item, dict):
        return None
    name = next((item[key] for key in named_by if isinstance(item.get(key), str) and item[key]), None)
    return None if name is None else (name, item)
