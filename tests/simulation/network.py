"""The network between nodes, and from callers to them: real HTTP over local sockets that deliver at once."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from unittest.mock import patch

import trio

from foreman.domain.errors import TargetUnavailable
from foreman.targets.http import pool
from foreman.targets.http.connection import CONNECT_TIMEOUT, Connection
from tests.simulation.standstill import Processes


class Network:
    """Who reaches whom. A host is the name of a node; what is no node reaches all."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._listening: dict[str, Path] = {}
        self._open: dict[socket.socket, tuple[str, str]] = {}  # from, to
        self._cut: set[frozenset[str]] = set()
        self.silent = False  # True to have connections through a cut time out, instead of being refused

    @contextmanager
    def up(self) -> Iterator[None]:
        """Have all HTTP clients use this network."""
        with tempfile.TemporaryDirectory() as folder, patch.object(pool, "connect", self._connect):
            self._folder = Path(folder)
            yield

    @contextmanager
    def listening(self, name: str) -> Iterator[socket.socket]:
        """Have a node listen, and lend its socket."""
        path = self._folder / name
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(path))
            listening.listen(64)
            self._listening[name] = path
            yield listening

    def died(self, name: str) -> None:
        """Have nobody listen for a node any more, and end its connections."""
        self._listening.pop(name, None)
        self._end(lambda ends: name in ends)

    def cut(self, one: str, other: str) -> None:
        """Cut the connections between two nodes, and have none be made."""
        pair = frozenset((one, other))
        self._cut.add(pair)
        self._end(lambda ends: frozenset(ends) == pair)

    def _end(self, which: Callable[[tuple[str, str]], bool]) -> None:
        for link, ends in list(self._open.items()):
            if which(ends):
                with suppress(OSError):
                    link.shutdown(socket.SHUT_RDWR)
                del self._open[link]

    def mend(self, one: str, other: str) -> None:
        """Let two nodes reach each other again."""
        self._cut.discard(frozenset((one, other)))

    async def _connect(self, host: str, port: int, *, secure: bool, name: str) -> Connection:
        caller = self._processes.of(trio.lowlevel.current_task())
        await trio.lowlevel.checkpoint()
        if frozenset((caller, host)) in self._cut:
            if self.silent:
                await trio.sleep(CONNECT_TIMEOUT)
            raise TargetUnavailable(name, "no route")
        if host not in self._listening:
            raise TargetUnavailable(name, "connection refused")
        link = socket.socket(socket.AF_UNIX)
        try:
            link.settimeout(0)
            link.connect(str(self._listening[host]))
        except OSError as error:
            link.close()
            raise TargetUnavailable(name, str(error)) from error
        self._open = {kept: ends for kept, ends in self._open.items() if kept.fileno() >= 0}
        self._open[link] = caller, host
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(link))
        return Connection(name, stream, stream)
