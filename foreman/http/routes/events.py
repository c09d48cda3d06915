"""/events: the live feed of all events, over a websocket or as SSE."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import lru_cache

import msgspec
import trio
from quart import Blueprint, Response, request, websocket
from werkzeug.datastructures import MultiDict

from foreman.actors.feed import Subscription
from foreman.domain import views
from foreman.domain.errors import CursorGone, ForemanError, NotAcceptable, QueryInvalid
from foreman.domain.job import JobEvent, State
from foreman.http import visibility
from foreman.http.auth import TICKET
from foreman.http.context import Context, context
from foreman.http.query import UTF_8, not_text, read_seq

events = Blueprint("events", __name__)

PING_EVERY = 20.0  # seconds between SSE comments; hypercorn pings websockets as often
STOPPED = 1.0  # seconds one event may wait for its reader; a reader that still reads is never dropped
GOING_AWAY, TOO_SLOW, BAD_QUERY, GONE = 1012, 1013, 4400, 4410  # close codes
FILTERS = ("after", "job_id", "model", "state")


@events.websocket("/events")
async def over_websocket() -> None:
    """Send hello, then events, until the reader leaves, is too slow, or Foreman stops."""
    ctx = context()
    await websocket.accept()
    try:
        _check_text(websocket.query_string)
        subscription = await _subscribe(ctx, websocket.args, visibility.by(websocket))
    except CursorGone as error:
        await websocket.close(GONE, str(error)[:120])
        return
    except ForemanError as error:
        await websocket.close(BAD_QUERY, str(error)[:120])
        return
    await websocket.send(await _hello(ctx, subscription))
    code, reason = GOING_AWAY, "restarting"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_until, ctx.leaving, nursery.cancel_scope)
        # Without a pending receive, a disconnect of the reader would go unnoticed.
        nursery.start_soon(_discard)
        code, reason = await _emit(subscription)
        nursery.cancel_scope.cancel()
    await websocket.close(code, reason)


def _check_text(query: bytes) -> None:
    """Raise QueryInvalid for a parameter that is not UTF-8."""
    if found := not_text(query):
        raise QueryInvalid(*found, UTF_8)


async def _emit(subscription: Subscription) -> tuple[int, str]:
    """Send events until the reader is too slow or its cursor is gone; return the close code and the reason."""
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
    """Stream events as SSE. Raise NotAcceptable unless the caller accepts them."""
    if "text/event-stream" not in request.headers.get("Accept", ""):
        raise NotAcceptable(request.headers.get("Accept", ""), "text/event-stream, or a websocket")
    ctx = context()
    _check_text(request.query_string)
    args = MultiDict(request.args)
    if "after" not in args and (last := request.headers.get("Last-Event-ID")):
        args["after"] = last  # sent by browsers when they reconnect
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
            return  # a reader that reconnects with its last id gets the error then
        for event in events:
            began = trio.current_time()
            yield _event(event)
            if trio.current_time() - began > STOPPED and subscription.too_far_behind:
                return
        if not events:
            yield b": ping\n\n"


async def _next(ctx: Context, subscription: Subscription) -> list[JobEvent]:
    """Return the next events; none after PING_EVERY seconds without any, or when Foreman stops."""
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
    """Return a subscription to the events that match the query and are `shown` to the caller."""
    after = ctx.feed.newest
    if (text := args.get("after")) is not None:
        after = read_seq(text, 0, QueryInvalid)
        await ctx.feed.check(after)
    wanted = _filter(args)
    if shown is None:
        return Subscription(ctx.feed, after, wanted)
    return Subscription(ctx.feed, after, lambda event: shown(event) and wanted(event))


def _filter(args: MultiDict[str, str]) -> Callable[[JobEvent], bool]:
    unknown = set(args) - {*FILTERS, TICKET}
    if unknown:
        raise QueryInvalid("query", ", ".join(sorted(unknown)), f"must be one of {', '.join(FILTERS)}")
    jobs, models, states = (frozenset(args.getlist(name)) for name in FILTERS[1:])
    odd = states - {state.value for state in State}
    if odd:
        raise QueryInvalid("state", ", ".join(sorted(odd)), f"must be one of {', '.join(State)}")

    def wanted(event: JobEvent) -> bool:
        return (
            (not jobs or event.job_id in jobs)
            and (not models or event.model in models)
            and (not states or event.state in states)
        )

    return wanted


async def _hello(ctx: Context, subscription: Subscription) -> str:
    # The newest seq when the subscription began: a reader that reconnects with it misses no event.
    hello = views.Hello(seq=subscription.newest, oldest=await ctx.feed.oldest())
    return msgspec.json.encode(hello).decode()


@lru_cache(maxsize=1024)
def _text(event: JobEvent) -> str:
    """Return an event as JSON, encoded once for all readers."""
    return msgspec.json.encode(views.show_event(event)).decode()


@lru_cache(maxsize=1024)
def _event(event: JobEvent) -> bytes:
    """Return an event as SSE, encoded once for all readers."""
    return f"id: {event.seq}\ndata: {_text(event)}\n\n".encode()


async def _until(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


async def _discard() -> None:
    while True:
        await websocket.receive()
