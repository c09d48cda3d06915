"""Views of what OpenAI's API tells of a response besides itself."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from foreman.domain.views.kinds import schema


class ResponseDeleted(msgspec.Struct, frozen=True):
    """A response that was deleted."""

    id: str
    object: Annotated[str, schema(enum=["response"])] = "response"
    deleted: bool = True


class InputItems(msgspec.Struct, frozen=True):
    """A page of the items of a response's input."""

    data: list[dict[str, Any]]
    first_id: str | None = None
    last_id: str | None = None
    has_more: bool = False
    object: Annotated[str, schema(enum=["list"])] = "list"
