"""The routes of the endpoints, as each endpoint describes itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from types import MappingProxyType

from quart import Blueprint, Response

from foreman.domain.endpoints import EVERY
from foreman.domain.endpoints.endpoint import Endpoint
from foreman.domain.endpoints.responses import ENDPOINT as RESPONSES
from foreman.domain.errors import ModelNotFound, ModelRequired
from foreman.http.compat import calls
from foreman.http.compat.waiting import Dialect
from foreman.http.errors import json_text

View = Callable[[Dialect, Endpoint], Awaitable[Response]]
NO_VIEWS: Mapping[str, View] = MappingProxyType({})


def add_routes(blueprint: Blueprint, dialects: Mapping[str, Dialect], own: Mapping[str, View] = NO_VIEWS) -> None:
    """Add the routes of all endpoints of these dialects, those that count tokens too.

    `own` has the views of paths that are more than calls.
    """
    for endpoint in EVERY.values():
        if (dialect := dialects.get(endpoint.dialect)) is None:
            continue
        run = own.get(endpoint.path, calls.run)
        view = partial(_past_queue, endpoint) if endpoint.past_queue else partial(run, dialect, endpoint)
        _add(blueprint, endpoint.path, endpoint.operation, view)
        if endpoint.counting is not None:
            _add(blueprint, endpoint.counting, endpoint.counting_operation, partial(_count, endpoint))


def _add(blueprint: Blueprint, path: str, name: str, view: Callable[[], Awaitable[Response]]) -> None:
    async def answer() -> Response:
        return await view()

    blueprint.add_url_rule(path, name, answer, methods=["POST"])


async def _past_queue(endpoint: Endpoint) -> Response:
    try:
        asked = await calls.read(endpoint)
    except ModelRequired:
        if endpoint.unnamed_is_unknown:
            raise ModelNotFound("") from None
        raise
    passed = await calls.pass_on(endpoint.path, endpoint, asked)
    return passed if passed is not None else json_text(await calls.past_queue(endpoint, asked))


async def _count(endpoint: Endpoint) -> Response:
    asked = await calls.read(endpoint)
    assert endpoint.counting is not None
    if endpoint.path == RESPONSES.path:
        asked = await calls.with_turns(asked)
    passed = await calls.pass_on(endpoint.counting, endpoint, asked)
    return passed if passed is not None else json_text(await calls.count(endpoint, asked))
