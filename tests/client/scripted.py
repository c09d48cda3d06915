"""A server that sends what it likes, however long it takes, to whoever connects; and all clients that may meet it."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import Any, TypeAlias

import anyio

from foreman.client import AsyncClient, Client

Script: TypeAlias = Callable[[], Iterator[bytes]]  # what one connection is sent; an empty piece is a pause

PAUSE = 0.01  # seconds
MANY = 2000  # pauses in a script, twenty seconds: a client that bears all of them does not end by its own limits
MUCH = 16 * 2**20  # bytes
KINDS = ("threads", "asyncio", "trio")


def head(*lines: str, status: str = "200 OK") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


CHUNKED = head("Transfer-Encoding: chunked")
EVENTS = head("Content-Type: text/event-stream", "Transfer-Encoding: chunked")
NDJSON = head("Content-Type: application/x-ndjson", "Transfer-Encoding: chunked")


def endless(start: bytes, piece: bytes) -> Script:
    """Send `piece` again and again, after `start`; more than any client of a test takes."""

    def script() -> Iterator[bytes]:
        yield start
        for _ in range(MUCH // len(piece)):
            yield piece

    return script


def dripping(start: bytes, drop: bytes) -> Script:
    """Send `drop` again and again with pauses, after `start`; and then no more."""

    def script() -> Iterator[bytes]:
        yield start
        for _ in range(MANY):
            yield b""
            yield drop

    return script


@contextmanager
def a_server(script: Script, *, slow: list[bytes] | None = None) -> Iterator[str]:
    """The address of a server that follows the script; with `slow` it reads a request in small pieces, into it."""
    over = threading.Event()
    threads: list[threading.Thread] = []

    def serve(connection: socket.socket) -> None:
        with connection:
            try:
                while slow is not None and len(slow) < MANY:
                    over.wait(PAUSE)
                    slow.append(data := connection.recv(4096))
                    if over.is_set() or not data:
                        return
                connection.recv(2**20)
                connection.setblocking(False)
                for piece in script():
                    view = memoryview(piece)
                    if not piece:
                        over.wait(PAUSE)
                    while view and not over.is_set():
                        select.select([], [connection], [], 0.05)
                        try:
                            view = view[connection.send(view) :]
                        except BlockingIOError:
                            continue
                    if over.is_set():
                        return
            except OSError:  # who asked has had enough
                return

    def accept() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=serve, args=(connection,)))
            threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            over.set()
            server.shutdown(socket.SHUT_RDWR)
            for thread in (accepting, *threads):
                thread.join()


def call(kind: str, url: str, method: str, *args: Any, limits: dict[str, Any] | None = None, **given: Any) -> Any:
    """Call a method of the client of this kind; a generator is read to its end."""
    told = given.pop("told", [])
    if kind == "threads":
        with Client(url, **limits or {}) as client:
            found = getattr(client, method)(*args, **given)
            if method not in ("stream", "feed"):
                return found
            for piece in found:
                told.append(piece)  # one by one: what follows may raise
            return told

    async def on_a_loop() -> Any:
        async with AsyncClient(url, **limits or {}) as client:
            found = getattr(client, method)(*args, **given)
            if method not in ("stream", "feed"):
                return await found
            async with aclosing(found):
                async for piece in found:
                    told.append(piece)
            return told

    return anyio.run(on_a_loop, backend=kind)
