"""The body of a request as it comes in: each wait ends."""

from __future__ import annotations

from typing import cast

import pytest
import trio
from hypercorn.typing import ConnectionState
from trio.testing import MockClock, wait_all_tasks_blocked
from werkzeug.exceptions import RequestTimeout

from foreman.budget import Budget
from foreman.domain.errors import GaveWay
from foreman.http.server.inflow import HURRY, ROOM, Inflow

TIMEOUT = 60.0


def an_inflow(hurried: list[bool] | None = None) -> Inflow:
    seen: list[bool] = [] if hurried is None else hurried
    body = Inflow(cast(ConnectionState, {HURRY: lambda: seen.append(True)}))
    body.admit(Budget().lease(), TIMEOUT)
    return body


async def test_parts_are_read_as_they_come_up_to_the_end() -> None:
    body, read = an_inflow(), []

    async def reader() -> None:
        read.extend([part async for part in body])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader)
        for part in (b"one", b"two"):
            await wait_all_tasks_blocked()
            body.append(part)
        await wait_all_tasks_blocked()
        body.append(b"three")
        body.set_complete()
    assert read == [b"one", b"two", b"three"]


async def test_a_body_that_is_here_is_taken_at_once() -> None:
    body = an_inflow()
    body.append(b"all")
    body.set_complete()
    assert (body.here, body.take(), body.here) == (True, b"all", False)
    assert [part async for part in body] == []


async def test_a_part_that_does_not_come_is_waited_for_until_the_timeout(autojump_clock: MockClock) -> None:
    body = an_inflow()
    body.append(b"begun")
    assert await anext(body) == b"begun"
    with pytest.raises(RequestTimeout):
        await anext(body)
    assert trio.current_time() == TIMEOUT


@pytest.mark.parametrize("came", [b"", b"some"])
async def test_a_request_whose_room_is_needed_gives_way_at_once(came: bytes) -> None:
    hurried: list[bool] = []
    body = an_inflow(hurried)

    async def reader() -> None:
        with pytest.raises(GaveWay):
            await anext(body)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader)
        await wait_all_tasks_blocked()
        body.append(came)
        body.let_go()
    assert hurried == [True]
    with pytest.raises(GaveWay):
        await anext(body)


@pytest.mark.parametrize("leaves", [False, True])
async def test_the_sender_waits_for_room_until_the_body_is_read_or_left(leaves: bool) -> None:
    body = an_inflow()
    body.append(b"x" * (ROOM + 1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(body.wait_room)
        await wait_all_tasks_blocked()
        assert nursery.child_tasks
        if leaves:
            body.leave()
        else:
            assert len(await anext(body)) == ROOM + 1
    await body.wait_room()


async def test_the_rest_is_discarded_for_a_while(autojump_clock: MockClock) -> None:
    body = an_inflow()
    body.append(b"part")
    await body.discard(0.25)
    assert trio.current_time() == 0.25
    body.append(b"last")
    body.set_complete()
    await body.discard(0.25)
    assert trio.current_time() == 0.25
    assert body.take() == b""
