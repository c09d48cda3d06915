"""A small real HTTP server on the loopback that answers as a test tells it."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


class StaticAnswer:
    """What to answer and what was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[tuple[str, Message, bytes]] = []
        self._answers: dict[str, list[tuple[int, dict[str, str], list[bytes], bool]]] = defaultdict(list)

    def answer(self, route: str, value: object, status: int = 200, **headers: str) -> None:
        """Answer `route` ("GET /jobs/1") with JSON; of several answers each is given once, the last for ever."""
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self._answers[route].append((status, headers, [body], True))

    def stream(self, route: str, *pieces: bytes, media: str = "text/event-stream", whole: bool = True) -> None:
        """Answer with a chunked body; one that is not `whole` breaks off."""
        self._answers[route].append((200, {"Content-Type": media}, list(pieces), whole))

    def next(self, route: str) -> tuple[int, dict[str, str], list[bytes], bool]:
        answers = self._answers[route] or [(404, {}, [b'{"error":"not found","code":"not_found"}'], True)]
        return answers.pop(0) if len(answers) > 1 else answers[0]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[StaticAnswer]:
    told = StaticAnswer()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(told))
    told.url = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setenv("FOREMAN_URL", told.url)
    monkeypatch.delenv("FOREMAN_TOKEN", raising=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield told
    server.shutdown()
    thread.join()
    server.server_close()


def _handler(told: StaticAnswer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            told.asked.append((f"{self.command} {self.path}", self.headers, body))
            status, headers, pieces, whole = told.next(f"{self.command} {path}")
            chunked = "Content-Type" in headers
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header(*("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(len(pieces[0]))))
            self.end_headers()
            for piece in pieces:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
            if chunked and whole:
                self.wfile.write(b"0\r\n\r\n")
            self.close_connection = not whole

        do_POST = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler
