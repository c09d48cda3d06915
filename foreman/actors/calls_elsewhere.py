"""Calls past the queue for models that only other nodes have: passed on to one of these."""

from __future__ import annotations

from contextlib import AsyncExitStack

import trio

from foreman.actors.attempt import Timeouts
from foreman.actors.models_elsewhere import ModelsElsewhere
from foreman.actors.other_nodes import OtherNodes
from foreman.actors.upstream import Passage
from foreman.domain.errors import AttemptTimeout, TargetDown, TargetLost, TargetUnavailable
from foreman.targets.http.connection import Response
from foreman.targets.http.pool import Request
from foreman.targets.protocol import Call

LOOK_EVERY = 1.0  # seconds between looks whether the node that is waited for is still there


class CallsElsewhere:
    """Passes calls on to other nodes, which answer them there: a call is never passed on twice."""

    def __init__(self, others: OtherNodes, models: ModelsElsewhere) -> None:
        self._others = others
        self._models = models

    async def ask(self, path: str, call: Call, timeouts: Timeouts) -> Passage:
        """Send a call to the route `path` of a node that serves it; return the answer, whatever its status.

        Close it in the end. It goes on to the next node if there is no connection.

        Raises:
            TargetDown: No node that has the model takes calls now.
            TargetUnavailable: None of them can be reached.
            TargetError: The node broke off, left the fleet, or took longer than `attempt` seconds.
        """
        failed: TargetUnavailable | None = None
        for node in self._models.nodes(call.key, call.endpoint):
            try:
                request = self._others.request(node, "POST", path, call.payload)
                return await self._answer(node, request, timeouts)
            except TargetUnavailable as error:
                failed = error
        raise failed or TargetDown(call.model, TargetUnavailable("the nodes that have it", "none takes calls now"))

    async def _answer(self, node: str, request: Request, timeouts: Timeouts) -> Passage:
        name, ends = f"the node {node}", trio.current_time() + timeouts.attempt
        exits = AsyncExitStack()
        response: Response | None = None
        failed: Exception | None = None
        with trio.CancelScope(deadline=ends) as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._cancel_once_gone, node, scope)
                try:
                    response = await exits.enter_async_context(request)
                except Exception as error:  # raised below: a nursery would wrap it
                    failed = error
                nursery.cancel_scope.cancel()
        if failed is not None:
            raise failed
        if response is not None:
            return Passage(response, exits, name, stall=timeouts.stall, ends=ends)
        if trio.current_time() < ends:
            raise TargetLost(name, "it has left the fleet")
        raise AttemptTimeout(timeouts.attempt)

    async def _cancel_once_gone(self, node: str, scope: trio.CancelScope) -> None:
        while self._others.has(node):  # noqa: ASYNC110 - the queue's thread hears of it, which can set no event here
            await trio.sleep(LOOK_EVERY)
        scope.cancel()
