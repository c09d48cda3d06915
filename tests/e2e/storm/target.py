"""The target of a storm: an odd server that besides hangs, drips, and answers far too much.

`python -m tests.e2e.storm.target PORT [--well]` serves until its standard input ends. A well one has the same models,
and each of them answers as it should.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence

from tests.support.foreman import Child
from tests.support.odd.scenario import CHAT, EMBEDDINGS, SCENARIOS, Answer, Asked, Say, as_json, event
from tests.support.odd.server import OddServer
from tests.support.odd.shapes import chunk, closing, hello, sse, texts, whole

MIB = 2**20
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
DRIPS = 10
SINGLE = [name for name, known in SCENARIOS.items() if known.path == CHAT]
EMBEDDING = [name for name, known in SCENARIOS.items() if known.path == EMBEDDINGS]


def hangs(asked: Asked) -> Answer:
    """The head comes, and then nothing."""
    return Answer([], end="held")


def silent(asked: Asked) -> Answer:
    """Nothing comes at all."""
    return Answer([], framing="by hand", end="held")


def drips(asked: Asked) -> Answer:
    """A word at a time, for a second."""

    def body() -> Iterator[bytes]:
        for _ in range(DRIPS):
            time.sleep(0.1)
            yield event(chunk({"content": "drip "}))
        yield from sse(closing(asked)).body

    return Answer(body())


def floods(asked: Asked) -> Answer:
    """Much more than an answer may have."""
    piece = event(chunk({"content": "x" * 60_000}))
    return Answer(piece for _ in range(8 * MIB // 60_000))


def one_line(asked: Asked) -> Answer:
    """A line that does not end."""
    return Answer(b"x" * 65_536 for _ in range(8 * MIB // 65_536))


def numbers(asked: Asked) -> Answer:
    """Small text that is many objects once it is read."""
    return sse([chunk({"content": "n", "logprobs": [[0]] * 100_000}), *closing(asked)])


def calls(asked: Asked) -> Answer:
    """A thousand calls of tools in one chunk."""
    made = [
        {"index": n, "id": f"c{n}", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        for n in range(1000)
    ]
    return sse([chunk({"tool_calls": made}), *closing(asked, "tool_calls")])


def pictures(asked: Asked) -> Answer:
    """A hundred tiny pictures."""
    images = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}] * 100
    return sse([chunk({"content": "see", "images": images}), *closing(asked)])


def garbles(asked: Asked) -> Answer:
    """Bytes that are no answer, in a chunk whose length is no number."""
    return Answer(
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"zz\r\n\x00\xff\r\n"],
        framing="by hand",
    )


def long(asked: Asked) -> Answer:
    """An answer of a megabyte, which is within what it may have."""
    return sse([*texts(*["y" * 50_000] * 20), *closing(asked)])


OWN: Mapping[str, Say] = {
    say.__name__: say for say in (hangs, silent, drips, floods, one_line, numbers, calls, pictures, garbles, long)
}
ILL = ("hangs", "silent")  # each call of theirs costs a time limit
MODELS: Sequence[str] = (*SINGLE, *EMBEDDING, *OWN)


class StormTarget(OddServer):
    """Has the models of the odd server, and those above; `well` is whether they answer as they should."""

    def __init__(self, port: int, *, well: bool) -> None:
        super().__init__(port)
        self._well = well

    def take(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        asked = Asked(method, path, headers, body)
        if path == "/v1/models":
            return as_json({"object": "list", "data": [{"id": name, "object": "model"} for name in MODELS]})
        if method == "POST" and path == CHAT:
            model = asked.model
            if model == "drips" or (not self._well and model in OWN):
                return OWN[model](asked)
            if self._well:
                return (
                    sse(hello(asked)) if asked.streamed else whole(Asked(method, path, headers, b'{"model":"plain"}'))
                )
        answer = super().take(method, path, headers, body)
        self.requests.clear()
        return answer


class Target:
    """The server as a child process that keeps its port."""

    def __init__(self) -> None:
        self._child: Child | None = None
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        assert self._child is not None, "not started"
        return self._child.pid

    def start(self, *, well: bool = False) -> None:
        """Start it, in the place of the one before."""
        self.stop()
        command = [sys.executable, "-m", "tests.e2e.storm.target", str(self._port), *(["--well"] if well else [])]
        self._child = Child(command, env=os.environ, stream="stdout")
        self._port = self._child.line(lambda line: int(json.loads(line)["port"]))

    def stop(self) -> None:
        if self._child is not None:
            self._child.close()
            self._child = None


if __name__ == "__main__":
    with StormTarget(int(sys.argv[1]), well="--well" in sys.argv) as target:
        print(json.dumps({"port": int(target.url.rpartition(":")[2])}), flush=True)
        sys.stdin.buffer.read()
