"""Requests to the servers of managed models that Foreman does not know, past the queue."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Sequence
from contextlib import AsyncExitStack, suppress
from urllib.parse import unquote

import trio

from foreman.actors.attempt import Timeouts
from foreman.actors.fleet import Fleet
from foreman.domain.errors import AttemptTimeout, ModelNotFound, TargetDrained, TargetSilent
from foreman.targets.http.connection import Response
from foreman.targets.http.parser import Body, Header
from foreman.targets.managed.child import Child
from foreman.targets.managed.target import ManagedTarget

LONGEST_NAME = 16  # parts of a path that may be a model's name
SHOWN = 5  # names of models in an error


class Upstream:
    """Passes requests on to the server of a managed model, which is loaded first.

    One may take `attempt` seconds in all, loading and waiting for room included, `first_chunk` until its answer begins
    once the server has the request, and `stall` between two pieces of the answer.
    """

    def __init__(self, fleet: Fleet, timeout: Timeouts) -> None:
        self._fleet = fleet
        self.timeouts = timeout

    @property
    def models(self) -> list[str]:
        """Return the names and aliases of the models whose servers can be reached."""
        return [name for target in self._fleet.managed() for name in target.names]

    def find(self, path: str) -> tuple[str, str] | None:
        """Return the model that a percent-encoded path begins with, and the path at its server; None without one.

        A model's name may contain slashes; the longest name is taken.
        """
        parts, known = path.split("/"), set(self.models)
        for count in range(min(len(parts), LONGEST_NAME), 0, -1):
            name = unquote("/".join(parts[:count]))
            if name in known:
                return name, "/" + "/".join(parts[count:])
        return None

    async def pass_on(
        self, model: str, method: str, path: str, body: Body | None, *, length: int | None, headers: Sequence[Header]
    ) -> Passage:
        """Send a request and return its answer, whatever the status; close it in the end.

        Raise TargetError when the server cannot answer, ModelNotFound when a reload has removed the model.
        """
        name = f"the server of {model}"
        exits = AsyncExitStack()
        ends = trio.current_time() + self.timeouts.attempt
        scope = trio.CancelScope(deadline=ends)
        began = False

        def told(seconds: float) -> None:
            scope.deadline = min(ends, trio.current_time() + seconds)

        async def telling(pieces: AsyncIterable[bytes]) -> AsyncGenerator[bytes, None]:
            async for piece in pieces:
                yield piece
                told(self.timeouts.first_chunk)

        try:
            with scope:
                target, child = await self._ready(model, exits)
                began = True
                told(self.timeouts.first_chunk)
                sent = body if body is None or isinstance(body, bytes) else telling(body)
                asking = target.pass_on(child, method, path, sent, length=length, headers=headers)
                response = await exits.enter_async_context(asking)
                return Passage(response, exits, name, stall=self.timeouts.stall, ends=ends)
        except BaseException:
            await exits.aclose()
            raise
        await exits.aclose()
        if began and trio.current_time() < ends:
            raise TargetSilent(name, self.timeouts.first_chunk)
        raise AttemptTimeout(self.timeouts.attempt)

    async def _ready(self, model: str, exits: AsyncExitStack) -> tuple[ManagedTarget, Child]:
        """Return the target to ask, one that has the model loaded before others, and its server of the model.

        Raise ModelNotFound when a reload takes the model from the last target that had it.
        """
        while having := self._fleet.managing(model):
            target = min(having, key=lambda target: not target.is_loaded(model))
            with suppress(TargetDrained):
                return target, await exits.enter_async_context(target.serving(model))
        raise ModelNotFound(model, self.models[:SHOWN])


class Passage:
    """An answer that is passed on; iterate over its body, and close it in the end."""

    def __init__(self, response: Response, exits: AsyncExitStack, name: str, *, stall: float, ends: float) -> None:
        self.status = response.status
        self.headers = response.headers
        self._response = response
        self._exits = exits
        self._name = name
        self._stall = stall
        self._ends = ends

    def __aiter__(self) -> Passage:
        return self

    async def __anext__(self) -> bytes:
        """Return the next piece. Raise TargetError when the server breaks off or is silent."""
        with trio.CancelScope(deadline=min(self._ends, trio.current_time() + self._stall)):
            if data := await self._response.receive():
                return data
            raise StopAsyncIteration
        raise TargetSilent(self._name, self._stall)

    async def aclose(self) -> None:
        """Close the request to the server."""
        await self._exits.aclose()
