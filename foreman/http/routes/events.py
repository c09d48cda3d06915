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
from foreman.domain.job import JobEvent, State
from foreman.domain.wire import show_event
from foreman.http import visibility
from foreman.http.auth import TICKET
from foreman.http.context import Context, context

events = Blueprint("events", __name__)

PING_EVERY = 20.0  # seconds between SSE comments; hypercorn pings websockets as often
STOPPED = 1.0  # seconds that one change waits for a reader; one that reads at all, at whatever pace, is no trouble
GOING_AWAY, TOO_SLOW, BAD_QUERY, GONE = 1012, 1013, 4400, 4410  # close codes
FILTERS = ("after", "job_id", "model", "state")


@events.websocket("/events")
async def over_websocket() -> None:
    """Hello, then the changes, until the reader leaves, is too slow, or Foreman stops."""
    ctx = context()
    await websocket.accept()
    try:
        subscription = await _subscribe(ctx, websocket.args, visibility.by(websocket))
    except CursorGone as error:
        await websocket.close(GONE, str(error)[:120])
        return
    except ForemanError as error:
        await websocket.close(BAD_QUERY, str(error)[:120])
        return
    await websocket.send(await _hello(ctx, subscription))
    code, words = GOING_AWAY, "restarting"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_until, ctx.leaving, nursery.cancel_scope)
        # Without someone to receive, the reader's going would never be noticed.
        nursery.start_soon(_discard)
        code, words = await _tell(subscription)
        nursery.cancel_scope.cancel()
    await websocket.close(code, words)


async def _tell(subscription: Subscription) -> tuple[int, str]:
    """Send the changes until this reader can be told no more: with which code to close, and why."""
    try:
        while True:
            for event in await subscription.next():
                began = trio.current_time()
                await websocket.send(_text(event))
                if trio.current_time() - began > STOPPED and subscription.too_far_behind:
                    return TOO_SLOW, "fell too far behind"
    except CursorGone as error:
        return GONE, str(error)[:120]


@events.get("/events")
async def over_sse() -> Response:
    if "text/event-stream" not in request.headers.get("Accept", ""):
        raise NotAcceptable(request.headers.get("Accept", ""), "text/event-stream, or a websocket")
    ctx = context()
    args = MultiDict(request.args)
    if "after" not in args and (last := request.headers.get("Last-Event-ID")):
        args["after"] = last  # what a browser sends when it connects again
    subscription = await _subscribe(ctx, args, visibility.by(request))
    response = Response(_sse(ctx, subscription), content_type="text/event-stream; charset=utf-8")
    response.timeout = None
    response.headers["Cache-Control"] = "no-store"
    return response


async def _sse(ctx: Context, subscription: Subscription) -> AsyncIterator[bytes]:
    yield b"data: " + (await _hello(ctx, subscription)).encode() + b"\n\n"
    while not ctx.leaving.is_set():
        try:
            events = await _next(ctx, subscription)
        except CursorGone:
            return  # when the reader comes back with its last id, the answer says so
        for event in events:
            began = trio.current_time()
            yield _event(event)
            if trio.current_time() - began > STOPPED and subscription.too_far_behind:
                return
        if not events:
            yield b": ping\n\n"


async def _next(ctx: Context, subscription: Subscription) -> list[JobEvent]:
    """The next changes; none when nothing came for a while, or Foreman stops."""
    events: list[JobEvent] = []
    gone: CursorGone | None = None
    with trio.move_on_after(PING_EVERY) as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_until, ctx.leaving, scope)
            try:
                events = await subscription.next()
            except CursorGone as error:
                gone = error
            nursery.cancel_scope.cancel()
    if gone is not None:
        raise gone
    return events


async def _subscribe(ctx: Context, args: MultiDict[str, str], shown: Callable[[JobEvent], bool] | None) -> Subscription:
    """Return a place in the feed, where only those changes are told that may be shown."""
    after = ctx.feed.newest
    if (text := args.get("after")) is not None:
        if not (text.isascii() and text.isdigit() and len(text) < 19):
            raise QueryInvalid("after", text, "must be the seq of an event, a whole number")
        after = int(text)
        await ctx.feed.check(after)
    wanted = _filter(args)
    if shown is None:
        return Subscription(ctx.feed, after, wanted)
    return Subscription(ctx.feed, after, lambda event: shown(event) and wanted(event))


def _filter(args: MultiDict[str, str]) -> Callable[[JobEvent], bool]:
    unknown = set(args) - {*FILTERS, TICKET}
    if unknown:
        raise QueryInvalid("query", ", ".join(sorted(unknown)), f"must be out of {', '.join(FILTERS)}")
    jobs, models, states = (frozenset(args.getlist(name)) for name in FILTERS[1:])
    odd = states - {state.value for state in State}
    if odd:
        raise QueryInvalid("state", ", ".join(sorted(odd)), f"must be out of {', '.join(State)}")

    def wanted(event: JobEvent) -> bool:
        return (
            (not jobs or event.job_id in jobs)
            and (not models or event.model in models)
            and (not states or event.state in states)
        )

    return wanted


async def _hello(ctx: Context, subscription: Subscription) -> str:
    # The newest when the subscription began: whoever comes back with this `seq` has missed nothing in between.
    hello = {"type": "hello", "seq": subscription.newest, "oldest": await ctx.feed.oldest()}
    return msgspec.json.encode(hello).decode()


@lru_cache(maxsize=1024)
def _text(event: JobEvent) -> str:
    """A change as all readers get it."""
    return msgspec.json.encode(show_event(event)).decode()


@lru_cache(maxsize=1024)
def _event(event: JobEvent) -> bytes:
    """The same as an event of SSE."""
    return f"id: {event.seq}\ndata: {_text(event)}\n\n".encode()


async def _until(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


async def _discard() -> None:
    while True:
        await websocket.receive()
