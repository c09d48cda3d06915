"""What a type checker sees of the library; mypy judges it, pytest only that it can be imported."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass
from typing import assert_type

import foreman.client
from foreman import AsyncClient, Client, Receiver
from foreman.client import Accepted, Chunk, Event, Job, StartsOver, Submitted, Webhook


@dataclass
class Colour:
    name: str


def without_an_event_loop(client: Client, receiver: Receiver) -> None:
    assert_type(client.submit("m", "x", priority="low", retry_for=3), Accepted)
    assert_type(client.submit_many([{"model": "m"}]), Submitted)
    assert_type(client.run("m", "x", within=3), Job)
    history = [{"role": "user", "content": "x"}]
    shown = [{"role": "user", "content": [{"type": "text", "text": "x"}]}]
    assert_type(client.run("m", messages=history, tools=[{"type": "function"}], format="json", think="high"), Job)
    assert_type(client.run("m", messages=shown, temperature=None, extra={"a": {"b": 1}}), Job)
    client.submit("m", "x", prio="high")  # type: ignore[call-arg]
    client.run("m", "x", priority="urgent")  # type: ignore[arg-type]
    assert_type(client.run_as(Colour, "m", "x"), Colour)
    assert_type(client.run_as(list[Colour], "m", "x"), list[Colour])
    assert_type(client.stream("J"), Generator[Chunk | StartsOver, None, None])
    assert_type(client.feed(state=["done"]), Generator[Event, None, None])
    assert_type(receiver.wait("J"), Webhook)


async def on_an_event_loop(client: AsyncClient) -> None:
    assert_type(await client.submit("m", "x", priority="low"), Accepted)
    assert_type(await client.run_as(Colour, "m", "x"), Colour)
    assert_type(client.stream("J"), AsyncGenerator[Chunk | StartsOver, None])
    assert_type([event async for event in client.feed()], list[Event])


def test_every_public_name_is_there() -> None:
    for module in (foreman, foreman.client):
        assert all(getattr(module, name) is not None for name in module.__all__)
    assert not hasattr(foreman, "something_else")
