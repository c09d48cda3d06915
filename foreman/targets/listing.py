"""Lists of models, in the shapes that servers give them."""

from __future__ import annotations

from typing import Any

import msgspec
import trio

from foreman.errors import TargetGarbled, TargetUnavailable
from foreman.targets.chunks import fault_in
from foreman.targets.faults import NOT_JSON, said
from foreman.targets.http1 import Client

LIMIT = 16 * 2**20  # bytes
TIMEOUT = 10.0  # seconds; the health probe does not even wait that long
KEYS = ("data", "models")  # where an object has the list


async def listed(client: Client, path: str, *, named_by: tuple[str, ...]) -> list[tuple[str, dict[str, Any]]]:
    """Return the models that GET `path` lists, each with its entry.

    An entry is an object, named by the first key of `named_by` that holds text, or a plain name. Others are left out.

    Raises TargetFault; TargetUnavailable when nothing comes, TargetGarbled when there is no list.
    """
    with trio.move_on_after(TIMEOUT):
        async with client.request("GET", path) as response:
            if response.status != 200:
                raise await fault_in(client.name, response)
            body = await response.read(LIMIT)
        return [entry for item in _items(client.name, path, body) if (entry := _entry(item, named_by))]
    raise TargetUnavailable(client.name, f"no list of models within {TIMEOUT:g} s")


def _items(target: str, path: str, body: bytes) -> list[Any]:
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
    return found


def _entry(item: object, named_by: tuple[str, ...]) -> tuple[str, dict[str, Any]] | None:
    if isinstance(item, str):
        return (item, {named_by[0]: item}) if item else None
    if not isinstance(item, dict):
        return None
    name = next((item[key] for key in named_by if isinstance(item.get(key), str) and item[key]), None)
    return None if name is None else (name, item)
