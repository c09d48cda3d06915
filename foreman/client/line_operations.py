"""Operations on answers that are streamed line by line, or only passed on, without I/O."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from foreman.client.errors import ConnectFailed
from foreman.client.operations import FIRST, Emit, Emitting, Open, Read
from foreman.client.requests import Ask
from foreman.client.unreadable import told_unreadable

T = TypeVar("T")


def lines(url: str, ask: Ask[bytes], read: Callable[[bytes], T], called: str) -> Emitting[T]:
    """Emit each line of an answer as `read` returns it; `called` is its name in errors."""
    yield Open(ask)
    held: list[bytes] = []  # parts of a line that has not ended
    reading = FIRST
    while data := (yield reading):
        first, *more = data.split(b"\n")
        held.append(first)
        for line in more:
            if whole := b"".join(held):
                with told_unreadable(url, f"a line of the {called}"):
                    found = read(whole)
                yield Emit(found)
            held = [line]
        reading = Read(heard=True, told=bool(more))
    if b"".join(held):
        raise ConnectFailed(url, f"the {called} broke off")


def pieces(ask: Ask[bytes]) -> Emitting[bytes]:
    """Emit the bytes of an answer as they come."""
    yield Open(ask)
    reading = FIRST
    while data := (yield reading):
        yield Emit(data)
        reading = Read(heard=True, told=True)
