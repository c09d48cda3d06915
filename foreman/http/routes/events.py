"""The live feed: every change of state, over a websocket or as SSE."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import lru_cache

import msgspec
import trio
from quart import Blueprint, Response, request, websocket
from werkzeug.datastructures import MultiDict

from foreman.actors.feed import Subscription
from foreman.domain.errors import CursorGone, ForemanError, NotAcceptable, QueryInvalid
from foreman.domain.job import Change, State
from foreman.domain.wire import show_change
from foreman.http import visibility
from foreman.http.auth import TICKET
from foreman.http.context import Deps, deps

events = Blueprint("events", __name__)

PING_EVERY = 20.0  # seconds between SSE comments; hypercorn pings websockets as often
STOPPED = 1.0  # seconds that one change waits for a reader; one that reads at all, at whatever pace, is no trouble
GOING_AWAY, TOO_SLOW, BAD_QUERY, GONE = 1012, 1013, 4400, 4410  # close codes
FILTERS = ("after", "job_id", "model", "state")


@events.websocket("/events")
async def over_websocket() -> None:
    """Hello, then the changes, until the reader leaves, is too slow, or Foreman stops."""
    known = deps()
    await websocket.accept()
    try:
        subscription = await _subscribe(known, websocket.args, visibility.by(websocket))
    except CursorGone as fault:
        await websocket.close(GONE, str(fault)[:120])
        return
    except ForemanError as fault:
        await websocket.close(BAD_QUERY, str(fault)[:120])
        return
    await websocket.send(await _hello(known, subscription))
    code, words = GOING_AWAY, "restarting"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_until, known.leaving, nursery.cancel_scope)
        # Without someone to receive, the reader's going would never be noticed.
        nursery.start_soon(_discard)
        code, words = await _tell(subscription)
        nursery.cancel_scope.cancel()
    await websocket.close(code, words)


async def _tell(subscription: Subscription) -> tuple[int, str]:
    """Send the changes until this reader can be told no more: with which code to close, and why."""
    try:
        while True:
            for change in await subscription.next():
                began = trio.current_time()
                await websocket.send(_text(change))
                if trio.current_time() - began > STOPPED and subscription.too_far_behind:
                    return TOO_SLOW, "fell too far behind"
    except CursorGone as fault:
        return GONE, str(fault)[:120]


@events.get("/events")
async def over_sse() -> Response:
    if "text/event-stream" not in request.headers.get("Accept", ""):
        raise NotAcceptable(request.headers.get("Accept", ""), "text/event-stream, or a websocket")
    known = deps()
    args = MultiDict(request.args)
    if "after" not in args and (last := request.headers.get("Last-Event-ID")):
        args["after"] = last  # what a browser sends when it connects again
    subscription = await _subscribe(known, args, visibility.by(request))
    response = Response(_sse(known, subscription), content_type="text/event-stream; charset=utf-8")
    response.timeout = None
    response.headers["Cache-Control"] = "no-store"
    return response


async def _sse(known: Deps, subscription: Subscription) -> AsyncIterator[bytes]:
    yield b"data: " + (await _hello(known, subscription)).encode() + b"\n\n"
    while not known.leaving.is_set():
        try:
            changes = await _next(known, subscription)
        except CursorGone:
            return  # when the reader comes back with its last id, the answer says so
        for change in changes:
            began = trio.current_time()
            yield _event(change)
            if trio.current_time() - began > STOPPED and subscription.too_far_behind:
                return
        if not changes:
            yield b": ping\n\n"


async def _next(known: Deps, subscription: Subscription) -> list[Change]:
    """The next changes; none when nothing came for a while, or Foreman stops."""
    changes: list[Change] = []
    gone: CursorGone | None = None
    with trio.move_on_after(PING_EVERY) as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_until, known.leaving, scope)
            try:
                changes = await subscription.next()
            except CursorGone as fault:
                gone = fault
            nursery.cancel_scope.cancel()
    if gone is not None:
        raise gone
    return changes


async def _subscribe(known: Deps, args: MultiDict[str, str], shown: Callable[[Change], bool] | None) -> Subscription:
    """Return a place in the feed, where only those changes are told that may be shown."""
    after = known.feed.newest
    if (text := args.get("after")) is not None:
        if not (text.isascii() and text.isdigit() and len(text) < 19):
            raise QueryInvalid("after", text, "must be the seq of an event, a whole number")
        after = int(text)
        await known.feed.check(after)
    wanted = _filter(args)
    if shown is None:
        return Subscription(known.feed, after, wanted)
    return Subscription(known.feed, after, lambda change: shown(change) and wanted(change))


def _filter(args: MultiDict[str, str]) -> Callable[[Change], bool]:
    unknown = set(args) - {*FILTERS, TICKET}
    if unknown:
        raise QueryInvalid("query", ", ".join(sorted(unknown)), f"must be out of {', '.join(FILTERS)}")
    jobs, models, states = (frozenset(args.getlist(name)) for name in FILTERS[1:])
    odd = states - {state.value for state in State}
    if odd:
        raise QueryInvalid("state", ", ".join(sorted(odd)), f"must be out of {', '.join(State)}")

    def wanted(change: Change) -> bool:
        return (
            (not jobs or change.job_id in jobs)
            and (not models or change.model in models)
            and (not states or change.state in states)
        )

    return wanted


async def _hello(known: Deps, subscription: Subscription) -> str:
    # The newest when the subscription began: whoever comes back with this `seq` has missed nothing in between.
    hello = {"type": "hello", "seq": subscription.newest, "oldest": await known.feed.oldest()}
    return msgspec.json.encode(hello).decode()


@lru_cache(maxsize=1024)
def _text(change: Change) -> str:
    """A change as all readers get it."""
    return msgspec.json.encode(show_change(change)).decode()


@lru_cache(maxsize=1024)
def _event(change: Change) -> bytes:
    """The same as an event of SSE."""
    return f"id: {change.seq}\ndata: {_text(change)}\n\n".encode()


async def _until(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


async def _discard() -> None:
    while True:
        await websocket.receive()
