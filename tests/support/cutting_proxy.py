"""A TCP proxy in front of a PostgreSQL server that cuts connections, also between a commit and its answer."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from pathlib import Path

COMMIT = b"COMMIT\x00"  # as a client sends it, whatever the form of the message


class CuttingProxy:
    """Passes bytes on between clients and a server's socket."""

    def __init__(self, server: Path) -> None:
        self._server = server
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self.away = False  # True to refuse connections
        self.drops_answer = False  # True to cut the next connection once the server has its commit
        self.drops_commit = False  # True to cut the next connection before the server has its commit
        self.commits = 0  # cut
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """Cut all connections."""
        for one in self._open:
            _close(one)
        self._open = []

    def close(self) -> None:
        """Cut all connections and listen no more."""
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                if self.away:
                    raise OSError("away")
                server.connect(str(self._server))
            except OSError:
                _close(client)
                server.close()
                continue
            self._open += [client, server]
            for function in (self._send, self._answer):
                threading.Thread(target=function, args=(client, server), daemon=True).start()

    def _send(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                if COMMIT in data and (self.drops_answer or self.drops_commit):
                    self.commits += 1
                    passed, self.drops_answer, self.drops_commit = self.drops_answer, False, False
                    if passed:
                        _close(client)
                        server.sendall(data)
                        with suppress(OSError):
                            while server.recv(65536):  # or the server would end the commit before it has begun
                                pass
                    break
                server.sendall(data)
        _close(client)
        _close(server)

    def _answer(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                client.sendall(data)
        _close(client)


def _close(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
