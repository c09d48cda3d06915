"""Answers of a type that the caller names: what makes the model answer so, and how the answer is read; no I/O."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from foreman.client.faults import NotTheShape
from foreman.client.reading import decode

T = TypeVar("T")


def asking_for(kind: type[Any], endpoint: str) -> dict[str, Any]:
    """The field of the payload that has the target answer with JSON of this type.

    `kind` is a dataclass, a TypedDict, a msgspec.Struct, a model of Pydantic, or a type made of these. Raises
    ValueError for an endpoint that has no such field.
    """
    schema = _schema(kind)
    named = {"name": _name(kind), "schema": schema, "strict": True}
    match endpoint:
        case "/api/chat" | "/api/generate":
            return {"format": schema}
        case "/v1/chat/completions":
            return {"response_format": {"type": "json_schema", "json_schema": named}}
        case "/v1/responses":
            return {"text": {"format": {"type": "json_schema", **named}}}
        case _:
            raise ValueError(f"{endpoint} takes no type for its answer")


def read(kind: type[T], text: str) -> T:
    """The answer as a value of `kind`. Raises NotTheShape."""
    try:
        pydantics: Callable[[str], T] | None = getattr(kind, "model_validate_json", None)
        return pydantics(text) if pydantics else decode(text, kind)
    except ValueError as error:  # msgspec's and Pydantic's faults are of this kind
        raise NotTheShape(_name(kind), str(error), text) from None


def _schema(kind: type[Any]) -> dict[str, Any]:
    pydantics: Callable[[], dict[str, Any]] | None = getattr(kind, "model_json_schema", None)
    if pydantics:
        return pydantics()
    schema = msgspec.json.schema(kind)
    defs = schema.get("$defs", {})
    if schema.get("$ref") == f"#/$defs/{_name(kind)}" and len(defs) == 1:  # not every target follows references
        return dict(defs[_name(kind)])
    return schema


def _name(kind: type[Any]) -> str:
    return getattr(kind, "__name__", "answer")
