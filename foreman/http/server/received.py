"""A received request as Quart's, made from an ASGI scope."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property, lru_cache
from typing import Any, cast

from hypercorn.typing import HTTPScope
from quart_trio.wrappers import TrioRequest
from werkzeug.datastructures import Headers, MultiDict
from werkzeug.exceptions import BadRequestKeyError
from werkzeug.sansio.request import Request as SansIORequest

from foreman.domain.errors import FieldInvalid
from foreman.http.query import UTF_8, not_text
from foreman.http.server.inflow import BODY


class ReceivedHeaders(Headers):
    """The headers of a request, which do not change; the first of a name is found without a search."""

    def __init__(self, received: Iterable[tuple[bytes, bytes]]) -> None:
        """Take pairs of names in lower case and values."""
        self._list = [(_title(name), value.decode("latin1")) for name, value in received]
        self._first = {name.lower(): value for name, value in reversed(self._list)}

    def __contains__(self, key: object) -> bool:
        """Return True if there is a header of this name."""
        return isinstance(key, str) and key.lower() in self._first

    def _get_key(self, key: str) -> str:
        try:
            return self._first[key.lower()]
        except KeyError:
            raise BadRequestKeyError(key) from None

    def get(self, key: str, default: Any = None, type: Any = None) -> Any:  # type: ignore[override]
        """Return the first value of a header, by `type` if it can be converted; else `default`."""
        value = self._first.get(key.lower())
        if value is None:
            return default
        if type is None:
            return value
        try:
            return type(value)
        except ValueError:
            return default


class ReceivedRequest(TrioRequest):
    """A request whose body comes from the stream; forms and pushes, which no route uses, are left out."""

    def __init__(self, scope: HTTPScope) -> None:
        """Take the request of an ASGI scope of this server."""
        headers = ReceivedHeaders(scope["headers"])
        SansIORequest.__init__(
            self,
            scope["method"],
            scope["scheme"],
            scope["server"],
            scope["root_path"],
            scope["path"],
            scope["query_string"],
            headers,
            None,
        )
        self.http_version = scope["http_version"]
        self.scope = scope
        self.body = cast(dict[str, Any], scope["state"])[BODY]

    @cached_property
    def args(self) -> MultiDict[str, str]:
        """The query's parameters. Raise FieldInvalid for one that is not UTF-8."""
        if found := not_text(self.query_string):
            raise FieldInvalid(*found, UTF_8)
        return super().args

    async def close(self) -> None:
        """Do nothing: there are no files of a form to close."""


@lru_cache(512)
def _title(name: bytes) -> str:
    return name.decode("latin1").title()
