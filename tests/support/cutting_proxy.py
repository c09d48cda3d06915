"""TCP proxies that cut, hold up and refuse connections; one knows PostgreSQL's commits and cuts at them."""

from __future__ import annotations

import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

# What is lost of a commit: itself; all that follows it, at once; its answer; a part of its answer.
Loss = Literal["commit", "flight", "answer", "torn"]

COMMIT = b"COMMIT\x00"
UNSTARTED = (80877103, 80877104)  # what a client sends before its first message: it asks for TLS, or GSS
LARGEST = 65536  # bytes received at a time


class Proxy:
    """Passes bytes on between clients and a server."""

    def __init__(self, connect: Callable[[], socket.socket]) -> None:
        """Listen on loopback; `connect` returns a new connection to the server."""
        self._connect = connect
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.host = f"127.0.0.1:{self.port}"
        self.links: set[Link] = set()
        self.away = False  # True to refuse connections
        self._flows = threading.Event()
        self._flows.set()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """Cut all connections."""
        for link in list(self.links):
            link.cut()

    def hold(self) -> None:
        """Pass nothing on, in either direction, until `resume`."""
        self._flows.clear()

    def resume(self) -> None:
        """Pass on what was held, and what comes."""
        self._flows.set()

    def wait_flowing(self) -> None:
        """Return once nothing is held."""
        self._flows.wait()

    def close(self) -> None:
        """Cut all connections and listen no more."""
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()
        self.cut()
        self.resume()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            try:
                if self.away:
                    raise OSError("away")
                server = self._connect()
            except OSError:
                _close(client)
                continue
            link = self._link(client, server)
            self.links.add(link)
            for function in (link.send, link.answer):
                threading.Thread(target=function, daemon=True).start()

    def _link(self, client: socket.socket, server: socket.socket) -> Link:
        return Link(self, client, server)


class Link:
    """One connection of a client, and its own to the server."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        self._ended = threading.Event()

    def cut(self) -> None:
        """End both connections."""
        self._proxy.links.discard(self)
        _close(self._client)
        _close(self._server)
        self._ended.set()

    def send(self) -> None:
        """Pass on what the client sends, until either ends."""
        with suppress(OSError):
            while data := self._client.recv(LARGEST):
                self._proxy.wait_flowing()
                if not self.sent(data):
                    break
        self.cut()

    def answer(self) -> None:
        """Pass on what the server sends, until either ends."""
        with suppress(OSError):
            while data := self._server.recv(LARGEST):
                self._proxy.wait_flowing()
                if not self.answered(data):
                    break
        self.cut()

    def sent(self, data: bytes) -> bool:
        """Pass on what the client has sent; return False to end."""
        self._server.sendall(data)
        return True

    def answered(self, data: bytes) -> bool:
        """Pass on what the server has sent; return False to end."""
        self._client.sendall(data)
        return True


class CuttingProxy(Proxy):
    """A proxy of PostgreSQL that knows which message is a commit, and which is its answer."""

    def __init__(self, connect: Callable[[], socket.socket]) -> None:
        super().__init__(connect)
        self.drops: Loss | None = None  # what the next connection loses of its next commit
        self.dropped = 0  # commits
        self.torn_at: Callable[[int], int] = random.randrange  # how many of so many bytes of an answer arrive
        self._taking = threading.Lock()

    def take(self) -> Loss | None:
        """Return what the connection that has a commit is to lose; the next one passes."""
        with self._taking:
            loss, self.drops = self.drops, None
            self.dropped += loss is not None
        return loss

    def _link(self, client: socket.socket, server: socket.socket) -> Link:
        return _PostgresLink(self, client, server)


class _PostgresLink(Link):
    """A connection as https://www.postgresql.org/docs/current/protocol-message-formats.html has it."""

    _proxy: CuttingProxy

    def __init__(self, proxy: CuttingProxy, client: socket.socket, server: socket.socket) -> None:
        super().__init__(proxy, client, server)
        self._started = False
        self._unread = {"client": b"", "server": b""}  # the beginning of a message, by who sends it
        self._commits: set[bytes] = set()  # names of the prepared statements that are one
        self._loss: Loss | None = None
        self._held = b""  # the answer that is to be lost

    def sent(self, data: bytes) -> bool:
        messages = list(self._requests(data))
        if self._loss is None and any(map(self._is_commit, messages)):
            self._loss = self._proxy.take()
        if self._loss == "commit":
            return False
        super().sent(data)
        if self._loss == "flight" and any(kind in (b"S", b"Q") for kind, _ in messages):  # the server has all of it
            _close(self._client)
            self._ended.wait()  # by its answer: the server would end a commit that has not begun with the connection
            return False
        return True

    def answered(self, data: bytes) -> bool:
        messages = list(self._messages("server", data)) if self._started else []
        if self._loss is None:
            return super().answered(data)
        self._held += data
        if all(kind != b"Z" for kind, _ in messages):  # it is not whole
            return True
        if self._loss == "torn":
            self._client.sendall(self._held[: self._proxy.torn_at(len(self._held))])
        return False

    def _is_commit(self, message: tuple[bytes, bytes]) -> bool:
        kind, body = message
        if kind == b"P":
            name, sql = body.split(b"\0")[:2]
            (self._commits.add if sql.upper() == b"COMMIT" else self._commits.discard)(name)
        return (kind == b"B" and body.split(b"\0")[1] in self._commits) or (kind == b"Q" and body == COMMIT)

    def _requests(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        while not self._started and len(data := self._unread.pop("client", b"") + data) >= 8:
            size, code = struct.unpack_from("!ii", data)
            if len(data) < size:
                break
            self._started = code not in UNSTARTED
            data = data[size:]
        if self._started:
            yield from self._messages("client", data)
        else:
            self._unread["client"] = data

    def _messages(self, sender: str, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield kind and body of the messages that are whole."""
        data, at = self._unread.get(sender, b"") + data, 0
        while len(data) >= at + 5 and len(data) >= (end := at + 1 + int.from_bytes(data[at + 1 : at + 5], "big")):
            yield data[at : at + 1], data[at + 5 : end]
            at = end
        self._unread[sender] = data[at:]


def unix_socket(path: Path) -> Callable[[], socket.socket]:
    """Return what connects to a Unix socket."""

    def connect() -> socket.socket:
        made = socket.socket(socket.AF_UNIX)
        try:
            made.connect(str(path))
        except OSError:
            made.close()
            raise
        return made

    return connect


def _close(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
