"""The odd server itself: HTTP/1.1 on loopback, a thread for each connection; remembers what it was asked."""

from __future__ import annotations

import socketserver
import threading
from collections import Counter
from itertools import chain
from types import TracebackType
from typing import Any

from tests.support.odd import chat, embeddings, failures, framing, messages, native, refusals, responses, texts, tools
from tests.support.odd.scenario import NATIVE_GENERATE, SCENARIOS, Answer, Asked, as_json

TABLES = (chat, embeddings, failures, framing, messages, native, refusals, responses, texts, tools)  # fill SCENARIOS
LONGEST = 60  # seconds that a held answer is held, should the client never leave


class OddServer:
    """A context; `url` is where it serves, `requests` all that it was asked, oldest first."""

    def __init__(self, port: int = 0) -> None:
        self.requests: list[Asked] = []
        self._counts: Counter[bytes] = Counter()
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", port), _Connection)
        self._server.odd = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="odd server")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def asked(self, text: str) -> list[Asked]:
        """Return the requests whose body has `text` in it, oldest first."""
        return [request for request in self.requests if text.encode() in request.body]

    def take(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        """Note a request, and say what is to be answered."""
        asked = Asked(method, path.partition("?")[0], headers, body)
        with self._lock:
            self.requests.append(asked)
        if method != "POST":
            return _listed(asked.path)
        known = SCENARIOS.get(asked.model)
        if known is None:
            return as_json({"error": {"message": f"model '{asked.model}' not found"}}, 404)
        if asked.path == NATIVE_GENERATE and not asked.payload.get("prompt"):
            return as_json({"model": asked.model, "response": "", "done": True, "done_reason": "load"})
        with self._lock:
            key = _words(asked)
            self._counts[key] += 1
            asked = Asked(method, asked.path, headers, body, self._counts[key])
        if asked.path != known.path:
            return as_json({"error": {"message": f"{asked.model} is no scenario of {asked.path}"}}, 404)
        say = known.say if asked.streamed or known.whole is None else known.whole
        return say(asked)

    def __enter__(self) -> OddServer:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _listed(path: str) -> Answer:
    names = sorted(SCENARIOS)
    answers: dict[str, Any] = {
        "/v1/models": {"object": "list", "data": [{"id": name, "object": "model", "created": 1} for name in names]},
        "/api/tags": {"models": [{"name": f"{name}:latest", "model": f"{name}:latest"} for name in names]},
        "/api/ps": {"models": []},
        "/api/version": {"version": "0.13.0"},
        "/health": {"status": "ok"},
    }
    return as_json(answers[path]) if path in answers else as_json({"error": "404 page not found"}, 404)


def _words(asked: Asked) -> bytes:
    """What tells one question from another, whatever was added on its way."""
    told = asked.payload
    return repr((told.get("model"), told.get("messages") or told.get("prompt") or told.get("input"))).encode()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    odd: OddServer


class _Connection(socketserver.StreamRequestHandler):
    server: _Server
    disable_nagle_algorithm = True

    def handle(self) -> None:
        try:
            while self._one():
                pass
        except OSError:
            pass  # the client left

    def _one(self) -> bool:
        """Answer one request; False ends the connection."""
        line = self.rfile.readline().decode("latin-1")
        if not line:
            return False
        method, path, _ = line.split(" ", 2)
        headers: dict[str, str] = {}
        while (header := self.rfile.readline()) not in (b"\r\n", b""):
            name, _, value = header.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        body = self.rfile.read(int(headers.get("content-length", 0)))
        return self._send(self.server.odd.take(method, path, headers, body), headers)

    def _send(self, answer: Answer, asked: dict[str, str]) -> bool:
        head = f"HTTP/1.1 {answer.status} Odd\r\n"
        if answer.media:
            head += f"Content-Type: {answer.media}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
        pieces = answer.body
        match answer.framing:
            case "chunked":
                head += "Transfer-Encoding: chunked\r\n\r\n"
                chunks = (b"%x\r\n%s\r\n" % (len(piece), piece) for piece in answer.body if piece)
                pieces = chain(chunks, [b"0\r\n\r\n"] if answer.end == "clean" else [])
            case "length":
                pieces = list(answer.body)
                more = 1 if answer.end == "broken" else 0
                head += f"Content-Length: {sum(map(len, pieces)) + more}\r\n\r\n"
            case "close":
                head += "Connection: close\r\n\r\n"
            case "by hand":
                head = ""
        self.wfile.write(answer.before + head.encode("latin-1"))
        for piece in pieces:
            self.wfile.write(piece)
        if answer.end == "held":
            self.connection.settimeout(LONGEST)
            self.rfile.read(1)  # returns when the client leaves
        return (
            answer.framing in ("chunked", "length")
            and answer.end == "clean"
            and asked.get("connection", "").lower() != "close"
        )
