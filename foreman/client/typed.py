"""Typed answers: the JSON schema of a type and the answer read as one; no I/O."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from foreman.client.errors import NotTheShape
from foreman.client.reading import decode

T = TypeVar("T")


def schema_of(kind: type[Any]) -> dict[str, Any]:
    """Return the JSON schema of a dataclass, a TypedDict, a msgspec.Struct, a model of Pydantic, or a type of these."""
    pydantics: Callable[[], dict[str, Any]] | None = getattr(kind, "model_json_schema", None)
    if pydantics:
        return pydantics()
    schema = msgspec.json.schema(kind)
    defs = schema.get("$defs", {})
    if schema.get("$ref") == f"#/$defs/{_name(kind)}" and len(defs) == 1:  # not every target resolves references
        return dict(defs[_name(kind)])
    return schema


def read(kind: type[T], text: str) -> T:
    """Return the answer as a value of `kind`. Raise NotTheShape when it is not one."""
    try:
        pydantics: Callable[[str], T] | None = getattr(kind, "model_validate_json", None)
        return pydantics(text) if pydantics else decode(text, kind)
    except ValueError as error:  # the base of msgspec's and Pydantic's errors
        raise NotTheShape(_name(kind), str(error), text) from None


def _name(kind: type[Any]) -> str:
    return getattr(kind, "__name__", "answer")
